/* An attention split (struct qm_split) made of the table's other entries: each page's keys by one product,
 * softmax_split for each row, each page's probabilities packed and multiplied with its values. What an instruction set
 * that has no attention kernel of its own does, and the oracle of those that have. */
#ifndef QM_SIMD_ATTEND_H
#define QM_SIMD_ATTEND_H

#include "simd/kernels.h"

void qm_attend_by_products(const struct qm_kernels *kernels, enum qm_dtype t, const struct qm_split *s);

#endif
