/* Before and after steps by a placement: devices opened, units put there, devices lost. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/memory.h"
#include "engine/placed_private.h"

void qm_placed_part(const struct qm_placed *p, const struct qm_op *op, int device, struct qm_op_part *part) {
    *part = (struct qm_op_part){0};
    if (op->layer < 0)
        return;
    int64_t here = p->placement.layer[op->layer].ffn_cpu;
    if (op->kind == QM_OP_MOE_UP || op->kind == QM_OP_MOE_DOWN) {
        part->expert_on = p->placement.expert + (int64_t)op->layer * p->placement.experts;
        part->number = (uint8_t)device;
    } else if ((op->kind == QM_OP_FFN_UP || op->kind == QM_OP_FFN_DOWN) && here) {
        part->column = device == QM_DEVICE_CPU ? 0 : here;
        part->columns = device == QM_DEVICE_CPU ? here : p->model->config.ffn - here;
    }
}

/* Whether the op, or a part of it, is to be on the device. */
static bool is_there(const struct qm_placed *p, const struct qm_op *op, int device) {
    const struct qm_layer_placement *l = op->layer < 0 ? NULL : &p->placement.layer[op->layer];
    switch (op->kind) {
    case QM_OP_EMBED: return false;
    case QM_OP_HEAD: return p->placement.head == device;
    case QM_OP_FFN_UP:
    case QM_OP_FFN_DOWN: return l->ffn == device;
    case QM_OP_MOE_UP:
    case QM_OP_MOE_DOWN: return qm_placement_experts_on(&p->placement, op->layer, device) > 0;
    default: return l->attention == device;
    }
}

static int place(struct qm_placed *p, int d, struct qm_error *err) {
    struct qm_device *device = p->device[d];
    int rc = QM_OK;
    for (int i = 0; i < p->forward->n_ops && !rc; i++) {
        const struct qm_op *op = &p->forward->ops[i];
        struct qm_op_part part;
        if (!is_there(p, op, d))
            continue;
        qm_placed_part(p, op, d, &part);
        rc = device->place(device, op, &part, err);
        if (!rc && op->kind == QM_OP_ATTENTION)
            p->kv->keeper[op->state] = device;
    }
    return rc;
}

static int open_device(struct qm_placed *p, const struct qm_placed_setup *s, int d, struct qm_error *err) {
    struct qm_device_load load = {.model = s->model,
                                  .forward = s->forward,
                                  .workload = s->workload,
                                  .weights = qm_cpu_panels(s->cpu),
                                  .kv = s->kv,
                                  .cpu = s->cpu,
                                  .clock = s->clock};
    qm_placement_memory(&p->placement, s->model, &s->workload, d, &load.memory);
    const struct qm_device_setup *device = &s->devices[d - 1];
    snprintf(p->name[d], sizeof p->name[d], "%s", device->name);
    int rc = device->driver->open(device->config, &load, &p->device[d], err);
    return rc ? rc : place(p, d, err);
}

int qm_placed_open(const struct qm_placed_setup *s, struct qm_placed **out, struct qm_error *err) {
    *out = NULL;
    int rc = qm_placement_check(s->placement, s->model, err);
    if (rc)
        return rc;
    struct qm_placed *p = calloc(1, sizeof *p);
    if (!p)
        return qm_fail_memory(err, sizeof *p, "a placement");
    p->model = s->model;
    p->forward = s->forward;
    p->cpu = s->cpu;
    p->kv = s->kv;
    p->clock = s->clock;
    rc = qm_placement_copy(s->placement, &p->placement, err);
    uint64_t sums = rc ? 0 : qm_placement_sum_bytes(&p->placement, s->model, &s->workload, QM_DEVICE_CPU);
    p->sum_bytes = sums / (uint64_t)(s->placement->devices);
    if (sums)
        rc = qm_memory_alloc(sums, "sums of devices", &p->sums, err);
    for (int d = 1; d < p->placement.devices && !rc; d++)
        rc = open_device(p, s, d, err);
    if (rc) {
        qm_placed_close(p);
        return rc;
    }
    *out = p;
    return QM_OK;
}

static void leave(struct qm_placed *p, int d) {
    for (int s = 0; s < p->kv->n_states; s++)
        if (p->device[d] && p->kv->keeper[s] == p->device[d])
            p->kv->keeper[s] = NULL;
    if (p->device[d])
        p->device[d]->close(p->device[d]);
    p->device[d] = NULL;
}

void qm_placed_close(struct qm_placed *p) {
    if (!p)
        return;
    for (int d = 1; d < p->placement.devices; d++)
        leave(p, d);
    qm_memory_free(&p->sums);
    qm_placement_free(&p->placement);
    free(p);
}

int qm_placed_failed(const struct qm_placed *p) {
    return p->failed;
}

void qm_placed_fall_back(struct qm_placed *p) {
    int d = p->failed;
    p->device[d]->report(p->device[d], &p->lost[d]);
    for (int s = 0; s < p->kv->n_states; s++)
        if (p->kv->keeper[s] == p->device[d])
            qm_kv_spoil(p->kv, s);
    leave(p, d);
    p->failed = 0;
}

void qm_placed_report(const struct qm_placed *p, int device, struct qm_device_report *out) {
    if (p->device[device])
        p->device[device]->report(p->device[device], out);
    else
        *out = p->lost[device];
    out->name = p->name[device];
}

const struct qm_placement *qm_placed_placement(const struct qm_placed *p) {
    return &p->placement;
}
