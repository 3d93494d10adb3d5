/* Before and after steps by a placement: devices opened, units put there, devices lost. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/memory.h"
#include "engine/placed_private.h"
#include "engine/units.h"

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
    switch (qm_unit_of_op(op->kind)) {
    case QM_UNIT_EMBED: return false;
    case QM_UNIT_HEAD: return p->placement.head == device;
    case QM_UNIT_FFN: return l->ffn == device;
    case QM_UNIT_EXPERT: return qm_placement_experts_on(&p->placement, op->layer, device) > 0;
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
            p->kv->owner[op->state] = device;
    }
    return rc;
}

/* --- what of the host's memory devices see ------------------------------------------------------------------ */

static void add_ranges(struct qm_host_range *list, int *n, enum qm_host_use use, int node, void *data, uint64_t bytes) {
    for (uint64_t at = 0; at < bytes; at += QM_HOST_PIECE, ++*n)
        if (list)
            list[*n] = (struct qm_host_range){use, node, (uint8_t *)data + at,
                                              bytes - at < QM_HOST_PIECE ? bytes - at : QM_HOST_PIECE};
}

/* list NULL: only counts. */
static int find_ranges(const struct qm_placed *p, int nodes, struct qm_host_range *list) {
    int n = 0;
    struct qm_transfer handed = qm_cpu_handed(p->cpu);
    add_ranges(list, &n, QM_HOST_TRANSFERS, -1, handed.at, handed.bytes);
    add_ranges(list, &n, QM_HOST_LOGITS, -1, p->logits.data, p->logits.bytes);
    for (int node = 0; node < nodes; node++) {
        const struct qm_memory *weights = qm_cpu_weights(p->cpu, node), *kv = &p->kv->memory[node];
        add_ranges(list, &n, QM_HOST_WEIGHTS, node, weights->data, weights->bytes);
        add_ranges(list, &n, QM_HOST_KV, node, kv->data, kv->bytes);
    }
    return n;
}

uint64_t qm_logits_bytes(const struct qm_config *c, const struct qm_batch *batch, const struct qm_op_part *part) {
    int64_t hidden = 0, rows = part->logits ? part->logits : batch->n_logits;
    for (int i = 0; i < batch->n_sequences && part->logit == 0; i++)
        hidden += batch->sequences[i].hidden != NULL;
    return (uint64_t)(rows * c->vocab + hidden * c->hidden) * sizeof(float);
}

/* --- opening ------------------------------------------------------------------------------------------------ */

static int open_device(struct qm_placed *p, const struct qm_placed_setup *s, int d, struct qm_error *err) {
    struct qm_device_load load = {.model = s->model,
                                  .forward = s->forward,
                                  .workload = s->workload,
                                  .host = p->host,
                                  .n_host = find_ranges(p, p->kv->nodes, NULL),
                                  .logits = qm_placement_logit_bytes(&p->placement, s->model, &s->workload, d),
                                  .patience = QM_DEVICE_PATIENCE,
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

static int open_transfers(struct qm_placed *p, struct qm_error *err) {
    struct qm_scratch_layout scratch;
    qm_scratch_plan(p->model, &p->workload, &scratch);
    p->ld_hidden = scratch.ld_hidden;
    p->sum_bytes =
        qm_placement_sum_bytes(&p->placement, p->model, &p->workload, QM_DEVICE_CPU) / (uint64_t)p->placement.devices;
    p->logit_rows = qm_placement_logit_rows(&p->workload);
    uint64_t logits = qm_placement_logit_bytes(&p->placement, p->model, &p->workload, QM_DEVICE_CPU);
    int rc = logits ? qm_memory_alloc(logits, "logits of a device", &p->logits, err) : QM_OK;
    if (rc)
        return rc;
    size_t ranges = (size_t)find_ranges(p, p->kv->nodes, NULL);
    p->host = calloc(ranges + 1, sizeof *p->host);
    if (!p->host)
        return qm_fail_memory(err, ranges * sizeof *p->host, "the list of what devices see");
    find_ranges(p, p->kv->nodes, p->host);
    return QM_OK;
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
    p->workload = s->workload;
    rc = qm_placement_copy(s->placement, &p->placement, err);
    if (!rc)
        rc = open_transfers(p, err);
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
        if (p->device[d] && p->kv->owner[s] == p->device[d])
            p->kv->owner[s] = NULL;
    if (p->device[d])
        p->device[d]->close(p->device[d]);
    p->device[d] = NULL;
}

void qm_placed_close(struct qm_placed *p) {
    if (!p)
        return;
    for (int d = 1; d < p->placement.devices; d++)
        leave(p, d);
    qm_memory_free(&p->logits);
    free(p->host);
    qm_placement_free(&p->placement);
    free(p);
}

int qm_placed_failed(const struct qm_placed *p) {
    return p->failed;
}

int qm_placed_fall_back(struct qm_placed *p, const struct qm_binding *bindings, struct qm_error *err) {
    int d = p->failed, rc = qm_cpu_take_over(p->cpu, d, err);
    if (!rc)
        rc = qm_kv_regain(p->kv, p->device[d], bindings, err);
    if (rc)
        return qm_fail_context(err, "what was on %s has to be taken over", p->name[d]);
    p->device[d]->report(p->device[d], &p->lost[d]);
    leave(p, d);
    p->failed = 0;
    return QM_OK;
}

struct qm_device *const *qm_placed_devices(const struct qm_placed *p) {
    return p->device;
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
