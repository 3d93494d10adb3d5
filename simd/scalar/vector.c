/* Reference kernels over one row. Sums go in 16 lanes by index, folded in a fixed order, as the vector
 * instruction sets do. */
#include <float.h>
#include <math.h>

#include "simd/scalar/lanes.h"
#include "simd/scalar/scalar.h"

float exp_f32_scalar(float x) {
    float y = expf(x);
    return y < FLT_MIN ? 0.0f : y;
}

void rmsnorm_f32_scalar(float *out, const float *x, const float *weight, int64_t n, float eps) {
    float lanes[QM_LANES] = {0};
    for (int64_t i = 0; i < n; i++)
        lanes[i % QM_LANES] += x[i] * x[i];
    float inverse = 1.0f / sqrtf(fold_lanes(lanes) / (float)n + eps);
    for (int64_t i = 0; i < n; i++)
        out[i] = x[i] * inverse * weight[i];
}

void add_f32_scalar(float *x, const float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        x[i] += y[i];
}

void axpy_f32_scalar(float *x, float a, const float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        x[i] = fmaf(a, y[i], x[i]);
}

void silu_mul_f32_scalar(float *out, const float *gu, int64_t n_panels) {
    for (int64_t i = 0; i < n_panels * QM_PANEL_ROWS; i++) {
        int64_t at = i / QM_PANEL_ROWS * 2 * QM_PANEL_ROWS + i % QM_PANEL_ROWS;
        float g = gu[at], u = gu[at + QM_PANEL_ROWS];
        out[i] = g / (1.0f + exp_f32_scalar(-g)) * u;
    }
}

void swiglu_clamped_f32_scalar(float *out, const float *gu, int64_t n_panels, float limit) {
    for (int64_t i = 0; i < n_panels * QM_PANEL_ROWS; i++) {
        int64_t at = i / QM_PANEL_ROWS * 2 * QM_PANEL_ROWS + i % QM_PANEL_ROWS;
        float g = gu[at], u = gu[at + QM_PANEL_ROWS];
        g = g > limit ? limit : g;
        u = u > limit ? limit : u < -limit ? -limit : u;
        out[i] = (u + 1.0f) * (g / (1.0f + exp_f32_scalar(-1.702f * g)));
    }
}

void rope_f32_scalar(float *x, const float *cs, int64_t n) {
    int64_t half = n / 2;
    for (int64_t i = 0; i < half; i++) {
        float x0 = x[i], x1 = x[i + half], c = cs[i], s = cs[half + i];
        x[i] = x0 * c - x1 * s;
        x[i + half] = x1 * c + x0 * s;
    }
}

void softmax_f32_scalar(float *x, int64_t n) {
    float max = -INFINITY;
    for (int64_t i = 0; i < n; i++)
        max = x[i] > max ? x[i] : max;
    float lanes[QM_LANES] = {0};
    for (int64_t i = 0; i < n; i++) {
        x[i] = exp_f32_scalar(x[i] - max);
        lanes[i % QM_LANES] += x[i];
    }
    float sum = fold_lanes(lanes);
    for (int64_t i = 0; i < n; i++)
        x[i] /= sum;
}
