/* generation_config.json: the publisher's defaults for sampling, and end tokens beyond config.json's. Optional
 * beside a model. Read by the commands; a knob given by the user wins over it. */
#ifndef QM_MODEL_GENERATION_CONFIG_H
#define QM_MODEL_GENERATION_CONFIG_H

#include "model/config.h"

struct qm_generation_config {
    bool has_temperature, has_top_k, has_top_p, has_min_p, has_repetition_penalty, has_do_sample;
    double temperature;        /* 0 or more */
    int64_t top_k;             /* 0: all */
    double top_p, min_p;       /* 0 to 1 */
    double repetition_penalty; /* above 0 */
    bool do_sample;            /* false: greedy */
    int32_t bos_token;         /* -1: none */
    int32_t end_tokens[QM_MAX_END_TOKENS];
    int n_end_tokens;
};

/* Without the file nothing is set. Token ids must be below vocab. */
int qm_generation_config_read(const char *dir, int64_t vocab, struct qm_generation_config *out, struct qm_error *err);
int qm_generation_config_parse(const json_t *root, const char *path, int64_t vocab, struct qm_generation_config *out,
                               struct qm_error *err);

/* Adds to c's end tokens those that g has and c has not. */
int qm_generation_config_end_tokens(const struct qm_generation_config *g, struct qm_config *c, struct qm_error *err);

#endif
