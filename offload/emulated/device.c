/* The emulated device's list of calls, executed when the host waits: each piece on the device's activations by
 * the CPU's kernels, and on its timeline. What it holds is memory.c's. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "offload/emulated/emulated_private.h"
#include "offload/emulated/seconds.h"

/* At most so many pieces for an op of the forward pass: streamed, enqueued, added and received for two groups of a
 * split layer, and transfers with every other device. */
enum { PIECES_AN_OP = 16 };
/* And so many before a step: then those are done. */
enum { PIECES_BETWEEN = 1024 };

static struct qm_emulated *of(struct qm_device *d) {
    return (struct qm_emulated *)d;
}

/* --- doing a piece ------------------------------------------------------------------------------------------ */

static void fail(struct qm_emulated *e, const struct qm_emulated_piece *p, const char *why) {
    static const char *const names[] = {"a transfer to it", "streaming to it",    "",
                                        "adding its sum",   "a transfer from it", "copying a page"};
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

/* What of a transfer's rows is no padding; which expert each row goes to, and by what weight. */
static double transfer_bytes(const struct qm_emulated *e, const struct qm_emulated_piece *p) {
    double routes = 8.0 * (double)e->batch.rows * (double)e->model->config.experts_per_token;
    if (p->what == QM_TRANSFER_LOGITS)
        return (double)p->host.bytes;
    return residual_bytes(e) + (p->what == QM_TRANSFER_ROUTED ? routes : 0);
}

/* The device's own side of a transfer. */
static struct qm_transfer here(const struct qm_emulated *e, enum qm_transfer_kind what) {
    switch (what) {
    case QM_TRANSFER_RESIDUAL: return qm_cpu_residual(e->cpu, e->batch.rows);
    case QM_TRANSFER_ROUTED: return qm_cpu_routed(e->cpu, e->batch.rows);
    case QM_TRANSFER_LOGITS: return (struct qm_transfer){e->logits, UINT64_MAX};
    default: return (struct qm_transfer){e->sum, (uint64_t)e->batch.rows * row_bytes(e)};
    }
}

/* Whether the range is in memory that it was given. */
static bool is_known(const struct qm_emulated *e, enum qm_transfer_kind what, struct qm_transfer x) {
    uintptr_t at = (uintptr_t)x.at;
    for (int i = 0; i < e->n_host; i++) {
        const struct qm_host_range *r = &e->host[i];
        uintptr_t begin = (uintptr_t)r->data;
        if (r->use == (what == QM_TRANSFER_LOGITS ? QM_HOST_LOGITS : QM_HOST_TRANSFERS) && at >= begin &&
            x.bytes <= r->bytes && at - begin <= r->bytes - x.bytes)
            return true;
    }
    return false;
}

static void do_send(struct qm_emulated *e, struct qm_emulated_piece *p) {
    struct qm_transfer to = here(e, p->what);
    assert(p->host.bytes == to.bytes);
    if (p->what == QM_TRANSFER_SUM) {
        qm_cpu_add(e->cpu, p->host.at, e->batch.rows);
    } else {
        memcpy(to.at, p->host.at, to.bytes);
        if (p->what == QM_TRANSFER_ROUTED)
            qm_cpu_take_routes(e->cpu, e->batch.rows);
    }
    p->end = qm_timeline_send(&e->timeline, p->asked, transfer_bytes(e, p));
    if (p->what == QM_TRANSFER_SUM)
        qm_timeline_work(&e->timeline, p->asked, qm_emulated_add_seconds(&e->config, e->model, e->batch.rows), -1);
}

static void do_receive(struct qm_emulated *e, struct qm_emulated_piece *p) {
    struct qm_transfer from = here(e, p->what);
    assert(p->host.bytes <= from.bytes);
    memcpy(p->host.at, from.at, p->host.bytes);
    p->end = qm_timeline_receive(&e->timeline, p->asked, transfer_bytes(e, p));
}

static void do_stream(struct qm_emulated *e, const struct qm_emulated_piece *p) {
    double added, bytes = p->op->kind == QM_OP_ATTENTION
                              ? qm_emulated_kv_bytes(e->model, e->kv->type, p->op, &e->batch, &added)
                              : qm_emulated_weight_bytes(e->model, p->op, &p->part);
    int place = qm_timeline_stream(&e->timeline, p->asked, bytes);
    qm_emulated_fill_place(e, place, p->op, &p->part);
}

/* Logits and hidden states are its own. */
static void aim_logits(struct qm_emulated *e, const struct qm_op_part *part) {
    int64_t n = part->logits ? part->logits : e->batch.n_logits;
    float *at = e->logits;
    for (int64_t i = 0; i < n; i++, at += e->model->config.vocab)
        e->logit_out[part->logit + i] = at;
    for (int i = 0; i < e->batch.n_sequences; i++)
        if (e->step_sequences[i].hidden) {
            e->step_sequences[i].hidden = at;
            at += e->model->config.hidden;
        }
}

static void do_work(struct qm_emulated *e, struct qm_emulated_piece *p) {
    int place = qm_emulated_find_place(e, p->op, &p->part);
    if (!qm_emulated_has(e, p->op, &p->part, place)) {
        fail(e, p, ": its weights are not there");
        return;
    }
    if (p->to == QM_TO_SUM && (p->op->kind == QM_OP_MOE_DOWN || p->op->kind == QM_OP_FFN_DOWN))
        memset(e->sum, 0, (size_t)e->batch.rows * row_bytes(e));
    qm_emulated_aim(e, p->op, place);
    if (p->op->kind == QM_OP_HEAD)
        aim_logits(e, &p->part);
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
    qm_emulated_empty_place(e, place);
}

static void do_piece(struct qm_emulated *e, struct qm_emulated_piece *p) {
    if (p->kind == QM_PIECE_COPY) {
        qm_timeline_work(&e->timeline, p->asked, qm_emulated_copy_page(e, p->group, p->from_page, p->to_page), -1);
        return;
    }
    if (e->config.fail_after >= 0 && (int64_t)e->report.ops >= e->config.fail_after) {
        fail(e, p, e->config.hangs ? ": it does not answer" : "");
        e->clock->ahead += e->config.hangs ? e->patience : 0;
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
    case QM_PIECE_COPY: break;
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

/* The calls of a step with that number, none so far where it is a new one. */
static struct qm_emulated_shape *find_shape(struct qm_emulated *e, int64_t number) {
    for (int i = 0; i < QM_EMULATED_SHAPES; i++)
        if (e->shape[i].number == number)
            return &e->shape[i];
    struct qm_emulated_shape *s = &e->shape[e->next_shape++ % QM_EMULATED_SHAPES];
    s->number = number;
    s->n = 0;
    return s;
}

/* Activations that were never written: routes of no expert more than there are. */
static void spoil(struct qm_emulated *e) {
    struct qm_transfer x = qm_cpu_residual(e->cpu, e->batch.rows), routed = qm_cpu_routed(e->cpu, e->batch.rows);
    struct qm_routed *r = routed.at;
    memset(x.at, 0xFF, x.bytes);
    memset(r, 0xFF, routed.bytes);
    *r = (struct qm_routed){.rows = e->batch.rows, .ld = e->ld_hidden, .each = e->model->config.experts_per_token};
    memset(qm_routed_chosen(r), 0, (size_t)(r->rows * r->each) * sizeof(int32_t));
    memset(e->sum, 0xFF, (size_t)e->batch.rows * row_bytes(e));
}

static void begin_step(struct qm_device *d, const struct qm_batch *batch, int64_t shape) {
    struct qm_emulated *e = of(d);
    double begin = qm_now();
    assert(!e->shape_now && shape > 0);
    e->first = e->n;
    e->shape_now = find_shape(e, shape);
    e->batch = *batch;
    e->batch.routing = NULL;
    memcpy(e->step_sequences, batch->sequences, (size_t)batch->n_sequences * sizeof *e->step_sequences);
    e->batch.sequences = e->step_sequences;
    e->batch.logit_out = e->logit_out;
    if (!e->report.failed) {
        spoil(e);
        qm_cpu_rotate(e->cpu, batch);
    }
    e->clock->ahead -= qm_now() - begin;
}

static uint64_t hash(uint64_t h, const void *bytes, size_t n) {
    for (const uint8_t *b = bytes; n--; b++)
        h = (h ^ *b) * 0x100000001b3u;
    return h;
}

static uint64_t hash_of(const struct qm_emulated_piece *p) {
    const uint64_t all[] = {p->kind,
                            p->what,
                            (uintptr_t)p->op,
                            (uintptr_t)p->host.at,
                            p->host.bytes,
                            p->to,
                            p->part.number,
                            (uintptr_t)p->part.expert_on,
                            (uint64_t)p->part.column,
                            (uint64_t)p->part.columns,
                            (uint64_t)p->part.logit,
                            (uint64_t)p->part.logits};
    return hash(0xcbf29ce484222325u, all, sizeof all);
}

/* A step may end early, since another device has failed: so far it was the same. */
static qm_ticket put(struct qm_emulated *e, struct qm_emulated_piece piece) {
    struct qm_emulated_shape *s = e->shape_now;
    int64_t at = e->n - e->first;
    uint64_t call = hash_of(&piece);
    assert(s && at < e->capacity);
    assert(at >= s->n || s->call[at] == call);
    s->call[at] = call;
    s->n = at < s->n ? s->n : at + 1;
    piece.asked = qm_host_now(e->clock);
    e->piece[e->n++] = piece;
    return e->n;
}

static qm_ticket send(struct qm_device *d, enum qm_transfer_kind what, struct qm_transfer from) {
    assert(is_known(of(d), what, from));
    return put(of(d), (struct qm_emulated_piece){.kind = QM_PIECE_SEND, .what = what, .host = from});
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

static qm_ticket receive(struct qm_device *d, enum qm_transfer_kind what, struct qm_transfer to) {
    assert(is_known(of(d), what, to));
    return put(of(d), (struct qm_emulated_piece){.kind = QM_PIECE_RECEIVE, .what = what, .host = to});
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
    e->n = e->done = 0;
    e->shape_now = NULL;
    return rc;
}

/* --- between steps ------------------------------------------------------------------------------------------ */

/* What was asked of pages is done. */
static void do_copies(struct qm_emulated *e) {
    assert(!e->shape_now);
    do_list(e, e->n, NULL);
    e->n = e->done = 0;
}

static void page_copy(struct qm_device *d, int group, int64_t from, int64_t to) {
    struct qm_emulated *e = of(d);
    assert(!e->shape_now);
    if (e->n == PIECES_BETWEEN)
        do_copies(e);
    e->piece[e->n++] = (struct qm_emulated_piece){
        .kind = QM_PIECE_COPY, .group = group, .from_page = from, .to_page = to, .asked = qm_host_now(e->clock)};
}

static void block_write(struct qm_device *d, const int32_t *pages, const void *bytes) {
    do_copies(of(d));
    qm_emulated_write_block(of(d), pages, bytes);
}

static void block_read(struct qm_device *d, const int32_t *pages, void *bytes) {
    do_copies(of(d));
    qm_emulated_read_block(of(d), pages, bytes);
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
    for (int i = 0; i < QM_EMULATED_SHAPES; i++)
        free(e->shape[i].call);
    free(e->piece);
    free(e);
}

static int check_memory(const struct qm_device_load *l, const struct qm_emulated_config *c, struct qm_error *err) {
    const struct qm_device_memory *m = &l->memory;
    uint64_t available, host = 0;
    for (int i = 0; i < l->n_host; i++)
        host += l->host[i].bytes;
    if (m->total <= c->memory && !qm_memory_available(&available, NULL) &&
        host + m->total > available + qm_memory_reserved())
        return qm_fail(err, QM_FIT,
                       "%s: emulating it takes %.2f GiB beside the %.2f GiB of the CPU, %.2f are available", c->name,
                       qm_gib(m->total), qm_gib(host), qm_gib(available + qm_memory_reserved()));
    if (m->total <= c->memory)
        return QM_OK;
    return qm_fail(
        err, QM_FIT,
        "%s: %.2f GiB placed there (weights %.2f, KV cache for %lld tokens %.2f, activations %.2f, streaming "
        "%.2f), but it has %.2f GiB",
        c->name, qm_gib(m->total), qm_gib(m->weights), (long long)(l->workload.context * l->workload.sequences),
        qm_gib(m->kv), qm_gib(m->activations), qm_gib(m->workspace), qm_gib(c->memory));
}

static int open_lists(struct qm_emulated *e, struct qm_error *err) {
    size_t n = (size_t)e->capacity;
    e->piece = calloc(n + PIECES_BETWEEN, sizeof *e->piece);
    bool there = e->piece != NULL;
    for (int i = 0; i < QM_EMULATED_SHAPES; i++) {
        e->shape[i].call = calloc(n, sizeof *e->shape[i].call);
        there &= e->shape[i].call != NULL;
    }
    return there ? QM_OK : qm_fail_memory(err, n * sizeof *e->piece, "an emulated device's list");
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
                                   .put = qm_emulated_put,
                                   .begin = begin_step,
                                   .send = send,
                                   .stream = stream,
                                   .enqueue = enqueue,
                                   .add = add,
                                   .receive = receive,
                                   .wait = wait_for,
                                   .finish = finish,
                                   .page_copy = page_copy,
                                   .block_write = block_write,
                                   .block_read = block_read,
                                   .report = report,
                                   .close = close_device};
    e->config = *(const struct qm_emulated_config *)config;
    e->model = load->model;
    e->kv = load->kv;
    e->clock = load->clock;
    e->memory = load->memory;
    e->timeline.device = &e->config;
    e->capacity = PIECES_AN_OP * (load->forward->n_ops + 1);
    e->host = load->host;
    e->n_host = load->n_host;
    e->patience = load->patience;
    rc = open_lists(e, err);
    if (!rc)
        rc = qm_emulated_take_memory(e, load, err);
    if (rc) {
        close_device(&e->device);
        return rc;
    }
    *out = &e->device;
    return QM_OK;
}

const struct qm_device_driver qm_emulated_driver = {.open = open_device};
