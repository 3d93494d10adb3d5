/* Experts on the CPU: routing, tokens grouped by expert, and the two products of each expert. Every thread
 * computes its share of the panels of every expert, so unequal experts leave nobody idle. */
#include "engine/cpu/cpu_private.h"

#include <math.h>
#include <string.h>

struct region {
    struct qm_cpu *c;
    const struct qm_op *op;
    const struct qm_batch *batch;
};

/* The k greatest, equal ones by lower index first; then in ascending order of expert. */
static void choose(const float *score, int64_t experts, int64_t k, int32_t *chosen) {
    for (int64_t i = 0; i < k; i++) {
        int32_t best = -1;
        for (int32_t e = 0; e < experts; e++) {
            bool taken = false;
            for (int64_t j = 0; j < i; j++)
                taken |= chosen[j] == e;
            if (!taken && (best < 0 || score[e] > score[best]))
                best = e;
        }
        chosen[i] = best;
    }
    for (int64_t i = 1; i < k; i++)
        for (int64_t j = i; j > 0 && chosen[j] < chosen[j - 1]; j--) {
            int32_t t = chosen[j];
            chosen[j] = chosen[j - 1];
            chosen[j - 1] = t;
        }
}

static void route_row(const struct qm_cpu *c, float *logits, int32_t *chosen, float *weight) {
    int64_t experts = c->config->experts, k = c->config->experts_per_token;
    if (c->config->routing != QM_ROUTE_TOPK_SOFTMAX)
        c->kernels->softmax(logits, experts);
    choose(logits, experts, k, chosen);
    float sum = 0;
    for (int64_t i = 0; i < k; i++) {
        weight[i] = logits[chosen[i]];
        sum += weight[i];
    }
    if (c->config->routing == QM_ROUTE_TOPK_SOFTMAX)
        c->kernels->softmax(weight, k);
    for (int64_t i = 0; c->config->routing == QM_ROUTE_SOFTMAX_TOPK_NORM && i < k; i++)
        weight[i] /= sum;
}

/* Lists each expert's rows, in ascending order of row. */
static void group_rows(struct qm_cpu *c, int64_t rows) {
    struct qm_routes *g = &c->routing;
    int64_t experts = c->config->experts, k = c->config->experts_per_token;
    memset(g->first, 0, (size_t)(experts + 1) * sizeof *g->first);
    for (int64_t i = 0; i < rows * k; i++)
        g->first[g->chosen[i] + 1]++;
    for (int64_t e = 0; e < experts; e++)
        g->first[e + 1] += g->first[e];
    for (int64_t i = 0; i < rows * k; i++) {
        int64_t slot = g->first[g->chosen[i]]++;
        g->slot_row[slot] = (int32_t)(i / k);
        g->slot_weight[slot] = g->weight[i];
    }
    memmove(g->first + 1, g->first, (size_t)experts * sizeof *g->first);
    g->first[0] = 0;
}

/* Router logits of rows [first, first + n), which fit the private room for packed rows. */
static void route_rows(const struct region *r, void *packed, int64_t first, int64_t n) {
    struct qm_cpu *c = r->c;
    const struct qm_packed_weight *w = qm_cpu_weight(c, r->op->matrix), *bias = qm_cpu_weight(c, r->op->bias);
    const struct qm_packed_weight *norm = qm_cpu_weight(c, r->op->norm);
    int64_t ld = w->panels * QM_PANEL_ROWS, k = c->config->experts_per_token, ldn = c->layout.ld_hidden;
    float *normed = c->normed + first * ldn, *logits = c->routing.logits + first * ld;
    for (int64_t i = 0; i < n; i++)
        c->kernels->rmsnorm(normed + i * ldn, c->x + (first + i) * ldn, qm_packed_vector(norm, 0), w->k,
                            (float)c->config->rms_eps);
    qm_cpu_type(c, w->type)->pack(packed, normed, ldn, NULL, n, w->k);
    struct qm_product product = {.a = packed,
                                 .m = n,
                                 .k = w->k,
                                 .b = qm_packed_panel(w, 0, 0),
                                 .n_panels = w->panels,
                                 .panel_stride = w->panel_stride,
                                 .c = logits,
                                 .ldc = ld};
    qm_cpu_type(c, w->type)->product(&product);
    for (int64_t i = 0; i < n; i++) {
        if (bias)
            c->kernels->add(logits + i * ld, qm_packed_vector(bias, 0), w->n);
        route_row(c, logits + i * ld, c->routing.chosen + (first + i) * k, c->routing.weight + (first + i) * k);
    }
}

static void route_region(void *arg, int thread, int threads) {
    const struct region *r = arg;
    const struct qm_cpu *c = r->c;
    const struct qm_packed_weight *w = qm_cpu_weight(c, r->op->matrix);
    void *packed = qm_cpu_private(c, thread, c->layout.private_rows);
    int64_t begin, end, most = QM_PRIVATE_ROWS;
    while (most < QM_PACK_ROWS && qm_cpu_type(c, w->type)->packed_bytes(most + 1, w->k) <= c->layout.private_rows_bytes)
        most++;
    qm_team_share(r->batch->rows, thread, threads, &begin, &end);
    for (int64_t i = begin; i < end; i += most)
        route_rows(r, packed, i, most < end - i ? most : end - i);
}

void qm_cpu_route(struct qm_cpu *c, const struct qm_op *op, const struct qm_batch *batch) {
    struct region r = {c, op, batch};
    qm_team_run(c->team, route_region, &r);
    group_rows(c, batch->rows);
}

static int64_t expert_rows(const struct qm_cpu *c, int64_t e) {
    return c->routing.first[e + 1] - c->routing.first[e];
}

