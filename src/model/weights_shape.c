/* Which weights a config implies, their shapes and their types. Where in the flow: third step of qm_model_open,
 * all of qm_model_from_config. Looks at no file. */
#include "model/weights.h"

#include <stdlib.h>
#include <string.h>

static int64_t layer_ffn(const struct qm_config *c, int64_t l) {
    return c->layer[l].moe ? c->moe_ffn : c->ffn;
}

/* Whether the config has this weight. l is -1 for the global ones. */
static bool present(const struct qm_config *c, enum qm_role role, int64_t l) {
    switch (role) {
    case QM_W_HEAD: return !c->tie_embeddings;
    case QM_W_QKV_BIAS: return c->qkv_bias;
    case QM_W_Q_NORM:
    case QM_W_K_NORM: return c->qk_norm;
    case QM_W_SINKS: return c->sinks;
    case QM_W_O_BIAS: return c->o_bias;
    case QM_W_SHARED_GATE_UP:
    case QM_W_SHARED_DOWN: return c->layer[l].shared;
    case QM_W_ROUTER: return c->layer[l].moe;
    case QM_W_ROUTER_BIAS: return c->layer[l].moe && c->router_bias;
    case QM_W_GATE_UP_BIAS:
    case QM_W_DOWN_BIAS: return c->mlp_bias;
    default: return true;
    }
}

/* Rows of one expert, padding of gate and up left out. */
static int64_t published_rows(const struct qm_config *c, enum qm_role role, int64_t l) {
    switch (role) {
    case QM_W_EMBED:
    case QM_W_HEAD: return c->vocab;
    case QM_W_QKV:
    case QM_W_QKV_BIAS: return (c->heads + 2 * c->kv_heads) * c->head_dim;
    case QM_W_Q_NORM: return (c->qk_norm_whole ? c->heads : 1) * c->head_dim;
    case QM_W_K_NORM: return (c->qk_norm_whole ? c->kv_heads : 1) * c->head_dim;
    case QM_W_SINKS: return c->heads;
    case QM_W_ROUTER:
    case QM_W_ROUTER_BIAS: return c->experts;
    case QM_W_SHARED_GATE_UP: return 2 * c->shared_ffn;
    case QM_W_GATE_UP:
    case QM_W_GATE_UP_BIAS: return 2 * layer_ffn(c, l);
    default: return c->hidden; /* norms, O, DOWN and their biases */
    }
}

static int64_t columns(const struct qm_config *c, enum qm_role role, int64_t l) {
    switch (role) {
    case QM_W_EMBED:
    case QM_W_HEAD:
    case QM_W_QKV:
    case QM_W_ROUTER:
    case QM_W_SHARED_GATE_UP:
    case QM_W_GATE_UP: return c->hidden;
    case QM_W_SHARED_DOWN: return c->shared_ffn;
    case QM_W_O: return c->heads * c->head_dim;
    case QM_W_DOWN: return layer_ffn(c, l);
    default: return 1;
    }
}

static bool is_matrix(enum qm_role role) {
    return role == QM_W_EMBED || role == QM_W_HEAD || role == QM_W_QKV || role == QM_W_O || role == QM_W_ROUTER ||
           role == QM_W_GATE_UP || role == QM_W_DOWN || role == QM_W_SHARED_GATE_UP || role == QM_W_SHARED_DOWN;
}

static void add_weight(struct qm_model *m, enum qm_role role, int64_t l, int32_t *index) {
    const struct qm_config *c = &m->config;
    if (!present(c, role, l))
        return;
    bool gate_up = role == QM_W_GATE_UP || role == QM_W_GATE_UP_BIAS;
    bool ffn = gate_up || role == QM_W_DOWN || role == QM_W_DOWN_BIAS;
    bool routed = ffn && c->layer[l].moe;
    int64_t rows = published_rows(c, role, l);
    struct qm_weight w = {.role = role,
                          .layer = (int)l,
                          .vector = !is_matrix(role),
                          .experts = routed ? c->experts : 1,
                          .n = gate_up || role == QM_W_SHARED_GATE_UP ? (rows / 2 + 15) / 16 * 32 : rows,
                          .k = columns(c, role, l)};
    w.dtype = routed && !w.vector ? c->expert_dtype : c->dtype;
    m->parameters += w.experts * rows * w.k;
    if (!w.vector && role != QM_W_EMBED)
        m->active_parameters += (routed ? c->experts_per_token : 1) * rows * w.k;
    *index = (int32_t)m->n_weights;
    m->weights[m->n_weights++] = w;
}

int qm_weights_shape(struct qm_model *m, struct qm_error *err) {
    size_t layers = (size_t)m->config.layers, most = QM_W_ATTN_NORM + layers * (QM_W_COUNT - QM_W_ATTN_NORM);
    m->weights = calloc(most, sizeof *m->weights);
    m->layer_weight = calloc(layers, sizeof *m->layer_weight);
    if (!m->weights || !m->layer_weight)
        return qm_fail_memory(err, most * sizeof *m->weights, "the list of weights");
    memset(m->layer_weight, -1, layers * sizeof *m->layer_weight);
    memset(m->global_weight, -1, sizeof m->global_weight);
    for (int role = 0; role < QM_W_ATTN_NORM; role++)
        add_weight(m, (enum qm_role)role, -1, &m->global_weight[role]);
    for (size_t l = 0; l < layers; l++)
        for (int role = QM_W_ATTN_NORM; role < QM_W_COUNT; role++)
            add_weight(m, (enum qm_role)role, (int64_t)l, &m->layer_weight[l][role]);
    if (m->config.tie_embeddings)
        m->active_parameters += m->config.vocab * m->config.hidden;
    return QM_OK;
}
