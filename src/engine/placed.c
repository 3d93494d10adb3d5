/* A step by its placement: who computes an op, what is handed over before it, and what the clock says. */
#include "engine/placed.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/emulated.h"

struct device {
    struct qm_device_setup setup;
    struct qm_device_memory memory;
    struct qm_device_report report;
    int64_t ops; /* begun since it was opened */
    bool failed;
};

/* A device's experts or columns of an FFN: between their two products. */
struct share {
    double seconds, streamed;
};

struct qm_placed {
    const struct qm_model *model;
    const struct qm_forward *forward;
    struct qm_backend *cpu;
    struct qm_kv *kv;
    enum qm_dtype kv_type;
    struct qm_placement placement;
    struct qm_speed_device specs[QM_MAX_DEVICES];
    struct device device[QM_MAX_DEVICES]; /* [0] is the CPU and not used */
    struct qm_timeline timeline;
    struct share share[QM_MAX_DEVICES];
    int failed;
};

static int check_memory(const struct qm_placed *p, const struct qm_workload *w, int d, struct qm_error *err) {
    const struct qm_device_memory *m = &p->device[d].memory;
    const struct qm_speed_device *spec = &p->specs[d - 1];
    if (m->total <= spec->memory)
        return QM_OK;
    return qm_fail(
        err, QM_FIT,
        "%s: %.2f GiB placed there (weights %.2f, KV cache for %lld tokens %.2f, activations %.2f, streaming "
        "%.2f), but it has %.2f GiB; place less there, or use --offload auto",
        spec->name, (double)m->total / 0x1p30, (double)m->weights / 0x1p30, (long long)(w->context * w->sequences),
        (double)m->kv / 0x1p30, (double)m->activations / 0x1p30, (double)m->workspace / 0x1p30,
        (double)spec->memory / 0x1p30);
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
    p->kv_type = s->workload.kv_type;
    rc = qm_placement_copy(s->placement, &p->placement, err);
    for (int d = 1; d < p->placement.devices && !rc; d++) {
        p->device[d].setup = s->devices[d - 1];
        p->specs[d - 1] = s->devices[d - 1].spec;
        qm_placement_memory(&p->placement, s->model, &s->workload, d, &p->device[d].memory);
        rc = check_memory(p, &s->workload, d, err);
    }
    if (rc) {
        qm_placed_close(p);
        return rc;
    }
    *out = p;
    return QM_OK;
}

void qm_placed_close(struct qm_placed *p) {
    if (!p)
        return;
    qm_placement_free(&p->placement);
    free(p);
}

/* Where a unit of the CPU or of a device is computed now. */
static int computes(const struct qm_placed *p, int device, int stream, int64_t rows, bool *streamed) {
    *streamed = device == QM_DEVICE_CPU && stream && p->placement.stream_rows && rows >= p->placement.stream_rows &&
                !p->device[stream].failed;
    if (*streamed)
        return stream;
    return p->device[device].failed ? QM_DEVICE_CPU : device;
}

static int op_device(const struct qm_placed *p, const struct qm_op *op, int64_t rows, bool *streamed) {
    *streamed = false;
    if (op->kind == QM_OP_EMBED)
        return QM_DEVICE_CPU;
    if (op->kind == QM_OP_HEAD)
        return computes(p, p->placement.head, 0, rows, streamed);
    const struct qm_layer_placement *l = &p->placement.layer[op->layer];
    if (op->kind == QM_OP_FFN_UP || op->kind == QM_OP_FFN_DOWN)
        return computes(p, l->ffn, l->stream_ffn, rows, streamed);
    return computes(p, l->attention, l->stream_attention, rows, streamed);
}

