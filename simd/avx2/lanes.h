/* The vectors of tiles whose bodies the instruction sets share (simd/float_tiles.h, simd/mxfp4_tiles.h): 256 bits. */
#ifndef QM_SIMD_AVX2_LANES_H
#define QM_SIMD_AVX2_LANES_H

#include <immintrin.h>

#include "simd/inline.h"

enum { QM_LANES = 8 };
typedef __m256 qm_lanes;

QM_INLINE qm_lanes lanes_zero(void) {
    return _mm256_setzero_ps();
}
QM_INLINE qm_lanes lanes_all(float x) {
    return _mm256_set1_ps(x);
}
/* Reads and writes at any alignment, and aligned ones. */
QM_INLINE qm_lanes lanes_read(const float *x) {
    return _mm256_loadu_ps(x);
}
QM_INLINE void lanes_write(float *x, qm_lanes v) {
    _mm256_storeu_ps(x, v);
}
QM_INLINE qm_lanes lanes_load(const char *x) {
    return _mm256_load_ps((const float *)(const void *)x);
}
QM_INLINE void lanes_store(char *x, qm_lanes v) {
    _mm256_store_ps((float *)(void *)x, v);
}
QM_INLINE qm_lanes lanes_fma(qm_lanes a, qm_lanes b, qm_lanes c) {
    return _mm256_fmadd_ps(a, b, c);
}

#endif
