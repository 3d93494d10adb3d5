/* generation_config.json: the publisher's defaults for sampling, and tokens that end an answer (end_tokens.h). Optional
 * beside a model. Read by the commands; a knob given by the user wins over it. */
#ifndef QM_SESSION_GENERATION_CONFIG_H
#define QM_SESSION_GENERATION_CONFIG_H

#include <jansson.h>

#include "model/config.h"

struct qm_generation_config {
    bool has_temperature, has_top_k, has_top_p, has_min_p, has_repetition_penalty, has_do_sample;
    double temperature;        /* 0 or more */
    int64_t top_k;             /* 0: all */
    double top_p, min_p;       /* 0 to 1 */
    double repetition_penalty; /* above 0 */
    bool do_sample;            /* false: greedy */
    int32_t bos_token;         /* -1: none; may be none of the model's, like the following */
    int32_t end_tokens[QM_MAX_END_TOKENS];
    int n_end_tokens;
};

/* Without the file nothing is set. */
int qm_generation_config_read(const char *dir, struct qm_generation_config *out, struct qm_error *err);
int qm_generation_config_parse(const json_t *root, const char *path, struct qm_generation_config *out,
                               struct qm_error *err);

#endif
