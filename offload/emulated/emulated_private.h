/* The emulated device's insides, shared by its files. */
#ifndef QM_OFFLOAD_EMULATED_EMULATED_PRIVATE_H
#define QM_OFFLOAD_EMULATED_EMULATED_PRIVATE_H

#include "engine/kv.h"
#include "numa/memory.h"
#include "offload/emulated/emulated.h"
#include "offload/emulated/timeline.h"

/* A call. */
struct qm_emulated_piece {
    enum { QM_PIECE_SEND, QM_PIECE_STREAM, QM_PIECE_WORK, QM_PIECE_ADD, QM_PIECE_RECEIVE, QM_PIECE_COPY } kind;
    enum qm_transfer_kind what;
    struct qm_transfer host;
    const struct qm_op *op;
    struct qm_op_part part;
    enum qm_sum_to to;
    int group; /* COPY: of a page */
    int64_t from_page, to_page;
    double asked, end; /* when, by the host's clock; when a transfer is done */
};

/* What the calls of a step with some shape were: a hash of each. */
struct qm_emulated_shape {
    int64_t number; /* 0: free */
    int64_t n;
    uint64_t *call; /* [capacity] */
};
enum { QM_EMULATED_SHAPES = 8 };

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
    const struct qm_host_range *host; /* [n_host] */
    int n_host;
    double patience;

    /* the list: pages to be copied, then a step's calls */
    struct qm_batch batch;
    struct qm_batch_sequence *step_sequences; /* [chunk] of the batch */
    float **logit_out;                        /* [chunk] */
    struct qm_emulated_piece *piece;          /* [capacity], as many again before the step */
    int64_t n, done, first;                   /* first: of the step */
    int capacity;
    struct qm_emulated_shape shape[QM_EMULATED_SHAPES], *shape_now; /* NULL: outside a step */
    int next_shape;

    /* what it holds */
    struct qm_cpu *cpu; /* its activations */
    float *sum;         /* [chunk][ld_hidden] */
    float *logits;      /* of a HEAD's part, then hidden states */
    int64_t ld_hidden;
    const struct qm_packed_weight *borrowed; /* [weights] the CPU's panels */
    struct qm_packed_weight *own;            /* [weights] what is placed there */
    struct qm_packed_range *ranges;          /* [weights] of own */
    int32_t *slots;                          /* [layers][experts] of own */
    struct qm_packed_weight *weights;        /* [weights] what the op that is being computed uses */
    bool *placed, *kept;                     /* [weights], [states] */
    struct qm_memory panels;                 /* of own */
    uint64_t weights_used, kv_used;          /* bytes of its memory */
    struct qm_kv mirror;                     /* its pages */
    struct qm_memory pages, sums; /* pages: of placed layers, then the two places of streamed ones; sums: sum, logits */
    struct {
        const struct qm_op *op; /* NULL: free */
        struct qm_op_part part;
    } place[2];
};

int qm_emulated_take_memory(struct qm_emulated *e, const struct qm_device_load *load, struct qm_error *err);
void qm_emulated_free_memory(struct qm_emulated *e);
int qm_emulated_place(struct qm_device *d, const struct qm_op *op, const struct qm_op_part *part, struct qm_error *err);
int qm_emulated_put(struct qm_device *d, int32_t weight, int64_t expert, int64_t first, int64_t panels,
                    const void *bytes, struct qm_error *err);

/* The op's weights, or the pages of the batch, come to a place. */
void qm_emulated_fill_place(struct qm_emulated *e, int place, const struct qm_op *op, const struct qm_op_part *part);
/* Where the op's part was streamed to; -1: nowhere. */
int qm_emulated_find_place(const struct qm_emulated *e, const struct qm_op *op, const struct qm_op_part *part);
/* Whether what the op's part needs is there, placed or in the place. */
bool qm_emulated_has(const struct qm_emulated *e, const struct qm_op *op, const struct qm_op_part *part, int place);
/* The op's weights are those of the place, or else those that are placed. */
void qm_emulated_aim(struct qm_emulated *e, const struct qm_op *op, int place);
/* New keys and values go back to the CPU's pages, and the place is free; -1: nothing. */
void qm_emulated_empty_place(struct qm_emulated *e, int place);

/* Pages of the states that are placed there; seconds that it takes. */
double qm_emulated_copy_page(struct qm_emulated *e, int group, int64_t from, int64_t to);
void qm_emulated_write_block(struct qm_emulated *e, const int32_t *pages, const void *bytes);
void qm_emulated_read_block(struct qm_emulated *e, const int32_t *pages, void *bytes);

#endif
