/* What the kernel folders offer to kernels.c: each writes the entries it has into a table that the lower
 * instruction sets have filled. */
#ifndef QM_SIMD_TABLES_H
#define QM_SIMD_TABLES_H

#include "simd/kernels.h"

void qm_kernels_overlay_scalar(struct qm_kernels *t);
void qm_kernels_overlay_avx2(struct qm_kernels *t);
void qm_kernels_overlay_avx512(struct qm_kernels *t);
void qm_kernels_overlay_avx512bf16(struct qm_kernels *t);
void qm_kernels_overlay_amx(struct qm_kernels *t);

#endif
