/* Kernels over one row. Sums go in 16 lanes by index and are folded halves onto each other. */
#include <immintrin.h>
#include <math.h>

#include "simd/avx512/avx512.h"
#include "simd/avx512/exp.h"
#include "simd/avx512/fold.h"
#include "simd/avx512/transpose.h"

void rmsnorm_f32_avx512(float *out, const float *x, const float *weight, int64_t n, float eps) {
    __m512 sum = _mm512_setzero_ps();
    for (int64_t i = 0; i < n; i += 16) {
        __m512 v = _mm512_maskz_loadu_ps(lanes16(n - i), x + i);
        sum = _mm512_fmadd_ps(v, v, sum);
    }
    __m512 inverse = _mm512_set1_ps(1.0f / sqrtf(fold_sum(sum) / (float)n + eps));
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 in = lanes16(n - i);
        __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(in, x + i), inverse);
        _mm512_mask_storeu_ps(out + i, in, _mm512_mul_ps(v, _mm512_maskz_loadu_ps(in, weight + i)));
    }
}

void add_f32_avx512(float *x, const float *y, int64_t n) {
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 in = lanes16(n - i);
        __m512 v = _mm512_add_ps(_mm512_maskz_loadu_ps(in, x + i), _mm512_maskz_loadu_ps(in, y + i));
        _mm512_mask_storeu_ps(x + i, in, v);
    }
}

void axpy_f32_avx512(float *x, float a, const float *y, int64_t n) {
    __m512 va = _mm512_set1_ps(a);
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 in = lanes16(n - i);
        __m512 v = _mm512_fmadd_ps(va, _mm512_maskz_loadu_ps(in, y + i), _mm512_maskz_loadu_ps(in, x + i));
        _mm512_mask_storeu_ps(x + i, in, v);
    }
}

/* g / (1 + exp(-a g)) */
QM_INLINE __m512 gate(__m512 g, float a) {
    __m512 e = exp_f32_avx512(_mm512_mul_ps(g, _mm512_set1_ps(-a)));
    return _mm512_div_ps(g, _mm512_add_ps(_mm512_set1_ps(1.0f), e));
}

void silu_mul_f32_avx512(float *out, const float *gu, int64_t n_panels) {
    for (int64_t i = 0; i < n_panels; i++, gu += 32, out += 16)
        _mm512_storeu_ps(out, _mm512_mul_ps(gate(_mm512_loadu_ps(gu), 1.0f), _mm512_loadu_ps(gu + 16)));
}

void swiglu_clamped_f32_avx512(float *out, const float *gu, int64_t n_panels, float limit) {
    __m512 high = _mm512_set1_ps(limit), low = _mm512_set1_ps(-limit);
    for (int64_t i = 0; i < n_panels; i++, gu += 32, out += 16) {
        /* min and max return their second operand where one is NaN */
        __m512 g = _mm512_min_ps(high, _mm512_loadu_ps(gu));
        __m512 u = _mm512_max_ps(low, _mm512_min_ps(high, _mm512_loadu_ps(gu + 16)));
        _mm512_storeu_ps(out, _mm512_mul_ps(_mm512_add_ps(u, _mm512_set1_ps(1.0f)), gate(g, 1.702f)));
    }
}

void rope_f32_avx512(float *x, const float *cs, int64_t n) {
    int64_t half = n / 2;
    for (int64_t i = 0; i < half; i += 16) {
        __mmask16 in = lanes16(half - i);
        __m512 x0 = _mm512_maskz_loadu_ps(in, x + i), x1 = _mm512_maskz_loadu_ps(in, x + half + i);
        __m512 c = _mm512_maskz_loadu_ps(in, cs + i), s = _mm512_maskz_loadu_ps(in, cs + half + i);
        _mm512_mask_storeu_ps(x + i, in, _mm512_fmsub_ps(x0, c, _mm512_mul_ps(x1, s)));
        _mm512_mask_storeu_ps(x + half + i, in, _mm512_fmadd_ps(x1, c, _mm512_mul_ps(x0, s)));
    }
}

void softmax_f32_avx512(float *x, int64_t n) {
    __m512 max = _mm512_set1_ps(-INFINITY);
    for (int64_t i = 0; i < n; i += 16)
        max = _mm512_mask_max_ps(max, lanes16(n - i), _mm512_maskz_loadu_ps(lanes16(n - i), x + i), max);
    __m512 top = _mm512_set1_ps(_mm512_reduce_max_ps(max)), sum = _mm512_setzero_ps();
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 in = lanes16(n - i);
        __m512 e = exp_f32_avx512(_mm512_sub_ps(_mm512_maskz_loadu_ps(in, x + i), top));
        sum = _mm512_add_ps(sum, _mm512_maskz_mov_ps(in, e));
        _mm512_mask_storeu_ps(x + i, in, e);
    }
    __m512 total = _mm512_set1_ps(fold_sum(sum));
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 in = lanes16(n - i);
        _mm512_mask_storeu_ps(x + i, in, _mm512_div_ps(_mm512_maskz_loadu_ps(in, x + i), total));
    }
}
