/* Looks for the placement that makes a scenario fastest on a machine with devices, within the bytes of each. Where in
 * the flow: above time.h, whose prediction it minimises; its result is a placement that the engine can execute.
 *
 * Where units and devices are few, every placement is tried, those of a dense FFN's columns by quarters. Else units go
 * to devices in several orders (whole layers from either end, attention first, experts first, all by saved time per
 * byte), each with the ways of streaming and with several shares of dense FFNs on the device while the CPU computes the
 * rest, and the best of them is improved layer by layer. Shares are then moved by smaller and smaller steps. A bound
 * says how far from the best the result can be: the time on the CPU less what the units of greatest saving per byte
 * would save if bytes could be cut anywhere, if transfers cost nothing, and if what is streamed arrived at once. */
#ifndef QM_PLANNER_SEARCH_H
#define QM_PLANNER_SEARCH_H

#include <stdint.h>

#include "planner/time.h"

/* Units that must be on a device. */
enum qm_pin_what { QM_PIN_LAYERS, QM_PIN_ATTENTION, QM_PIN_FFN, QM_PIN_EXPERTS, QM_PIN_HEAD };
struct qm_pin {
    enum qm_pin_what what;
    int64_t first, last; /* layers, both included */
    int device;
};

/* "layers 0-3", "experts 10 on cpu", "attention 0-47 on card", "head": without a device, the first one. QM_USAGE where
 * it is not one, or names layers or devices that are not there, naming `option`, what the caller calls it. */
int qm_pin_parse(const char *option, const char *text, const struct qm_model *m, const struct qm_machine_model *s,
                 struct qm_pin *out, struct qm_error *err);

struct qm_search_ask {
    struct qm_time_setup setup; /* without a placement */
    struct qm_scenario scenario;
    uint64_t budget[QM_MAX_DEVICES]; /* bytes of the CPU and of each device */
    const struct qm_pin *pins;       /* later ones win */
    int n_pins;
    int64_t last_layers; /* so many whole layers on devices, from the end, and the head where all are; -1: search */
};

struct qm_search_result {
    struct qm_placement placement;
    double seconds; /* of the scenario */
    double bound;   /* no placement is faster than this; 0: not asked */
    bool exact;     /* all were tried, of FFNs whose columns can be split by quarters of them */
    int64_t tried;
};

/* QM_FIT where no placement fits: what is short, by how much, and, as a remedy, what would help. */
int qm_search(const struct qm_search_ask *ask, struct qm_search_result *out, struct qm_error *err);

#endif
