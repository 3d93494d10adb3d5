/* An attention split by the products of a table of kernels. */
#include "simd/attend.h"

void qm_attend_by_products(const struct qm_kernels *kernels, enum qm_dtype t, const struct qm_split *s) {
    const struct qm_type_kernels *k = &kernels->type[t];
    int64_t value_panels = (s->head_dim + QM_PANEL_ROWS - 1) / QM_PANEL_ROWS;
    struct qm_product keys = {.a = s->queries,
                              .m = s->rows,
                              .k = s->head_dim,
                              .n_panels = QM_KV_PAGE_TOKENS / QM_PANEL_ROWS,
                              .panel_stride = qm_panel_bytes(t, s->head_dim),
                              .ldc = QM_SCORES_LD};
    for (int64_t i = 0; i < s->n_pages; i++) {
        keys.b = s->pages[i];
        keys.c = s->scores + i * QM_KV_PAGE_TOKENS;
        k->product(&keys);
    }
    for (int64_t r = 0; r < s->rows; r++)
        kernels->softmax_split(s->scores + r * QM_SCORES_LD, s->n_pages * QM_KV_PAGE_TOKENS, s->lo[r], s->hi[r],
                               s->scale, &s->max[r], &s->sum[r]);
    struct qm_product values = {.a = s->packed,
                                .m = s->rows,
                                .k = QM_KV_PAGE_TOKENS,
                                .n_panels = value_panels,
                                .panel_stride = qm_panel_bytes(t, QM_KV_PAGE_TOKENS),
                                .c = s->out,
                                .ldc = value_panels * QM_PANEL_ROWS};
    for (int64_t i = 0; i < s->n_pages && s->out; i++) {
        k->pack(s->packed, s->scores + i * QM_KV_PAGE_TOKENS, QM_SCORES_LD, NULL, s->rows, QM_KV_PAGE_TOKENS);
        values.b = s->pages[i] + s->value_offset;
        values.accumulate = i > 0;
        k->product(&values);
    }
}