static int fail(struct qm_placed *p, int d, const struct qm_op *op, struct qm_error *err) {
    p->device[d].failed = true;
    p->failed = d;
    for (int i = 0; i < p->forward->n_ops; i++) {
        const struct qm_op *o = &p->forward->ops[i];
        if (o->kind == QM_OP_ATTENTION && p->placement.layer[o->layer].attention == d)
            qm_kv_spoil(p->kv, o->state);
    }
    const char *card = p->specs[d - 1].name, *what = qm_op_name(op->kind);
    return op->layer < 0 ? qm_fail(err, QM_SYSTEM, "%s failed at the %s", card, what)
                         : qm_fail(err, QM_SYSTEM, "%s failed at %s of layer %d", card, what, op->layer);
}

/* Computes an op for a device, or for the CPU: *seconds by the clock of whoever it is. */
static int compute(struct qm_placed *p, int d, const struct qm_op *op, const struct qm_batch *batch, double *seconds,
                   struct qm_error *err) {
    struct device *device = &p->device[d];
    if (d != QM_DEVICE_CPU) {
        if (device->setup.fail_after >= 0 && device->ops >= device->setup.fail_after)
            return fail(p, d, op, err);
        device->ops++;
    }
    double begin = qm_now();
    p->cpu->execute(p->cpu, op, batch);
    *seconds = qm_now() - begin;
    if (d != QM_DEVICE_CPU) {
        *seconds = qm_emulated_seconds(&p->specs[d - 1], p->model, p->kv_type, op, batch, p->cpu->expert_first);
        device->report.ops++;
        device->report.work_seconds += *seconds;
    }
    return QM_OK;
}

static double residual_bytes(const struct qm_placed *p, const struct qm_batch *batch) {
    return 4.0 * (double)batch->rows * (double)p->model->config.hidden;
}

/* Which expert each row goes to, and by what weight. */
static double routing_bytes(const struct qm_placed *p, const struct qm_batch *batch) {
    return 8.0 * (double)batch->rows * (double)p->model->config.experts_per_token;
}

static int run_op(struct qm_placed *p, const struct qm_op *op, const struct qm_batch *batch, double *seconds,
                  struct qm_error *err) {
    bool streamed;
    int d = op_device(p, op, batch->rows, &streamed);
    double up = 0, added = 0;
    qm_timeline_move(&p->timeline, d, residual_bytes(p, batch));
    int rc = compute(p, d, op, batch, seconds, err);
    if (streamed)
        up = op->kind == QM_OP_ATTENTION ? qm_emulated_kv_bytes(p->model, p->kv_type, op, batch, &added)
                                         : qm_emulated_weight_bytes(p->model, op, batch);
    qm_timeline_work(&p->timeline, *seconds, up);
    if (added > 0)
        qm_timeline_down(&p->timeline, d, added);
    if (op->kind == QM_OP_HEAD && d != QM_DEVICE_CPU)
        qm_timeline_down(&p->timeline, d, 4.0 * (double)batch->n_logits * (double)p->model->config.vocab);
    return rc;
}

static bool of_experts(const struct qm_op *op) {
    return op->kind == QM_OP_MOE_UP || op->kind == QM_OP_MOE_DOWN;
}

/* Products of a layer that several devices may have parts of. */
static bool can_be_parted(const struct qm_placed *p, const struct qm_op *op) {
    bool dense = op->kind == QM_OP_FFN_UP || op->kind == QM_OP_FFN_DOWN;
    return of_experts(op) || (dense && p->placement.layer[op->layer].ffn_cpu);
}

/* Bit d: device d has experts, or columns of the FFN, of the layer. */
static unsigned devices_of(const struct qm_placed *p, const struct qm_op *op) {
    if (!of_experts(op))
        return 1u << QM_DEVICE_CPU | 1u << p->placement.layer[op->layer].ffn;
    unsigned mask = 0;
    for (int64_t e = 0; e < p->placement.experts; e++)
        mask |= 1u << qm_placement_expert(&p->placement, op->layer, e);
    return mask;
}

/* What of the batch is a device's. */
static void take_part(const struct qm_placed *p, const struct qm_op *op, int device, struct qm_batch *part) {
    int64_t here = p->placement.layer[op->layer].ffn_cpu;
    if (of_experts(op)) {
        part->expert_on = p->placement.expert + (int64_t)op->layer * p->placement.experts;
        part->device = (uint8_t)device;
    } else if (device == QM_DEVICE_CPU) {
        part->columns = here;
    } else {
        part->column = here;
        part->columns = p->model->config.ffn - here;
    }
}

