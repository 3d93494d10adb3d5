/* The entries that avx512bf16 has kernels of its own for. */
#include "simd/avx512bf16/probe.h"
#include "simd/tables.h"

void qm_kernels_overlay_avx512bf16(struct qm_kernels *t) {
    t->peak_bf16 = peak_bf16_avx512bf16;
}
