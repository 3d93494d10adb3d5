/* The softmax of one row of an attention split, for the instruction sets with 512-bit vectors. */
#ifndef QM_SIMD_AVX512_SOFTMAX_H
#define QM_SIMD_AVX512_SOFTMAX_H

#include <immintrin.h>
#include <math.h>

#include "simd/avx512/attend.h"
#include "simd/avx512/exp.h"
#include "simd/avx512/fold.h"
#include "simd/avx512/transpose.h"
#include "simd/inline.h"

/* The lanes of slots [at, at + 16) that lie in [lo, hi). */
QM_INLINE __mmask16 open_lanes(int64_t at, int64_t lo, int64_t hi) {
    return lanes16(hi - at) & (__mmask16)~lanes16(lo - at);
}

/* The greatest of the open slots; NaN counts as nothing. */
QM_INLINE float open_max(const float *s, int64_t n, int64_t lo, int64_t hi, int all) {
    __m512 most[2] = {_mm512_set1_ps(-INFINITY), _mm512_set1_ps(-INFINITY)};
    for (int64_t i = 0; i < n; i += 32)
        QM_UNROLL
    for (int j = 0; j < 2; j++) {
        __mmask16 open = all ? 0xFFFF : open_lanes(i + 16 * j, lo, hi);
        if (all)
            most[j] = _mm512_max_ps(_mm512_loadu_ps(s + i + 16 * j), most[j]);
        else
            most[j] = _mm512_mask_max_ps(most[j], open, _mm512_maskz_loadu_ps(open, s + i + 16 * j), most[j]);
    }
    return _mm512_reduce_max_ps(_mm512_max_ps(most[0], most[1]));
}

/* What becomes of the probabilities of slots [i, i + 32). */
typedef void store_probabilities(float *s, int64_t i, __m512 first, __m512 second);

/* exp(s * scale - top), 0 in closed slots; returns their sum, in two vectors of lanes by the slot. */
QM_INLINE float open_exp(float *s, int64_t n, int64_t lo, int64_t hi, float scale, float top, int all,
                         store_probabilities *store, struct qm_ahead ahead) {
    __m512 factor = _mm512_set1_ps(scale), most = _mm512_set1_ps(top);
    __m512 total[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    for (int64_t i = 0; i < n; i += 32) {
        __m512 e[2];
        fetch_line(ahead, i / QM_ATTEND_LINE);
        QM_UNROLL
        for (int j = 0; j < 2; j++) {
            __mmask16 open = all ? 0xFFFF : open_lanes(i + 16 * j, lo, hi);
            __m512 z = _mm512_fmsub_ps(_mm512_maskz_loadu_ps(open, s + i + 16 * j), factor, most);
            e[j] = exp_nonpositive_avx512(open, z);
            total[j] = _mm512_add_ps(total[j], e[j]);
        }
        store(s, i, e[0], e[1]);
    }
    return fold_sum(_mm512_add_ps(total[0], total[1]));
}

/* struct qm_kernels' softmax_split; a line of `ahead` is fetched for each QM_ATTEND_LINE slots. */
QM_INLINE void softmax_row(float *s, int64_t n, int64_t lo, int64_t hi, float scale, float *max, float *sum,
                           store_probabilities *store, struct qm_ahead ahead) {
    if (lo <= 0 && hi >= n) {
        *max = open_max(s, n, lo, hi, 1) * scale;
        *sum = open_exp(s, n, lo, hi, scale, *max, 1, store, ahead);
    } else {
        *max = open_max(s, n, lo, hi, 0) * scale;
        *sum = open_exp(s, n, lo, hi, scale, *max, 0, store, ahead);
    }
}

QM_INLINE void store_floats(float *s, int64_t i, __m512 first, __m512 second) {
    _mm512_storeu_ps(s + i, first);
    _mm512_storeu_ps(s + i + 16, second);
}

#endif