/* One product of a layer that is parted, device by device. The time of both is put on the clock after the second. */
static int run_parted(struct qm_placed *p, const struct qm_op *op, const struct qm_batch *batch, double *seconds,
                      struct qm_error *err) {
    const struct qm_layer_placement *l = &p->placement.layer[op->layer];
    bool first = op->kind == QM_OP_MOE_UP || op->kind == QM_OP_FFN_UP;
    unsigned mask = devices_of(p, op);
    struct qm_batch part = *batch;
    struct qm_parts parts;
    int rc = QM_OK, groups = __builtin_popcount(mask);
    double residual = residual_bytes(p, batch), there = residual;
    if (of_experts(op)) /* the normed rows, as BF16, and who takes which */
        there = residual / 2 + routing_bytes(p, batch);
    if (groups > 1)
        qm_timeline_part_begin(&p->timeline, &parts);
    for (int group = 0; group < p->placement.devices && !rc; group++) {
        struct share *share = &p->share[group];
        bool streamed;
        double one = 0;
        if (!(mask >> group & 1))
            continue;
        if (first)
            *share = (struct share){0};
        take_part(p, op, group, &part);
        int d = computes(p, group, l->stream_ffn, batch->rows, &streamed);
        rc = compute(p, d, op, &part, &one, err);
        *seconds += one;
        share->seconds += one;
        share->streamed += streamed ? qm_emulated_weight_bytes(p->model, op, &part) : 0;
        if (first)
            continue;
        if (groups == 1) {
            qm_timeline_move(&p->timeline, d, residual + routing_bytes(p, batch));
            qm_timeline_work(&p->timeline, share->seconds, share->streamed);
        } else {
            qm_timeline_part(&p->timeline, &parts, d, share->seconds, share->streamed, there, residual);
        }
    }
    if (groups > 1)
        qm_timeline_part_end(&p->timeline, &parts);
    return rc;
}

static void add_lanes(struct qm_placed *p) {
    for (int d = 1; d < p->placement.devices; d++) {
        p->device[d].report.up_seconds += p->timeline.lane[d].up_busy;
        p->device[d].report.down_seconds += p->timeline.lane[d].down_busy;
    }
}

int qm_placed_execute(struct qm_placed *p, const struct qm_batch *batch, struct qm_engine_profile *profile,
                      double *elsewhere, struct qm_error *err) {
    double begin = qm_now();
    int rc = QM_OK;
    *elsewhere = 0;
    qm_timeline_begin(&p->timeline, p->specs);
    for (int i = 0; i < p->forward->n_ops && !rc; i++) {
        const struct qm_op *op = &p->forward->ops[i];
        double seconds = 0;
        if (can_be_parted(p, op))
            rc = run_parted(p, op, batch, &seconds, err);
        else
            rc = run_op(p, op, batch, &seconds, err);
        if (profile) {
            profile->seconds[op->kind] += seconds;
            profile->calls[op->kind]++;
        }
    }
    double took = qm_timeline_end(&p->timeline);
    add_lanes(p);
    if (!rc)
        *elsewhere = took - (qm_now() - begin);
    if (profile)
        profile->steps++;
    return rc;
}

int qm_placed_failed(const struct qm_placed *p) {
    return p->failed;
}

void qm_placed_fall_back(struct qm_placed *p) {
    p->failed = 0; /* its units are computed on the CPU, in the same groups, by device[].failed */
}

void qm_placed_report(const struct qm_placed *p, int device, struct qm_device_report *out) {
    *out = p->device[device].report;
    out->name = p->specs[device - 1].name;
    out->memory = p->device[device].memory;
    out->failed = p->device[device].failed;
}

const struct qm_placement *qm_placed_placement(const struct qm_placed *p) {
    return &p->placement;
}
