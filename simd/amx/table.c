/* The entries that amx has kernels of its own for. */
#include "simd/amx/amx.h"
#include "simd/tables.h"

void qm_kernels_overlay_amx(struct qm_kernels *t) {
    t->type[QM_BF16] = (struct qm_type_kernels){packed_bytes_bf16_amx, pack_bf16_amx, product_bf16_amx};
    t->peak_bf16 = peak_bf16_amx;
}
