/* The walk over a product's tiles. One strip of rows: each group of panels is read once, over all of k.
 * Several: a group of panels is taken through k in blocks, so that a pair of panels' block stays in L1 and the
 * activations' block in L2 while the group's part of C stays in L2. */
#include "simd/tiling.h"

/* EXPANDED_BYTES holds the decoded block of the panels that a tile takes at once. */
enum { GROUP_PANELS = 16, BLOCK_ROWS = 264, EXPANDED_BYTES = 40 * 1024 };

/* A run of whole panels under one strip, over `steps` from step `from`. */
static void run_tiles(const struct qm_product *p, const struct qm_tiles *tiles, const char *a, const char *b,
                      size_t stride, int64_t n_panels, int64_t steps, float *c, int accumulate) {
    int64_t n = 0;
    for (; n + tiles->panels <= n_panels; n += tiles->panels)
        tiles->many(a, b + (size_t)n * stride, stride, steps, c + n * QM_PANEL_ROWS, p->ldc, accumulate);
    for (; n < n_panels; n++)
        tiles->one(a, b + (size_t)n * stride, stride, steps, c + n * QM_PANEL_ROWS, p->ldc, accumulate);
}

/* One block of k for a few panels (those of one tile) under strips [s0, s1). */
static void run_block(const struct qm_product *p, const struct qm_tiling *t, int64_t s0, int64_t s1, int64_t panel,
                      int64_t n_panels, int64_t from, int64_t steps) {
    char scratch[EXPANDED_BYTES] __attribute__((aligned(64)));
    const char *b = (const char *)p->b + (size_t)panel * p->panel_stride + from * t->b_step;
    size_t stride = p->panel_stride;
    const struct qm_tiles *by_rows = t->tiles;
    if (t->expanded_step) {
        stride = (size_t)steps * (size_t)t->expanded_step;
        for (int64_t i = 0; i < n_panels; i++)
            t->expand(scratch + (size_t)i * stride, b + (size_t)i * p->panel_stride, steps);
        b = scratch;
        by_rows = t->expanded;
    }
    int64_t all_steps = (p->k + t->k_step - 1) / t->k_step;
    for (int64_t s = s0; s < s1; s++) {
        int64_t first, r = qm_strip(p->m, t->rows, s, &first);
        const char *a = (const char *)p->a + (first * all_steps + from * r) * t->a_step;
        float *c = p->c + first * p->ldc + panel * QM_PANEL_ROWS;
        run_tiles(p, &by_rows[r], a, b, stride, n_panels, steps, c, p->accumulate || from);
    }
}

void qm_product_tiled(const struct qm_product *p, const struct qm_tiling *t) {
    int64_t steps = (p->k + t->k_step - 1) / t->k_step;
    int64_t strips = qm_strip_count(p->m, t->rows);
    if (strips <= 1) {
        if (p->m)
            run_tiles(p, &t->tiles[p->m], p->a, p->b, p->panel_stride, p->n_panels, steps, p->c, p->accumulate);
        return;
    }
    int64_t pair = t->tiles[t->rows].panels, strips_at_once = BLOCK_ROWS / t->rows;
    for (int64_t group = 0; group < p->n_panels; group += GROUP_PANELS) {
        int64_t group_end = group + GROUP_PANELS < p->n_panels ? group + GROUP_PANELS : p->n_panels;
        for (int64_t s0 = 0; s0 < strips; s0 += strips_at_once) {
            int64_t s1 = s0 + strips_at_once < strips ? s0 + strips_at_once : strips;
            int64_t from = 0;
            do {
                int64_t block = steps - from < t->block_steps ? steps - from : t->block_steps;
                for (int64_t n = group; n < group_end; n += pair) {
                    int64_t count = group_end - n < pair ? group_end - n : pair;
                    run_block(p, t, s0, s1, n, count, from, block);
                }
                from += block;
            } while (from < steps);
        }
    }
}
