/* Probe of the BF16 dot product instruction. */
#ifndef QM_SIMD_AVX512BF16_PROBE_H
#define QM_SIMD_AVX512BF16_PROBE_H

#include <stdint.h>

double peak_bf16_avx512bf16(int64_t n, float *state);

#endif
