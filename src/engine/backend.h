/* What a backend is to the engine: it holds the weights and the state of the ops placed on it, and executes the
 * forward pass op by op over a batch. The CPU backend is the only one so far; placed.h emulates others on it.
 *
 * A batch is one step, flattened: row r of every activation is one token of one sequence. */
#ifndef QM_ENGINE_BACKEND_H
#define QM_ENGINE_BACKEND_H

#include <stdint.h>

#include "base/error.h"
#include "engine/engine.h"
#include "engine/kv.h"
#include "plan/forward.h"
#include "plan/routing.h"

/* The rows of one sequence: [row, row + n), at positions [position, position + n). */
struct qm_batch_part {
    const struct qm_step *step;
    const struct qm_kv_tables *tables;
    int64_t row, n, position;
};

struct qm_batch {
    int64_t rows;
    const int32_t *token;    /* [rows] */
    const int64_t *position; /* [rows] */
    const struct qm_batch_part *parts;
    int n_parts;
    /* rows whose logits are asked for, and where they go */
    const int32_t *logit_row;
    float *const *logit_out;
    int64_t n_logits;
    /* Ops of experts: [experts] which of them take part, those that have this number; NULL: all. */
    const uint8_t *expert_on;
    uint8_t device;
    /* Ops of a dense FFN: the columns [column, column + columns) of its intermediate values take part, multiples of
     * QM_FFN_UNIT but for the last; columns 0: all. The bias of the down product is added with column 0. */
    int64_t column, columns;
    struct qm_routing_profile *routing; /* to be counted in, or NULL */
    bool routing_continues;             /* the first part follows what was counted last */
};

struct qm_backend {
    const char *name;
    const int64_t *expert_first; /* [experts + 1], after ROUTE: expert e has first[e + 1] - first[e] rows */
    /* Executes one op over the batch. Results are the same bits whatever the batch's composition. */
    void (*execute)(struct qm_backend *b, const struct qm_op *op, const struct qm_batch *batch);
    /* The weights of a node of the team, NULL where it holds none there. */
    const struct qm_memory *(*weights)(const struct qm_backend *b, int node);
    void (*close)(struct qm_backend *b);
};

struct qm_backend_setup {
    const struct qm_model *model;
    struct qm_workload workload;
    enum qm_isa isa;
    struct qm_team *team;
    const struct qm_home *homes; /* [nodes of the team] */
    struct qm_kv *kv;
    bool drop_cache; /* weights that have been read do not stay in the page cache */
    qm_progress_fn *progress;
    void *progress_arg;
};

int qm_cpu_backend_open(const struct qm_backend_setup *s, struct qm_backend **out, struct qm_error *err);

#endif
