/* How long a step takes, predicted from a machine's rates: op by op, on the device that the placement gives each
 * unit. Where in the flow: above memory.h, work.h and placement.h; below the search. Pure functions of what is given.
 *
 * A product takes the longer of reading its weights and of its multiply-adds, divided by the kernel's efficiency at
 * this number of rows on other shapes; where it has fewer panels than there are threads, what so many threads read and
 * compute. Attention is the same with keys and values for the weight, read once for each 96 rows of queries. Experts
 * are as many as the tokens are expected to touch. A region costs its entry and exit.
 *
 * Between units the residual is transferred where they are on different devices. A layer's experts, or the columns of
 * its FFN, on several devices are computed at once, at the rates that each has while the others run: the longest
 * counts, transfers included. Streamed weights go up while others are computed: a step takes the longer of the path and
 * of the link, and the first transfer. Not modelled: what else the machine does, caches that hold a whole small model,
 * clocks that fall. */
#ifndef QM_PLANNER_TIME_H
#define QM_PLANNER_TIME_H

#include <stdint.h>

#include "engine/placement.h"
#include "engine/routing.h"
#include "engine/units.h"
#include "planner/machine.h"

struct qm_time_setup {
    const struct qm_model *model;
    const struct qm_machine_model *speed;
    const struct qm_placement *placement;
    const struct qm_routing_profile *routing; /* NULL: experts are equally likely */
    struct qm_workload workload;              /* threads, KV type, chunk */
};

/* Where a step's seconds go; the parts of the CPU, of transfers and of devices add up to the path. */
struct qm_step_time {
    double seconds;
    double reading, computing; /* products of the CPU, by what bounds each; reading: the embedding's rows too */
    double attention;          /* of the CPU, keys and values */
    double regions;            /* of the CPU: entering and leaving */
    double routing;            /* choosing experts, on the CPU */
    double transfer;           /* residual and routing */
    double device;             /* on the path, of any device */
    double link;               /* waiting for streamed weights */
    double cpu_busy, device_busy[QM_MAX_DEVICES], link_busy[QM_MAX_DEVICES];
};

/* One step in which each of `sequences` sequences, holding `position` tokens, takes n more and asks for n_logits. */
void qm_time_step(const struct qm_time_setup *t, int64_t sequences, int64_t position, int64_t n, int64_t n_logits,
                  struct qm_step_time *out);
void qm_time_add(struct qm_step_time *sum, const struct qm_step_time *one, double times);

/* Seconds of one unit of layer l (-1: HEAD) on one device, transfers apart; of EXPERT, of one that is touched with
 * probability p by a token. For the search. */
double qm_time_unit(const struct qm_time_setup *t, enum qm_unit_kind k, int64_t l, int device, double p,
                    int64_t sequences, int64_t position, int64_t n, int64_t n_logits);

/* A scenario: `sequences` sequences at once, each with `depth` tokens already there, `prompt` tokens to read and
 * `generate` to write. */
struct qm_scenario {
    int64_t sequences, depth, prompt, generate;
};
struct qm_scenario_time {
    struct qm_step_time prefill, decode; /* seconds of all steps */
    double prefill_tps, decode_tps;      /* of all sequences; 0: none */
    double joules;                       /* NaN: watts are not known */
};
void qm_time_scenario(const struct qm_time_setup *t, const struct qm_scenario *scenario, struct qm_scenario_time *out);

#endif
