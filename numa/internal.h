/* What the numa layer's files and tests share: the same operations with the machine passed in, so that a
 * test can hand them a synthetic topology or a fake /proc and /sys. No other layer includes this. */
#ifndef QM_NUMA_INTERNAL_H
#define QM_NUMA_INTERNAL_H

#include <hwloc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

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

enum { QM_CGROUP_PATH = 4096 };

/* A file read line by line; text is the line, grown by getline. */
struct qm_lines {
    FILE *file;
    char *text;
    size_t size;
    char path[QM_CGROUP_PATH];
};
/* *there is false, without an error, for a file that does not exist. */
int qm_lines_open(struct qm_lines *l, bool *there, struct qm_error *err, const char *root, const char *dir,
                  const char *name);
/* The next line without its end, NULL after the last. */
char *qm_lines_next(struct qm_lines *l);
/* Ends the reading; rc passes through, unless the file could not be read to its end. */
int qm_lines_close(struct qm_lines *l, int rc, struct qm_error *err);
/* Digits only, up to `end`, no sign and no overflow. */
bool qm_number_parse(const char *s, const char *end, uint64_t *out);
/* QM_SYSTEM: "PATH: expected ..., found ...". */
int qm_unexpected(const char *path, const char *expected, const char *found, struct qm_error *err);

/* Calls level(self, root, directory, version 1 or 2, err) for every level of this process's cgroup that has the
 * controller ("memory", "cpu"), from its own up to the mount, until one fails. root: before every path read. */
typedef int qm_cgroup_level_fn(void *self, const char *root, const char *dir, int version, struct qm_error *err);
int qm_cgroup_levels(const char *root, const char *controller, qm_cgroup_level_fn *level, void *self,
                     struct qm_error *err);
/* The least CPU quota of all levels, in CPUs; 0: none, or it can't be read. */
double qm_cpu_quota_at(const char *root);
/* Leaves of a topology's cores as many as a quota keeps busy, at least one, spread over its nodes. quota 0: all. */
void qm_topology_limit(struct qm_topology *t, double quota);
/* The least memory limit of all levels, in bytes; UINT64_MAX: none, or it can't be read. */
uint64_t qm_memory_limit_at(const char *root);

/* qm_memory_available with root before every path read ("" is the machine itself). */
int qm_memory_available_at(const char *root, uint64_t *bytes, struct qm_error *err);
/* The same of one node, without reserved huge pages. */
int qm_memory_node_available_at(const char *root, int node, uint64_t *bytes, struct qm_error *err);

/* qm_memory_count with move_pages, or what a test has in its place. */
typedef long qm_pages_query_fn(int pid, unsigned long n, void **pages, const int *nodes, int *status, int flags);
void qm_memory_count_by(qm_pages_query_fn *query, const struct qm_memory *m, struct qm_page_count *c);

#endif
