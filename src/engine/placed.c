/* A step by its placement: who computes an op, and what is transferred before and after it. */
#include <string.h>

#include "engine/placed_private.h"

/* Where a unit of the CPU or of a device is computed now. */
static int computes(const struct qm_placed *p, int device, int stream, bool *streamed) {
    *streamed = device == QM_DEVICE_CPU && p->device[stream] && p->placement.stream_rows &&
                p->batch->rows >= p->placement.stream_rows;
    if (*streamed)
        return stream;
    return p->device[device] ? device : QM_DEVICE_CPU;
}

static bool of_ffn(const struct qm_op *op) {
    return op->kind == QM_OP_FFN_UP || op->kind == QM_OP_FFN_DOWN;
}

/* The device that an op is placed on that is not split. */
static int placed_on(const struct qm_placed *p, const struct qm_op *op) {
    if (op->layer < 0)
        return op->kind == QM_OP_HEAD ? p->placement.head : QM_DEVICE_CPU;
    const struct qm_layer_placement *l = &p->placement.layer[op->layer];
    return of_ffn(op) ? l->ffn : l->attention;
}

static int op_device(const struct qm_placed *p, const struct qm_op *op, bool *streamed) {
    int stream = QM_DEVICE_CPU;
    if (op->layer >= 0) {
        const struct qm_layer_placement *l = &p->placement.layer[op->layer];
        stream = of_ffn(op) ? l->stream_ffn : l->stream_attention;
    }
    return computes(p, placed_on(p, op), stream, streamed);
}

/* --- the two kinds of who computes -------------------------------------------------------------------------- */

/* g: the device that it is placed on. */
static void on_the_cpu(struct qm_placed *p, int g, const struct qm_op *op, const struct qm_op_part *part, float *sum) {
    double begin = p->profile ? qm_now() : 0;
    qm_cpu_use(p->cpu, g);
    qm_cpu_execute(p->cpu, op, part, p->batch, sum);
    if (p->profile)
        p->profile->seconds[op->kind] += qm_now() - begin;
}

static void on_a_device(struct qm_placed *p, int d, const struct qm_op *op, const struct qm_op_part *part,
                        bool streamed, enum qm_sum_to to) {
    if (streamed)
        p->device[d]->stream(p->device[d], op, part);
    p->device[d]->enqueue(p->device[d], op, part, to);
}

static int check(struct qm_placed *p, int d, int rc) {
    if (rc && !p->failed)
        p->failed = d;
    return rc;
}

static int wait_for(struct qm_placed *p, int d, qm_ticket t, struct qm_error *err) {
    return check(p, d, p->device[d]->wait(p->device[d], t, err));
}

static qm_ticket send(struct qm_placed *p, int d, enum qm_transfer_kind what, struct qm_transfer from) {
    return p->device[d]->send(p->device[d], what, from);
}

static qm_ticket receive(struct qm_placed *p, int d, enum qm_transfer_kind what, struct qm_transfer to) {
    return p->device[d]->receive(p->device[d], what, to);
}

/* The residual goes where the next op is. What was sent is not written here before it has come back. */
static int move(struct qm_placed *p, int to, struct qm_error *err) {
    struct qm_transfer x = qm_cpu_residual(p->cpu, p->batch->rows);
    int rc = QM_OK, from = p->where;
    if (from == to)
        return QM_OK;
    if (from != QM_DEVICE_CPU)
        rc = wait_for(p, from, receive(p, from, QM_TRANSFER_RESIDUAL, x), err);
    if (to != QM_DEVICE_CPU)
        send(p, to, QM_TRANSFER_RESIDUAL, x);
    p->where = to;
    return rc;
}

/* The CPU has the rows and experts that a device has routed. */
static int take_routes(struct qm_placed *p, qm_ticket t, struct qm_error *err) {
    int rc = wait_for(p, p->where, t, err);
    if (!rc)
        qm_cpu_take_routes(p->cpu, p->batch->rows);
    p->routed = !rc;
    return rc;
}

