/* Kernels over one row and over attention splits. Sums go in 16 lanes (two registers) by index and are folded
 * halves onto each other. */
#include <immintrin.h>
#include <math.h>

#include "simd/avx2/avx2.h"
#include "simd/avx2/exp.h"

QM_INLINE float fold_sum(__m256 lo, __m256 hi) {
    __m256 y = _mm256_add_ps(lo, hi);
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

/* All ones in the lanes whose index at + lane is in [lo, hi). */
QM_INLINE __m256i open_lanes(int64_t at, int64_t lo, int64_t hi) {
    int from = lo <= at ? 0 : lo >= at + 8 ? 8 : (int)(lo - at), to = hi <= at ? 0 : hi >= at + 8 ? 8 : (int)(hi - at);
    __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_andnot_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(from), lane),
                               _mm256_cmpgt_epi32(_mm256_set1_epi32(to), lane));
}

void rmsnorm_f32_avx2(float *out, const float *x, const float *weight, int64_t n, float eps) {
    __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    for (int64_t i = 0; i < n; i += 8) {
        __m256 v = _mm256_maskload_ps(x + i, open_lanes(i, 0, n));
        sum[i / 8 % 2] = _mm256_fmadd_ps(v, v, sum[i / 8 % 2]);
    }
    __m256 inverse = _mm256_set1_ps(1.0f / sqrtf(fold_sum(sum[0], sum[1]) / (float)n + eps));
    for (int64_t i = 0; i < n; i += 8) {
        __m256i in = open_lanes(i, 0, n);
        __m256 v = _mm256_mul_ps(_mm256_maskload_ps(x + i, in), inverse);
        _mm256_maskstore_ps(out + i, in, _mm256_mul_ps(v, _mm256_maskload_ps(weight + i, in)));
    }
}

void add_f32_avx2(float *x, const float *y, int64_t n) {
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(x + i, _mm256_add_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i)));
    for (; i < n; i++)
        x[i] += y[i];
}

void axpy_f32_avx2(float *x, float a, const float *y, int64_t n) {
    __m256 va = _mm256_set1_ps(a);
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(x + i, _mm256_fmadd_ps(va, _mm256_loadu_ps(y + i), _mm256_loadu_ps(x + i)));
    for (; i < n; i++)
        x[i] = fmaf(a, y[i], x[i]);
}

/* Two roundings a product and sum, as the scalar kernel. */
void rope_f32_avx2(float *x, const float *cs, int64_t n) {
    int64_t half = n / 2, i = 0;
    for (; i + 8 <= half; i += 8) {
        __m256 x0 = _mm256_loadu_ps(x + i), x1 = _mm256_loadu_ps(x + half + i);
        __m256 c = _mm256_loadu_ps(cs + i), s = _mm256_loadu_ps(cs + half + i);
        _mm256_storeu_ps(x + i, _mm256_sub_ps(_mm256_mul_ps(x0, c), _mm256_mul_ps(x1, s)));
        _mm256_storeu_ps(x + half + i, _mm256_add_ps(_mm256_mul_ps(x1, c), _mm256_mul_ps(x0, s)));
    }
    for (; i < half; i++) {
        float x0 = x[i], x1 = x[i + half], c = cs[i], s = cs[half + i];
        x[i] = x0 * c - x1 * s;
        x[i + half] = x1 * c + x0 * s;
    }
}

/* The greatest of eight lanes; max_ps has left no NaN in them. */
QM_INLINE float fold_max(__m256 v) {
    float lanes[8], top = -INFINITY;
    _mm256_storeu_ps(lanes, v);
    for (int i = 0; i < 8; i++)
        top = lanes[i] > top ? lanes[i] : top;
    return top;
}

