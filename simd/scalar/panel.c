/* Reference kernels that make and read weight panels. */
#include <string.h>

#include "simd/mxfp4.h"
#include "simd/scalar/scalar.h"

static void pack_panel_bf16(uint16_t *out, const void *const rows[QM_PANEL_ROWS], int64_t k) {
    for (int64_t r = 0; r < QM_PANEL_ROWS; r++)
        for (int64_t i = 0; rows[r] && i < k; i++)
            memcpy(&out[(i / 2 * QM_PANEL_ROWS + r) * 2 + i % 2], (const char *)rows[r] + i * 2, 2);
}

/* F16 and F32: element size `size`. */
static void pack_panel_plain(char *out, const void *const rows[QM_PANEL_ROWS], int64_t k, size_t size) {
    for (int64_t r = 0; r < QM_PANEL_ROWS; r++)
        for (int64_t i = 0; rows[r] && i < k; i++)
            memcpy(out + (size_t)(i * QM_PANEL_ROWS + r) * size, (const char *)rows[r] + (size_t)i * size, size);
}

static void pack_panel_mxfp4(struct qm_mxfp4_block *out, const void *const rows[QM_PANEL_ROWS],
                             const uint8_t *const scales[QM_PANEL_ROWS], int64_t k) {
    for (int64_t r = 0; r < QM_PANEL_ROWS; r++)
        for (int64_t b = 0; rows[r] && b < k / QM_MXFP4_K; b++) {
            out[b].scale[r] = scales[r][b];
            for (int i = 0; i < QM_MXFP4_K; i++) {
                uint32_t code = ((const uint8_t *)rows[r])[b * 16 + i / 2] >> i % 2 * 4 & 15;
                out[b].code[i / QM_MXFP4_LINE_K][r] |= code << qm_mxfp4_shift(i);
            }
        }
}

void pack_panel_scalar(void *dst, enum qm_dtype t, const void *const rows[QM_PANEL_ROWS],
                       const uint8_t *const scales[QM_PANEL_ROWS], int64_t k) {
    memset(dst, 0, qm_panel_bytes(t, k));
    switch (t) {
    case QM_BF16: pack_panel_bf16(dst, rows, k); break;
    case QM_MXFP4: pack_panel_mxfp4(dst, rows, scales, k); break;
    default: pack_panel_plain(dst, rows, k, qm_dtype_size(t)); break;
    }
}

static void unpack_row_bf16(float *out, const uint16_t *panel, int64_t r, int64_t k) {
    for (int64_t i = 0; i < k; i++)
        out[i] = qm_f32_from_bf16(panel[(i / 2 * QM_PANEL_ROWS + r) * 2 + i % 2]);
}

static void unpack_row_mxfp4(float *out, const struct qm_mxfp4_block *panel, int64_t r, int64_t k) {
    static const float values[16] = {QM_E2M1_F32};
    for (int64_t i = 0; i < k; i++) {
        const struct qm_mxfp4_block *b = &panel[i / QM_MXFP4_K];
        out[i] = values[qm_mxfp4_code(b, r, (int)(i % QM_MXFP4_K))] * qm_e8m0_f32(b->scale[r]);
    }
}

void unpack_row_scalar(float *out, enum qm_dtype t, const void *panel, int64_t r, int64_t k) {
    const uint16_t *half = panel;
    const float *single = panel;
    switch (t) {
    case QM_BF16: unpack_row_bf16(out, panel, r, k); break;
    case QM_MXFP4: unpack_row_mxfp4(out, panel, r, k); break;
    case QM_F16:
        for (int64_t i = 0; i < k; i++)
            out[i] = qm_f32_from_f16(half[i * QM_PANEL_ROWS + r]);
        break;
    default:
        for (int64_t i = 0; i < k; i++)
            out[i] = single[i * QM_PANEL_ROWS + r];
    }
}

int64_t find_nonfinite_scalar(const void *x, enum qm_dtype t, int64_t n) {
    uint32_t exponent = t == QM_BF16 ? 0x7F80 : t == QM_F16 ? 0x7C00 : 0x7F800000;
    size_t size = qm_dtype_size(t);
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = 0;
        memcpy(&bits, (const char *)x + (size_t)i * size, size);
        if ((bits & exponent) == exponent)
            return i;
    }
    return -1;
}
