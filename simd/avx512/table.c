/* The entries that avx512 has kernels of its own for. */
#include "simd/avx512/avx512.h"
#include "simd/avx512/probe.h"
#include "simd/tables.h"

void qm_kernels_overlay_avx512(struct qm_kernels *t) {
    t->type[QM_BF16] = (struct qm_type_kernels){packed_bytes_bf16_avx512, pack_bf16_avx512, product_bf16_avx512};
    t->type[QM_F16] = (struct qm_type_kernels){packed_bytes_f32_avx512, pack_f32_avx512, product_f16_avx512};
    t->type[QM_F32] = (struct qm_type_kernels){packed_bytes_f32_avx512, pack_f32_avx512, product_f32_avx512};
    t->type[QM_MXFP4] = (struct qm_type_kernels){packed_bytes_bf16_avx512, pack_bf16_avx512, product_mxfp4_avx512};
    t->rmsnorm = rmsnorm_f32_avx512;
    t->add = add_f32_avx512;
    t->axpy = axpy_f32_avx512;
    t->silu_mul = silu_mul_f32_avx512;
    t->swiglu_clamped = swiglu_clamped_f32_avx512;
    t->rope = rope_f32_avx512;
    t->softmax = softmax_f32_avx512;
    t->softmax_split = softmax_split_f32_avx512;
    t->merge_split = merge_split_f32_avx512;
    t->attend = attend_avx512;
    t->pack_panel = pack_panel_avx512;
    t->find_nonfinite = find_nonfinite_avx512;
    t->greatest_finite = greatest_finite_avx512;
    t->sampling_weights = sampling_weights_avx512;
    t->select_at_least = select_at_least_avx512;
    t->read_lanes = read_lanes_avx512;
    t->peak_bf16 = t->peak_f32 = peak_f32_avx512;
}
