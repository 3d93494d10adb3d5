/* The entries that amx has kernels of its own for. */
#include "simd/amx/amx.h"
#include "simd/attend.h"
#include "simd/avx512/avx512.h"
#include "simd/tables.h"

/* Its packed queries and its products are its own; other types are AVX-512's. */
static void attend_amx(const struct qm_kernels *kernels, enum qm_dtype t, const struct qm_split *s) {
    if (t == QM_BF16)
        qm_attend_by_products(kernels, t, s);
    else
        attend_avx512(kernels, t, s);
}

void qm_kernels_overlay_amx(struct qm_kernels *t) {
    t->type[QM_BF16] = (struct qm_type_kernels){packed_bytes_bf16_amx, pack_bf16_amx, product_bf16_amx};
    t->attend = attend_amx;
    t->peak_bf16 = peak_bf16_amx;
}
