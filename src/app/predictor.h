/* What was predicted for a run that is being measured: by this machine's kept profile, if there is one. Nothing is
 * measured for it. */
#ifndef QM_APP_PREDICTOR_H
#define QM_APP_PREDICTOR_H

#include "app/progress.h"
#include "engine/engine.h"
#include "planner/limits.h"
#include "planner/time.h"
#include "simd/isa.h"

struct qm_predictor;

/* Fewer tokens are not predicted: starting a step, and clocks and caches that settle, outweigh them. */
enum { QM_PREDICTED_TOKENS = 64 };

/* NULL where this machine has no kept profile (quietmind plan makes one). The calling thread must not belong to a team,
 * so: before the engine is opened. */
struct qm_predictor *qm_predictor_open(enum qm_isa isa);
void qm_predictor_close(struct qm_predictor *p);

/* Tokens a second of a job that is all prompt or all generation, on the CPU; 0 where nothing can be said: of fewer than
 * QM_PREDICTED_TOKENS. around:
 * median rates, measured around the run, in the profile's place. */
double qm_predictor_tps(const struct qm_predictor *p, const struct qm_engine *e, const struct qm_scenario *job,
                        const struct qm_rates *around);

/* Whether these rates are clearly others than the profile's, by the engine's threads. */
bool qm_predictor_differs(const struct qm_predictor *p, const struct qm_engine *e, const struct qm_rates *around,
                          struct qm_rates *profile);

/* What ran beside the measurements that it predicts by, in words; "": nothing much. */
const char *qm_predictor_noise(const struct qm_predictor *p);

/* Keeps predicted beside measured in the history; what can't be kept is noted once. Only what was measured warm: not
 * the first prompt after loading. */
void qm_predictor_keep(struct qm_predictor *p, struct qm_progress *progress, const struct qm_engine *e,
                       const char *command, const char *model, const struct qm_scenario *job, double predicted,
                       double measured);

#endif
