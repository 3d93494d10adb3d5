/* The entries that avx512bf16 has kernels of its own for. */
#include "simd/avx512bf16/avx512bf16.h"
#include "simd/avx512bf16/probe.h"
#include "simd/tables.h"

void qm_kernels_overlay_avx512bf16(struct qm_kernels *t) {
    t->type[QM_BF16] =
        (struct qm_type_kernels){packed_bytes_bf16_avx512bf16, pack_bf16_avx512bf16, product_bf16_avx512bf16};
    t->type[QM_MXFP4] =
        (struct qm_type_kernels){packed_bytes_bf16_avx512bf16, pack_bf16_avx512bf16, product_mxfp4_avx512bf16};
    t->attend = attend_avx512bf16;
    t->peak_bf16 = peak_bf16_avx512bf16;
}
