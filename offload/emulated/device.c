/* The emulated device's list of what it was told, done when the host waits: each piece on the device's activations by
 * the CPU's kernels, and on its timeline. What it holds is memory.c's. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "offload/emulated/emulated_private.h"
#include "offload/emulated/seconds.h"

/* At most so many pieces for an op of the forward pass: streamed, enqueued, added and received for two groups of a
 * parted layer, and hand-overs with every other device. */
enum { PIECES_AN_OP = 16 };

static struct qm_emulated *of(struct qm_device *d) {
    return (struct qm_emulated *)d;
}

/* --- doing a piece ------------------------------------------------------------------------------------------ */

static void fail(struct qm_emulated *e, const struct qm_emulated_piece *p, const char *why) {
    static const char *const names[] = {"a hand-over to it", "streaming to it", "", "adding its sum",
                                        "a hand-over from it"};
    const char *what = p->op && p->kind == QM_PIECE_WORK ? qm_op_name(p->op->kind) : names[p->kind];
    e->report.failed = true;
    if (p->op && p->op->layer >= 0)
        qm_fail(&e->failure, QM_SYSTEM, "%s failed at %s of layer %d%s", e->config.name, what, p->op->layer, why);
    else
        qm_fail(&e->failure, QM_SYSTEM, "%s failed at %s%s", e->config.name, what, why);
}

static size_t row_bytes(const struct qm_emulated *e) {
    return (size_t)e->ld_hidden * sizeof(float);
}

static double residual_bytes(const struct qm_emulated *e) {
    return 4.0 * (double)e->batch.rows * (double)e->model->config.hidden;
}

/* Which expert each row goes to, and by what weight. */
static double hand_bytes(const struct qm_emulated *e, enum qm_hand what) {
    double routes = 8.0 * (double)e->batch.rows * (double)e->model->config.experts_per_token;
    return residual_bytes(e) + (what == QM_HAND_ROUTED ? routes : 0);
}

/* The device's own side of a hand-over. */
static struct qm_hand_over here(const struct qm_emulated *e, enum qm_hand what) {
    switch (what) {
    case QM_HAND_RESIDUAL: return qm_cpu_residual(e->cpu);
    case QM_HAND_ROUTED: return qm_cpu_routed(e->cpu);
    default: return (struct qm_hand_over){.rows = e->sum};
    }
}

static void copy(const struct qm_emulated *e, enum qm_hand what, const struct qm_hand_over *to,
                 const struct qm_hand_over *from) {
    size_t rows = (size_t)e->batch.rows, routes = rows * (size_t)e->model->config.experts_per_token;
    memcpy(to->rows, from->rows, rows * row_bytes(e));
    if (what != QM_HAND_ROUTED)
        return;
    memcpy(to->chosen, from->chosen, routes * sizeof *to->chosen);
    memcpy(to->weight, from->weight, routes * sizeof *to->weight);
}

static void do_send(struct qm_emulated *e, struct qm_emulated_piece *p) {
    struct qm_hand_over to = here(e, p->what);
    if (p->what == QM_HAND_SUM) {
        qm_cpu_add(e->cpu, p->host.rows, e->batch.rows);
    } else {
        copy(e, p->what, &to, &p->host);
        if (p->what == QM_HAND_ROUTED)
            qm_cpu_take_routes(e->cpu, e->batch.rows);
    }
    p->end = qm_timeline_send(&e->timeline, p->asked, hand_bytes(e, p->what));
    if (p->what == QM_HAND_SUM)
        qm_timeline_work(&e->timeline, p->asked, qm_emulated_add_seconds(&e->config, e->model, e->batch.rows), -1);
}

static void do_receive(struct qm_emulated *e, struct qm_emulated_piece *p) {
    struct qm_hand_over from = here(e, p->what);
    copy(e, p->what, &p->host, &from);
    p->end = qm_timeline_receive(&e->timeline, p->asked, hand_bytes(e, p->what));
}

static void do_stream(struct qm_emulated *e, const struct qm_emulated_piece *p) {
    double added, bytes = p->op->kind == QM_OP_ATTENTION
                              ? qm_emulated_kv_bytes(e->model, e->kv->type, p->op, &e->batch, &added)
                              : qm_emulated_weight_bytes(e->model, p->op, &p->part);
    int place = qm_timeline_stream(&e->timeline, p->asked, bytes);
    qm_emulated_fill_place(e, place, p->op, &p->part);
}

