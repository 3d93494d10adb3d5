/* Fuzzes config.json: the text up to the first newline is a rope scaling of the command line (none where it is
 * empty), the rest the file. What is accepted must give finite sizes and frequencies. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "model/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct qm_model *m) {
    const struct qm_config *c = &m->config;
    double *inv_freq = calloc((size_t)c->head_dim / 2, sizeof *inv_freq), factor;
    if (!inv_freq || c->head_dim % 2 || c->heads % c->kv_heads || c->experts_per_token > c->experts)
        abort();
    qm_rope_frequencies(&c->rope, 2 * c->max_positions, inv_freq, &factor);
    for (int64_t i = 0; i < c->head_dim / 2; i++)
        if (!isfinite(inv_freq[i]))
            abort();
    if (!isfinite(factor) || m->parameters < m->active_parameters - c->vocab * c->hidden)
        abort();
    free(inv_freq);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char scaling[128] = "";
    const uint8_t *newline = size ? memchr(data, '\n', size) : NULL;
    size_t n = newline ? (size_t)(newline - data) : 0;
    if (!newline || n >= sizeof scaling)
        return 0;
    memcpy(scaling, data, n);
    struct qm_overrides o = {.rope_scaling = scaling[0] ? scaling : NULL};
    struct qm_error err;
    json_t *root;
    if (qm_json_parse((const char *)newline + 1, size - n - 1, "fuzz", &root, &err))
        return 0;
    struct qm_model *m;
    if (qm_model_from_config(root, "fuzz", &o, &m, &err) == 0) {
        check(m);
        qm_model_close(m);
    }
    json_decref(root);
    return 0;
}
