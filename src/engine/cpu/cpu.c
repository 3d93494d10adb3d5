/* Opening (weights, scratch), the dispatch of ops to regions, and what is transferred. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cpu/cpu_private.h"

/* A row's rotation: cosines, then sines, of double precision angles. */
static void rotate_row(struct qm_cpu *c, const struct qm_batch *batch, int64_t row) {
    for (const struct qm_rotation *r = c->rotation; r < c->rotation + c->n_rotations; r++) {
        int64_t half = r->width / 2;
        float *cs = r->table + row * r->width;
        for (int64_t d = 0; d < half; d++) {
            double angle = (double)batch->position[row] * r->inv_freq[d];
            cs[d] = (float)(cos(angle) * r->attention_factor);
            cs[half + d] = (float)(sin(angle) * r->attention_factor);
        }
    }
}

static void embed_region(void *arg, int thread, int threads) {
    const struct qm_cpu_work *r = arg;
    struct qm_cpu *c = r->c;
    const struct qm_packed_weight *w = qm_cpu_weight(c, r->op->matrix);
    int64_t begin, end;
    qm_team_range(r->batch->rows, thread, threads, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        int64_t id = r->batch->token[i];
        c->kernels->unpack_row(c->x + i * c->layout.ld_hidden, w->type, qm_packed_panel(w, 0, id / QM_PANEL_ROWS),
                               id % QM_PANEL_ROWS, w->k);
        rotate_row(c, r->batch, i);
    }
}

static void rotate_region(void *arg, int thread, int threads) {
    const struct qm_cpu_work *r = arg;
    int64_t begin, end;
    qm_team_range(r->batch->rows, thread, threads, &begin, &end);
    for (int64_t i = begin; i < end; i++)
        rotate_row(r->c, r->batch, i);
}

void qm_cpu_rotate(struct qm_cpu *c, const struct qm_batch *batch) {
    struct qm_cpu_work r = {.c = c, .batch = batch};
    qm_team_run(c->team, rotate_region, &r);
}

struct addition {
    const struct qm_cpu *c;
    const float *sum;
    int64_t rows;
};

static void add_region(void *arg, int thread, int threads) {
    const struct addition *a = arg;
    int64_t begin, end, ld = a->c->layout.ld_hidden;
    qm_team_range(a->rows, thread, threads, &begin, &end);
    for (int64_t i = begin; i < end; i++)
        a->c->kernels->add(a->c->x + i * ld, a->sum + i * ld, a->c->config->hidden);
}

void qm_cpu_add(struct qm_cpu *c, const float *sum, int64_t rows) {
    struct addition a = {c, sum, rows};
    qm_team_run(c->team, add_region, &a);
}

/* The last tokens' hidden states after the final norm, for those who ask for them. */
static void hidden_states(const struct qm_cpu_work *r, int thread, int threads) {
    const struct qm_cpu *c = r->c;
    const struct qm_packed_weight *norm = qm_cpu_weight(c, r->op->norm);
    for (int i = thread; i < r->batch->n_sequences; i += threads) {
        const struct qm_batch_sequence *part = &r->batch->sequences[i];
        if (part->hidden)
            c->kernels->rmsnorm(part->hidden, c->x + (part->row + part->n - 1) * c->layout.ld_hidden,
                                qm_packed_vector(norm, 0), c->config->hidden, (float)c->config->rms_eps);
    }
}

/* Whether what is there of the matrix is what the op's part takes: rows of gate and up, or columns of the down
 * product. */
static bool is_the_part(const struct qm_op_part *b, enum qm_op_kind kind, const struct qm_packed_weight *w) {
    if (b->columns && kind == QM_OP_FFN_UP)
        return w->first == b->column / QM_PANEL_ROWS * w->unit &&
               w->held == (b->columns + QM_PANEL_ROWS - 1) / QM_PANEL_ROWS * w->unit;
    if (b->columns && kind == QM_OP_FFN_DOWN)
        return w->first_k == b->column && w->held_k == b->columns;
    return w->held == w->panels && w->held_k == w->k;
}