static void do_work(struct qm_emulated *e, struct qm_emulated_piece *p) {
    int place = qm_emulated_find_place(e, p->op, &p->part);
    if (!qm_emulated_has(e, p->op, &p->part, place)) {
        fail(e, p, ": its weights are not there");
        return;
    }
    if (p->to == QM_TO_SUM && (p->op->kind == QM_OP_MOE_DOWN || p->op->kind == QM_OP_FFN_DOWN))
        memset(e->sum, 0, (size_t)e->batch.rows * row_bytes(e));
    qm_cpu_execute(e->cpu, p->op, &p->part, &e->batch, p->to == QM_TO_SUM ? e->sum : NULL);
    double seconds =
        qm_emulated_seconds(&e->config, e->model, e->kv->type, p->op, &p->part, &e->batch, qm_cpu_expert_first(e->cpu));
    qm_timeline_work(&e->timeline, p->asked, seconds, place);
    e->report.seconds[p->op->kind] += seconds;
    if (place >= 0 && p->op->kind == QM_OP_ATTENTION) {
        double added;
        qm_emulated_kv_bytes(e->model, e->kv->type, p->op, &e->batch, &added);
        qm_timeline_down(&e->timeline, added);
    }
    if (p->op->kind == QM_OP_HEAD && e->batch.n_logits)
        qm_timeline_down(&e->timeline, 4.0 * (double)e->batch.n_logits * (double)e->model->config.vocab);
    qm_emulated_empty_place(e, place);
}

static void do_piece(struct qm_emulated *e, struct qm_emulated_piece *p) {
    if (e->config.fail_after >= 0 && (int64_t)e->report.ops >= e->config.fail_after) {
        fail(e, p, "");
        return;
    }
    e->report.ops++;
    switch (p->kind) {
    case QM_PIECE_SEND: do_send(e, p); break;
    case QM_PIECE_STREAM: do_stream(e, p); break;
    case QM_PIECE_WORK: do_work(e, p); break;
    case QM_PIECE_ADD:
        qm_cpu_add(e->cpu, e->sum, e->batch.rows);
        qm_timeline_work(&e->timeline, p->asked, qm_emulated_add_seconds(&e->config, e->model, e->batch.rows), -1);
        break;
    case QM_PIECE_RECEIVE: do_receive(e, p); break;
    }
}

/* Does the list up to `end`, which takes none of the host's time. */
static int do_list(struct qm_emulated *e, int64_t end, struct qm_error *err) {
    double begin = qm_now();
    e->timeline.waits = begin + e->clock->ahead;
    for (; e->done < end; e->done++)
        if (!e->report.failed)
            do_piece(e, &e->piece[e->done]);
    e->clock->ahead -= qm_now() - begin;
    return e->report.failed ? qm_fail(err, e->failure.code, "%s", e->failure.message) : QM_OK;
}

static void wait_until(struct qm_emulated *e, double end) {
    double left = end - qm_host_now(e->clock);
    e->clock->ahead += left > 0 ? left : 0;
}

/* --- a step ------------------------------------------------------------------------------------------------- */

static void begin_step(struct qm_device *d, const struct qm_batch *batch) {
    struct qm_emulated *e = of(d);
    double begin = qm_now();
    assert(e->n == e->done);
    e->n = e->done = 0;
    e->batch = *batch;
    e->batch.routing = NULL;
    if (!e->report.failed) {
        size_t rows = (size_t)batch->rows, routes = rows * (size_t)e->model->config.experts_per_token;
        struct qm_hand_over x = qm_cpu_residual(e->cpu), routed = qm_cpu_routed(e->cpu);
        memset(x.rows, 0xFF, rows * row_bytes(e));
        memset(routed.rows, 0xFF, rows * row_bytes(e));
        memset(routed.chosen, 0, routes * sizeof *routed.chosen);
        memset(routed.weight, 0xFF, routes * sizeof *routed.weight);
        memset(e->sum, 0xFF, rows * row_bytes(e));
        qm_cpu_rotate(e->cpu, batch);
    }
    e->clock->ahead -= qm_now() - begin;
}

static qm_ticket put(struct qm_emulated *e, struct qm_emulated_piece piece) {
    assert(e->n < e->capacity);
    piece.asked = qm_host_now(e->clock);
    e->piece[e->n++] = piece;
    return e->n;
}

static qm_ticket send(struct qm_device *d, enum qm_hand what, const struct qm_hand_over *from) {
    return put(of(d), (struct qm_emulated_piece){.kind = QM_PIECE_SEND, .what = what, .host = *from});
}

