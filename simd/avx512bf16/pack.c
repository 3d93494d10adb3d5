/* Packed activations of BF16: micro-panels [k/2][r] of pairs, rounded to nearest even. (vcvtne2ps2bf16 is not used: it
 * takes denormals for zero.) */
#include "simd/avx512/transpose.h"
#include "simd/avx512bf16/avx512bf16.h"
#include "simd/tiling.h"

size_t packed_bytes_bf16_avx512bf16(int64_t m, int64_t k) {
    return ((size_t)(m * (k + (k & 1))) * 2 + 63) & ~(size_t)63;
}

/* 16 pairs from x, of which n values are there; the rest are zero. */
QM_INLINE __m512i load_pairs(const float *x, int64_t n) {
    __m512 lo = _mm512_maskz_loadu_ps(lanes16(n), x), hi = _mm512_maskz_loadu_ps(lanes16(n - 16), x + 16);
    return round_bf16_pairs(lo, hi);
}

static void pack_row(int32_t *out, const float *row, int64_t k) {
    int64_t pairs = (k + 1) / 2;
    for (int64_t at = 0; at < pairs; at += 16)
        _mm512_mask_storeu_epi32(out + at, lanes16(pairs - at), load_pairs(row + 2 * at, k - 2 * at));
}

static void pack_micro_panel(int32_t *out, const float *src, int64_t ld, const int32_t *rows, int64_t first, int64_t r,
                             int64_t k) {
    int64_t pairs = (k + 1) / 2;
    for (int64_t at = 0; at < pairs; at += 16) {
        __m512i v[16];
        for (int64_t i = 0; i < 16; i++)
            v[i] = i < r ? load_pairs(gathered_row(src, ld, rows, first + i) + 2 * at, k - 2 * at)
                         : _mm512_setzero_si512();
        transpose_dwords(v);
        int64_t count = pairs - at < 16 ? pairs - at : 16;
        for (int64_t i = 0; i < count; i++)
            _mm512_mask_storeu_epi32(out + (at + i) * r, lanes16(r), v[i]);
    }
}

void pack_bf16_avx512bf16(void *dst, const float *src, int64_t ld, const int32_t *rows, int64_t m, int64_t k) {
    int64_t micro_panels = qm_micro_panel_count(m, QM_TILE_ROWS);
    for (int64_t s = 0; s < micro_panels; s++) {
        int64_t first, r = qm_micro_panel(m, QM_TILE_ROWS, s, &first);
        int32_t *out = (int32_t *)dst + first * ((k + 1) / 2);
        if (r == 1)
            pack_row(out, gathered_row(src, ld, rows, first), k);
        else
            pack_micro_panel(out, src, ld, rows, first, r, k);
    }
}
