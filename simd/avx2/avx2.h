/* AVX2, FMA and F16C kernels. A panel's 16 rows are two registers. */
#ifndef QM_SIMD_AVX2_H
#define QM_SIMD_AVX2_H

#include "simd/kernels.h"

/* Rows of a micro-panel: of packed activations, and of the tiles that read them. */
enum { QM_AVX2_ROWS = 6 };
_Static_assert(QM_PACK_ROWS % QM_AVX2_ROWS == 0, "a block is whole micro-panels");

size_t packed_bytes_bf16_avx2(int64_t m, int64_t k);
size_t packed_bytes_f32_avx2(int64_t m, int64_t k);
void pack_bf16_avx2(void *dst, const float *src, int64_t ld, const int32_t *rows, int64_t m, int64_t k);
void pack_f32_avx2(void *dst, const float *src, int64_t ld, const int32_t *rows, int64_t m, int64_t k);
void product_bf16_avx2(const struct qm_product *p);
void product_f16_avx2(const struct qm_product *p);
void product_f32_avx2(const struct qm_product *p);
void product_mxfp4_avx2(const struct qm_product *p);

void rmsnorm_f32_avx2(float *out, const float *x, const float *weight, int64_t n, float eps);
void add_f32_avx2(float *x, const float *y, int64_t n);
void axpy_f32_avx2(float *x, float a, const float *y, int64_t n);
void rope_f32_avx2(float *x, const float *cs, int64_t n);
void softmax_f32_avx2(float *x, int64_t n);
void silu_mul_f32_avx2(float *out, const float *gu, int64_t n_panels);
void swiglu_clamped_f32_avx2(float *out, const float *gu, int64_t n_panels, float limit);
void softmax_split_f32_avx2(float *s, int64_t n, int64_t lo, int64_t hi, float scale, float *max, float *sum);
void merge_split_f32_avx2(float *acc, float *am, float *as, const float *o, float m, float s, int64_t n);

void pack_panel_avx2(void *dst, enum qm_dtype t, const void *const rows[QM_PANEL_ROWS],
                     const uint8_t *const scales[QM_PANEL_ROWS], int64_t k);
int64_t find_nonfinite_avx2(const void *x, enum qm_dtype t, int64_t n);

float greatest_finite_avx2(const float *x, int64_t n);
double sampling_weights_avx2(float *w, const float *z, int64_t n, float max, float scale);
int64_t select_at_least_avx2(int32_t *ids, const float *x, int64_t n, float least);

#endif
