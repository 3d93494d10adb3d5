/* Reference kernels of sampling a token. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "simd/sample.h"
#include "simd/scalar/lanes.h"
#include "simd/scalar/scalar.h"

float greatest_finite_scalar(const float *x, int64_t n) {
    float max = -INFINITY;
    for (int64_t i = 0; i < n; i++)
        max = fabsf(x[i]) <= FLT_MAX && x[i] > max ? x[i] : max;
    return max;
}

/* 2^t; 0 where t is not in [QM_EXP2_LEAST, 0]. */
static float weight_of(float t) {
    if (!(t >= QM_EXP2_LEAST && t <= 0))
        return 0;
    float sum = t + QM_EXP2_ROUND, f = t - (sum - QM_EXP2_ROUND);
    float q = fmaf(QM_EXP2_Q0, f, QM_EXP2_Q1);
    q = fmaf(q, f, QM_EXP2_Q2);
    q = fmaf(q, f, QM_EXP2_Q3);
    q = fmaf(q, f, QM_EXP2_Q4);
    q = fmaf(q, f, QM_EXP2_Q5);
    float p = fmaf(q, f, 1.0f);
    uint32_t whole, bits;
    memcpy(&whole, &sum, 4);
    memcpy(&bits, &p, 4);
    bits += whole << 23;
    memcpy(&p, &bits, 4);
    return p;
}

double sampling_weights_scalar(float *w, const float *z, int64_t n, float max, float scale) {
    double lanes[QM_LANES] = {0};
    for (int64_t i = 0; i < n; i++) {
        w[i] = weight_of((z[i] - max) * scale);
        lanes[i % QM_LANES] += (double)w[i];
    }
    for (int half = QM_LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++)
            lanes[i] += lanes[i + half];
    return lanes[0];
}

int64_t select_at_least_scalar(int32_t *ids, const float *x, int64_t n, float least) {
    int64_t found = 0;
    for (int64_t i = 0; i < n; i++)
        if (x[i] >= least)
            ids[found++] = (int32_t)i;
    return found;
}
