/* The emulated device's insides, shared by its files. */
#ifndef QM_OFFLOAD_EMULATED_EMULATED_PRIVATE_H
#define QM_OFFLOAD_EMULATED_EMULATED_PRIVATE_H

#include "numa/memory.h"
#include "offload/emulated/emulated.h"
#include "offload/emulated/timeline.h"

/* What it was told. */
struct qm_emulated_piece {
    enum { QM_PIECE_SEND, QM_PIECE_STREAM, QM_PIECE_WORK, QM_PIECE_ADD, QM_PIECE_RECEIVE } kind;
    enum qm_hand what;
    struct qm_hand_over host;
    const struct qm_op *op;
    struct qm_op_part part;
    enum qm_sum_to to;
    double asked, end; /* when, by the host's clock; when a hand-over is done */
};

struct qm_emulated {
    struct qm_device device;
    struct qm_emulated_config config;
    const struct qm_model *model;
    const struct qm_kv *kv; /* the CPU's */
    struct qm_host_clock *clock;
    struct qm_device_memory memory;
    struct qm_timeline timeline;
    struct qm_device_report report;
    struct qm_error failure;

    /* the list of this step */
    struct qm_batch batch;
    struct qm_emulated_piece *piece; /* [capacity] */
    int64_t n, done;
    int capacity;

    /* what it holds */
    struct qm_cpu *cpu; /* its activations */
    float *sum;         /* [chunk][ld_hidden] */
    int64_t ld_hidden;
    const struct qm_packed_weight *lent; /* [weights] the CPU's panels */
    struct qm_packed_weight *weights;    /* [weights] those that are there; others empty */
    bool *placed, *kept;                 /* [weights], [states] */
    uint64_t weights_used, kv_used;      /* bytes of its memory */
    struct qm_kv mirror;                 /* its pages */
    struct qm_memory pages, sum_memory;  /* pages: of placed layers, then the two places of streamed ones */
    struct {
        const struct qm_op *op; /* NULL: free */
        struct qm_op_part part;
    } place[2];
};

int qm_emulated_take_memory(struct qm_emulated *e, const struct qm_device_load *load, struct qm_error *err);
void qm_emulated_free_memory(struct qm_emulated *e);
int qm_emulated_place(struct qm_device *d, const struct qm_op *op, const struct qm_op_part *part, struct qm_error *err);

/* The op's weights, or the pages of the batch, come to a place. */
void qm_emulated_fill_place(struct qm_emulated *e, int place, const struct qm_op *op, const struct qm_op_part *part);
/* Where the op's part was streamed to; -1: nowhere. */
int qm_emulated_find_place(const struct qm_emulated *e, const struct qm_op *op, const struct qm_op_part *part);
/* Whether what the op's part needs is there, placed or in the place. */
bool qm_emulated_has(const struct qm_emulated *e, const struct qm_op *op, const struct qm_op_part *part, int place);
/* New keys and values go back to the CPU's pages, and the place is free; -1: nothing. */
void qm_emulated_empty_place(struct qm_emulated *e, int place);

void qm_emulated_page_copy(struct qm_device *d, int state, int64_t from, int64_t to);
void qm_emulated_page_write(struct qm_device *d, int state, int64_t page, const void *bytes);
void qm_emulated_page_read(struct qm_device *d, int state, int64_t page, void *bytes);

#endif
