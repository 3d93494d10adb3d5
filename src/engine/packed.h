/* A model's weights in panels: read shard by shard in large pieces by all threads, checked (no value that is not
 * finite) and repacked as they come, so that peak memory is the panels and a few MiB a thread. Immutable once loaded.
 *
 * There is one allocation a node. A node has a contiguous range of the panels of every matrix and of every expert,
 * which its threads repack and multiply by (qm_packed_thread_range). Vectors are not divided: the first node has them.
 */
#ifndef QM_ENGINE_PACKED_H
#define QM_ENGINE_PACKED_H

#include <stdint.h>

#include "base/error.h"
#include "base/progress.h"
#include "engine/panels.h"
#include "engine/placement.h"
#include "model/model.h"
#include "numa/memory.h"
#include "numa/team.h"
#include "simd/kernels.h"

struct qm_packed {
    struct qm_packed_weight *weights; /* by index into qm_model.weights */
    struct qm_packed_range *ranges;
    struct qm_memory *memory; /* [nodes] */
    int32_t *slots;           /* [layers][experts] of qm_packed_weight.slot; NULL: everything is there */
    int nodes;
};

/* Which panels of a part are a node's; data is not set. */
struct qm_packed_range qm_packed_range_of(const struct qm_weight_part *part, const struct qm_team *team, int node);

struct qm_packed_setup {
    const struct qm_model *model;
    const struct qm_placement *placement; /* NULL: everything is on the CPU */
    int device;                           /* whose part is opened */
    const struct qm_kernels *kernels;
    struct qm_team *team;
    const struct qm_binding *bindings; /* [nodes of the team] */
    bool drop_cache;                   /* what has been read does not stay in the page cache */
    qm_progress_fn *progress;          /* may be NULL; when it returns nonzero the load ends with QM_INTERRUPTED */
    void *progress_arg;
};
/* Takes the memory, and says where each weight will be. */
int qm_packed_open(const struct qm_packed_setup *s, struct qm_packed *out, struct qm_error *err);
/* Who gets what a placement has on a device: memory of the host, or the device itself; neither: nobody. */
struct qm_packed_owner {
    struct qm_packed *packed;
    struct qm_device *device;
};
/* Reads and repacks what owners [n_owners] are to have; what nobody wants is not read. */
int qm_packed_load(const struct qm_packed_setup *s, const struct qm_packed_owner *owners, int n_owners,
                   struct qm_error *err);
void qm_packed_free(struct qm_packed *p);

/* The panels [*begin, *end) of each expert that a thread multiplies by: its node's, unless so few threads are at work
 * that some node has none. */
static inline void qm_packed_thread_range(const struct qm_packed_weight *w, const struct qm_team *team, int thread,
                                          int64_t *begin, int64_t *end) {
    qm_team_part(team, w->held / w->unit, thread, begin, end);
    *begin = w->first + *begin * w->unit;
    *end = w->first + *end * w->unit;
}

#endif
