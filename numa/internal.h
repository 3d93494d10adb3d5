/* What the numa layer's files and tests share: the same operations with the machine passed in, so that a
 * test can hand them a synthetic topology or a fake /proc and /sys. No other layer includes this. */
#ifndef QM_NUMA_INTERNAL_H
#define QM_NUMA_INTERNAL_H

#include <hwloc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "numa/memory.h"
#include "numa/topology.h"

/* Describes the part of a loaded hwloc topology that is inside allowed. */
int qm_topology_describe(hwloc_topology_t hw, hwloc_const_cpuset_t allowed, const struct qm_numa *numa,
                         struct qm_topology *out, struct qm_error *err);

/* A file of one decimal number and nothing else. false with errno where it can't be read, with errno 0 where it holds
 * something else, or what no int64_t holds. */
bool qm_read_number(const char *path, int64_t *out);
/* The first word of a file of this directory; false and "" where there is none. */
bool qm_first_word(const char *dir, const char *name, char *out, size_t size);

/* qm_memory_available with root before every path read ("" is the machine itself). */
int qm_memory_available_at(const char *root, uint64_t *bytes, struct qm_error *err);
/* The same of one node, without reserved huge pages. */
int qm_memory_node_available_at(const char *root, int node, uint64_t *bytes, struct qm_error *err);

/* qm_memory_count with move_pages, or what a test has in its place. */
typedef long qm_pages_query_fn(int pid, unsigned long n, void **pages, const int *nodes, int *status, int flags);
void qm_memory_count_by(qm_pages_query_fn *query, const struct qm_memory *m, struct qm_page_count *c);

#endif