/* Where each expert's packed rows start. Only the caller of the region runs this. */
static void place_packed(struct qm_cpu *c, const struct qm_packed_weight *w) {
    uint64_t at = 0;
    for (int64_t e = 0; e < c->config->experts; e++) {
        c->routing.packed_at[e] = at;
        at += (qm_cpu_type(c, w->type)->packed_bytes(expert_rows(c, e), w->k) + 63) / 64 * 64;
    }
}

/* Packs every expert's rows, shared out by blocks of rows over threads. rows: gathered from src, or NULL where
 * row i of src is slot i. */
static void pack_experts(const struct qm_cpu *c, int thread, int threads, const float *src, int64_t ld,
                         const int32_t *rows, const struct qm_packed_weight *w) {
    const struct qm_type_kernels *t = qm_cpu_type(c, w->type);
    int64_t block = 0;
    for (int64_t e = 0; e < c->config->experts; e++) {
        int64_t first = c->routing.first[e], m = expert_rows(c, e);
        for (int64_t r = 0; r < m; r += QM_PACK_ROWS, block++) {
            if (block % threads != thread)
                continue;
            int64_t n = m - r < QM_PACK_ROWS ? m - r : QM_PACK_ROWS;
            uint8_t *dst = c->packed_rows + c->routing.packed_at[e] + t->packed_bytes(r, w->k);
            if (rows)
                t->pack(dst, src, ld, rows + first + r, n, w->k);
            else
                t->pack(dst, src + (first + r) * ld, ld, NULL, n, w->k);
        }
    }
    qm_team_barrier(c->team, thread);
}

static void up_region(void *arg, int thread, int threads) {
    const struct region *r = arg;
    struct qm_cpu *c = r->c;
    const struct qm_packed_weight *w = qm_cpu_weight(c, r->op->matrix), *bias = qm_cpu_weight(c, r->op->bias);
    pack_experts(c, thread, threads, c->normed, c->layout.ld_hidden, c->routing.slot_row, w);
    for (int64_t e = 0; e < c->config->experts; e++) {
        int64_t m = expert_rows(c, e);
        if (m == 0)
            continue;
        struct qm_epilogue gate = {.kind = QM_GATE,
                                   .out = c->h + c->routing.first[e] * c->layout.ld_ffn,
                                   .ld = c->layout.ld_ffn,
                                   .bias = bias ? qm_packed_vector(bias, e) : NULL};
        qm_cpu_product(c, thread, c->packed_rows + c->routing.packed_at[e], m, w, e, &gate);
    }
}

void qm_cpu_moe_up(struct qm_cpu *c, const struct qm_op *op, const struct qm_batch *batch) {
    struct region r = {c, op, batch};
    place_packed(c, qm_cpu_weight(c, op->matrix));
    qm_team_run(c->team, up_region, &r);
}

/* One block of columns: the experts' outputs, weighted, summed from zero in ascending order of expert, then added
 * to the residual stream. */
static void down_columns(const struct qm_cpu *c, int thread, const struct qm_packed_weight *w,
                         const struct qm_packed_weight *bias, int64_t rows, int64_t panel, int64_t panels) {
    float *block = (float *)(void *)qm_cpu_private(c, thread, c->layout.product);
    float *sum = (float *)(void *)qm_cpu_private(c, thread, c->layout.accumulator);
    int64_t ld = panels * QM_PANEL_ROWS, col = panel * QM_PANEL_ROWS, n = ld < w->n - col ? ld : w->n - col;
    memset(sum, 0, (size_t)(rows * ld) * sizeof *sum);
    for (int64_t e = 0; e < c->config->experts; e++) {
        int64_t m = expert_rows(c, e), first = c->routing.first[e];
        if (m == 0)
            continue;
        struct qm_product product = {.a = c->packed_rows + c->routing.packed_at[e],
                                     .m = m,
                                     .k = w->k,
                                     .b = qm_packed_panel(w, e, panel),
                                     .n_panels = panels,
                                     .panel_stride = w->panel_stride,
                                     .c = block,
                                     .ldc = ld};
        qm_cpu_type(c, w->type)->product(&product);
        for (int64_t i = 0; i < m; i++) {
            if (bias)
                c->kernels->add(block + i * ld, qm_packed_vector(bias, e) + col, n);
            c->kernels->axpy(sum + c->routing.slot_row[first + i] * ld, c->routing.slot_weight[first + i],
                             block + i * ld, n);
        }
    }
    for (int64_t i = 0; i < rows; i++)
        c->kernels->add(c->x + i * c->layout.ld_hidden + col, sum + i * ld, n);
}

static void down_region(void *arg, int thread, int threads) {
    const struct region *r = arg;
    struct qm_cpu *c = r->c;
    const struct qm_packed_weight *w = qm_cpu_weight(c, r->op->matrix), *bias = qm_cpu_weight(c, r->op->bias);
    pack_experts(c, thread, threads, c->h, c->layout.ld_ffn, NULL, w);
    int64_t rows = r->batch->rows, begin, end;
    int64_t room = (int64_t)(c->layout.product_bytes / sizeof(float)) / (rows * QM_PANEL_ROWS);
    qm_packed_share(w, c->team, thread, &begin, &end);
    for (int64_t p = begin, panels; p < end; p += panels) {
        panels = qm_packed_run(w, p, room < end - p ? room : end - p);
        down_columns(c, thread, w, bias, rows, p, panels);
    }
}

void qm_cpu_moe_down(struct qm_cpu *c, const struct qm_op *op, const struct qm_batch *batch) {
    struct region r = {c, op, batch};
    place_packed(c, qm_cpu_weight(c, op->matrix));
    qm_team_run(c->team, down_region, &r);
}
