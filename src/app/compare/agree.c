/* Agreement of answers. */
#include "app/compare/agree.h"

#include <math.h>

int64_t qm_first_difference(const int32_t *a, int64_t n_a, const int32_t *b, int64_t n_b) {
    int64_t i = 0;
    while (i < n_a && i < n_b && a[i] == b[i])
        i++;
    return i == n_a && i == n_b ? -1 : i;
}

/* log of the sum of exponentials, and the greatest; -infinity where nothing is finite. */
static double log_sum(const float *x, int64_t n) {
    double most = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(x[i]) && (double)x[i] > most)
            most = (double)x[i];
    if (!isfinite(most))
        return -INFINITY;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(x[i]))
            sum += exp((double)x[i] - most);
    return most + log(sum);
}

double qm_kl_divergence(const float *p, const float *q, int64_t n) {
    double all_p = log_sum(p, n), all_q = log_sum(q, n), sum = 0;
    if (!isfinite(all_p) || !isfinite(all_q))
        return NAN;
    for (int64_t i = 0; i < n; i++) {
        double log_p = (double)p[i] - all_p, probability = isfinite(p[i]) ? exp(log_p) : 0;
        if (!(probability > 0))
            continue;
        if (!isfinite(q[i]))
            return INFINITY;
        sum += probability * (log_p - ((double)q[i] - all_q));
    }
    return sum > 0 ? sum : 0; /* rounding may leave it a little below */
}

void qm_agreement_begin(struct qm_agreement *a) {
    *a = (struct qm_agreement){.compared = true, .first_difference = -1, .kl_mean = NAN, .kl_max = NAN};
}

void qm_agreement_answer(struct qm_agreement *a, int prompt, const int32_t *reference, int64_t n_reference,
                         const int32_t *answer, int64_t n_answer, int64_t covered) {
    int64_t at = qm_first_difference(reference, n_reference, answer, n_answer);
    a->tokens += n_reference;
    a->same += at < 0 ? n_reference : at;
    a->unexplained += at >= covered;
    if (at >= 0 && (a->first_difference < 0 || at < a->first_difference)) {
        a->first_difference = at;
        a->first_prompt = prompt;
    }
}

void qm_agreement_position(struct qm_agreement *a, double kl) {
    double before = a->positions ? a->kl_mean * (double)a->positions : 0;
    a->positions++;
    a->kl_mean = (before + kl) / (double)a->positions;
    /* what can't be distinguished from nonsense stays: NaN wins over every number */
    a->kl_max = a->positions == 1 || isnan(kl) || kl > a->kl_max ? kl : a->kl_max;
}

bool qm_agreement_holds(const struct qm_agreement *a, double bound) {
    if (a->positions && !(a->kl_max <= bound))
        return false;
    return a->first_difference < 0 || (bound > 0 && a->unexplained == 0);
}
