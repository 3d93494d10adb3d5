/* The simulation: bytes and multiply-adds of an op in whole tiles, against the rates of the device. */
#include "offload/emulated/seconds.h"

enum { TILE_ROWS = 16, TILE_COLUMNS = 64, PAGE_TOKENS = 64 };

static double whole(int64_t n, int64_t tile) {
    return (double)((n + tile - 1) / tile * tile);
}

static double bytes_each(enum qm_dtype t) {
    switch (t) {
    case QM_F32: return 4;
    case QM_MXFP4: return (QM_MXFP4_BYTES + 1.0) / QM_MXFP4_VALUES; /* with the scale */
    default: return 2;
    }
}

struct load {
    double bytes, flops;
};

/* m rows by n x k of a matrix. */
static void add_product(struct load *l, enum qm_dtype type, int64_t n, int64_t k, int64_t m) {
    l->bytes += (double)n * (double)k * bytes_each(type) + (double)m * (double)(k * 2 + n * 4);
    l->flops += 2 * whole(m, TILE_ROWS) * whole(n, TILE_COLUMNS) * (double)k;
}

/* Rows and columns of an op's matrix that take part: of an FFN maybe some of its intermediate columns. */
static void extent(const struct qm_weight *w, const struct qm_op *op, const struct qm_op_part *b, int64_t *n,
                   int64_t *k) {
    *n = b->columns && op->kind == QM_OP_FFN_UP ? 2 * b->columns : w->n;
    *k = b->columns && op->kind == QM_OP_FFN_DOWN ? b->columns : w->k;
}

static double seconds_of(const struct qm_emulated_config *d, const struct load *l, double rate, double efficiency) {
    double reading = l->bytes / (d->read * d->read_efficiency), computing = l->flops / (rate * efficiency);
    return 1e-6 * d->launch_us + (reading > computing ? reading : computing);
}

static bool takes_part(const struct qm_op_part *b, int64_t expert) {
    return !b->expert_on || b->expert_on[expert] == b->number;
}

/* Tokens that are seen by positions [position, position + n) together, and the oldest that any of them sees. */
static double seen(int64_t position, int64_t n, int64_t window, int64_t *oldest) {
    double sum = 0;
    *oldest = window && position + 1 > window ? position + 1 - window : 0;
    for (int64_t i = position; i < position + n; i++)
        sum += (double)(window && window < i + 1 ? window : i + 1);
    return sum;
}

static double token_bytes(const struct qm_model *m, enum qm_dtype kv_type) {
    return 2.0 * (double)(m->config.kv_heads * m->config.head_dim) * bytes_each(kv_type);
}

double qm_emulated_kv_bytes(const struct qm_model *m, enum qm_dtype kv_type, const struct qm_op *op,
                            const struct qm_batch *batch, double *added) {
    double held = 0;
    *added = (double)batch->rows * token_bytes(m, kv_type);
    for (int i = 0; i < batch->n_sequences; i++) {
        int64_t oldest;
        seen(batch->sequences[i].position, batch->sequences[i].n, op->window, &oldest);
        held += whole(batch->sequences[i].position - oldest, PAGE_TOKENS) * token_bytes(m, kv_type);
    }
    return held;
}

static double attention_seconds(const struct qm_emulated_config *d, const struct qm_model *m, enum qm_dtype kv_type,
                                const struct qm_op *op, const struct qm_batch *batch) {
    double added;
    struct load l = {.bytes = qm_emulated_kv_bytes(m, kv_type, op, batch, &added)};
    l.bytes += added + (double)batch->rows * (double)(m->config.heads * m->config.head_dim) * 8;
    for (int i = 0; i < batch->n_sequences; i++) {
        int64_t oldest;
        l.flops += 4 * (double)(m->config.heads * m->config.head_dim) *
                   seen(batch->sequences[i].position, batch->sequences[i].n, op->window, &oldest);
    }
    return seconds_of(d, &l, d->bf16, d->attention_efficiency);
}

double qm_emulated_seconds(const struct qm_emulated_config *d, const struct qm_model *m, enum qm_dtype kv_type,
                           const struct qm_op *op, const struct qm_op_part *part, const struct qm_batch *batch,
                           const int64_t *expert_first) {
    struct load l = {0};
    if (op->kind == QM_OP_ATTENTION)
        return attention_seconds(d, m, kv_type, op, batch);
    if (op->matrix < 0) { /* a norm: the sum and the residual */
        l.bytes = 3.0 * (double)(batch->rows * m->config.hidden) * sizeof(float);
        return seconds_of(d, &l, d->f32, d->flops_efficiency);
    }
    const struct qm_weight *w = &m->weights[op->matrix];
    int64_t n, k;
    extent(w, op, part, &n, &k);
    double rate = w->dtype == QM_F32 ? d->f32 : d->bf16;
    if (op->kind == QM_OP_MOE_UP || op->kind == QM_OP_MOE_DOWN) {
        for (int64_t e = 0; e < w->experts; e++)
            if (takes_part(part, e) && expert_first[e + 1] > expert_first[e])
                add_product(&l, w->dtype, n, k, expert_first[e + 1] - expert_first[e]);
    } else if (op->kind == QM_OP_HEAD) {
        int64_t rows = part->logits ? part->logits : batch->n_logits;
        add_product(&l, w->dtype, n, k, rows);
        l.bytes = rows ? l.bytes : 0;
    } else {
        add_product(&l, w->dtype, n, k, batch->rows);
    }
    return seconds_of(d, &l, rate, d->flops_efficiency);
}

double qm_emulated_add_seconds(const struct qm_emulated_config *d, const struct qm_model *m, int64_t rows) {
    struct load l = {.bytes = 12.0 * (double)rows * (double)m->config.hidden};
    return seconds_of(d, &l, d->f32, d->flops_efficiency);
}

double qm_emulated_weight_bytes(const struct qm_model *m, const struct qm_op *op, const struct qm_op_part *part) {
    if (op->matrix < 0)
        return 0;
    const struct qm_weight *w = &m->weights[op->matrix];
    int64_t experts = 0, n, k;
    extent(w, op, part, &n, &k);
    for (int64_t e = 0; e < w->experts; e++)
        experts += w->experts == 1 || takes_part(part, e);
    return (double)experts * (double)n * (double)k * bytes_each(w->dtype);
}
