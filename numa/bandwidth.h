/* How fast this machine reads memory: what the speed of generation is measured against. */
#ifndef QM_NUMA_BANDWIDTH_H
#define QM_NUMA_BANDWIDTH_H

#include "base/error.h"

/* Reads 256 MiB again and again with that many threads (0: one a physical core) for about 0.2 s; the best pass,
 * in bytes a second. QM_FIT where that memory is not to be had. */
int qm_read_bandwidth(int threads, double *bytes_per_second, struct qm_error *err);

#endif
