/* AMX-BF16 kernels: products of BF16 panels by tiles. They have run against a model of the instructions only
 * (tests/support/amx_model.h). */
#ifndef QM_SIMD_AMX_H
#define QM_SIMD_AMX_H

#include "simd/kernels.h"

size_t packed_bytes_bf16_amx(int64_t m, int64_t k);
void pack_bf16_amx(void *dst, const float *src, int64_t ld, const int32_t *rows, int64_t m, int64_t k);
void product_bf16_amx(const struct qm_product *p);
double peak_bf16_amx(int64_t n, float *state);

#endif
