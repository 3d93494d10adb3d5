/* The scalar table: every entry, the one the others start from. */
#include "simd/attend.h"
#include "simd/scalar/scalar.h"
#include "simd/tables.h"

void qm_kernels_overlay_scalar(struct qm_kernels *t) {
    *t = (struct qm_kernels){
        .type =
            {
                [QM_BF16] = {packed_bytes_bf16_scalar, pack_bf16_scalar, product_bf16_scalar},
                [QM_F16] = {packed_bytes_f32_scalar, pack_f32_scalar, product_f16_scalar},
                [QM_F32] = {packed_bytes_f32_scalar, pack_f32_scalar, product_f32_scalar},
                [QM_MXFP4] = {packed_bytes_bf16_scalar, pack_bf16_scalar, product_mxfp4_scalar},
            },
        .rmsnorm = rmsnorm_f32_scalar,
        .add = add_f32_scalar,
        .axpy = axpy_f32_scalar,
        .silu_mul = silu_mul_f32_scalar,
        .swiglu_clamped = swiglu_clamped_f32_scalar,
        .rope = rope_f32_scalar,
        .softmax = softmax_f32_scalar,
        .softmax_split = softmax_split_f32_scalar,
        .merge_split = merge_split_f32_scalar,
        .attend = qm_attend_by_products,
        .store_k = store_k_scalar,
        .store_v = store_v_scalar,
        .pack_panel = pack_panel_scalar,
        .unpack_row = unpack_row_scalar,
        .find_nonfinite = find_nonfinite_scalar,
        .greatest_finite = greatest_finite_scalar,
        .sampling_weights = sampling_weights_scalar,
        .select_at_least = select_at_least_scalar,
        .read_lanes = read_lanes_scalar,
        .flush_lines = flush_lines_scalar,
        .peak_bf16 = peak_f32_scalar,
        .peak_f32 = peak_f32_scalar,
    };
}
