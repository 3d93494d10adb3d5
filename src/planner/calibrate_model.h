/* One small model of random weights that calibrate_round.c times, and its engine. Knows nothing of what it is timed
 * for.
 */
#ifndef QM_PLANNER_CALIBRATE_MODEL_H
#define QM_PLANNER_CALIBRATE_MODEL_H

#include "engine/engine.h"
#include "engine/forward.h"
#include "planner/limits.h"

struct qm_calibration_model {
    struct qm_model *model;
    struct qm_engine *engine;
    struct qm_sequence *sequence;
    struct qm_limits_probe *probe;
    struct qm_limits limits; /* the last ones, */
    double limits_at;        /* and when they were read, by qm_now */
    float *logits;
    int32_t *tokens;
    uint32_t state; /* of the tokens */
    double until;   /* by qm_now: what is not measured then is given up */
    int64_t chunk;
    int threads;
};

/* config: JSON text. chunk: tokens of a step at most. context: 0: the model's. until: see above. Close it in any case.
 */
int qm_calibration_open(enum qm_isa isa, double until, const char *config, int64_t chunk, int64_t context,
                        struct qm_calibration_model *out, struct qm_error *err);
void qm_calibration_close(struct qm_calibration_model *m);
struct qm_calibration_timing {
    double seconds[QM_OP_COUNT]; /* of a step, by kind of op */
    double limit;                /* the longer of reading the bytes and of computing the FLOPs */
    struct qm_rates around;      /* median ones */
};

/* A step of n tokens at `depth`, timed for a tenth of a second beside limits read before and after, since clocks change
 * within a second. bytes, flops: what it reads and computes at least, by products of `type`. QM_STOPPED after
 * `until`. */
int qm_calibration_time(struct qm_calibration_model *m, int64_t depth, int64_t n, enum qm_dtype type, double bytes,
                        double flops, struct qm_calibration_timing *out, struct qm_error *err);

#endif
