/* Sums of 16 lanes in a fixed order: halves onto each other, as the scalar kernels fold. */
#ifndef QM_SIMD_AVX512_FOLD_H
#define QM_SIMD_AVX512_FOLD_H

#include <immintrin.h>

#include "simd/inline.h"

QM_INLINE float fold_sum(__m512 v) {
    __m256 y = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

#endif
