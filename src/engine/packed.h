/* A model's weights in panels, in one allocation: read shard by shard in large pieces by all threads, checked
 * (no value that is not finite) and repacked as they come, so that peak memory is the panels and a few MiB a
 * thread. Immutable once loaded. */
#ifndef QM_ENGINE_PACKED_H
#define QM_ENGINE_PACKED_H

#include <stdint.h>

#include "base/error.h"
#include "engine/engine.h"
#include "model/model.h"
#include "numa/memory.h"
#include "numa/team.h"
#include "simd/kernels.h"

struct qm_packed_weight {
    enum qm_dtype type;
    bool vector;           /* float [experts * n], no panels */
    int64_t experts, n, k; /* of one expert */
    int64_t panels;        /* of one expert */
    uint64_t panel_stride, expert_stride;
    uint8_t *data;
};

struct qm_packed {
    struct qm_packed_weight *weights; /* by index into qm_model.weights */
    struct qm_memory memory;
};

/* progress may be NULL; when it returns nonzero the load ends with QM_INTERRUPTED. */
int qm_packed_load(const struct qm_model *m, const struct qm_kernels *kernels, struct qm_team *team,
                   qm_progress_fn *progress, void *progress_arg, struct qm_packed *out, struct qm_error *err);
void qm_packed_free(struct qm_packed *p);

static inline const uint8_t *qm_packed_panel(const struct qm_packed_weight *w, int64_t expert, int64_t panel) {
    return w->data + (uint64_t)expert * w->expert_stride + (uint64_t)panel * w->panel_stride;
}

static inline const float *qm_packed_vector(const struct qm_packed_weight *w, int64_t expert) {
    return (const float *)(const void *)w->data + expert * w->n;
}

#endif
