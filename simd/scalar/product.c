/* Reference products. Packed activations are rows: uint16 [m][k, padded to even] for BF16 and MXFP4, float
 * [m][k] for F16 and F32. Every product is rounded, then added, over ascending k. */
#include <math.h>

#include "simd/mxfp4.h"
#include "simd/scalar/scalar.h"

size_t packed_bytes_bf16_scalar(int64_t m, int64_t k) {
    return ((size_t)(m * (k + (k & 1)) * 2) + 63) & ~(size_t)63;
}

size_t packed_bytes_f32_scalar(int64_t m, int64_t k) {
    return ((size_t)(m * k * 4) + 63) & ~(size_t)63;
}

void pack_bf16_scalar(void *dst, const float *src, int64_t ld, const int32_t *rows, int64_t m, int64_t k) {
    uint16_t *out = dst;
    int64_t padded = k + (k & 1);
    for (int64_t i = 0; i < m; i++) {
        const float *row = src + (rows ? rows[i] : i) * ld;
        for (int64_t j = 0; j < padded; j++)
            out[i * padded + j] = j < k ? qm_bf16_from_f32(row[j]) : 0;
    }
}

void pack_f32_scalar(void *dst, const float *src, int64_t ld, const int32_t *rows, int64_t m, int64_t k) {
    float *out = dst;
    for (int64_t i = 0; i < m; i++)
        memcpy(out + i * k, src + (rows ? rows[i] : i) * ld, (size_t)k * sizeof *out);
}

/* The accumulator of element (i, n) starts here. */
static float start(const struct qm_product *p, int64_t i, int64_t n) {
    return p->accumulate ? p->c[i * p->ldc + n] : 0.0f;
}

static const void *panel_of(const struct qm_product *p, int64_t n) {
    return (const char *)p->b + (size_t)(n / QM_PANEL_ROWS) * p->panel_stride;
}

void product_bf16_scalar(const struct qm_product *p) {
    const uint16_t *a = p->a;
    int64_t padded = p->k + (p->k & 1);
    for (int64_t i = 0; i < p->m; i++)
        for (int64_t n = 0; n < p->n_panels * QM_PANEL_ROWS; n++) {
            const uint16_t *b = panel_of(p, n);
            float acc = start(p, i, n);
            for (int64_t k = 0; k < padded; k++) {
                uint16_t w = b[(k / 2 * QM_PANEL_ROWS + n % QM_PANEL_ROWS) * 2 + k % 2];
                acc += qm_f32_from_bf16(a[i * padded + k]) * qm_f32_from_bf16(w);
            }
            p->c[i * p->ldc + n] = acc;
        }
}

void product_f16_scalar(const struct qm_product *p) {
    const float *a = p->a;
    for (int64_t i = 0; i < p->m; i++)
        for (int64_t n = 0; n < p->n_panels * QM_PANEL_ROWS; n++) {
            const uint16_t *b = panel_of(p, n);
            float acc = start(p, i, n);
            for (int64_t k = 0; k < p->k; k++)
                acc += a[i * p->k + k] * qm_f32_from_f16(b[k * QM_PANEL_ROWS + n % QM_PANEL_ROWS]);
            p->c[i * p->ldc + n] = acc;
        }
}

void product_f32_scalar(const struct qm_product *p) {
    const float *a = p->a;
    for (int64_t i = 0; i < p->m; i++)
        for (int64_t n = 0; n < p->n_panels * QM_PANEL_ROWS; n++) {
            const float *b = panel_of(p, n);
            float acc = start(p, i, n);
            for (int64_t k = 0; k < p->k; k++)
                acc += a[i * p->k + k] * b[k * QM_PANEL_ROWS + n % QM_PANEL_ROWS];
            p->c[i * p->ldc + n] = acc;
        }
}

/* The sum over one block's 32 k, without the scale. */
static float block_sum(const struct qm_mxfp4_block *b, int64_t r, const uint16_t *a) {
    static const float values[16] = {QM_E2M1_F32};
    float sum = 0;
    for (int k = 0; k < QM_MXFP4_K; k++)
        sum += qm_f32_from_bf16(a[k]) * values[qm_mxfp4_code(b, r, k)];
    return sum;
}

void product_mxfp4_scalar(const struct qm_product *p) {
    const uint16_t *a = p->a;
    for (int64_t i = 0; i < p->m; i++)
        for (int64_t n = 0; n < p->n_panels * QM_PANEL_ROWS; n++) {
            const struct qm_mxfp4_block *b = panel_of(p, n);
            int64_t r = n % QM_PANEL_ROWS;
            float acc = start(p, i, n);
            for (int64_t k = 0; k < p->k; k += QM_MXFP4_K, b++)
                acc += block_sum(b, r, a + i * p->k + k) * qm_e8m0_f32(b->scale[r]);
            p->c[i * p->ldc + n] = acc;
        }
}
