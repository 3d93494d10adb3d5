/* One small model that machine/calibrate.c times, and its engine. Shared by the files of the calibration. */
#ifndef QM_APP_CALIBRATE_MODEL_H
#define QM_APP_CALIBRATE_MODEL_H

#include "app/machine/calibrate.h"
#include "app/progress.h"
#include "engine/engine.h"
#include "planner/limits.h"
#include "planner/machine.h"
#include "planner/profile.h"

struct qm_calibration_setup {
    enum qm_isa isa;
    struct qm_progress *progress;
    double until; /* by qm_now: what is not measured then is given up */
};

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
    double until;
    int64_t chunk;
    int threads;
};

/* config: JSON text. chunk: tokens of a step at most. context: 0: the model's. Close it in any case. */
int qm_calibration_open(struct qm_calibration_setup *s, const char *config, int64_t chunk, int64_t context,
                        struct qm_calibration_model *out, struct qm_error *err);
void qm_calibration_close(struct qm_calibration_model *m);
struct qm_calibration_timing {
    double seconds[QM_OP_COUNT]; /* of a step, by kind of op */
    double limit;                /* the longer of reading the bytes and of computing the FLOPs */
    struct qm_rates around;      /* usual ones */
};

/* A step of n tokens at `depth`, timed for a tenth of a second beside limits read before and after, since clocks change
 * within a second. bytes, flops: what it reads and computes at least, by products of `type`. QM_STOPPED after
 * setup.until. */
int qm_calibration_time(struct qm_calibration_model *m, int64_t depth, int64_t n, enum qm_dtype type, double bytes,
                        double flops, struct qm_calibration_timing *out, struct qm_error *err);

/* Times the points of one part that are not settled, once each. QM_STOPPED after s->until. */
int qm_calibrate_turn(enum qm_calibration_part part, const struct qm_machine *m,
                      const struct qm_machine_profile *profile, struct qm_calibration_setup *s,
                      struct qm_calibration_samples *samples, struct qm_error *err);

#endif
