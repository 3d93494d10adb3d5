/* What the kernels of sampling share: 2^f = 1 + f q(f) for |f| <= 1/2, q of degree 5 (interpolation at Chebyshev
 * nodes; the rounded sum is within 1.2 x 2^-24 of 2^f). Highest power first. */
#ifndef QM_SIMD_SAMPLE_H
#define QM_SIMD_SAMPLE_H

#define QM_EXP2_Q0 0x1.44138ap-13f
#define QM_EXP2_Q1 0x1.5f0890p-10f
#define QM_EXP2_Q2 0x1.3b2a54p-7f
#define QM_EXP2_Q3 0x1.c6af6cp-5f
#define QM_EXP2_Q4 0x1.ebfbe0p-3f
#define QM_EXP2_Q5 0x1.62e430p-1f
/* Added to a float of less than 2^22 and subtracted again, it leaves the nearest integer, whose low bits are then those
 * of the sum. */
#define QM_EXP2_ROUND 0x1.8p+23f
#define QM_EXP2_LEAST (-125.0f) /* what is below counts as 0 */

#endif
