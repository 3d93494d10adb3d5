/* Kernels of sampling a token: the bits of the scalar ones. */
#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "simd/avx2/avx2.h"
#include "simd/inline.h"
#include "simd/sample.h"

enum { LANES = 16 };

float greatest_finite_avx2(const float *x, int64_t n) {
    __m256 most = _mm256_set1_ps(FLT_MAX), sign = _mm256_set1_ps(-0.0f), max = _mm256_set1_ps(-INFINITY);
    float lanes[8], greatest = -INFINITY;
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 v = _mm256_loadu_ps(x + i), finite = _mm256_cmp_ps(_mm256_andnot_ps(sign, v), most, _CMP_LE_OQ);
        max = _mm256_max_ps(max, _mm256_blendv_ps(max, v, finite));
    }
    _mm256_storeu_ps(lanes, max);
    for (int j = 0; j < 8; j++)
        greatest = lanes[j] > greatest ? lanes[j] : greatest;
    for (; i < n; i++)
        greatest = fabsf(x[i]) <= FLT_MAX && x[i] > greatest ? x[i] : greatest;
    return greatest;
}

/* 2^t; 0 where t is not in [QM_EXP2_LEAST, 0]. */
QM_INLINE __m256 weights_of(__m256 t) {
    __m256 magic = _mm256_set1_ps(QM_EXP2_ROUND), sum = _mm256_add_ps(t, magic);
    __m256 f = _mm256_sub_ps(t, _mm256_sub_ps(sum, magic));
    __m256 q = _mm256_fmadd_ps(_mm256_set1_ps(QM_EXP2_Q0), f, _mm256_set1_ps(QM_EXP2_Q1));
    q = _mm256_fmadd_ps(q, f, _mm256_set1_ps(QM_EXP2_Q2));
    q = _mm256_fmadd_ps(q, f, _mm256_set1_ps(QM_EXP2_Q3));
    q = _mm256_fmadd_ps(q, f, _mm256_set1_ps(QM_EXP2_Q4));
    q = _mm256_fmadd_ps(q, f, _mm256_set1_ps(QM_EXP2_Q5));
    __m256 p = _mm256_fmadd_ps(q, f, _mm256_set1_ps(1.0f));
    __m256i whole = _mm256_slli_epi32(_mm256_castps_si256(sum), 23);
    __m256 in = _mm256_and_ps(_mm256_cmp_ps(t, _mm256_set1_ps(QM_EXP2_LEAST), _CMP_GE_OQ),
                              _mm256_cmp_ps(t, _mm256_setzero_ps(), _CMP_LE_OQ));
    return _mm256_and_ps(in, _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), whole)));
}

/* Eight weights, to w and onto the sums of their lanes. */
QM_INLINE void weigh(float *w, const float *z, __m256 max, __m256 scale, __m256d sum[2]) {
    __m256 v = weights_of(_mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(z), max), scale));
    _mm256_storeu_ps(w, v);
    sum[0] = _mm256_add_pd(sum[0], _mm256_cvtps_pd(_mm256_castps256_ps128(v)));
    sum[1] = _mm256_add_pd(sum[1], _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1)));
}

double sampling_weights_avx2(float *w, const float *z, int64_t n, float max, float scale) {
    __m256 top = _mm256_set1_ps(max), by = _mm256_set1_ps(scale);
    __m256d low[2] = {_mm256_setzero_pd(), _mm256_setzero_pd()}, high[2] = {low[0], low[0]};
    int64_t whole = n / LANES * LANES;
    for (int64_t i = 0; i < whole; i += LANES) {
        weigh(w + i, z + i, top, by, low);
        weigh(w + i + 8, z + i + 8, top, by, high);
    }
    if (whole < n) { /* the others weigh nothing */
        float rest[LANES];
        for (int64_t j = 0; j < LANES; j++)
            rest[j] = whole + j < n ? z[whole + j] : NAN;
        weigh(rest, rest, top, by, low);
        weigh(rest + 8, rest + 8, top, by, high);
        memcpy(w + whole, rest, (size_t)(n - whole) * sizeof *w);
    }
    __m256d four = _mm256_add_pd(_mm256_add_pd(low[0], high[0]), _mm256_add_pd(low[1], high[1]));
    __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

int64_t select_at_least_avx2(int32_t *ids, const float *x, int64_t n, float least) {
    __m256 bound = _mm256_set1_ps(least);
    int64_t found = 0, i = 0;
    for (; i + 8 <= n; i += 8) {
        unsigned chosen = (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(x + i), bound, _CMP_GE_OQ));
        for (; chosen; chosen &= chosen - 1)
            ids[found++] = (int32_t)i + __builtin_ctz(chosen);
    }
    for (; i < n; i++)
        if (x[i] >= least)
            ids[found++] = (int32_t)i;
    return found;
}
