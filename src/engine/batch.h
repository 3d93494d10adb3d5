/* What a step computes, flattened: row r of every activation is one token of one sequence. Made by the engine, read by
 * whoever computes ops: the CPU's kernels (cpu/cpu.h) and devices (device.h). */
#ifndef QM_ENGINE_BATCH_H
#define QM_ENGINE_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/routing.h"

struct qm_kv_tables; /* kv.h */

/* The rows of one sequence: [row, row + n), at positions [position, position + n). */
struct qm_batch_sequence {
    const struct qm_kv_tables *tables; /* its pages, those of the new positions among them */
    int64_t row, n, position;
    float *hidden;    /* [hidden] of the last row after the final norm, written by HEAD; NULL: not asked for */
    float *attention; /* probabilities of one layer, written by its ATTENTION (engine.h); NULL: not asked for */
    int64_t attention_layer, attention_ld;
};

/* What of an op takes part. {0}: all of it. */
struct qm_op_part {
    /* Experts: those that have this number in expert_on [experts]; NULL: all. */
    const uint8_t *expert_on;
    uint8_t number;
    /* A dense FFN: columns [column, column + columns) of its intermediate values, multiples of QM_FFN_UNIT but for the
     * last; columns 0: all. The bias of the down product is added with column 0. */
    int64_t column, columns;
    /* HEAD: of the rows whose logits are asked for, [logit, logit + logits); logits 0: all. Hidden states are computed
     * with the first. */
    int64_t logit, logits;
};

struct qm_batch {
    int64_t rows;
    const int32_t *token;    /* [rows] */
    const int64_t *position; /* [rows] */
    const struct qm_batch_sequence *sequences;
    int n_sequences;
    /* rows whose logits are asked for, and where they go */
    const int32_t *logit_row;
    float *const *logit_out; /* [n_logits] of [vocab] */
    int64_t n_logits;
    struct qm_routing_profile *routing; /* to be counted in, or NULL */
    bool routing_continues;             /* the first part follows what was counted last */
};

#endif
