/* The entries that avx512 has kernels of its own for. */
#include "simd/tables.h"

void qm_kernels_overlay_avx512(struct qm_kernels *t) {
    (void)t;
}
