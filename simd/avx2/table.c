/* The entries that avx2 has kernels of its own for. */
#include "simd/avx2/probe.h"
#include "simd/tables.h"

void qm_kernels_overlay_avx2(struct qm_kernels *t) {
    t->read_lanes = read_lanes_avx2;
    t->peak_bf16 = t->peak_f32 = peak_f32_avx2;
}