/* Every op that is one product of normed or plain rows. */
static void product_region(void *arg, int thread, int threads) {
    const struct qm_cpu_work *r = arg;
    struct qm_cpu *c = r->c;
    const struct qm_scratch_layout *l = &c->layout;
    const struct qm_packed_weight *w = qm_cpu_weight(c, r->op->matrix), *norm = qm_cpu_weight(c, r->op->norm);
    const struct qm_packed_weight *bias = qm_cpu_weight(c, r->op->bias);
    assert(is_the_part(r->part, r->op->kind, w));
    if (w->first_k)
        bias = NULL;
    struct qm_epilogue e = {.bias = bias ? qm_packed_vector(bias, 0) : NULL};
    struct qm_cpu_rows in = {.src = c->x, .ld = l->ld_hidden, .m = r->batch->rows, .k = w->held_k, .norm = norm};
    switch (r->op->kind) {
    case QM_OP_QKV: e.kind = QM_STORE, e.out = c->qkv, e.ld = l->ld_qkv; break;
    case QM_OP_ATTENTION_OUT:
        e.kind = QM_ADD, e.out = c->x, e.ld = l->ld_hidden, in.src = c->attended, in.ld = l->ld_q;
        break;
    case QM_OP_FFN_UP: e.kind = QM_GATE, e.out = c->h, e.ld = l->ld_ffn; break;
    case QM_OP_SHARED_UP: e.kind = QM_GATE, e.out = c->h, e.ld = l->ld_ffn, in.src = c->normed; break;
    case QM_OP_SHARED_DOWN: e.kind = QM_ADD, e.out = c->x, e.ld = l->ld_hidden, in.src = c->h, in.ld = l->ld_ffn; break;
    case QM_OP_FFN_DOWN:
        e.kind = QM_ADD, e.out = r->sum, e.ld = l->ld_hidden, in.src = c->h + w->first_k, in.ld = l->ld_ffn;
        break;
    default:
        if (r->part->logit == 0)
            hidden_states(r, thread, threads);
        e.kind = QM_SCATTER, e.rows = r->batch->logit_out + r->part->logit;
        in.which = r->batch->logit_row + r->part->logit;
        in.m = r->part->logits ? r->part->logits : r->batch->n_logits;
        break;
    }
    if (r->op->apart)
        e.kind = QM_STORE, e.out = c->normed, e.ld = l->ld_hidden;
    if (in.m == 0)
        return;
    qm_cpu_product(c, thread, qm_cpu_pack(c, thread, threads, w, &in), in.m, w, 0, -1, &e);
}

/* x += norm(y), of the sum that a product has left in c->normed. */
static void norm_region(void *arg, int thread, int threads) {
    const struct qm_cpu_work *r = arg;
    struct qm_cpu *c = r->c;
    const struct qm_packed_weight *norm = qm_cpu_weight(c, r->op->norm);
    int64_t begin, end, ld = c->layout.ld_hidden, n = c->config->hidden;
    qm_team_range(r->batch->rows, thread, threads, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        float *y = c->normed + i * ld;
        c->kernels->rmsnorm(y, y, qm_packed_vector(norm, 0), n, (float)c->config->rms_eps);
        c->kernels->add(c->x + i * ld, y, n);
    }
}

void qm_cpu_execute(struct qm_cpu *c, const struct qm_op *op, const struct qm_op_part *part,
                    const struct qm_batch *batch, float *sum) {
    static const struct qm_op_part all = {0};
    struct qm_cpu_work r = {c, op, part ? part : &all, batch, sum ? sum : c->x};
    switch (op->kind) {
    case QM_OP_EMBED: qm_team_run(c->team, embed_region, &r); break;
    case QM_OP_ATTENTION: qm_cpu_attention(c, op, batch); break;
    case QM_OP_ATTENTION_NORM:
    case QM_OP_FFN_NORM: qm_team_run(c->team, norm_region, &r); break;
    case QM_OP_ROUTE: qm_cpu_route(c, op, batch); break;
    case QM_OP_MOE_UP: qm_cpu_moe_up(&r); break;
    case QM_OP_MOE_DOWN: qm_cpu_moe_down(&r); break;
    default: qm_team_run(c->team, product_region, &r); break;
    }
}

void qm_cpu_close(struct qm_cpu *c) {
    if (!c)
        return;
    qm_packed_free(&c->packed);
    for (int d = 0; d < QM_MAX_DEVICES; d++)
        qm_packed_free(&c->lost[d]);
    qm_placement_free(&c->placement);
    qm_memory_free(&c->scratch);
    for (int node = 0; c->private_scratch && node < qm_team_nodes(c->team); node++)
        qm_memory_free(&c->private_scratch[node]);
    free(c->private_scratch);
    free(c->private_part);
    free(c->routing.first);
    free(c->routing.packed_at);
    for (int i = 0; i < c->n_rotations; i++)
        free(c->rotation[i].inv_freq);
    free(c);
}

const struct qm_memory *qm_cpu_weights(const struct qm_cpu *c, int node) {
    return &c->packed.memory[node];
}

const struct qm_packed_weight *qm_cpu_panels(const struct qm_cpu *c) {
    return c->packed.weights;
}

struct qm_transfer qm_cpu_residual(const struct qm_cpu *c, int64_t rows) {
    return (struct qm_transfer){c->x, (uint64_t)(rows * c->layout.ld_hidden) * sizeof *c->x};
}

struct qm_transfer qm_cpu_routed(const struct qm_cpu *c, int64_t rows) {
    return (struct qm_transfer){c->routing.record,
                                qm_routed_bytes(rows, c->layout.ld_hidden, c->config->experts_per_token)};
}