static void stream(struct qm_device *d, const struct qm_op *op, const struct qm_op_part *part) {
    put(of(d), (struct qm_emulated_piece){.kind = QM_PIECE_STREAM, .op = op, .part = *part});
}

static void enqueue(struct qm_device *d, const struct qm_op *op, const struct qm_op_part *part, enum qm_sum_to to) {
    put(of(d), (struct qm_emulated_piece){.kind = QM_PIECE_WORK, .op = op, .part = *part, .to = to});
}

static void add(struct qm_device *d) {
    put(of(d), (struct qm_emulated_piece){.kind = QM_PIECE_ADD});
}

static qm_ticket receive(struct qm_device *d, enum qm_hand what, const struct qm_hand_over *to) {
    return put(of(d), (struct qm_emulated_piece){.kind = QM_PIECE_RECEIVE, .what = what, .host = *to});
}

static int wait_for(struct qm_device *d, qm_ticket t, struct qm_error *err) {
    struct qm_emulated *e = of(d);
    int rc = do_list(e, t, err);
    if (!rc)
        wait_until(e, e->piece[t - 1].end);
    return rc;
}

static int finish(struct qm_device *d, struct qm_error *err) {
    struct qm_emulated *e = of(d);
    int rc = do_list(e, e->n, err);
    if (!rc)
        wait_until(e, qm_timeline_end(&e->timeline));
    return rc;
}

/* --- opening ------------------------------------------------------------------------------------------------ */

static void report(const struct qm_device *d, struct qm_device_report *out) {
    const struct qm_emulated *e = (const struct qm_emulated *)d;
    *out = e->report;
    out->name = e->config.name;
    out->memory = e->memory;
    out->work_seconds = e->timeline.work_busy;
    out->up_seconds = e->timeline.up_busy;
    out->down_seconds = e->timeline.down_busy;
}

static void close_device(struct qm_device *d) {
    struct qm_emulated *e = of(d);
    qm_emulated_free_memory(e);
    free(e->piece);
    free(e);
}

static int check_memory(const struct qm_device_load *l, const struct qm_emulated_config *c, struct qm_error *err) {
    const struct qm_device_memory *m = &l->memory;
    if (m->total <= c->memory)
        return QM_OK;
    return qm_fail(
        err, QM_FIT,
        "%s: %.2f GiB placed there (weights %.2f, KV cache for %lld tokens %.2f, activations %.2f, streaming "
        "%.2f), but it has %.2f GiB",
        c->name, qm_gib(m->total), qm_gib(m->weights), (long long)(l->workload.context * l->workload.sequences),
        qm_gib(m->kv), qm_gib(m->activations), qm_gib(m->workspace), qm_gib(c->memory));
}

static int open_device(const void *config, const struct qm_device_load *load, struct qm_device **out,
                       struct qm_error *err) {
    *out = NULL;
    int rc = check_memory(load, config, err);
    if (rc)
        return rc;
    struct qm_emulated *e = calloc(1, sizeof *e);
    if (!e)
        return qm_fail_memory(err, sizeof *e, "an emulated device");
    e->device = (struct qm_device){.place = qm_emulated_place,
                                   .begin = begin_step,
                                   .send = send,
                                   .stream = stream,
                                   .enqueue = enqueue,
                                   .add = add,
                                   .receive = receive,
                                   .wait = wait_for,
                                   .finish = finish,
                                   .page_copy = qm_emulated_page_copy,
                                   .page_write = qm_emulated_page_write,
                                   .page_read = qm_emulated_page_read,
                                   .report = report,
                                   .close = close_device};
    e->config = *(const struct qm_emulated_config *)config;
    e->model = load->model;
    e->kv = load->kv;
    e->clock = load->clock;
    e->memory = load->memory;
    e->timeline.device = &e->config;
    e->capacity = PIECES_AN_OP * (load->forward->n_ops + 1);
    e->piece = calloc((size_t)e->capacity, sizeof *e->piece);
    rc = e->piece ? qm_emulated_take_memory(e, load, err)
                  : qm_fail_memory(err, (size_t)e->capacity * sizeof *e->piece, "an emulated device's list");
    if (rc) {
        close_device(&e->device);
        return rc;
    }
    *out = &e->device;
    return QM_OK;
}

const struct qm_device_driver qm_emulated_driver = {.open = open_device};
