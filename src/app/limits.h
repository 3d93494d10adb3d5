/* What the machine gives at most, by the same threads and instruction set as what is measured against it. */
#ifndef QM_APP_LIMITS_H
#define QM_APP_LIMITS_H

#include "base/error.h"
#include "numa/probe.h"
#include "simd/kernels.h"

/* A second: bytes read, floating-point operations of BF16 and of F32 products. */
struct qm_limits {
    double read, bf16, f32;
};

struct qm_limits_probe;

/* Takes memory to read: several times the caches, less where little is left. */
int qm_limits_open(struct qm_team *team, const struct qm_kernels *kernels, struct qm_limits_probe **out,
                   struct qm_error *err);
void qm_limits_close(struct qm_limits_probe *p);
/* Bytes a second; a fifth of a second. */
double qm_limits_read(struct qm_limits_probe *p);
/* All of them; about half a second. */
struct qm_limits qm_limits_measure(struct qm_limits_probe *p);
/* Of two measurements, before and after something. */
struct qm_limits qm_limits_mean(const struct qm_limits *a, const struct qm_limits *b);

/* Bytes of a buffer to measure reads with: four times `caches`, at least 256 MiB, at most a quarter of what is
 * available for each of n buffers. */
size_t qm_limits_buffer(uint64_t caches, uint64_t available, int n);

#endif
