/* What of a model's memory each NUMA node has, byte for byte as the engine allocates it, and what whole pages add.
 * Where in the flow: beside placement.h; the engine cuts its weights by qm_node_panels. Pure functions. */
#ifndef QM_ENGINE_NODES_H
#define QM_ENGINE_NODES_H

#include <stdint.h>

#include "engine/placement.h"

struct qm_team;

/* One node of a team: its threads [first, first + threads) of all. */
struct qm_node_range {
    int node, nodes;
    int64_t first, threads, all;
};
/* A node of a team as it runs. */
struct qm_node_range qm_node_range_in(const struct qm_team *team, int node);
/* Node `node` of w->nodes (0 counts as 1), on which w->threads are spread evenly. */
struct qm_node_range qm_node_range_of(const struct qm_workload *w, int node);

/* Which of a matrix's panels are the node's: its threads' share. Gate and up stay together. A vector has none. */
void qm_node_panels(const struct qm_weight *w, const struct qm_node_range *s, int64_t *first, int64_t *end);
/* Bytes of so many of the weight's experts on the node (1: of a dense one); vectors are on the first node. */
uint64_t qm_node_weight_bytes(const struct qm_weight *w, int64_t experts, const struct qm_node_range *s);

/* The same of all weights that a placement has on a device (p NULL: of all, on the CPU), where they are memory of the
 * host: the CPU's, or those of a device that is lost. */
uint64_t qm_node_weights(const struct qm_model *m, const struct qm_placement *p, int device,
                         const struct qm_node_range *s);

/* One node's allocations: of everything, or of what a placement leaves on the CPU. */
struct qm_node_memory {
    uint64_t weights, kv;
    uint64_t activations; /* of its threads; on the first node also what all threads share, which lies where it is
                             written first */
    uint64_t slack;       /* that whole pages add to each of them */
};
void qm_node_memory(const struct qm_model *m, const struct qm_workload *w, const struct qm_placement *p, int node,
                    struct qm_node_memory *out);

/* What whole pages add to an allocation: of 2 MiB, or of 4 KiB where it is smaller than 2 MiB. */
uint64_t qm_page_slack(uint64_t bytes);
/* What they add to all that a placement puts on a device: on the CPU, of every node. */
uint64_t qm_slack(const struct qm_placement *p, const struct qm_model *m, const struct qm_workload *w, int device);

#endif