void *qm_cpu_sums(const struct qm_cpu *c) {
    return c->scratch.data;
}

struct qm_transfer qm_cpu_handed(const struct qm_cpu *c) {
    return (struct qm_transfer){c->scratch.data, c->sum_bytes + c->layout.handed};
}

const int64_t *qm_cpu_expert_first(const struct qm_cpu *c) {
    return c->routing.first;
}

static float *part(const struct qm_cpu *c, uint64_t offset) {
    return (float *)(void *)((uint8_t *)c->scratch.data + c->sum_bytes + offset);
}

/* Its reserved huge pages are taken at once: a limit on them shows here, not when they are written. */
static int alloc_scratch(uint64_t bytes, struct qm_binding binding, struct qm_memory *out, struct qm_error *err) {
    int rc = qm_memory_alloc_on(bytes, binding, "activations", out, err);
    if (!rc && !qm_memory_take(out, 0, bytes))
        rc = qm_memory_use_small(out, binding, err);
    return rc;
}

static int open_private(struct qm_cpu *c, const struct qm_binding *bindings, struct qm_error *err) {
    int nodes = qm_team_nodes(c->team), threads = qm_team_threads(c->team), rc = QM_OK;
    c->private_scratch = calloc((size_t)nodes, sizeof *c->private_scratch);
    c->private_part = calloc((size_t)threads, sizeof *c->private_part);
    if (!c->private_scratch || !c->private_part)
        return qm_fail_memory(err, (uint64_t)threads * sizeof *c->private_part, "activations");
    for (int t = 0; t < threads && !rc; t++) {
        struct qm_team_place place = qm_team_place(c->team, t);
        struct qm_memory *memory = &c->private_scratch[place.node];
        if (place.index == 0)
            rc = alloc_scratch((uint64_t)place.count * c->layout.thread_bytes, bindings[place.node], memory, err);
        if (!rc)
            c->private_part[t] = (uint8_t *)memory->data + (uint64_t)place.index * c->layout.thread_bytes;
    }
    return rc;
}

static int open_rotations(struct qm_cpu *c, struct qm_error *err) {
    c->n_rotations = qm_config_ropes(c->config);
    for (int i = 0; i < c->n_rotations; i++) {
        const struct qm_rope *rope = i ? &c->config->rope_local : &c->config->rope;
        struct qm_rotation *r = &c->rotation[i];
        r->width = rope->width;
        r->table = part(c, c->layout.rope) + (int64_t)i * c->workload.chunk * c->config->head_dim;
        r->inv_freq = calloc((size_t)r->width / 2 + 1, sizeof *r->inv_freq);
        if (!r->inv_freq)
            return qm_fail_memory(err, (uint64_t)r->width * 4, "a rotary embedding");
        qm_rope_frequencies(rope, c->workload.context, r->inv_freq, &r->attention_factor);
    }
    return QM_OK;
}

static int open_scratch(struct qm_cpu *c, struct qm_error *err) {
    int rc = alloc_scratch(c->sum_bytes + c->layout.thread0, (struct qm_binding){.node = -1}, &c->scratch, err);
    if (rc)
        return rc;
    const struct qm_scratch_layout *l = &c->layout;
    c->x = part(c, l->x);
    c->qkv = part(c, l->qkv);
    c->attended = part(c, l->attended);
    c->h = part(c, l->h);
    c->partial = part(c, l->partial);
    c->packed_rows = (uint8_t *)part(c, l->packed);
    size_t experts = (size_t)c->config->experts, rows = (size_t)c->workload.chunk;
    size_t routed = rows * (size_t)c->config->experts_per_token;
    c->routing.logits = part(c, l->routing);
    c->routing.record = (struct qm_routed *)(void *)part(c, l->routed);
    c->normed = qm_routed_rows(c->routing.record);
    c->routing.slot_row = (int32_t *)(void *)(c->routing.logits + rows * ((experts + 15) / 16 * 16));
    c->routing.slot_weight = (float *)(void *)(c->routing.slot_row + routed);
    c->routing.first = calloc(experts + 1, sizeof *c->routing.first);
    c->routing.packed_at = calloc(experts + 1, sizeof *c->routing.packed_at);
    if (!c->routing.first || !c->routing.packed_at)
        return qm_fail_memory(err, (experts + 1) * 16, "routing");
    return open_rotations(c, err);
}

static struct qm_packed_setup packed_setup(const struct qm_cpu *c, int device) {
    return (struct qm_packed_setup){.model = c->model,
                                    .placement = c->setup.placement,
                                    .device = device,
                                    .kernels = c->kernels,
                                    .team = c->team,
                                    .bindings = c->setup.bindings,
                                    .drop_cache = c->setup.drop_cache,
                                    .progress = c->setup.progress,
                                    .progress_arg = c->setup.progress_arg};
}

