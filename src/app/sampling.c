/* Sampling: the publisher's settings, then what is said. */
#include "app/sampling.h"
#include "base/parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* "ID=X" */
static int parse_bias(const char *text, int64_t vocab, struct qm_logit_bias *out, struct qm_error *err) {
    char number[32];
    size_t n = strcspn(text, "=:");
    int64_t id = -1;
    double bias = 0;
    snprintf(number, sizeof number, "%.*s", n < sizeof number ? (int)n : 0, text);
    if (!text[n] || !qm_parse_int(number, &id) || !qm_parse_real(text + n + 1, &bias) || bias < -100 || bias > 100)
        return qm_fail(err, QM_USAGE, "--logit-bias: expected ID=X with X from -100 to 100, found \"%s\"", text);
    if (id < 0 || id >= vocab)
        return qm_fail(err, QM_USAGE, "--logit-bias: expected a token id from 0 to %lld, found \"%s\"",
                       (long long)vocab - 1, text);
    *out = (struct qm_logit_bias){(int32_t)id, (float)bias};
    return QM_OK;
}

static uint64_t fresh_seed(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000007u ^ (uint64_t)t.tv_nsec << 20 ^ (uint64_t)getpid();
}

/* generation_config.json's settings. As its publisher means them: greedy unless it says do_sample. */
static void take_defaults(const struct qm_generation_config *g, struct qm_sampling *s) {
    if (g->has_do_sample && g->do_sample)
        s->temperature = g->has_temperature ? g->temperature : 1;
    if (g->has_top_k)
        s->top_k = g->top_k;
    if (g->has_top_p)
        s->top_p = g->top_p;
    if (g->has_min_p)
        s->min_p = g->min_p;
    if (g->has_repetition_penalty)
        s->repetition_penalty = g->repetition_penalty;
}

void qm_app_sampling_change(const struct qm_sampling_options *o, struct qm_sampling *s) {
    s->temperature = o->temperature.set ? o->temperature.value : s->temperature;
    s->top_k = o->top_k.set ? o->top_k.value : s->top_k;
    s->top_p = o->top_p.set ? o->top_p.value : s->top_p;
    s->min_p = o->min_p.set ? o->min_p.value : s->min_p;
    s->repetition_penalty = o->repetition_penalty.set ? o->repetition_penalty.value : s->repetition_penalty;
    s->presence_penalty = o->presence_penalty.set ? o->presence_penalty.value : s->presence_penalty;
    s->frequency_penalty = o->frequency_penalty.set ? o->frequency_penalty.value : s->frequency_penalty;
    s->seed = o->seed.set ? (uint64_t)o->seed.value : s->seed;
}

int qm_app_sampling(const struct qm_sampling_options *o, const struct qm_app_model *m, struct qm_sampling *out,
                    struct qm_logit_bias **biases, struct qm_error *err) {
    int rc = QM_OK;
    *biases = NULL;
    *out = qm_sampling_default;
    take_defaults(&m->defaults, out);
    out->seed = fresh_seed();
    qm_app_sampling_change(o, out);
    const struct qm_texts *list = &o->bias;
    if (list->n) {
        *biases = calloc(list->n, sizeof **biases);
        if (!*biases)
            return qm_fail_memory(err, list->n * sizeof **biases, "logit biases");
        for (size_t i = 0; i < list->n && !rc; i++)
            rc = parse_bias(list->text[i], m->model->config.vocab, &(*biases)[i], err);
    }
    out->bias = *biases;
    out->n_bias = list->n;
    return rc ? rc : qm_sampling_check(out, m->model->config.vocab, err);
}
