/* Bytes of the units: sums over the weights that belong to each. */
#include "engine/units.h"

enum qm_unit_kind qm_unit_of_op(enum qm_op_kind k) {
    switch (k) {
    case QM_OP_EMBED: return QM_UNIT_EMBED;
    case QM_OP_FFN_UP:
    case QM_OP_FFN_DOWN:
    case QM_OP_FFN_NORM: return QM_UNIT_FFN;
    case QM_OP_MOE_UP:
    case QM_OP_MOE_DOWN: return QM_UNIT_EXPERT;
    case QM_OP_HEAD: return QM_UNIT_HEAD;
    default: return QM_UNIT_ATTENTION;
    }
}

enum qm_unit_kind qm_unit_of(const struct qm_model *m, const struct qm_weight *w) {
    if (w->role == QM_W_EMBED)
        return QM_UNIT_EMBED;
    if (w->role == QM_W_FINAL_NORM || w->role == QM_W_HEAD)
        return QM_UNIT_HEAD;
    int n;
    const struct qm_layer_op *ops = qm_layer_ops(&m->config.layer[w->layer], &n);
    for (int i = 0; i < n; i++)
        if (w->role == ops[i].norm || w->role == ops[i].matrix || w->role == ops[i].bias)
            return qm_unit_of_op(ops[i].kind);
    return QM_UNIT_ATTENTION; /* what ATTENTION takes beside these */
}

static uint64_t weight_bytes(const struct qm_model *m, int32_t index, enum qm_unit_kind k, int64_t experts) {
    if (index < 0 || qm_unit_of(m, &m->weights[index]) != k)
        return 0;
    return qm_weight_part_bytes(&m->weights[index], k == QM_UNIT_EXPERT ? experts : m->weights[index].experts);
}

uint64_t qm_unit_weight_bytes(const struct qm_model *m, enum qm_unit_kind k, int64_t l, int64_t experts) {
    uint64_t bytes = 0;
    for (int role = 0; role < QM_W_COUNT; role++)
        bytes += weight_bytes(m, l < 0 ? m->global_weight[role] : m->layer_weight[l][role], k, experts);
    return bytes;
}

uint64_t qm_unit_tied_bytes(const struct qm_model *m) {
    return m->config.tie_embeddings ? qm_weight_bytes(qm_model_weight(m, -1, QM_W_EMBED)) : 0;
}

bool qm_unit_ffn_divides(const struct qm_model *m, int64_t l) {
    return m->config.layer[l].norms == QM_NORMS_BEFORE;
}

bool qm_unit_ffn_part(struct qm_weight *w, int64_t columns, bool with_bias) {
    if (w->role == QM_W_GATE_UP || w->role == QM_W_GATE_UP_BIAS)
        w->n = 2 * ((columns + QM_PANEL_ROWS - 1) / QM_PANEL_ROWS * QM_PANEL_ROWS);
    if (w->role == QM_W_DOWN)
        w->k = columns;
    return columns > 0 && (w->role != QM_W_DOWN_BIAS || with_bias);
}

uint64_t qm_unit_ffn_bytes(const struct qm_model *m, int64_t l, int64_t columns, bool with_bias) {
    uint64_t bytes = 0;
    for (int role = 0; role < QM_W_COUNT; role++) {
        int32_t index = m->layer_weight[l][role];
        if (index < 0 || qm_unit_of(m, &m->weights[index]) != QM_UNIT_FFN)
            continue;
        struct qm_weight part = m->weights[index];
        if (qm_unit_ffn_part(&part, columns, with_bias))
            bytes += qm_weight_part_bytes(&part, 1);
    }
    return bytes;
}

uint64_t qm_unit_kv_bytes(const struct qm_model *m, const struct qm_workload *w, int64_t l) {
    const struct qm_config *c = &m->config;
    uint64_t page = qm_kv_key_bytes(w->kv_type, c->head_dim) + qm_kv_value_bytes(w->kv_type, c->head_dim);
    return (uint64_t)(qm_kv_pool_pages(c, w, c->layer[l].window) * c->kv_heads) * page;
}
