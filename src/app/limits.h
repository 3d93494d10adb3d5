/* What the machine gives at most, by the same threads and instruction set as what is measured against it. */
#ifndef QM_APP_LIMITS_H
#define QM_APP_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "numa/probe.h"
#include "simd/kernels.h"

/* A second: bytes read, floating-point operations of BF16 and of F32 products. */
struct qm_limits {
    double read, bf16, f32;
};

struct qm_limits_probe;

/* All threads of the team are in use afterwards, and after qm_limits_read and qm_limits_measure. Takes memory to read:
 * many times the caches, less where little is left. quick: a few times, so that it takes no second to make; the rate
 * may then be too high by what caches keep. */
int qm_limits_open(struct qm_team *team, const struct qm_kernels *kernels, bool quick, struct qm_limits_probe **out,
                   struct qm_error *err);
void qm_limits_close(struct qm_limits_probe *p);
/* Bytes a second; a fifth of a second. */
double qm_limits_read(struct qm_limits_probe *p);
/* All of them; about half a second. */
struct qm_limits qm_limits_measure(struct qm_limits_probe *p);
/* Of two measurements, before and after something. */
struct qm_limits qm_limits_mean(const struct qm_limits *a, const struct qm_limits *b);

/* Bytes of a buffer to measure reads with, `times` the caches (at least that many times 32 MiB), at most an eighth of
 * what is available for n of them. Caches keep part of what is read again and again: of 256 MiB an L3 of 32 MiB was
 * seen to keep 12 %. */
enum { QM_BUFFER_TIMES = 32, QM_BUFFER_QUICK = 8 };
size_t qm_limits_buffer(uint64_t caches, uint64_t available, int n, int times);

#endif
