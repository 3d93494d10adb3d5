/* Counting the work of a step. Where in the flow: beside memory.c, for bench and for the planner. */
#include "engine/work.h"

#include <math.h>

#include "engine/memory.h"

static double routed_experts(const struct qm_config *c, double tokens) {
    double all = (double)c->experts, share = (double)c->experts_per_token / all;
    return all * (1 - pow(1 - share, tokens));
}

static void add_weight(const struct qm_config *c, const struct qm_weight *w, int64_t tokens, int64_t n_logits,
                       struct qm_work *work) {
    bool head = w->role == QM_W_HEAD || (w->role == QM_W_EMBED && c->tie_embeddings), routed = w->experts > 1;
    double bytes = (double)qm_weight_bytes(w), rows = (double)w->n;
    if (w->role == QM_W_EMBED && !head)
        return;                         /* a row a token */
    if (w->role == QM_W_SHARED_GATE_UP) /* without the rows that fill up panels */
        rows = 2 * (double)c->shared_ffn;
    else if (w->role == QM_W_GATE_UP)
        rows = 2 * (double)(routed ? c->moe_ffn : c->layer[w->layer].moe ? c->moe_ffn : c->ffn);
    if (head && n_logits == 0)
        return;
    if (routed)
        bytes = bytes / (double)w->experts * routed_experts(c, (double)tokens);
    work->weight_bytes += bytes;
    if (!w->vector)
        work->flops +=
            2 * rows * (double)w->k * (double)(head ? n_logits : tokens) * (double)(routed ? c->experts_per_token : 1);
}

double qm_work_keys(int64_t position, int64_t n, int64_t window) {
    int64_t growing = n;
    if (window) {
        growing = window - position;
        growing = growing < 0 ? 0 : growing < n ? growing : n;
    }
    double sum = (double)growing * (double)position + (double)growing * (double)(growing + 1) / 2;
    return sum + (double)(n - growing) * (double)window;
}

void qm_work_add_step(const struct qm_model *m, enum qm_dtype kv_type, int64_t sequences, int64_t position, int64_t n,
                      int64_t n_logits, struct qm_work *work) {
    const struct qm_config *c = &m->config;
    for (int64_t i = 0; i < m->n_weights; i++)
        add_weight(c, &m->weights[i], sequences * n, sequences * n_logits, work);
    double token = (double)(qm_kv_key_bytes(kv_type, c->head_dim) + qm_kv_value_bytes(kv_type, c->head_dim)) *
                   (double)c->kv_heads / QM_KV_PAGE_TOKENS;
    for (int64_t l = 0; l < c->layers; l++) {
        int64_t window = c->layer[l].window, before = window && window < position ? window : position;
        work->kv_bytes += token * (double)before * (double)sequences;
        work->flops += 4 * (double)(c->heads * c->head_dim) * qm_work_keys(position, n, window) * (double)sequences;
    }
}
