/* Whether something else ran beside a measurement: what other programs and the hypervisor took of the CPUs' time, and
 * how far passes of one rate lie apart. A profile, a calibration and results are marked by it. */
#ifndef QM_PLANNER_NOISE_H
#define QM_PLANNER_NOISE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "numa/cpu_time.h"

/* Shares of the machine's CPU time (-1: not readable); the best pass over the median one (0: not known), of which rate
 * (a constant, or NULL). */
struct qm_noise {
    double others, stolen, spread;
    const char *spread_of;
};

/* Above 1 it is noisy: others used 5 % of the CPUs' time, the hypervisor 2 %, or the best pass is a quarter above the
 * median one; twice as much is 2. */
double qm_noise_level(const struct qm_noise *n);
/* "other programs used 43 % of the CPUs' time", or "" and false where it is not noisy. */
bool qm_noise_text(const struct qm_noise *n, char *out, size_t size);
/* The noisier one of each. */
struct qm_noise qm_noise_worse(const struct qm_noise *a, const struct qm_noise *b);

/* A share of the CPU time as it is kept: a number from 0 to 1, or null where it was not readable. Untrusted: QM_INPUT
 * names the file and the key. */
json_t *qm_noise_share_json(double share);
int qm_noise_share(const json_t *root, const char *key, const char *name, double *out, struct qm_error *err);

/* Around a measurement. */
struct qm_noise_watch {
    struct qm_cpu_time before;
    bool known;
};
void qm_noise_begin(struct qm_noise_watch *w);
struct qm_noise qm_noise_end(const struct qm_noise_watch *w);
/* What others do just now: looks for a fifth of a second, in which the caller sleeps. */
struct qm_noise qm_noise_now(void);

#endif
