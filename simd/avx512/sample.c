/* Kernels of sampling a token: the bits of the scalar ones. */
#include <float.h>
#include <immintrin.h>
#include <math.h>

#include "simd/avx512/avx512.h"
#include "simd/avx512/transpose.h"
#include "simd/sample.h"

QM_INLINE __m512 max_finite(__m512 max, __m512 v) {
    __mmask16 finite = _mm512_cmp_ps_mask(_mm512_abs_ps(v), _mm512_set1_ps(FLT_MAX), _CMP_LE_OQ);
    return _mm512_mask_max_ps(max, finite, max, v);
}

/* Four at a time: one would wait for the other. */
float greatest_finite_avx512(const float *x, int64_t n) {
    __m512 none = _mm512_set1_ps(-INFINITY), max[4] = {none, none, none, none};
    int64_t i = 0;
    for (; i + 64 <= n; i += 64)
        for (int j = 0; j < 4; j++)
            max[j] = max_finite(max[j], _mm512_loadu_ps(x + i + 16 * j));
    for (; i < n; i += 16)
        max[0] = max_finite(max[0], _mm512_mask_loadu_ps(none, lanes16(n - i), x + i));
    return _mm512_reduce_max_ps(_mm512_max_ps(_mm512_max_ps(max[0], max[1]), _mm512_max_ps(max[2], max[3])));
}

/* 2^t; 0 in lanes that are not in `in`, and where t is not in [QM_EXP2_LEAST, 0]. */
QM_INLINE __m512 weights_of(__mmask16 in, __m512 t) {
    __m512 magic = _mm512_set1_ps(QM_EXP2_ROUND), sum = _mm512_add_ps(t, magic);
    __m512 f = _mm512_sub_ps(t, _mm512_sub_ps(sum, magic));
    __m512 q = _mm512_fmadd_ps(_mm512_set1_ps(QM_EXP2_Q0), f, _mm512_set1_ps(QM_EXP2_Q1));
    q = _mm512_fmadd_ps(q, f, _mm512_set1_ps(QM_EXP2_Q2));
    q = _mm512_fmadd_ps(q, f, _mm512_set1_ps(QM_EXP2_Q3));
    q = _mm512_fmadd_ps(q, f, _mm512_set1_ps(QM_EXP2_Q4));
    q = _mm512_fmadd_ps(q, f, _mm512_set1_ps(QM_EXP2_Q5));
    __m512 p = _mm512_fmadd_ps(q, f, _mm512_set1_ps(1.0f));
    __mmask16 high = _mm512_mask_cmp_ps_mask(in, t, _mm512_set1_ps(QM_EXP2_LEAST), _CMP_GE_OQ);
    __mmask16 both = _mm512_mask_cmp_ps_mask(high, t, _mm512_setzero_ps(), _CMP_LE_OQ);
    __m512i whole = _mm512_slli_epi32(_mm512_castps_si512(sum), 23);
    return _mm512_castsi512_ps(_mm512_maskz_add_epi32(both, _mm512_castps_si512(p), whole));
}

double sampling_weights_avx512(float *w, const float *z, int64_t n, float max, float scale) {
    __m512 top = _mm512_set1_ps(max), by = _mm512_set1_ps(scale);
    __m512d low = _mm512_setzero_pd(), high = _mm512_setzero_pd();
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 in = lanes16(n - i);
        __m512 t = _mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(in, z + i), top), by);
        __m512 v = weights_of(in, t);
        _mm512_mask_storeu_ps(w + i, in, v);
        low = _mm512_add_pd(low, _mm512_cvtps_pd(_mm512_castps512_ps256(v)));
        high = _mm512_add_pd(high, _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1)));
    }
    __m512d eight = _mm512_add_pd(low, high);
    __m256d four = _mm256_add_pd(_mm512_castpd512_pd256(eight), _mm512_extractf64x4_pd(eight, 1));
    __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

int64_t select_at_least_avx512(int32_t *ids, const float *x, int64_t n, float least) {
    __m512 bound = _mm512_set1_ps(least);
    __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    int64_t found = 0;
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 in = lanes16(n - i);
        __mmask16 chosen = _mm512_mask_cmp_ps_mask(in, _mm512_maskz_loadu_ps(in, x + i), bound, _CMP_GE_OQ);
        if (!chosen)
            continue;
        __m512i id = _mm512_add_epi32(_mm512_set1_epi32((int32_t)i), lane);
        _mm512_storeu_si512(ids + found, _mm512_maskz_compress_epi32(chosen, id));
        found += __builtin_popcount(chosen);
    }
    return found;
}
