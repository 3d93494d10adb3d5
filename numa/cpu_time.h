/* What the machine's processors did with their time between two moments: whether something else ran beside a
 * measurement. Reads /proc/stat, which counts in hundredths of a second. */
#ifndef QM_NUMA_CPU_TIME_H
#define QM_NUMA_CPU_TIME_H

#include "base/error.h"

/* Seconds since the machine started, of all its CPUs together: of any work, taken by the hypervisor, idle ones
 * included; and of this process's threads. */
struct qm_cpu_time {
    double busy, stolen, total, own;
};

/* root: put before /proc ("" is the machine itself; tests give a tree of their own). QM_SYSTEM, or QM_INPUT where the
 * file is not there, says what can't be read. */
int qm_cpu_time_read(const char *root, struct qm_cpu_time *out, struct qm_error *err);

/* Shares (0 to 1) of all CPUs' time from a to b that other processes used, and that the hypervisor took. -1 where it
 * did not go on, as in some sandboxes. */
void qm_cpu_time_shares(const struct qm_cpu_time *a, const struct qm_cpu_time *b, double *others, double *stolen);

#endif
