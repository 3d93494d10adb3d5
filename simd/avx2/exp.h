/* exp of 8 floats, by the same steps as AVX-512's (simd/avx512/exp.h): error below 1.5 ulp, exactly 0 below
 * ln 2^-126, infinity above ln FLT_MAX, NaN stays. 2^n is two factors, since 2^128 is no float. */
#ifndef QM_SIMD_AVX2_EXP_H
#define QM_SIMD_AVX2_EXP_H

#include <immintrin.h>

#include "simd/inline.h"

/* 2^n of integers in the normal range. */
QM_INLINE __m256 power_of_two(__m256i n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}

QM_INLINE __m256 exp_f32_avx2(__m256 x) {
    __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(0x1.715476p+0f)),
                               _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0x1.62e430p-1f), x);
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-0x1.05c610p-29f), r);
    __m256 q = _mm256_set1_ps(0x1.6d11fep-10f);
    q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(0x1.120c62p-7f));
    q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(0x1.555518p-5f));
    q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(0x1.5554dcp-3f));
    q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(0.5f));
    __m256 y = _mm256_add_ps(_mm256_fmadd_ps(_mm256_mul_ps(r, r), q, r), _mm256_set1_ps(1.0f));
    __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
    y = _mm256_mul_ps(_mm256_mul_ps(y, power_of_two(half)), power_of_two(_mm256_sub_epi32(whole, half)));
    __m256 low = _mm256_cmp_ps(x, _mm256_set1_ps(-0x1.5d589ep+6f), _CMP_LT_OQ);
    __m256 high = _mm256_cmp_ps(x, _mm256_set1_ps(0x1.62e42ep+6f), _CMP_GT_OQ);
    __m256 nan = _mm256_cmp_ps(x, x, _CMP_UNORD_Q);
    y = _mm256_blendv_ps(y, _mm256_set1_ps(__builtin_inff()), high);
    return _mm256_blendv_ps(_mm256_andnot_ps(low, y), x, nan);
}

#endif
