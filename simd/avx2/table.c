/* The entries that avx2 has kernels of its own for. */
#include "simd/tables.h"

void qm_kernels_overlay_avx2(struct qm_kernels *t) {
    (void)t;
}
