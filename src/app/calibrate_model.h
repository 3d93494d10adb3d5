/* One small model that calibrate.c times, and its engine. Shared by the files of the calibration. */
#ifndef QM_APP_CALIBRATE_MODEL_H
#define QM_APP_CALIBRATE_MODEL_H

#include "app/limits.h"
#include "app/machine_profile.h"
#include "app/progress.h"
#include "engine/engine.h"
#include "plan/machine.h"

struct qm_calibration_setup {
    enum qm_isa isa;
    struct qm_progress *progress;
    int done; /* models timed */
};

struct qm_calibration_model {
    struct qm_model *model;
    struct qm_engine *engine;
    struct qm_sequence *sequence;
    struct qm_limits limits; /* as it was opened */
    float *logits;
    int32_t *tokens;
    uint32_t state; /* of the tokens */
    int64_t chunk;
    int threads;
};

/* config: JSON text. chunk: tokens of a step at most. Close it in any case. */
int qm_calibration_open(struct qm_calibration_setup *s, const char *config, int64_t chunk,
                        struct qm_calibration_model *out, struct qm_error *err);
void qm_calibration_close(struct qm_calibration_model *m);
/* Median seconds by kind of op of a step of n tokens at `depth`. */
int qm_calibration_time(struct qm_calibration_model *m, int64_t depth, int64_t n, double seconds[QM_OP_COUNT],
                        struct qm_error *err);

/* Measures everything; calibrate.h has the way by the kept file. *whole is false where it took so long that usual
 * shares stand for the rest. */
int qm_calibrate(const struct qm_machine *m, const struct qm_machine_profile *profile, enum qm_isa isa,
                 struct qm_progress *progress, struct qm_efficiency *out, bool *whole, struct qm_error *err);

#endif
