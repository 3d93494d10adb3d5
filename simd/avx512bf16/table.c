/* The entries that avx512bf16 has kernels of its own for. */
#include "simd/tables.h"

void qm_kernels_overlay_avx512bf16(struct qm_kernels *t) {
    (void)t;
}
