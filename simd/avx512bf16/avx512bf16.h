/* AVX512_BF16 kernels: products of BF16 and MXFP4 panels by pairs of k. */
#ifndef QM_SIMD_AVX512BF16_H
#define QM_SIMD_AVX512BF16_H

#include "simd/kernels.h"

size_t packed_bytes_bf16_avx512bf16(int64_t m, int64_t k);
void pack_bf16_avx512bf16(void *dst, const float *src, int64_t ld, const int32_t *rows, int64_t m, int64_t k);
void product_bf16_avx512bf16(const struct qm_product *p);
void product_mxfp4_avx512bf16(const struct qm_product *p);
void attend_avx512bf16(const struct qm_kernels *kernels, enum qm_dtype t, const struct qm_split *s);

#endif
