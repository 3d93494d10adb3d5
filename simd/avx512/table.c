/* The entries that avx512 has kernels of its own for. */
#include "simd/avx512/probe.h"
#include "simd/tables.h"

void qm_kernels_overlay_avx512(struct qm_kernels *t) {
    t->read_lanes = read_lanes_avx512;
    t->peak_bf16 = t->peak_f32 = peak_f32_avx512;
}