/* Copies logits that have come to those who asked for them. */
static void give_logits(const struct qm_placed *p, const struct qm_op_part *part) {
    const struct qm_batch *b = p->batch;
    size_t vocab = (size_t)p->model->config.vocab, hidden = (size_t)p->model->config.hidden;
    const float *from = p->logits.data;
    for (int64_t i = part->logit; i < part->logit + part->logits; i++, from += vocab)
        memcpy(b->logit_out[i], from, vocab * sizeof *from);
    for (int i = 0; i < b->n_sequences && part->logit == 0; i++)
        if (b->sequences[i].hidden) {
            memcpy(b->sequences[i].hidden, from, hidden * sizeof *from);
            from += hidden;
        }
}

/* The head on a device, as many rows at once as there is room for. */
static int run_head(struct qm_placed *p, int d, const struct qm_op *op, struct qm_error *err) {
    struct qm_op_part part = {0};
    int rc = QM_OK;
    do {
        int64_t left = p->batch->n_logits - part.logit;
        part.logits = left < p->logit_rows ? left : p->logit_rows;
        on_a_device(p, d, op, &part, false, QM_TO_RESIDUAL);
        struct qm_transfer to = {p->logits.data, qm_logits_bytes(&p->model->config, p->batch, &part)};
        rc = wait_for(p, d, receive(p, d, QM_TRANSFER_LOGITS, to), err);
        if (!rc)
            give_logits(p, &part);
        part.logit += part.logits;
    } while (!rc && part.logit < p->batch->n_logits);
    return rc;
}

static int run_op(struct qm_placed *p, const struct qm_op *op, struct qm_error *err) {
    static const struct qm_op_part all = {0};
    bool streamed;
    int d = op_device(p, op, &streamed), rc = move(p, d, err);
    if (rc)
        return rc;
    if (op->kind == QM_OP_ROUTE)
        p->routed = false;
    if (d == QM_DEVICE_CPU) {
        on_the_cpu(p, placed_on(p, op), op, &all, NULL);
        return QM_OK;
    }
    if (op->kind == QM_OP_HEAD)
        return run_head(p, d, op, err);
    on_a_device(p, d, op, &all, streamed, QM_TO_RESIDUAL);
    if (op->kind != QM_OP_ROUTE || !p->batch->routing)
        return QM_OK;
    rc = take_routes(p, receive(p, d, QM_TRANSFER_ROUTED, qm_cpu_routed(p->cpu, p->batch->rows)), err);
    if (!rc)
        qm_cpu_count_routes(p->cpu, op->layer, p->batch);
    return rc;
}

/* --- a layer whose experts, or whose FFN's columns, may be on several --------------------------------------- */

/* Parts by the device that they are placed on, and who computes them now. */
struct split_layer {
    const struct qm_op *up, *down;
    bool experts;
    bool has[QM_MAX_DEVICES], streamed[QM_MAX_DEVICES];
    int by[QM_MAX_DEVICES];
    int n, others;                   /* parts; those that are not computed where the residual is */
    int begun;                       /* the part that is enqueued ahead of the others where the residual is; -1: none */
    qm_ticket sum[QM_MAX_DEVICES];   /* of those that a device computes away from the residual */
    qm_ticket given[QM_MAX_DEVICES]; /* by device: what it was given; 0: nothing */
};

static bool of_experts(const struct qm_op *op) {
    return op->kind == QM_OP_MOE_UP || op->kind == QM_OP_MOE_DOWN;
}

static bool can_be_split(const struct qm_placed *p, const struct qm_op *op) {
    return of_experts(op) || (of_ffn(op) && p->placement.layer[op->layer].ffn_cpu);
}

static void find_parts(const struct qm_placed *p, const struct qm_op *up, struct split_layer *w) {
    const struct qm_layer_placement *l = &p->placement.layer[up->layer];
    *w = (struct split_layer){.up = up, .down = up + 1, .experts = of_experts(up), .begun = -1};
    for (int g = 0; g < p->placement.devices; g++) {
        w->has[g] =
            w->experts ? qm_placement_experts_on(&p->placement, up->layer, g) > 0 : g == QM_DEVICE_CPU || g == l->ffn;
        if (!w->has[g])
            continue;
        w->by[g] = computes(p, g, l->stream_ffn, &w->streamed[g]);
        w->n++;
        w->others += w->by[g] != p->where;
    }
}

static float *sum_of(const struct qm_placed *p, int g) {
    return (float *)(void *)((uint8_t *)qm_cpu_sums(p->cpu) + (uint64_t)g * p->sum_bytes);
}

