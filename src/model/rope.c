/* Rotation frequencies of the rotary embedding, in double. Where in the flow: once per engine, for the tables of
 * cosine and sine. Reads no file. */
#include "model/config.h"

#include <math.h>

static const double pi = 3.14159265358979323846;

/* NTK-aware scaling: a larger theta for sequences longer than the model was trained on. */
static double dynamic_theta(const struct qm_rope *r, int64_t context) {
    double max = (double)r->original_max_positions, dim = (double)r->width;
    double length = (double)context > max ? (double)context : max;
    return r->theta * pow(r->factor * length / max - (r->factor - 1), dim / (dim - 2));
}

/* Llama 3.1: long wavelengths divided by factor, short ones kept, a smooth passage between. */
static void scale_llama3(const struct qm_rope *r, double *inv_freq, int64_t n) {
    double old = (double)r->original_max_positions;
    for (int64_t i = 0; i < n; i++) {
        double wavelength = 2 * pi / inv_freq[i];
        double smooth = (old / wavelength - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor);
        if (wavelength > old / r->low_freq_factor)
            inv_freq[i] /= r->factor;
        else if (wavelength >= old / r->high_freq_factor)
            inv_freq[i] = (1 - smooth) * inv_freq[i] / r->factor + smooth * inv_freq[i];
    }
}

/* YaRN: the dimension whose wavelength turns `rotations` times within the original context. */
static double yarn_dimension(const struct qm_rope *r, double rotations) {
    double dim = (double)r->width;
    return dim * log((double)r->original_max_positions / (rotations * 2 * pi)) / (2 * log(r->theta));
}

static void scale_yarn(const struct qm_rope *r, double *inv_freq, int64_t n) {
    double low = yarn_dimension(r, r->beta_fast), high = yarn_dimension(r, r->beta_slow);
    if (r->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, (double)r->width - 1);
    if (low == high)
        high += 0.001;
    for (int64_t i = 0; i < n; i++) {
        double ramp = fmin(fmax(((double)i - low) / (high - low), 0), 1);
        inv_freq[i] = inv_freq[i] / r->factor * ramp + inv_freq[i] * (1 - ramp);
    }
}

static double yarn_mscale(double factor, double mscale) {
    return factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1;
}

static double yarn_attention_factor(const struct qm_rope *r) {
    if (!isnan(r->attention_factor))
        return r->attention_factor;
    if (r->mscale != 0 && r->mscale_all_dim != 0)
        return yarn_mscale(r->factor, r->mscale) / yarn_mscale(r->factor, r->mscale_all_dim);
    return yarn_mscale(r->factor, 1);
}

int qm_config_ropes(const struct qm_config *c) {
    for (int64_t l = 0; l < c->layers; l++)
        if (c->layer[l].rope == QM_LAYER_ROPE_LOCAL)
            return 2;
    return 1;
}

void qm_rope_frequencies(const struct qm_rope *r, int64_t context, double *inv_freq, double *attention_factor) {
    double theta = r->kind == QM_ROPE_DYNAMIC ? dynamic_theta(r, context) : r->theta;
    int64_t n = r->width / 2;
    for (int64_t i = 0; i < n; i++)
        inv_freq[i] = 1 / pow(theta, (double)(2 * i) / (double)r->width);
    *attention_factor = 1;
    switch (r->kind) {
    case QM_ROPE_DEFAULT:
    case QM_ROPE_DYNAMIC:
    case QM_ROPE_KINDS: break;
    case QM_ROPE_LINEAR:
        for (int64_t i = 0; i < n; i++)
            inv_freq[i] /= r->factor;
        break;
    case QM_ROPE_YARN:
        scale_yarn(r, inv_freq, n);
        *attention_factor = yarn_attention_factor(r);
        break;
    case QM_ROPE_LLAMA3: scale_llama3(r, inv_freq, n); break;
    }
}
