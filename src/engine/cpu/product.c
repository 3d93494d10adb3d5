/* Products of the CPU backend: packing of rows, columns by panels, epilogues fused to each block of columns
 * while it is in cache. */
#include "engine/cpu/cpu_private.h"

#include <string.h>

static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Norms (if asked) and packs rows [r0, r1) to dst; normed rows go to `normed`. */
static void pack_block(const struct qm_cpu *c, const struct qm_type_kernels *t, const struct qm_cpu_rows *in,
                       int64_t r0, int64_t r1, float *normed, void *dst) {
    if (!in->norm) {
        if (in->which)
            t->pack(dst, in->src, in->ld, in->which + r0, r1 - r0, in->k);
        else
            t->pack(dst, in->src + r0 * in->ld, in->ld, NULL, r1 - r0, in->k);
        return;
    }
    int64_t ldn = c->layout.ld_hidden;
    for (int64_t r = r0; r < r1; r++)
        c->kernels->rmsnorm(normed + (r - r0) * ldn, in->src + (in->which ? in->which[r] : r) * in->ld,
                            qm_packed_vector(in->norm, 0), in->k, (float)c->config->rms_eps);
    t->pack(dst, normed, ldn, NULL, r1 - r0, in->k);
}

const void *qm_cpu_pack(const struct qm_cpu *c, int thread, int threads, const struct qm_packed_weight *w,
                        const struct qm_cpu_rows *rows) {
    const struct qm_type_kernels *t = qm_cpu_type(c, w->type);
    int64_t m = rows->m;
    if (m <= QM_PRIVATE_ROWS) {
        float *normed = (float *)(void *)qm_cpu_private(c, thread, c->layout.accumulator);
        void *dst = qm_cpu_private(c, thread, c->layout.private_rows);
        pack_block(c, t, rows, 0, m, normed, dst);
        return dst;
    }
    int64_t blocks = (m + QM_PACK_ROWS - 1) / QM_PACK_ROWS, begin, end;
    qm_team_range(blocks, thread, threads, &begin, &end);
    for (int64_t b = begin; b < end; b++) {
        int64_t r0 = b * QM_PACK_ROWS, r1 = min64(r0 + QM_PACK_ROWS, m);
        pack_block(c, t, rows, r0, r1, c->normed + r0 * c->layout.ld_hidden,
                   c->packed_rows + t->packed_bytes(r0, rows->k));
    }
    qm_team_barrier(c->team, thread);
    return c->packed_rows;
}

/* Columns [col, col + n) of all rows are in `block` (leading dimension ld). bias_at: theirs in what is there of the
 * bias. */
static void finish(const struct qm_cpu *c, const struct qm_epilogue *e, float *block, int64_t ld, int64_t m,
                   int64_t col, int64_t bias_at, int64_t n, int64_t n_real) {
    const struct qm_kernels *k = c->kernels;
    for (int64_t r = 0; r < m; r++) {
        float *row = block + r * ld;
        if (e->bias)
            k->add(row, e->bias + bias_at, n_real);
        if (e->kind == QM_ADD)
            k->add(e->out + r * e->ld + col, row, n_real);
        else if (e->kind == QM_STORE)
            memcpy(e->out + r * e->ld + col, row, (size_t)n * sizeof *row);
        else if (e->kind == QM_SCATTER)
            memcpy(e->rows[r] + col, row, (size_t)n_real * sizeof *row);
        else if (c->config->activation == QM_ACT_SILU)
            k->silu_mul(e->out + r * e->ld + col / 2, row, n / 32);
        else
            k->swiglu_clamped(e->out + r * e->ld + col / 2, row, n / 32, (float)c->config->swiglu_limit);
    }
}

void qm_cpu_product(const struct qm_cpu *c, int thread, const void *a, int64_t m, const struct qm_packed_weight *w,
                    int64_t expert, int64_t next, const struct qm_epilogue *e) {
    int64_t begin, end;
    qm_packed_thread_range(w, c->team, thread, &begin, &end);
    int64_t room = (int64_t)(c->layout.product_bytes / sizeof(float)) / (m * QM_PANEL_ROWS) / 2 * 2;
    float *block = (float *)(void *)qm_cpu_private(c, thread, c->layout.product);
    for (int64_t p = begin, panels; p < end; p += panels) {
        panels = qm_packed_run(w, p, min64(room, end - p));
        int64_t col = p * QM_PANEL_ROWS, n = panels * QM_PANEL_ROWS;
        struct qm_product product = {.a = a,
                                     .m = m,
                                     .k = w->held_k,
                                     .b = qm_packed_panel(w, expert, p),
                                     .n_panels = panels,
                                     .panel_stride = w->panel_stride,
                                     .c = block,
                                     .ldc = n,
                                     .next = p + panels == end && next >= 0 ? qm_packed_panel(w, next, begin) : NULL};
        qm_cpu_type(c, w->type)->product(&product);
        finish(c, e, block, n, m, col, col - w->first * QM_PANEL_ROWS, n, min64(n, w->n - col));
    }
}
