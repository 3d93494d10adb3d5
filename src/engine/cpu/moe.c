/* Experts on the CPU: routing, tokens grouped by expert, and the two products of each expert. Every thread
 * computes its share of the panels of every expert, so unequal experts leave nobody idle. */
#include "engine/cpu/cpu_private.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* The k greatest, equal ones by lower index first; then in ascending order of expert. One pass, the best so far kept in
 * order: most scores are only held against the least of them. */
static void choose(const float *score, int64_t experts, int64_t k, int32_t *chosen) {
    for (int32_t e = 0; e < experts; e++) {
        int64_t at = e < k ? e : k;
        while (at > 0 && score[e] > score[chosen[at - 1]]) {
            if (at < k)
                chosen[at] = chosen[at - 1];
            at--;
        }
        if (at < k)
            chosen[at] = e;
    }
    for (int64_t i = 1; i < k; i++)
        for (int64_t j = i; j > 0 && chosen[j] < chosen[j - 1]; j--) {
            int32_t t = chosen[j];
            chosen[j] = chosen[j - 1];
            chosen[j - 1] = t;
        }
}

/* Leaves the scores of experts in groups that are not chosen at -infinity: chosen are those whose two best scores have
 * the greatest sums, equal ones by lower index first. */
static void choose_groups(const struct qm_config *g, float *score) {
    int64_t each = g->experts / g->route_groups, at = 0;
    float sum[QM_MAX_EXPERTS];
    int32_t chosen[QM_MAX_EXPERTS];
    for (int64_t group = 0; group < g->route_groups; group++) {
        float best = -INFINITY, second = -INFINITY;
        for (const float *s = score + group * each; s < score + (group + 1) * each; s++) {
            second = *s > best ? best : *s > second ? *s : second;
            best = *s > best ? *s : best;
        }
        sum[group] = best + second;
    }
    choose(sum, g->route_groups, g->route_groups_chosen, chosen);
    for (int64_t group = 0; group < g->route_groups; group++)
        if (at < g->route_groups_chosen && chosen[at] == group)
            at++;
        else
            for (int64_t e = group * each; e < (group + 1) * each; e++)
                score[e] = -INFINITY;
}

/* Logistic scores of all; the choice is by score + bias, the weights are the scores. */
static void route_by_sigmoid(const struct qm_config *g, float *logits, const float *bias, int32_t *chosen) {
    float biased[QM_MAX_EXPERTS];
    for (int64_t e = 0; e < g->experts; e++) {
        logits[e] = 1 / (1 + expf(-logits[e]));
        biased[e] = logits[e] + (bias ? bias[e] : 0);
    }
    if (g->route_groups > 1)
        choose_groups(g, biased);
    choose(biased, g->experts, g->experts_per_token, chosen);
}

