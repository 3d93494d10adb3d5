/* How tokens are sampled: what is said, over what the model's publisher says. */
#ifndef QM_APP_SAMPLING_H
#define QM_APP_SAMPLING_H

#include <stdbool.h>
#include <stdint.h>

#include "app/open_model.h"
#include "app/texts.h"
#include "session/sampler.h"

/* A value that may be left out. */
struct qm_maybe_real {
    bool set;
    double value;
};
struct qm_maybe_int {
    bool set;
    int64_t value;
};

/* What is said of sampling; what is not said is the model's. Texts are borrowed. */
struct qm_sampling_options {
    struct qm_maybe_real temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
    struct qm_maybe_int top_k, seed;
    struct qm_texts bias; /* each "ID=X" */
};

/* Sampling: generation_config.json's values (greedy without one), then what the options say. The settings borrow
 * `biases`, which the caller frees. */
int qm_app_sampling(const struct qm_sampling_options *o, const struct qm_app_model *m, struct qm_sampling *out,
                    struct qm_logit_bias **biases, struct qm_error *err);
/* What the options say, besides biases, takes the place of what is there. */
void qm_app_sampling_change(const struct qm_sampling_options *o, struct qm_sampling *s);

#endif
