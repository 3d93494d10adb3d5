/* Packed activations of F32: micro-panels [k][r] of float, rounded to BF16 where the panels are BF16 or MXFP4. */
#include "simd/avx512/avx512.h"
#include "simd/avx512/transpose.h"
#include "simd/tiling.h"

size_t packed_bytes_bf16_avx512(int64_t m, int64_t k) {
    return ((size_t)(m * (k + (k & 1))) * sizeof(float) + 63) & ~(size_t)63;
}

size_t packed_bytes_f32_avx512(int64_t m, int64_t k) {
    return ((size_t)(m * k) * sizeof(float) + 63) & ~(size_t)63;
}

QM_INLINE __m512i load_lanes(int rounded, __mmask16 lanes, const float *x) {
    __m512 v = _mm512_maskz_loadu_ps(lanes, x);
    return rounded ? round_bf16(v) : _mm512_castps_si512(v);
}

/* One micro-panel: rows [first, first + r), k columns padded with zeros to `padded`. */
QM_INLINE void pack_micro_panel(int rounded, float *out, const float *src, int64_t ld, const int32_t *rows,
                                int64_t first, int64_t r, int64_t k, int64_t padded) {
    for (int64_t at = 0; at < padded; at += 16) {
        __m512i v[16];
        for (int64_t i = 0; i < 16; i++)
            v[i] = i < r ? load_lanes(rounded, lanes16(k - at), gathered_row(src, ld, rows, first + i) + at)
                         : _mm512_setzero_si512();
        transpose_dwords(v);
        int64_t count = padded - at < 16 ? padded - at : 16;
        for (int64_t i = 0; i < count; i++)
            _mm512_mask_storeu_epi32(out + (at + i) * r, lanes16(r), v[i]);
    }
}

/* A micro-panel of one row, in order as it is. */
QM_INLINE void pack_row(int rounded, float *out, const float *row, int64_t k, int64_t padded) {
    for (int64_t at = 0; at < padded; at += 16)
        _mm512_mask_storeu_epi32(out + at, lanes16(padded - at), load_lanes(rounded, lanes16(k - at), row + at));
}

QM_INLINE void pack(int rounded, void *dst, const float *src, int64_t ld, const int32_t *rows, int64_t m, int64_t k) {
    int64_t padded = rounded ? k + (k & 1) : k, micro_panels = qm_micro_panel_count(m, QM_TILE_ROWS);
    for (int64_t s = 0; s < micro_panels; s++) {
        int64_t first, r = qm_micro_panel(m, QM_TILE_ROWS, s, &first);
        float *out = (float *)dst + first * padded;
        if (r == 1)
            pack_row(rounded, out, gathered_row(src, ld, rows, first), k, padded);
        else
            pack_micro_panel(rounded, out, src, ld, rows, first, r, k, padded);
    }
}

void pack_bf16_avx512(void *dst, const float *src, int64_t ld, const int32_t *rows, int64_t m, int64_t k) {
    pack(1, dst, src, ld, rows, m, k);
}

void pack_f32_avx512(void *dst, const float *src, int64_t ld, const int32_t *rows, int64_t m, int64_t k) {
    pack(0, dst, src, ld, rows, m, k);
}
