/* A placement being executed: the insides of placed.c (a step) and placed_open.c (before and after). */
#ifndef QM_ENGINE_PLACED_PRIVATE_H
#define QM_ENGINE_PLACED_PRIVATE_H

#include "engine/engine.h"
#include "engine/placed.h"
#include "numa/memory.h"

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
    /* hand-overs of sums: [placement.devices], each [chunk][ld_hidden] floats, where a layer is parted */
    struct qm_memory sums;
    uint64_t sum_bytes;
    /* of the step */
    const struct qm_batch *batch;
    struct qm_engine_profile *profile;
    int where;   /* the residual is there */
    bool routed; /* the CPU has the rows and experts of the layer, though its router is on a device */
};

/* What of a layer's experts, or of the columns of its FFN, is a device's. */
void qm_placed_part(const struct qm_placed *p, const struct qm_op *op, int device, struct qm_op_part *part);

#endif