void softmax_f32_avx2(float *x, int64_t n) {
    __m256 most = _mm256_set1_ps(-INFINITY);
    for (int64_t i = 0; i < n; i += 8) {
        __m256i in = open_lanes(i, 0, n);
        __m256 v = _mm256_blendv_ps(most, _mm256_maskload_ps(x + i, in), _mm256_castsi256_ps(in));
        most = _mm256_max_ps(v, most);
    }
    __m256 top = _mm256_set1_ps(fold_max(most)), sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    for (int64_t i = 0; i < n; i += 8) {
        __m256i in = open_lanes(i, 0, n);
        __m256 e = exp_f32_avx2(_mm256_sub_ps(_mm256_maskload_ps(x + i, in), top));
        sum[i / 8 % 2] = _mm256_add_ps(sum[i / 8 % 2], _mm256_and_ps(e, _mm256_castsi256_ps(in)));
        _mm256_maskstore_ps(x + i, in, e);
    }
    __m256 total = _mm256_set1_ps(fold_sum(sum[0], sum[1]));
    for (int64_t i = 0; i < n; i += 8) {
        __m256i in = open_lanes(i, 0, n);
        _mm256_maskstore_ps(x + i, in, _mm256_div_ps(_mm256_maskload_ps(x + i, in), total));
    }
}

/* g / (1 + exp(-a g)) */
QM_INLINE __m256 gate(__m256 g, float a) {
    __m256 e = exp_f32_avx2(_mm256_mul_ps(g, _mm256_set1_ps(-a)));
    return _mm256_div_ps(g, _mm256_add_ps(_mm256_set1_ps(1.0f), e));
}

void silu_mul_f32_avx2(float *out, const float *gu, int64_t n_panels) {
    for (int64_t i = 0; i < n_panels; i++, gu += 32, out += 16)
        for (int j = 0; j < 16; j += 8)
            _mm256_storeu_ps(out + j, _mm256_mul_ps(gate(_mm256_loadu_ps(gu + j), 1.0f), _mm256_loadu_ps(gu + 16 + j)));
}

void swiglu_clamped_f32_avx2(float *out, const float *gu, int64_t n_panels, float limit) {
    __m256 high = _mm256_set1_ps(limit), low = _mm256_set1_ps(-limit);
    for (int64_t i = 0; i < n_panels; i++, gu += 32, out += 16)
        for (int j = 0; j < 16; j += 8) {
            /* min and max return their second operand where one is NaN */
            __m256 g = _mm256_min_ps(high, _mm256_loadu_ps(gu + j));
            __m256 u = _mm256_max_ps(low, _mm256_min_ps(high, _mm256_loadu_ps(gu + 16 + j)));
            _mm256_storeu_ps(out + j, _mm256_mul_ps(_mm256_add_ps(u, _mm256_set1_ps(1.0f)), gate(g, 1.702f)));
        }
}

void softmax_split_f32_avx2(float *s, int64_t n, int64_t lo, int64_t hi, float scale, float *max, float *sum) {
    __m256 factor = _mm256_set1_ps(scale), most = _mm256_set1_ps(-INFINITY);
    for (int64_t i = 0; i < n; i += 8) {
        __m256 open = _mm256_castsi256_ps(open_lanes(i, lo, hi));
        __m256 z = _mm256_mul_ps(_mm256_loadu_ps(s + i), factor);
        most = _mm256_max_ps(_mm256_blendv_ps(_mm256_set1_ps(-INFINITY), z, open), most);
    }
    float top = fold_max(most);
    __m256 total[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    for (int64_t i = 0; i < n; i += 8) {
        __m256 z = _mm256_fmsub_ps(_mm256_loadu_ps(s + i), factor, _mm256_set1_ps(top));
        __m256 e = _mm256_and_ps(exp_f32_avx2(z), _mm256_castsi256_ps(open_lanes(i, lo, hi)));
        total[i / 8 % 2] = _mm256_add_ps(total[i / 8 % 2], e);
        _mm256_storeu_ps(s + i, e);
    }
    *max = top;
    *sum = fold_sum(total[0], total[1]);
}

void merge_split_f32_avx2(float *acc, float *am, float *as, const float *o, float m, float s, int64_t n) {
    if (s == 0)
        return;
    float top = *am > m ? *am : m;
    __m256 before = exp_f32_avx2(_mm256_set1_ps(*am - top)), now = exp_f32_avx2(_mm256_set1_ps(m - top));
    for (int64_t i = 0; i < n; i += 8) {
        __m256i in = open_lanes(i, 0, n);
        __m256 old = _mm256_mul_ps(_mm256_maskload_ps(acc + i, in), before);
        _mm256_maskstore_ps(acc + i, in, _mm256_fmadd_ps(_mm256_maskload_ps(o + i, in), now, old));
    }
    *as = *as * _mm256_cvtss_f32(before) + s * _mm256_cvtss_f32(now);
    *am = top;
}