/* The sum of part g over the step's rows. */
static struct qm_transfer sum_transfer(const struct qm_placed *p, int g) {
    return (struct qm_transfer){sum_of(p, g), (uint64_t)(p->batch->rows * p->ld_hidden) * sizeof(float)};
}

static void enqueue_part(struct qm_placed *p, const struct split_layer *w, int g, enum qm_sum_to to) {
    struct qm_op_part up, down;
    qm_placed_part(p, w->up, g, &up);
    qm_placed_part(p, w->down, g, &down);
    on_a_device(p, w->by[g], w->up, &up, w->streamed[g], to);
    on_a_device(p, w->by[g], w->down, &down, w->streamed[g], to);
}

/* Where the residual is, its first part is enqueued at once; others are given what they need from there. */
static int send_inputs(struct qm_placed *p, struct split_layer *w, struct qm_error *err) {
    enum qm_transfer_kind what = w->experts ? QM_TRANSFER_ROUTED : QM_TRANSFER_RESIDUAL;
    int64_t rows = p->batch->rows;
    struct qm_transfer transfer = w->experts ? qm_cpu_routed(p->cpu, rows) : qm_cpu_residual(p->cpu, rows);
    qm_ticket t = 0;
    int rc = QM_OK;
    if (p->where != QM_DEVICE_CPU && w->others && !(w->experts && p->routed))
        t = receive(p, p->where, what, transfer);
    for (int g = 0; g < p->placement.devices && p->where != QM_DEVICE_CPU && w->begun < 0; g++)
        if (w->has[g] && w->by[g] == p->where) {
            enqueue_part(p, w, g, w->n > 1 ? QM_TO_SUM : QM_TO_RESIDUAL);
            w->begun = g;
        }
    if (t)
        rc = w->experts ? take_routes(p, t, err) : wait_for(p, p->where, t, err);
    for (int g = 0; g < p->placement.devices && !rc; g++) {
        int d = w->by[g];
        if (!w->has[g] || d == p->where || d == QM_DEVICE_CPU)
            continue;
        if (!w->given[d])
            w->given[d] = send(p, d, what, transfer);
        enqueue_part(p, w, g, QM_TO_SUM);
        w->sum[g] = receive(p, d, QM_TRANSFER_SUM, sum_transfer(p, g));
    }
    return rc;
}

/* The CPU's own up products, while devices work; then what it gave away may be changed. */
static int compute_up(struct qm_placed *p, const struct split_layer *w, struct qm_error *err) {
    int rc = QM_OK;
    for (int g = 0; g < p->placement.devices; g++)
        if (w->has[g] && w->by[g] == QM_DEVICE_CPU) {
            struct qm_op_part part;
            qm_placed_part(p, w->up, g, &part);
            on_the_cpu(p, g, w->up, &part, NULL);
        }
    for (int d = 1; d < p->placement.devices && !rc && !w->experts; d++)
        if (w->given[d])
            rc = wait_for(p, d, w->given[d], err);
    return rc;
}

/* A part's sum is added to the residual, on the CPU. */
static int add_here(struct qm_placed *p, const struct split_layer *w, int g, struct qm_error *err) {
    struct qm_op_part part;
    if (w->by[g] == QM_DEVICE_CPU) {
        qm_placed_part(p, w->down, g, &part);
        on_the_cpu(p, g, w->down, &part, NULL);
        return QM_OK;
    }
    int rc = wait_for(p, w->by[g], w->sum[g], err);
    if (!rc)
        qm_cpu_add(p->cpu, sum_of(p, g), p->batch->rows);
    return rc;
}

/* The same where the residual is on a device. */
static int add_there(struct qm_placed *p, const struct split_layer *w, int g, struct qm_error *err) {
    struct qm_device *device = p->device[p->where];
    if (w->by[g] == p->where) {
        if (g != w->begun)
            enqueue_part(p, w, g, QM_TO_SUM);
        device->add(device);
        return QM_OK;
    }
    int rc = QM_OK;
    if (w->by[g] == QM_DEVICE_CPU) {
        struct qm_op_part part;
        qm_placed_part(p, w->down, g, &part);
        memset(sum_of(p, g), 0, sum_transfer(p, g).bytes);
        on_the_cpu(p, g, w->down, &part, sum_of(p, g));
    } else {
        rc = wait_for(p, w->by[g], w->sum[g], err);
    }
    send(p, p->where, QM_TRANSFER_SUM, sum_transfer(p, g));
    return rc;
}