/* bias: of the choice, or NULL. */
static void route_row(const struct qm_cpu *c, float *logits, const float *bias, int32_t *chosen, float *weight) {
    const struct qm_config *g = c->config;
    int64_t experts = g->experts, k = g->experts_per_token;
    bool sigmoid = g->routing == QM_ROUTE_SIGMOID_TOPK || g->routing == QM_ROUTE_SIGMOID_TOPK_NORM;
    if (sigmoid) {
        route_by_sigmoid(g, logits, bias, chosen);
    } else {
        if (g->routing != QM_ROUTE_TOPK_SOFTMAX)
            c->kernels->softmax(logits, experts);
        choose(logits, experts, k, chosen);
    }
    float sum = 0;
    for (int64_t i = 0; i < k; i++) {
        weight[i] = logits[chosen[i]];
        sum += weight[i];
    }
    if (g->routing == QM_ROUTE_TOPK_SOFTMAX)
        c->kernels->softmax(weight, k);
    if (g->routing == QM_ROUTE_SOFTMAX_TOPK_NORM || g->routing == QM_ROUTE_SIGMOID_TOPK_NORM)
        for (int64_t i = 0; i < k; i++)
            weight[i] /= sum + 1e-20f;
    for (int64_t i = 0; g->route_scale != 1 && i < k; i++)
        weight[i] *= (float)g->route_scale;
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

/* Norms n rows from `first` on to `normed` and packs them for the router. */
static void pack_routed(const struct qm_cpu_work *r, float *normed, void *packed, int64_t first, int64_t n) {
    const struct qm_cpu *c = r->c;
    const struct qm_packed_weight *w = qm_cpu_weight(c, r->op->matrix), *norm = qm_cpu_weight(c, r->op->norm);
    int64_t ld = c->layout.ld_hidden;
    for (int64_t i = 0; i < n; i++)
        c->kernels->rmsnorm(normed + i * ld, c->x + (first + i) * ld, qm_packed_vector(norm, 0), w->k,
                            (float)c->config->rms_eps);
    qm_cpu_type(c, w->type)->pack(packed, normed, ld, NULL, n, w->k);
}

/* Router logits of n packed rows from `first` on, for panels [begin, end). */
static void route_columns(const struct qm_cpu_work *r, const void *packed, int64_t first, int64_t n, int64_t begin,
                          int64_t end) {
    struct qm_cpu *c = r->c;
    const struct qm_packed_weight *w = qm_cpu_weight(c, r->op->matrix);
    int64_t ld = w->panels * QM_PANEL_ROWS;
    for (int64_t p = begin, panels; p < end; p += panels) { /* by what lies together: a node's */
        panels = qm_packed_run(w, p, end - p);
        struct qm_product product = {.a = packed,
                                     .m = n,
                                     .k = w->k,
                                     .b = qm_packed_panel(w, 0, p),
                                     .n_panels = panels,
                                     .panel_stride = w->panel_stride,
                                     .c = c->routing.logits + first * ld + p * QM_PANEL_ROWS,
                                     .ldc = ld};
        qm_cpu_type(c, w->type)->product(&product);
    }
}

static void choose_experts(const struct qm_cpu_work *r, int64_t first, int64_t n) {
    struct qm_cpu *c = r->c;
    const struct qm_packed_weight *w = qm_cpu_weight(c, r->op->matrix), *bias = qm_cpu_weight(c, r->op->bias);
    int64_t ld = w->panels * QM_PANEL_ROWS, k = c->config->experts_per_token;
    for (int64_t i = first; i < first + n; i++) {
        float *logits = c->routing.logits + i * ld;
        const float *added = bias ? qm_packed_vector(bias, 0) : NULL;
        if (added && !c->config->choice_bias)
            c->kernels->add(logits, added, w->n);
        route_row(c, logits, c->config->choice_bias ? added : NULL, c->routing.chosen + i * k,
                  c->routing.weight + i * k);
    }
}

/* Few rows: their logits are divided by panels, since one thread alone would read the router for all. Who wants the
 * normed rows finds them in c->normed. */
static void route_few(const struct qm_cpu_work *r, int thread, void *packed) {
    struct qm_cpu *c = r->c;
    const struct qm_packed_weight *w = qm_cpu_weight(c, r->op->matrix);
    float *normed = (float *)(void *)qm_cpu_private(c, thread, c->layout.accumulator);
    int64_t rows = r->batch->rows, ld = c->layout.ld_hidden, begin, end;
    qm_packed_thread_range(w, c->team, thread, &begin, &end);
    if (begin == end && thread > 0)
        return;
    pack_routed(r, normed, packed, 0, rows);
    route_columns(r, packed, 0, rows, begin, end);
    if (thread == 0)
        memcpy(c->normed, normed, (size_t)(rows * ld) * sizeof *normed);
}

static void route_region(void *arg, int thread, int threads) {
    const struct qm_cpu_work *r = arg;
    const struct qm_cpu *c = r->c;
    const struct qm_packed_weight *w = qm_cpu_weight(c, r->op->matrix);
    void *packed = qm_cpu_private(c, thread, c->layout.private_rows);
    if (r->batch->rows <= QM_PRIVATE_ROWS) {
        route_few(r, thread, packed);
        return;
    }
    int64_t begin, end, most = QM_PRIVATE_ROWS;
    while (most < QM_PACK_ROWS && qm_cpu_type(c, w->type)->packed_bytes(most + 1, w->k) <= c->layout.private_rows_bytes)
        most++;
    qm_team_range(r->batch->rows, thread, threads, &begin, &end);
    for (int64_t i = begin; i < end; i += most) {
        int64_t n = most < end - i ? most : end - i;
        pack_routed(r, c->normed + i * c->layout.ld_hidden, packed, i, n);
        route_columns(r, packed, i, n, 0, w->panels);
        choose_experts(r, i, n);
    }
}

void qm_cpu_aim_routes(struct qm_cpu *c, int64_t rows) {
    *c->routing.record =
        (struct qm_routed){.rows = rows, .ld = c->layout.ld_hidden, .each = c->config->experts_per_token};
    c->routing.chosen = qm_routed_chosen(c->routing.record);
    c->routing.weight = qm_routed_weight(c->routing.record);
}

void qm_cpu_route(struct qm_cpu *c, const struct qm_op *op, const struct qm_batch *batch) {
    struct qm_cpu_work r = {.c = c, .op = op, .batch = batch};
    qm_cpu_aim_routes(c, batch->rows);
    qm_team_run(c->team, route_region, &r);
    if (batch->rows <= QM_PRIVATE_ROWS)
        choose_experts(&r, 0, batch->rows);
    group_rows(c, batch->rows);
    qm_cpu_count_routes(c, op->layer, batch);
}

void qm_cpu_count_routes(const struct qm_cpu *c, int layer, const struct qm_batch *batch) {
    for (int i = 0; i < batch->n_sequences && batch->routing; i++)
        qm_routing_count(batch->routing, layer,
                         c->routing.chosen + batch->sequences[i].row * c->config->experts_per_token,
                         batch->sequences[i].n, i == 0 && batch->routing_continues);
}

void qm_cpu_take_routes(struct qm_cpu *c, int64_t rows) {
    assert(c->routing.record->rows == rows && c->routing.record->ld == c->layout.ld_hidden);
    qm_cpu_aim_routes(c, rows);
    group_rows(c, rows);
}

/* Rows of an expert, none where it takes no part. */
static int64_t expert_rows(const struct qm_cpu_work *r, int64_t e) {
    if (r->part->expert_on && r->part->expert_on[e] != r->part->number)
        return 0;
    return r->c->routing.first[e + 1] - r->c->routing.first[e];
}

/* The first expert from e on that takes part, or -1. */
static int64_t working_expert(const struct qm_cpu_work *r, int64_t e) {
    while (e < r->c->config->experts && expert_rows(r, e) == 0)
        e++;
    return e < r->c->config->experts ? e : -1;
}

/* Where each expert's packed rows start. Only the caller of the region runs this. */
static void place_packed(const struct qm_cpu_work *r) {
    struct qm_cpu *c = r->c;
    const struct qm_packed_weight *w = qm_cpu_weight(c, r->op->matrix);
    uint64_t at = 0;
    for (int64_t e = 0; e < c->config->experts; e++) {
        c->routing.packed_at[e] = at;
        at += (qm_cpu_type(c, w->type)->packed_bytes(expert_rows(r, e), w->k) + 63) / 64 * 64;
    }
}

/* The rows that an expert's product reads: gathered from src by `rows`, or row i of src is slot i. */
struct inputs {
    const float *src;
    int64_t ld;
    const int32_t *rows; /* NULL: not gathered */
    const struct qm_packed_weight *w;
};

static void pack_slots(const struct qm_cpu *c, const struct inputs *in, int64_t first, int64_t n, void *dst) {
    const struct qm_type_kernels *t = qm_cpu_type(c, in->w->type);
    if (in->rows)
        t->pack(dst, in->src, in->ld, in->rows + first, n, in->w->k);
    else
        t->pack(dst, in->src + first * in->ld, in->ld, NULL, n, in->w->k);
}

/* Packs every expert's rows, divided by blocks of rows over threads; a barrier follows. Steps of few rows do without
 * both: packed_expert() packs them then. */
static void pack_experts(const struct qm_cpu_work *r, int thread, int threads, const struct inputs *in) {
    const struct qm_cpu *c = r->c;
    int64_t block = 0;
    if (r->batch->rows <= QM_PRIVATE_ROWS)
        return;
    for (int64_t e = 0; e < c->config->experts; e++) {
        int64_t first = c->routing.first[e], m = expert_rows(r, e);
        for (int64_t i = 0; i < m; i += QM_PACK_ROWS, block++)
            if (block % threads == thread)
                pack_slots(c, in, first + i, m - i < QM_PACK_ROWS ? m - i : QM_PACK_ROWS,
                           c->packed_rows + c->routing.packed_at[e] +
                               qm_cpu_type(c, in->w->type)->packed_bytes(i, in->w->k));
    }
    qm_team_barrier(c->team, thread);
}

/* Expert e's packed rows. *last: NULL, or what this thread packed last, which is the same rows where a token is alone
 * and its row is gathered. */
static const void *packed_expert(const struct qm_cpu_work *r, int thread, const struct inputs *in, int64_t e,
                                 const void **last) {
    const struct qm_cpu *c = r->c;
    if (r->batch->rows > QM_PRIVATE_ROWS)
        return c->packed_rows + c->routing.packed_at[e];
    void *dst = qm_cpu_private(c, thread, c->layout.private_rows);
    if (!*last || !in->rows || r->batch->rows > 1)
        pack_slots(c, in, c->routing.first[e], expert_rows(r, e), dst);
    return *last = dst;
}

static void up_region(void *arg, int thread, int threads) {
    const struct qm_cpu_work *r = arg;
    struct qm_cpu *c = r->c;
    const struct qm_packed_weight *w = qm_cpu_weight(c, r->op->matrix), *bias = qm_cpu_weight(c, r->op->bias);
    const struct inputs in = {c->normed, c->layout.ld_hidden, c->routing.slot_row, w};
    const void *last = NULL;
    pack_experts(r, thread, threads, &in);
    for (int64_t e = working_expert(r, 0), next; e >= 0; e = next) {
        next = working_expert(r, e + 1);
        struct qm_epilogue gate = {.kind = QM_GATE,
                                   .out = c->h + c->routing.first[e] * c->layout.ld_ffn,
                                   .ld = c->layout.ld_ffn,
                                   .bias = bias ? qm_packed_vector(bias, e) : NULL};
        qm_cpu_product(c, thread, packed_expert(r, thread, &in, e, &last), expert_rows(r, e), w, e, next, &gate);
    }
}

void qm_cpu_moe_up(const struct qm_cpu_work *work) {
    struct qm_cpu_work r = *work;
    place_packed(&r);
    qm_team_run(r.c->team, up_region, &r);
}

/* One block of columns: the experts' outputs, weighted, summed from zero in ascending order of expert, then added
 * to where the sum goes. */
static void down_columns(const struct qm_cpu_work *r, int thread, const struct inputs *in, int64_t panel,
                         int64_t panels) {
    const struct qm_cpu *c = r->c;
    const struct qm_packed_weight *w = in->w, *bias = qm_cpu_weight(c, r->op->bias);
    float *block = (float *)(void *)qm_cpu_private(c, thread, c->layout.product);
    float *sum = (float *)(void *)qm_cpu_private(c, thread, c->layout.accumulator);
    int64_t ld = panels * QM_PANEL_ROWS, col = panel * QM_PANEL_ROWS, n = ld < w->n - col ? ld : w->n - col;
    int64_t rows = r->batch->rows;
    const void *last = NULL;
    memset(sum, 0, (size_t)(rows * ld) * sizeof *sum);
    for (int64_t e = working_expert(r, 0), start = e, next; e >= 0; e = next) {
        int64_t m = expert_rows(r, e), first = c->routing.first[e];
        next = working_expert(r, e + 1);
        const uint8_t *after = next >= 0                    ? qm_packed_panel(w, next, panel)
                               : panel + panels < w->panels ? qm_packed_panel(w, start, panel + panels)
                                                            : NULL;
        struct qm_product product = {.a = packed_expert(r, thread, in, e, &last),
                                     .m = m,
                                     .k = w->k,
                                     .b = qm_packed_panel(w, e, panel),
                                     .n_panels = panels,
                                     .panel_stride = w->panel_stride,
                                     .c = block,
                                     .ldc = ld,
                                     .next = after};
        qm_cpu_type(c, w->type)->product(&product);
        for (int64_t i = 0; i < m; i++) {
            if (bias)
                c->kernels->add(block + i * ld, qm_packed_vector(bias, e) + col, n);
            c->kernels->axpy(sum + c->routing.slot_row[first + i] * ld, c->routing.slot_weight[first + i],
                             block + i * ld, n);
        }
    }
    for (int64_t i = 0; i < rows; i++)
        c->kernels->add(r->sum + i * c->layout.ld_hidden + col, sum + i * ld, n);
}

static void down_region(void *arg, int thread, int threads) {
    const struct qm_cpu_work *r = arg;
    struct qm_cpu *c = r->c;
    const struct qm_packed_weight *w = qm_cpu_weight(c, r->op->matrix);
    const struct inputs in = {c->h, c->layout.ld_ffn, NULL, w};
    pack_experts(r, thread, threads, &in);
    int64_t begin, end;
    int64_t room = (int64_t)(c->layout.product_bytes / sizeof(float)) / (r->batch->rows * QM_PANEL_ROWS);
    qm_packed_thread_range(w, c->team, thread, &begin, &end);
    for (int64_t p = begin, panels; p < end; p += panels) {
        panels = qm_packed_run(w, p, room < end - p ? room : end - p);
        down_columns(r, thread, &in, p, panels);
    }
}

void qm_cpu_moe_down(const struct qm_cpu_work *work) {
    struct qm_cpu_work r = *work;
    place_packed(&r);
    qm_team_run(r.c->team, down_region, &r);
}
