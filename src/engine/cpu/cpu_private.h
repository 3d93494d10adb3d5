/* The CPU backend's insides, shared by its files. Each op is one parallel region; where threads need each
 * other's work inside it, they meet at the team's barrier. */
#ifndef QM_ENGINE_CPU_CPU_PRIVATE_H
#define QM_ENGINE_CPU_CPU_PRIVATE_H

#include "engine/cpu/cpu.h"
#include "engine/kv.h"
#include "engine/packed.h"
#include "numa/team.h"
#include "simd/kernels.h"

/* Tokens routed to one expert: entries [first[e], first[e + 1]) of slot_row and slot_weight, in order of row. */
struct qm_routes {
    float *logits; /* [rows][experts rounded up to 16] */
    struct qm_routed *record;
    int32_t *chosen;     /* [rows][k], ascending; in the record, as weight is */
    float *weight;       /* [rows][k] */
    int32_t *slot_row;   /* [rows * k] */
    float *slot_weight;  /* [rows * k] */
    int64_t *first;      /* [experts + 1] */
    uint64_t *packed_at; /* [experts]: where an expert's packed rows start, in bytes */
};

struct qm_cpu {
    const struct qm_model *model;
    const struct qm_config *config;
    struct qm_workload workload;
    const struct qm_kernels *kernels;
    struct qm_team *team;
    struct qm_kv *kv;
    struct qm_cpu_setup setup; /* empty where weights are borrowed, as the following are */
    struct qm_placement placement;
    struct qm_packed packed, lost[QM_MAX_DEVICES]; /* lost: what was placed on a device, taken over */
    const struct qm_packed_weight *weights;
    struct qm_scratch_layout layout;
    struct qm_memory scratch; /* sums that are transferred, then what all threads share */
    uint64_t sum_bytes;
    struct qm_memory *private_scratch; /* [nodes of the team]: the parts of their threads; NULL: borrowed */
    uint8_t **private_part;            /* [threads] */
    float *x, *normed, *qkv, *attended, *h, *partial;
    uint8_t *packed_rows;
    struct qm_routes routing;
    struct qm_rotation {
        double *inv_freq; /* [width / 2] */
        double attention_factor;
        int64_t width;
        float *table; /* [rows][width]: cosines, then sines */
    } rotation[2];    /* by enum qm_layer_rope */
    int n_rotations;
};

static inline uint8_t *qm_cpu_private(const struct qm_cpu *c, int thread, uint64_t offset) {
    return c->private_part[thread] + offset;
}

static inline const struct qm_packed_weight *qm_cpu_weight(const struct qm_cpu *c, int32_t index) {
    return index < 0 ? NULL : &c->weights[index];
}

/* The kernels that multiply a weight or cache of this type. */
static inline const struct qm_type_kernels *qm_cpu_type(const struct qm_cpu *c, enum qm_dtype t) {
    return &c->kernels->type[t];
}

/* What becomes of a finished block of a product's columns. */
struct qm_epilogue {
    enum { QM_STORE, QM_ADD, QM_GATE, QM_SCATTER } kind;
    float *out; /* STORE, ADD: row r at out + r * ld; GATE: half as many columns */
    int64_t ld;
    float *const *rows; /* SCATTER: row r at rows[r], n columns at most */
    const float *bias;  /* [n], or NULL */
};

/* Columns of C = A . W^T for this thread's share of the panels of one expert that are there, rows packed at `a`. next:
 * the expert that is multiplied by afterwards, or -1. */
void qm_cpu_product(const struct qm_cpu *c, int thread, const void *a, int64_t m, const struct qm_packed_weight *w,
                    int64_t expert, int64_t next, const struct qm_epilogue *e);

/* Rows that a product multiplies by. */
struct qm_cpu_rows {
    const float *src;
    int64_t ld;
    const int32_t *which;                /* rows of src, or NULL for the first m */
    int64_t m, k;                        /* k: of each row, the columns that take part, from src on */
    const struct qm_packed_weight *norm; /* rows are normed first, or NULL */
};

/* Packs rows for a product by w, inside a region: few rows each thread packs for itself (no barrier), more are
 * divided in blocks and followed by a barrier. Normed rows are also left in c->normed. */
const void *qm_cpu_pack(const struct qm_cpu *c, int thread, int threads, const struct qm_packed_weight *w,
                        const struct qm_cpu_rows *rows);

/* An op, or a part of one, over a batch: what its region is given. */
struct qm_cpu_work {
    struct qm_cpu *c;
    const struct qm_op *op;
    const struct qm_op_part *part;
    const struct qm_batch *batch;
    float *sum; /* where a down product is added to */
};

/* chosen and weight are where a record of so many rows has them. */
void qm_cpu_aim_routes(struct qm_cpu *c, int64_t rows);

void qm_cpu_attention(struct qm_cpu *c, const struct qm_op *op, const struct qm_batch *batch);
void qm_cpu_route(struct qm_cpu *c, const struct qm_op *op, const struct qm_batch *batch);
void qm_cpu_moe_up(const struct qm_cpu_work *work);
void qm_cpu_moe_down(const struct qm_cpu_work *work);

#endif
