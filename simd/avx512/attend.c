/* The walk of an attention split over tiles. */
#include "simd/avx512/attend.h"

/* BLOCK_K: k of one tile; EXPANDED_BYTES: two panels of that many floats a row. */
enum { BLOCK_K = 128, EXPANDED_BYTES = 2 * BLOCK_K * 64 };

struct walk {
    const struct qm_split *s;
    const struct qm_attend_kernels *t;
    int64_t micro_panels;
    int64_t seen;                    /* slots that any row sees: of those behind them nothing is computed */
    size_t key_stride, value_stride; /* of panels */
    size_t key_bytes, value_bytes;   /* of the halves of a page */
    int64_t half;                    /* what is fetched next: keys of pages, values of pages, the next split's */
    size_t at;                       /* from this byte of it */
};

/* The next `bytes` of what will be read; `none`, which is in a cache, where all is fetched. The first half was fetched
 * while the split before was read. */
static struct qm_ahead fetch(struct walk *w, int64_t bytes, const void *none) {
    const struct qm_split *s = w->s;
    const uint8_t *base;
    size_t lane = w->key_bytes / QM_ATTEND_LANES;
    if (w->half < s->n_pages)
        base = s->pages[w->half];
    else if (w->half < 2 * s->n_pages)
        base = s->pages[w->half - s->n_pages] + s->value_offset, lane = w->value_bytes / QM_ATTEND_LANES;
    else if (w->half == 2 * s->n_pages && s->next)
        base = s->next;
    else
        return (struct qm_ahead){none, 0};
    const char *from = (const char *)base + w->at;
    w->at += (size_t)bytes / QM_ATTEND_LANES;
    if (w->at >= lane)
        w->at = 0, w->half++;
    return (struct qm_ahead){from, lane};
}

/* One or two panels, `steps` of each from b on. */
struct run {
    const struct qm_attend_tiles *narrow, *wide; /* by rows */
    const char *b;
    size_t stride;
    int64_t panels, steps;
    int accumulate;
};

/* Under all micro-panels: that of rows from `first` on, r of them, is at a + first * row_bytes + r * k_bytes. */
static void run_micro_panels(struct walk *w, const struct run *run, const char *a, int64_t row_bytes, int64_t k_bytes,
                             float *c, int64_t ldc) {
    char scratch[EXPANDED_BYTES] __attribute__((aligned(64)));
    const struct qm_attend_kernels *t = w->t;
    const struct qm_attend_tiles *by_rows = w->micro_panels == 1 ? run->narrow : run->wide;
    const char *b = run->b;
    size_t stride = run->stride;
    struct qm_ahead ahead = fetch(w, run->panels * run->steps * t->b_step, b);
    if (w->micro_panels > 1 && t->expand) {
        b = scratch;
        stride = (size_t)(run->steps * t->wide_step);
        for (int64_t i = 0; i < run->panels; i++)
            t->expand(scratch + (size_t)i * stride, run->b + (size_t)i * run->stride, run->steps);
    }
    for (int64_t i = 0; i < w->micro_panels; i++) {
        int64_t first, r = qm_micro_panel(w->s->rows, QM_TILE_ROWS, i, &first);
        qm_attend_tile *tile = run->panels == 2 ? by_rows[r].two : by_rows[r].one;
        tile(a + first * row_bytes + r * k_bytes, b, stride, run->steps, c + first * ldc, ldc, run->accumulate, ahead);
        ahead = (struct qm_ahead){b, 0};
    }
}

static void page_scores(struct walk *w, int64_t page) {
    const struct qm_split *s = w->s;
    const struct qm_attend_kernels *t = w->t;
    int64_t padded = (s->head_dim + t->k_step - 1) / t->k_step * t->k_step;
    int64_t seen = w->seen - page * QM_KV_PAGE_TOKENS;
    for (int64_t n = 0; n < QM_KV_PAGE_TOKENS / QM_PANEL_ROWS && n * QM_PANEL_ROWS < seen; n += 2)
        for (int64_t k = 0; k < padded; k += BLOCK_K) {
            struct run run = {.narrow = t->keys,
                              .wide = t->wide_keys,
                              .b = (const char *)s->pages[page] + (size_t)n * w->key_stride + k / t->k_step * t->b_step,
                              .stride = w->key_stride,
                              .panels = 2,
                              .steps = (padded - k < BLOCK_K ? padded - k : BLOCK_K) / t->k_step,
                              .accumulate = k > 0};
            run_micro_panels(w, &run, s->queries, padded * t->a_bytes, k * t->a_bytes,
                             s->scores + page * QM_KV_PAGE_TOKENS + n * QM_PANEL_ROWS, QM_SCORES_LD);
        }
}

static void page_values(struct walk *w, int64_t page) {
    const struct qm_split *s = w->s;
    const struct qm_attend_kernels *t = w->t;
    int64_t panels = (s->head_dim + QM_PANEL_ROWS - 1) / QM_PANEL_ROWS, seen = w->seen - page * QM_KV_PAGE_TOKENS;
    int64_t tokens = seen < 0 ? 0 : seen < QM_KV_PAGE_TOKENS ? seen : QM_KV_PAGE_TOKENS;
    const char *a = (const char *)s->scores + page * QM_KV_PAGE_TOKENS * t->a_bytes;
    for (int64_t n = 0; n < panels; n += 2) {
        struct run run = {.narrow = t->values,
                          .wide = t->wide_values,
                          .b = (const char *)s->pages[page] + s->value_offset + (size_t)n * w->value_stride,
                          .stride = w->value_stride,
                          .panels = panels - n < 2 ? 1 : 2,
                          .steps = (tokens + t->k_step - 1) / t->k_step,
                          .accumulate = page > 0};
        run_micro_panels(w, &run, a, QM_SCORES_LD * (int64_t)sizeof(float), 0, s->out + n * QM_PANEL_ROWS,
                         panels * QM_PANEL_ROWS);
    }
}

void attend_by_tiles_avx512(enum qm_dtype t, const struct qm_split *s, const struct qm_attend_kernels *kernels) {
    int64_t n = s->n_pages * QM_KV_PAGE_TOKENS, panels = (s->head_dim + QM_PANEL_ROWS - 1) / QM_PANEL_ROWS;
    struct walk w = {.s = s,
                     .t = kernels,
                     .micro_panels = qm_micro_panel_count(s->rows, QM_TILE_ROWS),
                     .key_stride = qm_panel_bytes(t, s->head_dim),
                     .value_stride = qm_panel_bytes(t, QM_KV_PAGE_TOKENS),
                     .half = 1};
    w.key_bytes = QM_KV_PAGE_TOKENS / QM_PANEL_ROWS * w.key_stride;
    w.value_bytes = (size_t)panels * w.value_stride;
    for (int64_t r = 0; r < s->rows; r++)
        w.seen = s->hi[r] > w.seen ? s->hi[r] : w.seen;
    for (int64_t i = 0; i < s->n_pages; i++)
        page_scores(&w, i);
    for (int64_t r = 0; r < s->rows; r++) {
        float *row = s->scores + r * QM_SCORES_LD;
        struct qm_ahead ahead = {(const char *)row, 0};
        if (w.micro_panels == 1)
            ahead = fetch(&w, n / QM_ATTEND_LINE * 64, row);
        kernels->softmax(row, n, s->lo[r], s->hi[r], s->scale, &s->max[r], &s->sum[r], !s->out, ahead);
    }
    for (int64_t i = 0; i < s->n_pages && s->out; i++)
        page_values(&w, i);
}
