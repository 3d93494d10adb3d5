/* Probes with 256-bit vectors. */
#ifndef QM_SIMD_AVX2_PROBE_H
#define QM_SIMD_AVX2_PROBE_H

#include <stddef.h>
#include <stdint.h>

uint64_t read_lanes_avx2(const void *p, size_t lane, size_t step, size_t n);
double peak_f32_avx2(int64_t n, float *state);

#endif
