/* The machine's shape by hwloc, as this process may use it (cgroup and affinity respected). */
#ifndef QM_NUMA_TOPOLOGY_H
#define QM_NUMA_TOPOLOGY_H

#include "base/error.h"

struct qm_topology {
    int packages, nodes, cores, cpus; /* allowed ones: cores are physical, cpus are hardware threads */
    int *core_cpu;                    /* [cores] the first allowed hardware thread of each core, by node */
    int *core_node;                   /* [cores] its NUMA node (index 0..nodes-1) */
    char cpu_model[128];
};

/* The affinity is the calling thread's (the thread of a pinned team sees its own core only). QM_SYSTEM if
 * there is no core to run on. Where no cores are described each hardware thread is one, and a machine
 * without NUMA information is one node; nodes without an allowed core are not counted. */
int qm_topology_load(struct qm_topology *out, struct qm_error *err);
void qm_topology_free(struct qm_topology *t);

#endif
