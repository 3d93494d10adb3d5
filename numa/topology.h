/* The machine's shape by hwloc, as this process may use it (cgroup and affinity respected), and the part of it
 * that is wanted. */
#ifndef QM_NUMA_TOPOLOGY_H
#define QM_NUMA_TOPOLOGY_H

#include <stdint.h>

#include "base/error.h"

/* Which NUMA nodes compute and hold memory. */
struct qm_numa {
    enum {
        QM_NUMA_AUTO, /* every node that has allowed cores */
        QM_NUMA_OFF,  /* all cores as one node, memory wherever the system puts it */
        QM_NUMA_NODES /* those of `nodes` only */
    } mode;
    uint64_t nodes; /* bit n: the system's node n */
};

/* "auto", "off" or a list such as "0,2-3" (nodes 0 to 63). QM_USAGE for anything else. */
int qm_numa_parse(const char *text, struct qm_numa *out, struct qm_error *err);

struct qm_topology {
    int packages, nodes, cores, cpus; /* allowed ones: cores are physical, cpus are hardware threads */
    int allowed_cores;                /* before the CPU quota: cores that this process may run on */
    double cpu_quota;                 /* of the cgroup, in CPUs, which leaves fewer cores; 0: none */
    int *core_cpu;                    /* [cores] the first allowed hardware thread of each core, by node */
    int *core_node;                   /* [cores] its NUMA node (index 0..nodes-1) */
    int *node_number;                 /* [nodes] the system's, whose memory is nearest; -1: not distinguished */
    char cpu_model[128];
};

/* A CPU quota (of the cgroup or one above it, v1 or v2) leaves as many cores as it keeps busy, rounded down, at least
 * one: of more threads each is stopped for a part of the time while the others wait for it at the next barrier.
 * The affinity is the calling thread's (the thread of a pinned team sees its own core only). QM_SYSTEM if
 * there is no core to run on. Where no cores are described each hardware thread is one, and a machine
 * without NUMA information is one node; nodes without an allowed core are not counted, and the cores of a node
 * without memory that may be used belong to the next node that has some (or to the first). numa may be NULL (auto).
 * QM_USAGE, saying which and why, for a node asked for that is not there, has no CPUs or memory, or may not be used. */
int qm_topology_load(const struct qm_numa *numa, struct qm_topology *out, struct qm_error *err);
void qm_topology_free(struct qm_topology *t);

#endif
