/* Transposes and rounding in 512-bit registers, shared by packing of activations and of panels. */
#ifndef QM_SIMD_AVX512_TRANSPOSE_H
#define QM_SIMD_AVX512_TRANSPOSE_H

#include <immintrin.h>

#include "simd/inline.h"

/* 16 x 16 dwords: r[i] lane j becomes r[j] lane i. */
QM_INLINE void transpose_dwords(__m512i r[16]) {
    __m512i t[16];
    QM_UNROLL
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    QM_UNROLL
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    /* r[4 q + c] holds columns c, c + 4, c + 8, c + 12 of rows 4 q .. 4 q + 3 in its quarters */
    QM_UNROLL
    for (int c = 0; c < 4; c++) {
        t[c] = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x88);
        t[4 + c] = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xDD);
        t[8 + c] = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0x88);
        t[12 + c] = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0xDD);
    }
    QM_UNROLL
    for (int c = 0; c < 4; c++) {
        r[c] = _mm512_shuffle_i32x4(t[c], t[8 + c], 0x88);
        r[8 + c] = _mm512_shuffle_i32x4(t[c], t[8 + c], 0xDD);
        r[4 + c] = _mm512_shuffle_i32x4(t[4 + c], t[12 + c], 0x88);
        r[12 + c] = _mm512_shuffle_i32x4(t[4 + c], t[12 + c], 0xDD);
    }
}

/* Each float rounded to BF16 (as qm_bf16_from_f32), in the upper half of its lane; the lower half is zero. */
QM_INLINE __m512i round_bf16(__m512 x) {
    __m512i u = _mm512_castps_si512(x);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    __m512i rounded = _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
    __m512i quiet = _mm512_or_si512(u, _mm512_set1_epi32(0x400000));
    __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    rounded = _mm512_mask_mov_epi32(rounded, nan, quiet);
    return _mm512_and_si512(rounded, _mm512_set1_epi32(-0x10000));
}

/* 32 floats rounded to 16 pairs of BF16. */
QM_INLINE __m512i round_bf16_pairs(__m512 lo, __m512 hi) {
    __m256i l = _mm512_cvtepi32_epi16(_mm512_srli_epi32(round_bf16(lo), 16));
    __m256i h = _mm512_cvtepi32_epi16(_mm512_srli_epi32(round_bf16(hi), 16));
    return _mm512_inserti64x4(_mm512_castsi256_si512(l), h, 1);
}

/* The mask of the first n lanes of 16; n may be negative or above 16. */
QM_INLINE __mmask16 lanes16(int64_t n) {
    return n >= 16 ? 0xFFFF : n <= 0 ? 0 : (__mmask16)((1u << n) - 1);
}

/* Row i of activations that may be gathered. */
QM_INLINE const float *gathered_row(const float *src, int64_t ld, const int32_t *rows, int64_t i) {
    return src + (rows ? rows[i] : i) * ld;
}

#endif
