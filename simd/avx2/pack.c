/* Packed activations of F32: strips [k][r] of float, rounded to BF16 where the panels are BF16 or MXFP4. */
#include "simd/avx2/avx2.h"
#include "simd/tiling.h"

size_t packed_bytes_bf16_avx2(int64_t m, int64_t k) {
    return ((size_t)(m * (k + (k & 1))) * sizeof(float) + 63) & ~(size_t)63;
}

size_t packed_bytes_f32_avx2(int64_t m, int64_t k) {
    return ((size_t)(m * k) * sizeof(float) + 63) & ~(size_t)63;
}

static void pack(int rounded, int strip_rows, float *dst, const float *src, int64_t ld, const int32_t *rows, int64_t m,
                 int64_t k) {
    int64_t padded = rounded ? k + (k & 1) : k, strips = qm_strip_count(m, strip_rows);
    for (int64_t s = 0; s < strips; s++) {
        int64_t first, r = qm_strip(m, strip_rows, s, &first);
        for (int64_t i = 0; i < r; i++) {
            const float *row = src + (rows ? rows[first + i] : first + i) * ld;
            float *out = dst + first * padded + i;
            for (int64_t j = 0; j < k; j++)
                out[j * r] = rounded ? qm_f32_from_bf16(qm_bf16_from_f32(row[j])) : row[j];
            if (padded > k)
                out[k * r] = 0;
        }
    }
}

void pack_bf16_avx2(void *dst, const float *src, int64_t ld, const int32_t *rows, int64_t m, int64_t k) {
    pack(1, 6, dst, src, ld, rows, m, k);
}

void pack_mxfp4_avx2(void *dst, const float *src, int64_t ld, const int32_t *rows, int64_t m, int64_t k) {
    pack(1, 3, dst, src, ld, rows, m, k);
}

void pack_f32_avx2(void *dst, const float *src, int64_t ld, const int32_t *rows, int64_t m, int64_t k) {
    pack(0, 6, dst, src, ld, rows, m, k);
}
