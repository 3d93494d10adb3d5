/* The walk over a product's tiles. One micro-panel of rows: each group of panels is read once, over all of k.
 * Several: a group of panels is taken through k in blocks, so that a pair of panels' block stays in L1 (a long expanded
 * one in L2), and the activations' block and the group's part of C in L2. */
#include "simd/tiling.h"

/* EXPANDED_BYTES holds the decoded block of the panels that a tile takes at once. */
enum { LINE = 64, GROUP_PANELS = 32, BLOCK_ROWS = 516, LEAST_ROWS = 6, EXPANDED_BYTES = 128 * 1024 };

static const char *panel(const struct qm_product *p, int64_t n) {
    return (const char *)p->b + (size_t)n * p->panel_stride;
}

/* What is read after all panels. */
static const char *after(const struct qm_product *p) {
    return p->next ? p->next : panel(p, p->n_panels);
}

/* All panels under the only micro-panel. */
static void run_micro_panel(const struct qm_product *p, const struct qm_tiles *tiles, int64_t steps) {
    for (int64_t n = 0, taken; n < p->n_panels; n += taken) {
        taken = n + tiles->panels <= p->n_panels ? tiles->panels : 1;
        qm_tile *tile = taken == tiles->panels ? tiles->many : tiles->one;
        const struct qm_along along = {.next = n + taken < p->n_panels ? panel(p, n + taken) : after(p)};
        tile(p->a, panel(p, n), p->panel_stride, steps, p->c + n * QM_PANEL_ROWS, p->ldc, p->accumulate, &along);
    }
}

struct micro_panel {
    int64_t first, rows;
};

/* A walk over several micro-panels: `micro-panels` of them, panels [group, group_end) by `pair`, one block of k at a
 * time. */
struct walk {
    const struct qm_product *p;
    const struct qm_tiling *t;
    struct micro_panel micro_panel[BLOCK_ROWS / LEAST_ROWS];
    int64_t micro_panels;
    int64_t group, group_end, pair;
    int64_t from, steps; /* the block, of all_steps */
    int64_t all_steps;
    /* While the micro-panels of a tile are computed the block after it is fetched, by an even part along with each, so
     * that memory is read all the time: each panel's by so many micro-panels, so many bytes in each step (see
     * qm_along). */
    int64_t sharers, share, between;
};

static void share_next(struct walk *w) {
    w->sharers = w->micro_panels < w->pair ? 1 : w->micro_panels / w->pair;
    w->share = (w->t->b_step + w->sharers - 1) / w->sharers;
    w->between = 0;
    while ((2 * w->between + 2) * w->share <= LINE)
        w->between = 2 * w->between + 1;
}

/* The panels of the block after that of panel n: of the next tile, else of the next block of k, else of the next
 * group. */
static const char *next_block(const struct walk *w, int64_t n) {
    if (n + w->pair < w->group_end)
        return panel(w->p, n + w->pair) + w->from * w->t->b_step;
    if (w->from + w->steps < w->all_steps)
        return panel(w->p, w->group) + (w->from + w->steps) * w->t->b_step;
    return w->group_end < w->p->n_panels ? panel(w->p, w->group_end) : after(w->p);
}

/* The walk's block of k for the panels of one tile, from panel n. */
static void run_block(const struct walk *w, int64_t n) {
    char scratch[EXPANDED_BYTES] __attribute__((aligned(64)));
    const struct qm_product *p = w->p;
    const struct qm_tiling *t = w->t;
    int64_t n_panels = w->group_end - n < w->pair ? w->group_end - n : w->pair;
    const char *b = panel(p, n) + w->from * t->b_step, *next = next_block(w, n);
    size_t stride = p->panel_stride;
    int64_t fetched = 0, part = 0; /* the panel of the next block, and the part of it, that a micro-panel fetches */
    for (int64_t s = 0; s < w->micro_panels; s++) {
        const struct micro_panel *micro_panel = &w->micro_panel[s];
        const char *a =
            (const char *)p->a + (micro_panel->first * w->all_steps + w->from * micro_panel->rows) * t->a_step;
        float *c = p->c + micro_panel->first * p->ldc + n * QM_PANEL_ROWS;
        const struct qm_along along = {.ahead = next + (size_t)fetched * p->panel_stride + part * w->share * w->steps,
                                       .step = w->share,
                                       .between = w->between,
                                       .expanded = scratch};
        const struct qm_tiles *tiles =
            t->expanded_step && s == 0 ? &t->expanding[micro_panel->rows] : &t->micro_panels[micro_panel->rows];
        qm_tile *tile = n_panels == w->pair ? tiles->many : tiles->one;
        tile(a, b, stride, w->steps, c, p->ldc, p->accumulate || w->from, &along);
        if (t->expanded_step) {
            b = scratch;
            stride = (size_t)w->steps * (size_t)t->expanded_step;
        }
        if (++part == w->sharers) {
            part = 0;
            fetched = fetched + 1 < w->pair ? fetched + 1 : 0;
        }
    }
}

void qm_product_tiled(const struct qm_product *p, const struct qm_tiling *t) {
    int64_t steps = (p->k + t->k_step - 1) / t->k_step, micro_panels = qm_micro_panel_count(p->m, t->rows);
    if (micro_panels <= 1) {
        if (p->m)
            run_micro_panel(p, &t->one_micro_panel[p->m], steps);
        return;
    }
    int64_t micro_panels_at_once = BLOCK_ROWS / t->rows;
    struct walk w;
    w.p = p, w.t = t, w.pair = t->micro_panels[t->rows].panels, w.all_steps = steps;
    for (w.group = 0; w.group < p->n_panels; w.group = w.group_end) {
        w.group_end = w.group + GROUP_PANELS < p->n_panels ? w.group + GROUP_PANELS : p->n_panels;
        for (int64_t first = 0; first < micro_panels; first += w.micro_panels) {
            w.micro_panels = first + micro_panels_at_once < micro_panels ? micro_panels_at_once : micro_panels - first;
            for (int64_t i = 0; i < w.micro_panels; i++)
                w.micro_panel[i].rows = qm_micro_panel(p->m, t->rows, first + i, &w.micro_panel[i].first);
            share_next(&w);
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