static int run_split(struct qm_placed *p, const struct qm_op *up, struct qm_error *err) {
    struct split_layer w;
    find_parts(p, up, &w);
    int rc = send_inputs(p, &w, err);
    if (rc || (w.begun >= 0 && w.n == 1))
        return rc;
    rc = compute_up(p, &w, err);
    for (int g = 0; g < p->placement.devices && !rc; g++)
        if (w.has[g])
            rc = p->where == QM_DEVICE_CPU ? add_here(p, &w, g, err) : add_there(p, &w, g, err);
    return rc;
}

/* --- a step ------------------------------------------------------------------------------------------------- */

/* The head has nothing to do in most steps of a prompt. */
static bool is_asked(const struct qm_batch *b, const struct qm_op *op) {
    bool asked = op->kind != QM_OP_HEAD || b->n_logits > 0;
    for (int i = 0; i < b->n_sequences && !asked; i++)
        asked = b->sequences[i].hidden != NULL;
    return asked;
}

static int run(struct qm_placed *p, struct qm_error *err) {
    int rc = QM_OK;
    for (int i = 0; i < p->forward->n_ops && !rc; i++) {
        const struct qm_op *op = &p->forward->ops[i];
        if (p->profile)
            p->profile->calls[op->kind]++;
        if (op->kind == QM_OP_MOE_UP || (op->kind == QM_OP_FFN_UP && can_be_split(p, op)))
            rc = run_split(p, op, err);
        else if (!can_be_split(p, op) && is_asked(p->batch, op))
            rc = run_op(p, op, err);
    }
    return rc;
}

/* Ends the step on all devices, also after one has failed. */
static int finish(struct qm_placed *p, int rc, struct qm_error *err) {
    for (int d = 1; d < p->placement.devices; d++) {
        struct qm_error other;
        if (!p->device[d])
            continue;
        int ended = p->device[d]->finish(p->device[d], rc ? &other : err);
        if (!rc)
            rc = check(p, d, ended);
    }
    return rc;
}

/* What devices computed, by kind of op: added (sign 1) or taken away (-1). */
static void add_device_seconds(struct qm_placed *p, double sign) {
    for (int d = 1; d < p->placement.devices && p->profile; d++) {
        struct qm_device_report r;
        if (!p->device[d])
            continue;
        p->device[d]->report(p->device[d], &r);
        for (int kind = 0; kind < QM_OP_COUNT; kind++)
            p->profile->seconds[kind] += sign * r.seconds[kind];
    }
}

/* The number of the step's shape, one that is new where it was not met lately. */
static int64_t shape_of(struct qm_placed *p) {
    const struct qm_batch *b = p->batch;
    struct qm_placed_shape s = {.rows = b->rows, .parts = b->n_sequences, .logits = b->n_logits, .routing = b->routing};
    bool maps = false;
    for (int i = 0; i < b->n_sequences; i++) {
        s.hidden += b->sequences[i].hidden != NULL;
        maps |= b->sequences[i].attention != NULL;
    }
    for (int d = 1; d < p->placement.devices; d++)
        s.devices |= (int64_t)(p->device[d] != NULL) << d;
    for (int i = 0; i < QM_PLACED_SHAPES && !maps; i++) { /* a map goes to another address each time */
        const struct qm_placed_shape *o = &p->shape[i];
        if (o->number && o->rows == s.rows && o->parts == s.parts && o->logits == s.logits && o->hidden == s.hidden &&
            o->devices == s.devices && o->routing == s.routing)
            return o->number;
    }
    s.number = ++p->shapes;
    if (!maps)
        p->shape[s.number % QM_PLACED_SHAPES] = s;
    return s.number;
}

int qm_placed_execute(struct qm_placed *p, const struct qm_batch *batch, struct qm_engine_profile *profile,
                      struct qm_error *err) {
    p->batch = batch;
    p->profile = profile;
    p->where = QM_DEVICE_CPU;
    add_device_seconds(p, -1);
    int64_t shape = shape_of(p);
    for (int d = 1; d < p->placement.devices; d++)
        if (p->device[d])
            p->device[d]->begin(p->device[d], batch, shape);
    int rc = finish(p, run(p, err), err);
    add_device_seconds(p, 1);
    if (profile)
        profile->steps++;
    return rc;
}
