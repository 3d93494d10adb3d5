/* What this machine is, for people and for knowing it again: processors, caches, memory and huge pages by
 * node, and what this process may use of them. Measures nothing. */
#ifndef QM_NUMA_MACHINE_H
#define QM_NUMA_MACHINE_H

#include <stdint.h>

#include "base/error.h"
#include "numa/sensors.h"
#include "numa/topology.h"

enum { QM_MAX_CACHES = 16, QM_MAX_NODES = 64 };

struct qm_cache {
    int level;
    char kind; /* 'd'ata, 'i'nstructions, 'u'nified */
    uint64_t bytes;
    int count, cpus; /* how many the machine has; hardware threads that share one */
};

struct qm_huge_pages {
    uint64_t total, free;
};

struct qm_machine_node {
    int number; /* the system's */
    int cores;  /* allowed ones */
    uint64_t memory, free;
    struct qm_huge_pages huge_2m, huge_1g;
};

struct qm_machine {
    struct qm_topology topology; /* the allowed part */
    int cpus_online;             /* hardware threads of the whole machine */
    struct qm_cache caches[QM_MAX_CACHES];
    int n_caches;
    struct qm_machine_node nodes[QM_MAX_NODES];
    int n_nodes; /* those without an allowed core too */
    uint64_t memory, available;
    uint64_t memory_limit; /* of the cgroup, or of one above it; UINT64_MAX: none */
    char microcode[32];    /* "" where the system does not show it */
    char governor[32];     /* of the CPU frequency; "" */
    char thp[32];          /* transparent huge pages: always, madvise or never; "" */
    struct qm_reading reading;
    char not_readable[QM_SENSOR_COUNT][512]; /* why a sensor can't be read, or "" */
    char identity[256];                      /* the same for the same machine and the same part of it */
};

/* As the calling thread sees it (see qm_topology_load). What the system does not show is left empty or 0. */
int qm_machine_describe(struct qm_machine *out, struct qm_error *err);
void qm_machine_free(struct qm_machine *m);

/* The largest cache, all of its kind together, or 32 MiB where none is known. */
uint64_t qm_machine_cache_bytes(const struct qm_machine *m);

#endif
