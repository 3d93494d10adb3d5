/* A weight as panels in memory (simd/kernels.h has the layout of one): what the CPU multiplies by, and what a device
 * copies. Lent by packed.h, which loads them. Immutable.
 *
 * A node has a contiguous range of the panels of every matrix and of every expert. */
#ifndef QM_ENGINE_PANELS_H
#define QM_ENGINE_PANELS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/dtype.h"

/* Panels [first, end) of every expert. */
struct qm_packed_range {
    int64_t first, end;
    uint64_t expert_stride;
    uint8_t *data;
};

struct qm_packed_weight {
    enum qm_dtype type;
    bool vector;           /* no panels */
    int64_t experts, n, k; /* of one expert */
    int64_t panels;        /* of one expert */
    int64_t unit;          /* panels that stay together (gate and up: 2) */
    uint64_t panel_stride;
    struct qm_packed_range *ranges; /* [nodes], ascending, all panels together; of a vector none */
    float *values;                  /* vector: [experts * n] */
};

static inline const uint8_t *qm_packed_panel(const struct qm_packed_weight *w, int64_t expert, int64_t panel) {
    const struct qm_packed_range *r = w->ranges;
    while (panel >= r->end)
        r++;
    return r->data + (uint64_t)expert * r->expert_stride + (uint64_t)(panel - r->first) * w->panel_stride;
}

static inline const float *qm_packed_vector(const struct qm_packed_weight *w, int64_t expert) {
    return w->values + expert * w->n;
}

/* Of `panels` from `panel` on, how many lie one behind the other. */
static inline int64_t qm_packed_run(const struct qm_packed_weight *w, int64_t panel, int64_t panels) {
    const struct qm_packed_range *r = w->ranges;
    while (panel >= r->end)
        r++;
    return panels < r->end - panel ? panels : r->end - panel;
}

#endif
