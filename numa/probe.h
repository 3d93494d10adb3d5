/* Measures what a team of threads can do at most on this machine: reads of memory, multiply-adds, regions and
 * barriers, and reads of a file. The inner loops are the caller's (they belong to an instruction set). Each
 * measurement takes a fraction of a second and is made of several passes.
 * Thread-safety: a probe has one caller, the one of its team, and no region may run meanwhile. */
#ifndef QM_NUMA_PROBE_H
#define QM_NUMA_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "numa/team.h"

/* n times a line of 64 bytes at each of p, p + lane, p + 2 lane and p + 3 lane, p then going on by step. */
typedef uint64_t qm_probe_read_fn(const void *p, size_t lane, size_t step, size_t n);
/* Takes n lines of 64 bytes from p on out of the caches. */
typedef void qm_probe_flush_fn(const void *p, size_t n);
/* n rounds of multiply-adds; returns how many floating-point operations that was. state: 16 floats. */
typedef double qm_probe_flops_fn(int64_t n, float *state);

/* A second: the best pass and the median one. */
struct qm_probe_rate {
    double best, median;
};

struct qm_probe;

/* Memory to read from, `bytes` (rounded up to 2 MiB) for each thread that may read it, first touched by the threads of
 * its node. It need not be larger than caches: every pass begins with a flush. thread_node[t] is the node (0..nodes -
 * 1, each with a thread) of thread t; NULL: all are of one. QM_FIT where that memory is not to be had. */
int qm_probe_open(struct qm_team *team, const int *thread_node, int nodes, size_t bytes, qm_probe_read_fn *read,
                  qm_probe_flush_fn *flush, struct qm_probe **out, struct qm_error *err);
void qm_probe_close(struct qm_probe *p);
/* Threads of one node. */
int qm_probe_threads(const struct qm_probe *p, int node);

/* Bytes a second that all threads read, each from its own node. */
struct qm_probe_rate qm_probe_read(struct qm_probe *p);
/* The same by the first `threads` threads of node `from`, out of the memory of node `memory`. */
struct qm_probe_rate qm_probe_read_node(struct qm_probe *p, int from, int memory, int threads);
/* Floating-point operations a second of the first `threads` threads of the team together. */
struct qm_probe_rate qm_probe_flops(struct qm_team *team, qm_probe_flops_fn *fn, int threads);
/* Microseconds: an empty region, and a barrier within one. */
void qm_probe_regions(struct qm_team *team, double *region_us, double *barrier_us);

struct qm_probe_disk {
    double rate; /* bytes a second */
    uint64_t bytes;
    bool direct;     /* past the page cache; else through it, after asking for the pages to be dropped */
    char file[4096]; /* what was read: the path, or the largest file in it */
};
/* Reads a file, or the largest file of a directory, by all threads for about a second. QM_INPUT where there is
 * nothing to read, or less than 1 MiB. */
int qm_probe_disk_read(struct qm_team *team, const char *path, struct qm_probe_disk *out, struct qm_error *err);

#endif
