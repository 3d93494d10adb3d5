/* exp of 16 floats. x = n ln 2 + r with |r| <= ln 2 / 2 (ln 2 in two parts, by FMA), exp(r) = 1 + r + r^2 q(r)
 * with q of degree 4 (interpolation at Chebyshev nodes, below 1.1e-8 relative), times 2^n. The error is below
 * 1.5 ulp. Below ln 2^-126 the result is exactly 0 (no denormals), above ln FLT_MAX it is infinity, NaN stays. */
#ifndef QM_SIMD_AVX512_EXP_H
#define QM_SIMD_AVX512_EXP_H

#include <immintrin.h>

#include "simd/inline.h"

/* exp(x) = *y 2^*n, in the range where that is normal. */
QM_INLINE void exp_parts_avx512(__m512 x, __m512 *y, __m512 *n) {
    *n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(0x1.715476p+0f)),
                              _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 r = _mm512_fnmadd_ps(*n, _mm512_set1_ps(0x1.62e430p-1f), x);
    r = _mm512_fnmadd_ps(*n, _mm512_set1_ps(-0x1.05c610p-29f), r);
    __m512 q = _mm512_set1_ps(0x1.6d11fep-10f);
    q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(0x1.120c62p-7f));
    q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(0x1.555518p-5f));
    q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(0x1.5554dcp-3f));
    q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(0.5f));
    *y = _mm512_add_ps(_mm512_fmadd_ps(_mm512_mul_ps(r, r), q, r), _mm512_set1_ps(1.0f));
}

QM_INLINE __m512 exp_f32_avx512(__m512 x) {
    __m512 y, n;
    exp_parts_avx512(x, &y, &n);
    y = _mm512_scalef_ps(y, n);
    __mmask16 low = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-0x1.5d589ep+6f), _CMP_LT_OQ);
    __mmask16 high = _mm512_cmp_ps_mask(x, _mm512_set1_ps(0x1.62e42ep+6f), _CMP_GT_OQ);
    y = _mm512_mask_mov_ps(y, high, _mm512_set1_ps(__builtin_inff()));
    return _mm512_mask_mov_ps(y, low, _mm512_setzero_ps());
}

/* The same bits for x <= 0 and NaN; 0 in lanes that are not in `open`. */
QM_INLINE __m512 exp_nonpositive_avx512(__mmask16 open, __m512 x) {
    __m512 y, n;
    exp_parts_avx512(x, &y, &n);
    __mmask16 normal = _mm512_mask_cmp_ps_mask(open, x, _mm512_set1_ps(-0x1.5d589ep+6f), _CMP_NLT_UQ);
    return _mm512_maskz_scalef_ps(normal, y, n);
}

#endif
