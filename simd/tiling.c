/* The walk over a product's tiles. One strip of rows: each group of panels is read once, over all of k.
 * Several: a group of panels is taken through k in blocks, so that a pair of panels' block stays in L1 and the
 * activations' block in L2 while the group's part of C stays in L2. */
#include "simd/tiling.h"

/* EXPANDED_BYTES holds the decoded block of the panels that a tile takes at once. */
enum { LINE = 64, GROUP_PANELS = 32, BLOCK_ROWS = 516, EXPANDED_BYTES = 40 * 1024 };

/* All panels under the only strip. */
static void run_strip(const struct qm_product *p, const struct qm_tiles *tiles, int64_t steps) {
    const struct qm_along along = {0};
    int64_t n = 0;
    for (; n + tiles->panels <= p->n_panels; n += tiles->panels)
        tiles->many(p->a, (const char *)p->b + (size_t)n * p->panel_stride, p->panel_stride, steps,
                    p->c + n * QM_PANEL_ROWS, p->ldc, p->accumulate, &along);
    for (; n < p->n_panels; n++)
        tiles->one(p->a, (const char *)p->b + (size_t)n * p->panel_stride, p->panel_stride, steps,
                   p->c + n * QM_PANEL_ROWS, p->ldc, p->accumulate, &along);
}

/* A walk over several strips: strips [s0, s1), panels [group, group_end) by `pair`, one block of k at a time. */
struct walk {
    const struct qm_product *p;
    const struct qm_tiling *t;
    int64_t s0, s1;
    int64_t group, group_end, pair;
    int64_t from, steps; /* the block, of all_steps */
    int64_t all_steps;
};

/* The panels of the block after that of panel n: of the next tile, else of the next block of k, else of the next
 * group. */
static const char *next_block(const struct walk *w, int64_t n) {
    const struct qm_product *p = w->p;
    if (n + w->pair < w->group_end)
        return (const char *)p->b + (size_t)(n + w->pair) * p->panel_stride + w->from * w->t->b_step;
    if (w->from + w->steps < w->all_steps)
        return (const char *)p->b + (size_t)w->group * p->panel_stride + (w->from + w->steps) * w->t->b_step;
    return (const char *)p->b + (size_t)w->group_end * p->panel_stride;
}

/* What of the next block is fetched along with strip i of `strips`: an even part, so that memory is read all the time.
 * Each panel is some whole strips'. */
static struct qm_along share_of_next(const struct walk *w, const char *next, int64_t i, int64_t strips) {
    int64_t each = strips < w->pair ? 1 : strips / w->pair, panel = i / each % w->pair;
    int64_t step = (w->t->b_step + each - 1) / each;
    int64_t between = 0;
    while ((2 * between + 2) * step <= LINE)
        between = 2 * between + 1;
    return (struct qm_along){.ahead = next + (size_t)panel * w->p->panel_stride + i % each * step * w->steps,
                             .step = step,
                             .between = between};
}

/* The walk's block of k for the panels of one tile, from panel n. While its strips are computed the next block is
 * fetched. */
static void run_block(const struct walk *w, int64_t n) {
    char scratch[EXPANDED_BYTES] __attribute__((aligned(64)));
    const struct qm_product *p = w->p;
    const struct qm_tiling *t = w->t;
    int64_t n_panels = w->group_end - n < w->pair ? w->group_end - n : w->pair;
    const char *b = (const char *)p->b + (size_t)n * p->panel_stride + w->from * t->b_step;
    const char *next = next_block(w, n);
    size_t stride = p->panel_stride;
    for (int64_t s = w->s0; s < w->s1; s++) {
        int64_t first, r = qm_strip(p->m, t->rows, s, &first);
        const char *a = (const char *)p->a + (first * w->all_steps + w->from * r) * t->a_step;
        float *c = p->c + first * p->ldc + n * QM_PANEL_ROWS;
        struct qm_along along = share_of_next(w, next, s - w->s0, w->s1 - w->s0);
        along.expanded = scratch;
        const struct qm_tiles *tiles = t->expanded_step && s == w->s0 ? &t->expanding[r] : &t->strips[r];
        qm_tile *tile = n_panels == w->pair ? tiles->many : tiles->one;
        tile(a, b, stride, w->steps, c, p->ldc, p->accumulate || w->from, &along);
        if (t->expanded_step) {
            b = scratch;
            stride = (size_t)w->steps * (size_t)t->expanded_step;
        }
    }
}

void qm_product_tiled(const struct qm_product *p, const struct qm_tiling *t) {
    int64_t steps = (p->k + t->k_step - 1) / t->k_step, strips = qm_strip_count(p->m, t->rows);
    if (strips <= 1) {
        if (p->m)
            run_strip(p, &t->one_strip[p->m], steps);
        return;
    }
    int64_t strips_at_once = BLOCK_ROWS / t->rows;
    struct walk w = {.p = p, .t = t, .pair = t->strips[t->rows].panels, .all_steps = steps};
    for (w.group = 0; w.group < p->n_panels; w.group = w.group_end) {
        w.group_end = w.group + GROUP_PANELS < p->n_panels ? w.group + GROUP_PANELS : p->n_panels;
        for (w.s0 = 0; w.s0 < strips; w.s0 = w.s1) {
            w.s1 = w.s0 + strips_at_once < strips ? w.s0 + strips_at_once : strips;
            w.from = 0;
            do { /* once for k = 0 too, to write c */
                w.steps = steps - w.from < t->block_steps ? steps - w.from : t->block_steps;
                for (int64_t n = w.group; n < w.group_end; n += w.pair)
                    run_block(&w, n);
                w.from += w.steps;
            } while (w.from < steps);
        }
    }
}
