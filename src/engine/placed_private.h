/* A placement being executed: the insides of placed.c (a step) and placed_open.c (before and after). */
#ifndef QM_ENGINE_PLACED_PRIVATE_H
#define QM_ENGINE_PLACED_PRIVATE_H

#include "engine/kv.h"
#include "engine/placed.h"
#include "numa/memory.h"

/* All that the calls of a step depend on. */
struct qm_placed_shape {
    int64_t number; /* 0: free */
    int64_t rows, parts, logits, hidden;
    int64_t devices; /* bit d: it is there */
    bool routing;
};
enum { QM_PLACED_SHAPES = 64 };

struct qm_placed {
    const struct qm_model *model;
    const struct qm_forward *forward;
    struct qm_cpu *cpu;
    struct qm_kv *kv;
    struct qm_host_clock *clock;
    struct qm_placement placement;
    struct qm_device *device[QM_MAX_DEVICES]; /* NULL: the CPU, or lost */
    struct qm_device_report lost[QM_MAX_DEVICES];
    char name[QM_MAX_DEVICES][QM_DEVICE_NAME];
    int failed;
    struct qm_workload workload;
    int64_t ld_hidden;
    uint64_t sum_bytes;      /* of one sum of a part: the CPU has one a device, where a layer is split */
    struct qm_memory logits; /* that a device hands over, logit_rows of them at once */
    int64_t logit_rows;
    struct qm_host_range *host; /* what devices were given */
    struct qm_placed_shape shape[QM_PLACED_SHAPES];
    int64_t shapes; /* numbers given to shapes so far */
    /* of the step */
    const struct qm_batch *batch;
    struct qm_engine_profile *profile;
    int where;   /* the residual is there */
    bool routed; /* the CPU has the rows and experts of the layer, though its router is on a device */
};

/* What of a layer's experts, or of the columns of its FFN, is a device's. */
void qm_placed_part(const struct qm_placed *p, const struct qm_op *op, int device, struct qm_op_part *part);

#endif