static int open_weights(struct qm_cpu *c, const struct qm_cpu_setup *s, struct qm_error *err) {
    c->setup = *s;
    int rc = s->placement ? qm_placement_copy(s->placement, &c->placement, err) : QM_OK;
    if (rc)
        return rc;
    c->setup.placement = s->placement ? &c->placement : NULL;
    const struct qm_packed_setup setup = packed_setup(c, QM_DEVICE_CPU);
    rc = qm_packed_open(&setup, &c->packed, err);
    c->weights = c->packed.weights;
    return rc;
}

int qm_cpu_load(struct qm_cpu *c, struct qm_device *const *devices, struct qm_error *err) {
    const struct qm_packed_setup setup = packed_setup(c, QM_DEVICE_CPU);
    struct qm_packed_owner owner[QM_MAX_DEVICES] = {{.packed = &c->packed}};
    int n = c->setup.placement ? c->placement.devices : 1;
    for (int d = 1; d < n; d++)
        owner[d].device = devices[d];
    return qm_packed_load(&setup, owner, n, err);
}

int qm_cpu_take_over(struct qm_cpu *c, int device, struct qm_error *err) {
    struct qm_packed_setup setup = packed_setup(c, device);
    struct qm_packed_owner owner[QM_MAX_DEVICES] = {{0}};
    size_t nodes = (size_t)qm_team_nodes(c->team);
    struct qm_binding *bindings = malloc(nodes * sizeof *bindings);
    if (!bindings)
        return qm_fail_memory(err, nodes * sizeof *bindings, "the NUMA nodes");
    for (size_t node = 0; node < nodes; node++) /* what a node does not hold now goes elsewhere */
        bindings[node] = (struct qm_binding){.node = c->setup.bindings[node].node};
    setup.bindings = bindings;
    int rc = qm_packed_open(&setup, &c->lost[device], err);
    free(bindings);
    owner[device].packed = &c->lost[device];
    if (!rc)
        rc = qm_packed_load(&setup, owner, c->placement.devices, err);
    if (rc)
        qm_packed_free(&c->lost[device]);
    return rc;
}

void qm_cpu_use(struct qm_cpu *c, int device) {
    c->weights = device == QM_DEVICE_CPU ? c->packed.weights : c->lost[device].weights;
}

static int new_cpu(const struct qm_model *m, const struct qm_workload *w, struct qm_team *team, struct qm_kv *kv,
                   struct qm_cpu **out, struct qm_error *err) {
    struct qm_cpu *c = *out = calloc(1, sizeof *c);
    if (!c)
        return qm_fail_memory(err, sizeof *c, "the activations");
    c->model = m;
    c->config = &m->config;
    c->workload = *w;
    c->team = team;
    c->kv = kv;
    qm_scratch_plan(m, w, &c->layout);
    return QM_OK;
}

static int finish_open(int rc, struct qm_cpu **out) {
    if (rc) {
        qm_cpu_close(*out);
        *out = NULL;
    }
    return rc;
}

int qm_cpu_open(const struct qm_cpu_setup *s, struct qm_cpu **out, struct qm_error *err) {
    *out = NULL;
    if (s->model->config.heads / s->model->config.kv_heads > QM_MAX_GROUP)
        return qm_fail(err, QM_INPUT, "%lld query heads for %lld KV heads: at most %d for one are supported",
                       (long long)s->model->config.heads, (long long)s->model->config.kv_heads, QM_MAX_GROUP);
    int rc = new_cpu(s->model, &s->workload, s->team, s->kv, out, err);
    if (!rc)
        (*out)->sum_bytes = s->sum_bytes;
    if (!rc)
        rc = qm_kernels_get(s->isa, &(*out)->kernels, err);
    if (!rc)
        rc = open_weights(*out, s, err);
    if (!rc)
        rc = open_scratch(*out, err);
    if (!rc)
        rc = open_private(*out, s->bindings, err);
    return finish_open(rc, out);
}

int qm_cpu_open_beside(const struct qm_cpu *of, const struct qm_packed_weight *weights, struct qm_kv *kv,
                       struct qm_cpu **out, struct qm_error *err) {
    int rc = new_cpu(of->model, &of->workload, of->team, kv, out, err);
    if (rc)
        return rc;
    struct qm_cpu *c = *out;
    c->kernels = of->kernels;
    c->weights = weights;
    rc = open_scratch(c, err);
    size_t threads = (size_t)qm_team_threads(c->team);
    if (!rc && !(c->private_part = calloc(threads, sizeof *c->private_part)))
        rc = qm_fail_memory(err, threads * sizeof *c->private_part, "activations");
    for (size_t t = 0; t < threads && !rc; t++)
        c->private_part[t] = of->private_part[t];
    return finish_open(rc, out);
}
