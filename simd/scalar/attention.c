/* Reference kernels of attention: splits' softmax, their merge, and writes into cache pages. */
#include <math.h>

#include "simd/scalar/lanes.h"
#include "simd/scalar/scalar.h"

void softmax_split_f32_scalar(float *s, int64_t n, int64_t lo, int64_t hi, float scale, float *max, float *sum) {
    float top = -INFINITY;
    for (int64_t i = 0; i < n; i++)
        if (i >= lo && i < hi && s[i] * scale > top)
            top = s[i] * scale;
    float lanes[QM_LANES] = {0};
    for (int64_t i = 0; i < n; i++) {
        s[i] = i >= lo && i < hi ? exp_f32_scalar(fmaf(s[i], scale, -top)) : 0.0f;
        lanes[i % QM_LANES] += s[i];
    }
    *max = top;
    *sum = fold_lanes(lanes);
}

void merge_split_f32_scalar(float *acc, float *am, float *as, const float *o, float m, float s, int64_t n) {
    if (s == 0)
        return;
    float top = *am > m ? *am : m;
    float before = exp_f32_scalar(*am - top), now = exp_f32_scalar(m - top);
    for (int64_t i = 0; i < n; i++)
        acc[i] = acc[i] * before + o[i] * now;
    *as = *as * before + s * now;
    *am = top;
}

/* Writes x as element `index` of an array of type t. */
static void put(void *base, enum qm_dtype t, int64_t index, float x) {
    switch (t) {
    case QM_BF16: ((uint16_t *)base)[index] = qm_bf16_from_f32(x); break;
    case QM_F16: ((uint16_t *)base)[index] = qm_f16_from_f32(x); break;
    default: ((float *)base)[index] = x; break;
    }
}

/* The index of (row, k) in a panel of type t. */
static int64_t panel_index(enum qm_dtype t, int64_t row, int64_t k) {
    return t == QM_BF16 ? (k / 2 * QM_PANEL_ROWS + row) * 2 + k % 2 : k * QM_PANEL_ROWS + row;
}

void store_k_scalar(void *page, enum qm_dtype t, int64_t slot, const float *x, int64_t n) {
    char *panel = (char *)page + (size_t)(slot / QM_PANEL_ROWS) * qm_panel_bytes(t, n);
    for (int64_t k = 0; k < n; k++)
        put(panel, t, panel_index(t, slot % QM_PANEL_ROWS, k), x[k]);
    if (t == QM_BF16 && n % 2)
        put(panel, t, panel_index(t, slot % QM_PANEL_ROWS, n), 0.0f);
}

void store_v_scalar(void *page, enum qm_dtype t, int64_t slot, int64_t page_tokens, const float *x, int64_t n) {
    size_t stride = qm_panel_bytes(t, page_tokens);
    for (int64_t i = 0; i < n; i++)
        put((char *)page + (size_t)(i / QM_PANEL_ROWS) * stride, t, panel_index(t, i % QM_PANEL_ROWS, slot), x[i]);
}
