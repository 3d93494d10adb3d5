/* Probes with 512-bit vectors. */
#ifndef QM_SIMD_AVX512_PROBE_H
#define QM_SIMD_AVX512_PROBE_H

#include <stddef.h>
#include <stdint.h>

uint64_t read_lanes_avx512(const void *p, size_t lane, size_t step, size_t n);
double peak_f32_avx512(int64_t n, float *state);

#endif
