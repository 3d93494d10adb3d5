/* Packed activations of F32: micro-panels [k][r] of float, rounded to BF16 where the panels are BF16 or MXFP4. */
#include <immintrin.h>

#include "simd/avx2/avx2.h"
#include "simd/avx2/transpose.h"
#include "simd/tiling.h"

size_t packed_bytes_bf16_avx2(int64_t m, int64_t k) {
    return ((size_t)(m * (k + (k & 1))) * sizeof(float) + 63) & ~(size_t)63;
}

size_t packed_bytes_f32_avx2(int64_t m, int64_t k) {
    return ((size_t)(m * k) * sizeof(float) + 63) & ~(size_t)63;
}

static float rounded_to(int rounded, float x) {
    return rounded ? qm_f32_from_bf16(qm_bf16_from_f32(x)) : x;
}

QM_INLINE __m256i load(int rounded, const float *x) {
    __m256 v = _mm256_loadu_ps(x);
    return rounded ? round_bf16(v) : _mm256_castps_si256(v);
}

/* Columns [0, returned) of a micro-panel of r rows, eight at a time. Each column is stored as eight lanes, of which
 * those beyond r are overwritten by the next columns; the last ones, which would reach past the micro-panel, are left.
 */
QM_INLINE int64_t pack_eights(int rounded, float *out, const float *const *row, int64_t r, int64_t k, int64_t padded) {
    int64_t at = 0;
    for (; at + 8 <= k && (at + 7) * r + 8 <= padded * r; at += 8) {
        __m256i v[8];
        for (int64_t i = 0; i < 8; i++)
            v[i] = i < r ? load(rounded, row[i] + at) : _mm256_setzero_si256();
        if (r > 1)
            transpose_dwords(v);
        for (int64_t i = 0; i < (r > 1 ? 8 : 1); i++)
            _mm256_storeu_si256((__m256i *)(void *)(out + (at + i) * r), v[i]);
    }
    return at;
}

QM_INLINE void pack(int rounded, float *dst, const float *src, int64_t ld, const int32_t *rows, int64_t m, int64_t k) {
    int64_t padded = rounded ? k + (k & 1) : k, micro_panels = qm_micro_panel_count(m, QM_AVX2_ROWS);
    for (int64_t s = 0; s < micro_panels; s++) {
        int64_t first, r = qm_micro_panel(m, QM_AVX2_ROWS, s, &first);
        const float *row[QM_AVX2_ROWS];
        float *out = dst + first * padded;
        for (int64_t i = 0; i < r; i++)
            row[i] = src + (rows ? rows[first + i] : first + i) * ld;
        for (int64_t j = pack_eights(rounded, out, row, r, k, padded); j < padded; j++)
            for (int64_t i = 0; i < r; i++)
                out[j * r + i] = j < k ? rounded_to(rounded, row[i][j]) : 0;
    }
}

void pack_bf16_avx2(void *dst, const float *src, int64_t ld, const int32_t *rows, int64_t m, int64_t k) {
    pack(1, dst, src, ld, rows, m, k);
}

void pack_f32_avx2(void *dst, const float *src, int64_t ld, const int32_t *rows, int64_t m, int64_t k) {
    pack(0, dst, src, ld, rows, m, k);
}
