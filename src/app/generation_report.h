/* What is reported about a generation besides its text: log-probabilities, tokens/s, and how near the reading of
 * weights and keys comes to what the memory gives. */
#ifndef QM_APP_GENERATION_REPORT_H
#define QM_APP_GENERATION_REPORT_H

#include <jansson.h>

#include "app/meter.h"
#include "app/predictor.h"
#include "app/progress.h"
#include "session/generate.h"

/* Log-probabilities (protocol/logprob.h) as lines on standard error. */
void qm_report_logprobs_print(struct qm_progress *progress, const json_t *list);

double qm_report_prefill_tps(const struct qm_generate_result *r);
double qm_report_decode_tps(const struct qm_generate_result *r);

/* What is predicted for a run: by whom (NULL: nobody), and for the history the command and the model's name. */
struct qm_predicted_run {
    struct qm_predictor *predictor;
    const char *command, *model;
};

/* Two lines on standard error: tokens/s of prompt and generation, GB/s, share of the read bandwidth, which is
 * measured for it (a fraction of a second), unless the generation was interrupted; and what was metered while tokens
 * were written. */
void qm_report_speed(struct qm_progress *progress, const struct qm_engine *engine, const struct qm_generate_result *r,
                     const struct qm_meter *meter, const struct qm_predicted_run *predicted);

#endif
