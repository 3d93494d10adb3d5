/* Kernels of attention splits: the softmax of one and the merge of several. */
#include <immintrin.h>
#include <math.h>

#include "simd/avx512/avx512.h"
#include "simd/avx512/exp.h"
#include "simd/avx512/fold.h"
#include "simd/avx512/transpose.h"

/* The lanes of slots [at, at + 16) that lie in [lo, hi). */
QM_INLINE __mmask16 open_lanes(int64_t at, int64_t lo, int64_t hi) {
    return lanes16(hi - at) & (__mmask16)~lanes16(lo - at);
}

void softmax_split_f32_avx512(float *s, int64_t n, int64_t lo, int64_t hi, float scale, float *max, float *sum) {
    __m512 factor = _mm512_set1_ps(scale), most = _mm512_set1_ps(-INFINITY), total = _mm512_setzero_ps();
    for (int64_t i = 0; i < n; i += 16)
        most = _mm512_mask_max_ps(most, open_lanes(i, lo, hi), _mm512_mul_ps(_mm512_loadu_ps(s + i), factor), most);
    __m512 top = _mm512_set1_ps(_mm512_reduce_max_ps(most));
    for (int64_t i = 0; i < n; i += 16) {
        __m512 z = _mm512_sub_ps(_mm512_mul_ps(_mm512_loadu_ps(s + i), factor), top);
        __m512 e = _mm512_maskz_mov_ps(open_lanes(i, lo, hi), exp_f32_avx512(z));
        total = _mm512_add_ps(total, e);
        _mm512_storeu_ps(s + i, e);
    }
    *max = _mm512_cvtss_f32(top);
    *sum = fold_sum(total);
}

void merge_split_f32_avx512(float *acc, float *am, float *as, const float *o, float m, float s, int64_t n) {
    if (s == 0)
        return;
    float top = *am > m ? *am : m;
    __m512 before = exp_f32_avx512(_mm512_set1_ps(*am - top)), now = exp_f32_avx512(_mm512_set1_ps(m - top));
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 in = lanes16(n - i);
        __m512 old = _mm512_mul_ps(_mm512_maskz_loadu_ps(in, acc + i), before);
        _mm512_mask_storeu_ps(acc + i, in, _mm512_fmadd_ps(_mm512_maskz_loadu_ps(in, o + i), now, old));
    }
    *as = *as * _mm512_cvtss_f32(before) + s * _mm512_cvtss_f32(now);
    *am = top;
}
