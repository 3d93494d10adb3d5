/* The insides of quietmind plan, shared by its files: what is asked, the answer for one model, and its forms. */
#ifndef QM_APP_PLAN_H
#define QM_APP_PLAN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "app/progress.h"
#include "base/buf.h"
#include "engine/placement.h"
#include "model/model.h"
#include "planner/drafted.h"
#include "planner/machine.h"
#include "planner/search.h"
#include "planner/time.h"

enum { QM_PLAN_DEPTHS = 5, QM_PLAN_HINTS = 4 };

/* A device keeps this much free: what whole pages of 2 MiB add to its four allocations. */
enum { QM_PLAN_PAGE_ROOM = 4 * (2 << 20) };

struct qm_plan_ask {
    int64_t context; /* 0: the model's maximum, or what fits */
    int64_t chunk;
    struct qm_scenario scenario;
    int kv_type;                   /* enum qm_dtype or -1 */
    double acceptance;             /* of drafts, 0 to 1; negative: not said */
    bool maps;                     /* an attention map of the scenario's tokens is asked for */
    uint64_t kv_memory;            /* of a pool of pages; 0: sequences times context */
    struct qm_draft_memory drafts; /* taken beside */
    int threads;                   /* 0: one a core */
    uint64_t ram, vram;            /* 0: what the machine has; vram: of each device */
    const struct qm_pin *pins;
    int n_pins;
    bool on_cpu;                              /* --offload none */
    int64_t last_layers;                      /* --offload N; -1: search */
    const struct qm_placement *given;         /* --offload FILE, or NULL */
    bool given_alone;                         /* no other placement can take its place */
    const struct qm_routing_profile *routing; /* or NULL */
    const struct qm_machine_model *speed;
};

struct qm_plan_speed {
    int64_t depth;
    double prefill_tps, decode_tps;
};

/* What would be won by a change: shares of the scenario's time. */
struct qm_plan_hint {
    char change[96];
    double seconds; /* of the scenario with it */
};

struct qm_plan_answer {
    const struct qm_model *model;
    const char *name;
    struct qm_workload workload;
    struct qm_placement placement;
    struct qm_device_memory memory[QM_MAX_DEVICES];
    uint64_t slack[QM_MAX_DEVICES]; /* of whole pages, beside memory[].total */
    uint64_t available[QM_MAX_DEVICES];
    double bound; /* seconds of the scenario that no placement beats; 0: not known */
    bool exact;
    int64_t tried;
    struct qm_scenario_time prompt, generate; /* bench's rows: each after `depth` tokens */
    struct qm_scenario_time scenario;         /* the prompt, then the generation */
    struct qm_drafted drafted;                /* in the middle of the generation, by ask's acceptance */
    struct qm_plan_speed at[QM_PLAN_DEPTHS];
    int n_at;
    struct qm_plan_hint hint[QM_PLAN_HINTS];
    int n_hints;
};

/* QM_FIT where it does not fit: what is short, by how much, and what would make it fit. */
int qm_plan_answer(const struct qm_plan_ask *ask, const struct qm_model *m, const char *name,
                   struct qm_plan_answer *out, struct qm_error *err);
/* What bytes alone show of that, without the machine's rates: before they are measured. */
int qm_plan_check(const struct qm_plan_ask *ask, const struct qm_model *m, struct qm_error *err);
void qm_plan_answer_free(struct qm_plan_answer *a);

/* "cpu", or the device's name. */
const char *qm_plan_device_name(const struct qm_machine_model *s, int device);

int qm_plan_text(const struct qm_plan_ask *ask, const struct qm_plan_answer *a, struct qm_error *err);
/* NULL: out of memory. */
json_t *qm_plan_json(const struct qm_plan_ask *ask, const struct qm_plan_answer *a);

/* Where units are, in lines that end with newlines: of each device that has some. */
int qm_plan_placement_text(const struct qm_plan_ask *ask, const struct qm_plan_answer *a, struct qm_buf *out,
                           struct qm_error *err);

/* plan --table: a row of a model and a size of memory: {model, memory, contexts: [{context, fits, ...}]}; NULL: out of
 * memory. And rows as a table of at most 100 columns. */
json_t *qm_plan_table_row(const struct qm_plan_ask *ask, const struct qm_model *m, const char *name);
int qm_plan_table_print(const json_t *rows, const struct qm_machine_model *speed, struct qm_error *err);
/* What predictions rest on: "measured efficiencies", "default ...", and what noise there was. */
void qm_plan_basis(const struct qm_machine_model *s, char *out, size_t size);

/* The answer as one self-contained page. */
int qm_plan_html(const struct qm_plan_ask *ask, const struct qm_plan_answer *a, struct qm_error *err);

/* The history: predicted beside measured. */
int qm_plan_accuracy(bool json, struct qm_error *err);

/* What bounds a scenario, greatest first: words and shares of its seconds. Returns how many. */
struct qm_plan_bound {
    const char *what;
    double share;
};
enum { QM_PLAN_BOUNDS = 8 };
int qm_plan_bounds(const struct qm_step_time *t, struct qm_plan_bound out[QM_PLAN_BOUNDS]);

#endif
