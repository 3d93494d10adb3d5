/* Builds the forward pass of any architecture from the weights its model has. Executes nothing. */
#include "engine/forward.h"

#include <stdlib.h>

static int32_t weight_index(const struct qm_model *m, int layer, enum qm_role role) {
    return layer < 0 ? m->global_weight[role] : m->layer_weight[layer][role];
}

static struct qm_op *append(struct qm_forward *f, const struct qm_model *m, enum qm_op_kind kind, int layer,
                            enum qm_role norm, enum qm_role matrix, enum qm_role bias) {
    struct qm_op *op = &f->ops[f->n_ops++];
    *op = (struct qm_op){.kind = kind, .layer = layer, .q_norm = -1, .k_norm = -1, .sinks = -1, .state = -1};
    op->norm = norm < QM_W_COUNT ? weight_index(m, layer, norm) : -1;
    op->matrix = matrix < QM_W_COUNT ? weight_index(m, layer, matrix) : -1;
    op->bias = bias < QM_W_COUNT ? weight_index(m, layer, bias) : -1;
    return op;
}

const struct qm_layer_op *qm_layer_ops(const struct qm_layer_config *layer, int *n) {
#define ATTENTION                                                                                                      \
    {QM_OP_QKV, QM_W_ATTN_NORM, QM_W_QKV, QM_W_QKV_BIAS}, {QM_OP_ATTENTION, QM_W_COUNT, QM_W_COUNT, QM_W_COUNT}, {     \
        QM_OP_ATTENTION_OUT, QM_W_COUNT, QM_W_O, QM_W_O_BIAS                                                           \
    }
    static const struct qm_layer_op dense[] = {ATTENTION,
                                               {QM_OP_FFN_UP, QM_W_FFN_NORM, QM_W_GATE_UP, QM_W_GATE_UP_BIAS},
                                               {QM_OP_FFN_DOWN, QM_W_COUNT, QM_W_DOWN, QM_W_DOWN_BIAS}},
                                    experts[] = {ATTENTION,
                                                 {QM_OP_ROUTE, QM_W_FFN_NORM, QM_W_ROUTER, QM_W_ROUTER_BIAS},
                                                 {QM_OP_MOE_UP, QM_W_COUNT, QM_W_GATE_UP, QM_W_GATE_UP_BIAS},
                                                 {QM_OP_MOE_DOWN, QM_W_COUNT, QM_W_DOWN, QM_W_DOWN_BIAS}},
                                    after[] = {{QM_OP_QKV, QM_W_COUNT, QM_W_QKV, QM_W_QKV_BIAS},
                                               {QM_OP_ATTENTION, QM_W_COUNT, QM_W_COUNT, QM_W_COUNT},
                                               {QM_OP_ATTENTION_OUT, QM_W_COUNT, QM_W_O, QM_W_O_BIAS},
                                               {QM_OP_ATTENTION_NORM, QM_W_ATTN_NORM, QM_W_COUNT, QM_W_COUNT},
                                               {QM_OP_FFN_UP, QM_W_COUNT, QM_W_GATE_UP, QM_W_GATE_UP_BIAS},
                                               {QM_OP_FFN_DOWN, QM_W_COUNT, QM_W_DOWN, QM_W_DOWN_BIAS},
                                               {QM_OP_FFN_NORM, QM_W_FFN_NORM, QM_W_COUNT, QM_W_COUNT}},
                                    shared[] = {ATTENTION,
                                                {QM_OP_ROUTE, QM_W_FFN_NORM, QM_W_ROUTER, QM_W_ROUTER_BIAS},
                                                {QM_OP_SHARED_UP, QM_W_COUNT, QM_W_SHARED_GATE_UP, QM_W_COUNT},
                                                {QM_OP_SHARED_DOWN, QM_W_COUNT, QM_W_SHARED_DOWN, QM_W_COUNT},
                                                {QM_OP_MOE_UP, QM_W_COUNT, QM_W_GATE_UP, QM_W_GATE_UP_BIAS},
                                                {QM_OP_MOE_DOWN, QM_W_COUNT, QM_W_DOWN, QM_W_DOWN_BIAS}};
#undef ATTENTION
    enum {
        DENSE = sizeof dense / sizeof *dense,
        AFTER = sizeof after / sizeof *after,
        EXPERTS = sizeof experts / sizeof *experts,
        SHARED = sizeof shared / sizeof *shared
    };
    _Static_assert((int)DENSE <= (int)QM_LAYER_OPS && (int)SHARED <= (int)QM_LAYER_OPS, "room for a layer's ops");
    if (layer->norms == QM_NORMS_AFTER) {
        *n = AFTER;
        return after;
    }
    *n = layer->shared ? SHARED : layer->moe ? EXPERTS : DENSE;
    return layer->shared ? shared : layer->moe ? experts : dense;
}

static void append_layer(struct qm_forward *f, const struct qm_model *m, int l) {
    const struct qm_config *c = &m->config;
    const struct qm_layer_config *layer = &c->layer[l];
    int n;
    const struct qm_layer_op *ops = qm_layer_ops(layer, &n);
    for (int i = 0; i < n; i++) {
        struct qm_op *op = append(f, m, ops[i].kind, l, ops[i].norm, ops[i].matrix, ops[i].bias);
        op->apart = layer->norms == QM_NORMS_AFTER && (op->kind == QM_OP_ATTENTION_OUT || op->kind == QM_OP_FFN_DOWN);
        if (op->kind != QM_OP_ATTENTION)
            continue;
        op->q_norm = weight_index(m, l, QM_W_Q_NORM);
        op->k_norm = weight_index(m, l, QM_W_K_NORM);
        op->sinks = weight_index(m, l, QM_W_SINKS);
        op->window = layer->window;
        op->rope = layer->rope;
        op->state = f->n_states;
        f->states[f->n_states++] = (struct qm_state_part){
            .layer = l, .kv_heads = c->kv_heads, .head_dim = c->head_dim, .window = layer->window};
    }
}

int qm_forward_build(const struct qm_model *m, struct qm_forward *out, struct qm_error *err) {
    size_t layers = (size_t)m->config.layers;
    *out = (struct qm_forward){0};
    out->ops = calloc(layers * QM_LAYER_OPS + 2, sizeof *out->ops);
    out->states = calloc(layers ? layers : 1, sizeof *out->states);
    if (!out->ops || !out->states) {
        qm_forward_free(out);
        return qm_fail_memory(err, layers * QM_LAYER_OPS * sizeof *out->ops, "the forward pass");
    }
    append(out, m, QM_OP_EMBED, -1, QM_W_COUNT, QM_W_EMBED, QM_W_COUNT);
    for (int l = 0; l < m->config.layers; l++)
        append_layer(out, m, l);
    struct qm_op *head = append(out, m, QM_OP_HEAD, -1, QM_W_FINAL_NORM, QM_W_HEAD, QM_W_COUNT);
    if (head->matrix < 0) /* tied */
        head->matrix = weight_index(m, -1, QM_W_EMBED);
    return QM_OK;
}

void qm_forward_free(struct qm_forward *f) {
    free(f->ops);
    free(f->states);
    *f = (struct qm_forward){0};
}

const char *qm_op_name(enum qm_op_kind k) {
    static const char *const names[] = {"embed",       "qkv",      "attention", "attention_out", "attention_norm",
                                        "ffn_up",      "ffn_down", "ffn_norm",  "route",         "shared_up",
                                        "shared_down", "moe_up",   "moe_down",  "head"};
    _Static_assert(sizeof names / sizeof *names == QM_OP_COUNT, "an op without a name");
    return names[k];
}
