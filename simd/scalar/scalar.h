/* The reference kernels: plain C, written to be read. */
#ifndef QM_SIMD_SCALAR_H
#define QM_SIMD_SCALAR_H

#include "simd/kernels.h"

size_t packed_bytes_bf16_scalar(int64_t m, int64_t k);
size_t packed_bytes_f32_scalar(int64_t m, int64_t k);
void pack_bf16_scalar(void *dst, const float *src, int64_t ld, const int32_t *rows, int64_t m, int64_t k);
void pack_f32_scalar(void *dst, const float *src, int64_t ld, const int32_t *rows, int64_t m, int64_t k);
void product_bf16_scalar(const struct qm_product *p);
void product_f16_scalar(const struct qm_product *p);
void product_f32_scalar(const struct qm_product *p);
void product_mxfp4_scalar(const struct qm_product *p);

void rmsnorm_f32_scalar(float *out, const float *x, const float *weight, int64_t n, float eps);
void add_f32_scalar(float *x, const float *y, int64_t n);
void axpy_f32_scalar(float *x, float a, const float *y, int64_t n);
void silu_mul_f32_scalar(float *out, const float *gu, int64_t n_panels);
void swiglu_clamped_f32_scalar(float *out, const float *gu, int64_t n_panels, float limit);
void rope_f32_scalar(float *x, const float *cs, int64_t n);
void softmax_f32_scalar(float *x, int64_t n);

void softmax_split_f32_scalar(float *s, int64_t n, int64_t lo, int64_t hi, float scale, float *max, float *sum);
void merge_split_f32_scalar(float *acc, float *am, float *as, const float *o, float m, float s, int64_t n);
void store_k_scalar(void *page, enum qm_dtype t, int64_t slot, const float *x, int64_t n);
void store_v_scalar(void *page, enum qm_dtype t, int64_t slot, int64_t page_tokens, const float *x, int64_t n);

void pack_panel_scalar(void *dst, enum qm_dtype t, const void *const rows[QM_PANEL_ROWS],
                       const uint8_t *const scales[QM_PANEL_ROWS], int64_t k);
void unpack_row_scalar(float *out, enum qm_dtype t, const void *panel, int64_t r, int64_t k);
int64_t find_nonfinite_scalar(const void *x, enum qm_dtype t, int64_t n);

float greatest_finite_scalar(const float *x, int64_t n);
double sampling_weights_scalar(float *w, const float *z, int64_t n, float max, float scale);
int64_t select_at_least_scalar(int32_t *ids, const float *x, int64_t n, float least);

/* exp(x), with 0 where the result would be below the smallest normal number. */
float exp_f32_scalar(float x);

uint64_t read_lanes_scalar(const void *p, size_t lane, size_t step, size_t n);
void flush_lines_scalar(const void *p, size_t n);
double peak_f32_scalar(int64_t n, float *state);

#endif
