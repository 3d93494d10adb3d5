/* A weight, or the part of it that is somewhere, as panels in memory (simd/kernels.h has the layout of one). Whoever
 * has it multiplies by it and streams it from there; what is not there must not be touched. Immutable once loaded.
 *
 * A node has a contiguous range of the panels of every matrix and of every expert; experts that are there lie one
 * behind the other. Panels and columns have their numbers in the whole matrix. */
#ifndef QM_ENGINE_PANELS_H
#define QM_ENGINE_PANELS_H

#include <assert.h>
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
    int64_t experts, n, k; /* of the whole weight: n, k and panels of one expert */
    int64_t panels;
    int64_t first, held;     /* panels that are there: [first, first + held); of a bias, held values of their rows */
    int64_t first_k, held_k; /* and their columns */
    const int32_t *slot; /* [experts]: where an expert lies among those that are there; -1: it is not. NULL: all are */
    int64_t unit;        /* panels that stay together (gate and up: 2) */
    uint64_t panel_stride;
    struct qm_packed_range *ranges; /* [nodes], ascending, all panels together; of a vector none */
    float *values;                  /* vector: [experts that are there][held] */
};

static inline const uint8_t *qm_packed_panel(const struct qm_packed_weight *w, int64_t expert, int64_t panel) {
    const struct qm_packed_range *r = w->ranges;
    int64_t slot = w->slot ? w->slot[expert] : expert;
    assert(slot >= 0 && panel >= w->first && panel < w->first + w->held);
    while (panel >= r->end)
        r++;
    return r->data + (uint64_t)slot * r->expert_stride + (uint64_t)(panel - r->first) * w->panel_stride;
}

static inline const float *qm_packed_vector(const struct qm_packed_weight *w, int64_t expert) {
    int64_t slot = w->slot ? w->slot[expert] : expert;
    assert(slot >= 0 && w->values);
    return w->values + slot * w->held;
}

/* How many of `panels`, from `panel` on, lie one behind the other. */
static inline int64_t qm_packed_run(const struct qm_packed_weight *w, int64_t panel, int64_t panels) {
    const struct qm_packed_range *r = w->ranges;
    while (panel >= r->end)
        r++;
    return panels < r->end - panel ? panels : r->end - panel;
}

struct qm_weight;
struct qm_weight_part;

/* Panels of a matrix, of one expert; of a vector none. */
int64_t qm_panels_of(const struct qm_weight *w);
/* A part of a weight (placement.h) in memory of its own, but for where that is: ranges [nodes], slot [experts] or NULL,
 * and values are the caller's to fill in. */
void qm_panels_describe(const struct qm_weight *w, const struct qm_weight_part *part, const int32_t *slot,
                        struct qm_packed_range *ranges, struct qm_packed_weight *to);

#endif
