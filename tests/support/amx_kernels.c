/* The sources of simd/amx/ once more, under other names, on the model of the tile instructions. */
#include "tests/support/amx_model.h"

#define packed_bytes_bf16_amx model_packed_bytes_bf16
#define pack_bf16_amx model_pack_bf16
#define product_bf16_amx model_product_bf16
#define peak_bf16_amx model_peak_bf16
#define qm_kernels_overlay_amx model_overlay
#include "simd/amx/probe.c"
#include "simd/amx/product_bf16.c"
#include "simd/amx/table.c"

#include "tests/support/amx_kernels.h"

void test_amx_kernels(struct qm_kernels *t) {
    const struct qm_kernels *scalar;
    assert_int_equal(qm_kernels_get(QM_ISA_SCALAR, &scalar, NULL), 0);
    *t = *scalar;
    model_overlay(t);
    t->isa = QM_ISA_AMX;
}

int test_amx_configured(void) {
    return amx.configured;
}
