/* What the machine gives at most, by the same threads and instruction set as what is measured against it. */
#ifndef QM_PLANNER_LIMITS_H
#define QM_PLANNER_LIMITS_H

#include <stddef.h>

#include "base/error.h"
#include "numa/probe.h"
#include "simd/kernels.h"

/* A second: bytes read, floating-point operations of BF16 and of F32 products. */
struct qm_rates {
    double read, bf16, f32;
};

/* Peak is the rate of the best of many short passes, which is what the machine can do. Median is that of the median
 * one, which is less where clocks change and cores are shared, and what long work gets: predictions are made with it.
 */
struct qm_limits {
    struct qm_rates peak, median;
};

struct qm_limits_probe;

/* Bytes of memory that a thread reads in a pass: milliseconds. */
enum { QM_LIMITS_BYTES = 32 << 20, QM_LIMITS_LIST = 32 };

/* All threads of the team are in use afterwards, and after qm_limits_measure. */
int qm_limits_open(struct qm_team *team, const struct qm_kernels *kernels, struct qm_limits_probe **out,
                   struct qm_error *err);
void qm_limits_close(struct qm_limits_probe *p);
/* About a quarter of a second. */
struct qm_limits qm_limits_measure(struct qm_limits_probe *p);
/* The median of up to QM_LIMITS_LIST measurements, rate by rate, so that one that was disturbed does not count. */
struct qm_limits qm_limits_median(const struct qm_limits *list, int n);

#endif
