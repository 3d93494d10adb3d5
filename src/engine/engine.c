/* The engine: opens the CPU's kernels and devices over a model, keeps sequences, and flattens a step into a batch. */
#include "base/clock.h"
#include "engine/engine_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/bindings.h"
#include "engine/work.h"
#include "numa/memory.h"
#include "numa/power_cap.h"
#include "simd/kernels.h"

static int check_options(const struct qm_engine_options *o, struct qm_error *err) {
    if (o->context < 0 || o->sequences < 0 || o->chunk < 0 || o->threads < 0)
        return qm_fail(err, QM_USAGE, "context, sequences, chunk and threads must not be negative");
    if (o->kv_type != -1 && o->kv_type != QM_BF16 && o->kv_type != QM_F16 && o->kv_type != QM_F32)
        return qm_fail(err, QM_USAGE, "the KV cache can be bf16, f16 or f32");
    return qm_isa_check(o->isa, err);
}

static int open_batch(struct qm_engine *e, struct qm_error *err) {
    size_t rows = (size_t)e->workload.chunk;
    e->step_sequences = calloc(rows, sizeof *e->step_sequences);
    e->token = calloc(rows, sizeof *e->token);
    e->logit_row = calloc(rows, sizeof *e->logit_row);
    e->position = calloc(rows, sizeof *e->position);
    e->logit_out = calloc(rows, sizeof *e->logit_out);
    if (e->step_sequences && e->token && e->logit_row && e->position && e->logit_out)
        return QM_OK;
    return qm_fail_memory(err, rows * sizeof *e->step_sequences, "the batch of a step");
}

static int create_team(struct qm_engine *e, const struct qm_engine_options *o, struct qm_error *err) {
    struct qm_topology own = {0};
    const struct qm_topology *t = o->topology ? o->topology : &own;
    int rc = o->topology ? QM_OK : qm_topology_load(&o->numa, &own, err);
    if (!rc)
        rc = qm_team_create_on(t, o->threads, &e->team, err);
    if (!rc && !qm_team_pinned(e->team)) {
        int threads = qm_team_threads(e->team);
        if (threads <= t->cores)
            rc = qm_buf_str(&e->notes, "threads could not be pinned to cores: the system does not allow it\n", err);
        else if (t->cpu_quota > 0 && t->cores < t->allowed_cores)
            rc = qm_buf_printf(&e->notes, err,
                               "%d threads, but the cgroup's CPU quota is the time of %.2f CPUs: they wait for each "
                               "other (%d would not)\n",
                               threads, t->cpu_quota, t->cores);
        else if (t->nodes > 1)
            rc = qm_buf_printf(&e->notes, err,
                               "%d threads for %d cores: they are not pinned, and memory is not bound to nodes\n",
                               threads, t->cores);
    }
    qm_topology_free(&own);
    return rc;
}

static int open_team(struct qm_engine *e, const struct qm_engine_options *o, struct qm_error *err) {
    int rc = QM_OK;
    if (o->beside) {
        e->team = o->beside->team;
        e->beside = o->beside;
    } else {
        rc = create_team(e, o, err);
    }
    if (rc)
        return rc;
    e->workload.threads = qm_team_threads(e->team);
    e->bindings = calloc((size_t)qm_team_nodes(e->team), sizeof *e->bindings);
    return e->bindings ? QM_OK : qm_fail_memory(err, sizeof *e->bindings, "the NUMA nodes");
}

static bool is_placed(const struct qm_engine_options *o) {
    return o->placement && o->placement->devices > 1;
}

static int check_devices(struct qm_engine *e, const struct qm_engine_options *o, struct qm_error *err) {
    uint64_t available;
    const char *names[QM_MAX_DEVICES];
    for (int d = 1; d < o->placement->devices; d++)
        names[d - 1] = o->devices[d - 1].name;
    if (o->devices_required || qm_memory_available(&available, NULL))
        return QM_OK;
    available += qm_memory_reserved();
    return qm_bindings_check_devices(e->model, o->placement, &e->workload, names, available, &e->notes, err);
}

/* What fits, and where it goes. Nodes that were asked for have to hold everything; else what one of them does not
 * hold goes to others. */
static int plan_memory(struct qm_engine *e, const struct qm_engine_options *o, struct qm_error *err) {
    uint64_t most = o->numa.mode == QM_NUMA_NODES ? qm_bindings_available(e->team) : UINT64_MAX;
    const struct qm_placement *p = is_placed(o) ? o->placement : NULL;
    int rc = p ? qm_placement_check(p, e->model, err) : QM_OK;
    if (!rc)
        rc = qm_bindings_fit(e->model, p, o->context, most, &e->workload, &e->memory, err);
    if (!rc && p)
        rc = check_devices(e, o, err);
    return rc ? rc : qm_bindings_plan(e->model, p, &e->workload, &e->memory, e->team, e->bindings, &e->notes, err);
}

/* Whether weights and KV leave too little memory for the files to stay cached too. */
static bool cache_in_the_way(const struct qm_engine *e) {
    uint64_t available, files = 0;
    for (int i = 0; e->model->shards && i < e->model->shards->n_files; i++)
        files += e->model->shards->files[i].bytes;
    return qm_memory_available(&available, NULL) == QM_OK && e->memory.total + files > available;
}

static void use_threads(struct qm_engine *e, struct qm_quiet_use use) {
    qm_team_use(e->team, use.threads);
    qm_team_spin(e->team, use.spin);
}

static int open_placed(struct qm_engine *e, const struct qm_engine_options *o, struct qm_error *err) {
    struct qm_placed_setup setup = {.model = e->model,
                                    .forward = &e->forward,
                                    .workload = e->workload,
                                    .cpu = e->cpu,
                                    .kv = &e->kv,
                                    .clock = &e->clock,
                                    .placement = o->placement,
                                    .devices = o->devices};
    e->devices_required = o->devices_required;
    return qm_placed_open(&setup, &e->placed, err);
}

/* Memory for weights and activations, then devices, which are given it, then the weights themselves. */
static int open_backends(struct qm_engine *e, const struct qm_engine_options *o, struct qm_error *err) {
    struct qm_cpu_setup setup = {.model = e->model,
                                 .placement = is_placed(o) ? o->placement : NULL,
                                 .workload = e->workload,
                                 .isa = o->isa,
                                 .team = e->team,
                                 .bindings = e->bindings,
                                 .kv = &e->kv,
                                 .drop_cache = e->load.dropped_cache,
                                 .progress = o->progress,
                                 .progress_arg = o->progress_arg};
    if (is_placed(o))
        setup.sum_bytes = qm_placement_sum_bytes(o->placement, e->model, &e->workload, QM_DEVICE_CPU);
    double begin = qm_now();
    int rc = qm_cpu_open(&setup, &e->cpu, err);
    double opened = qm_now();
    if (!rc && is_placed(o))
        rc = open_placed(e, o, err);
    double placed = qm_now();
    if (!rc)
        rc = qm_cpu_load(e->cpu, e->placed ? qm_placed_devices(e->placed) : NULL, err);
    e->load.bytes = e->memory.weights;
    for (int d = 1; is_placed(o) && d < o->placement->devices; d++) {
        struct qm_device_memory on;
        qm_placement_memory(o->placement, e->model, &e->workload, d, &on);
        e->load.bytes += on.weights;
    }
    e->load.seconds = qm_now() - placed + opened - begin;
    return rc;
}

int qm_engine_open(const struct qm_model *m, const struct qm_engine_options *o, struct qm_engine **out,
                   struct qm_error *err) {
    *out = NULL;
    int rc = check_options(o, err);
    if (rc)
        return rc;
    struct qm_engine *e = calloc(1, sizeof *e);
    if (!e)
        return qm_fail_memory(err, sizeof *e, "the engine");
    e->model = m;
    e->isa = o->isa;
    e->workload = (struct qm_workload){.sequences = o->sequences ? o->sequences : 1,
                                       .chunk = o->chunk ? o->chunk : QM_DEFAULT_CHUNK,
                                       .kv_memory = o->kv_memory,
                                       .drafts = o->drafts};
    e->workload.kv_type = o->kv_type < 0 ? qm_kv_default_type(&m->config) : (enum qm_dtype)o->kv_type;
    rc = open_team(e, o, err);
    if (!rc)
        rc = plan_memory(e, o, err);
    if (!rc) {
        e->load.dropped_cache = cache_in_the_way(e);
        rc = qm_forward_build(m, &e->forward, err);
    }
    if (!rc)
        rc = qm_kv_open(&m->config, &e->forward, &e->workload, is_placed(o) ? o->placement : NULL, e->bindings,
                        qm_team_nodes(e->team), &e->kv, err);
    if (!rc)
        rc = qm_engine_open_sequences(e, err);
    if (!rc)
        rc = qm_bindings_take(e->team, e->bindings, e->kv.memory, err);
    if (!rc)
        rc = open_batch(e, err);
    if (!rc)
        rc = open_backends(e, o, err);
    if (rc) {
        qm_engine_close(e);
        return rc;
    }
    *out = e;
    return QM_OK;
}

void qm_engine_close(struct qm_engine *e) {
    if (!e)
        return;
    qm_placed_close(e->placed);
    qm_cpu_close(e->cpu);
    qm_engine_close_sequences(e);
    if (e->kv.groups)
        qm_kv_close(&e->kv);
    qm_forward_free(&e->forward);
    qm_quiet_free(e->quiet);
    qm_power_cap_close(e->cap);
    if (!e->beside)
        qm_team_destroy(e->team);
    free(e->step_sequences);
    free(e->token);
    free(e->logit_row);
    free(e->position);
    free(e->logit_out);
    free(e->bindings);
    qm_buf_free(&e->notes);
    free(e);
}

const struct qm_model *qm_engine_model(const struct qm_engine *e) {
    return e->model;
}

struct qm_engine_load qm_engine_load(const struct qm_engine *e) {
    return e->load;
}

int qm_engine_nodes(const struct qm_engine *e) {
    return qm_team_nodes(e->team);
}

struct qm_engine_node qm_engine_node(const struct qm_engine *e, int node) {
    int64_t begin, end;
    qm_team_node_part(e->team, e->workload.threads, node, &begin, &end);
    struct qm_engine_node n = {.number = qm_team_node_number(e->team, node), .threads = (int)(end - begin)};
    const struct qm_memory *weights = qm_cpu_weights(e->cpu, node);
    if (weights)
        n.weights = *weights;
    n.kv = e->kv.memory[node];
    qm_memory_count(&n.weights, &n.in_weights);
    qm_memory_count(&n.kv, &n.in_kv);
    return n;
}

const char *qm_engine_notes(const struct qm_engine *e) {
    return e->notes.data ? e->notes.data : "";
}

const struct qm_workload *qm_engine_workload(const struct qm_engine *e) {
    return &e->workload;
}

int64_t qm_engine_context(const struct qm_engine *e) {
    return e->workload.context;
}

int64_t qm_engine_chunk(const struct qm_engine *e) {
    return e->workload.chunk;
}

int64_t qm_engine_sequences(const struct qm_engine *e) {
    return e->workload.sequences;
}

int qm_engine_threads(const struct qm_engine *e) {
    return e->workload.threads;
}

enum qm_isa qm_engine_isa(const struct qm_engine *e) {
    return e->isa;
}

enum qm_dtype qm_engine_kv_type(const struct qm_engine *e) {
    return e->workload.kv_type;
}

struct qm_team *qm_engine_team(const struct qm_engine *e) {
    return e->team;
}

struct items {
    qm_engine_item_fn *fn;
    void *arg;
    int64_t n;
};

static void items_region(void *arg, int thread, int threads) {
    const struct items *items = arg;
    int64_t begin, end;
    qm_team_range(items->n, thread, threads, &begin, &end);
    for (int64_t i = begin; i < end; i++)
        items->fn(items->arg, thread, i);
}

void qm_engine_run(struct qm_engine *e, int64_t n, qm_engine_item_fn *fn, void *arg) {
    struct items items = {.fn = fn, .arg = arg, .n = n};
    qm_team_run(e->team, items_region, &items);
}

void qm_engine_set_routing(struct qm_engine *e, struct qm_routing_profile *p) {
    e->routing = p;
    e->routed = NULL;
}

void qm_engine_set_profile(struct qm_engine *e, struct qm_engine_profile *p) {
    e->profile = p;
}

int qm_engine_set_quiet(struct qm_engine *e, double share, bool prefill_too, int threads, struct qm_error *err) {
    struct qm_quiet *quiet = NULL;
    int rc = share != 0 ? qm_quiet_new(qm_team_threads(e->team), qm_team_nodes(e->team), share, &quiet, err) : QM_OK;
    if (rc)
        return rc;
    qm_quiet_free(e->quiet);
    e->quiet = quiet;
    e->quiet_prefill = prefill_too;
    e->prefill_threads = threads;
    use_threads(e, (struct qm_quiet_use){qm_team_threads(e->team), true});
    return QM_OK;
}

void qm_engine_set_power_cap(struct qm_engine *e, struct qm_power_cap *cap) {
    qm_power_cap_close(e->cap);
    e->cap = cap;
}

void qm_engine_set_interrupt(struct qm_engine *e, const volatile sig_atomic_t *flag) {
    e->interrupt = flag;
}

const struct qm_power_cap *qm_engine_power_cap(const struct qm_engine *e) {
    return e->cap;
}

bool qm_engine_quiet(const struct qm_engine *e, struct qm_quiet_state *out) {
    if (e->quiet)
        qm_quiet_look(e->quiet, out);
    return e->quiet != NULL;
}

const struct qm_memory_table *qm_engine_memory(const struct qm_engine *e) {
    return &e->memory;
}

uint64_t qm_engine_decode_bytes(const struct qm_engine *e, int64_t depth) {
    struct qm_work work = {0};
    qm_work_add_step(e->model, e->kv.type, 1, depth, 1, 1, &work);
    return (uint64_t)llround(work.weight_bytes + work.kv_bytes);
}

int qm_engine_devices(const struct qm_engine *e) {
    return e->placed ? qm_placed_placement(e->placed)->devices - 1 : 0;
}

void qm_engine_device_report(const struct qm_engine *e, int device, struct qm_device_report *out) {
    qm_placed_report(e->placed, device, out);
}

bool qm_engine_device_failed(const struct qm_engine *e) {
    return e->placed && qm_placed_failed(e->placed);
}

int qm_engine_fall_back(struct qm_engine *e, struct qm_error *err) {
    if (!qm_engine_device_failed(e))
        return QM_OK;
    if (e->devices_required)
        return qm_fail(err, QM_SYSTEM, "%s; the device was required (without that, the CPU goes on)", e->failures);
    int rc = qm_placed_fall_back(e->placed, e->bindings, err);
    if (rc)
        return qm_fail_context(err, "%s", e->failures);
    e->losses++;
    const char *what = e->failures + e->failures_reported;
    what += e->failures_reported ? strspn(what, "; ") : 0;
    e->failures_reported = strlen(e->failures);
    if (e->on_fall_back)
        e->on_fall_back(e->fall_back_arg, what);
    return QM_OK;
}

void qm_engine_on_fall_back(struct qm_engine *e, qm_fall_back_fn *on_failure, void *arg) {
    e->on_fall_back = on_failure;
    e->fall_back_arg = arg;
}

const char *qm_engine_failures(const struct qm_engine *e) {
    return e->failures;
}

static int check_step(const struct qm_engine *e, const struct qm_step_rows *s, struct qm_error *err) {
    int64_t held = s->sequence->tables.length, vocab = e->model->config.vocab;
    if (held && s->sequence->losses != e->losses)
        return qm_fail(err, QM_USAGE, "the sequence's keys and values were lost with a device: truncate it to 0 first");
    if (s->n < 1 || s->n_logits < 0 || s->n_logits > s->n)
        return qm_fail(err, QM_USAGE, "a step of %lld tokens with %lld logits", (long long)s->n,
                       (long long)s->n_logits);
    if (s->n > e->workload.context - held)
        return qm_remedy(err, QM_REMEDY_LARGER_CONTEXT,
                         qm_fail(err, QM_INPUT, "%lld tokens after %lld held: more than the context of %lld",
                                 (long long)s->n, (long long)held, (long long)e->workload.context));
    for (int64_t i = 0; i < s->n; i++)
        if (s->tokens[i] < 0 || s->tokens[i] >= vocab)
            return qm_fail(err, QM_INPUT, "token %lld is id %d: expected 0 to %lld, the model's vocabulary",
                           (long long)(held + i), (int)s->tokens[i], (long long)vocab - 1);
    return QM_OK;
}

static int check_steps(const struct qm_engine *e, const struct qm_step_rows *steps, int n_steps, struct qm_error *err) {
    int64_t rows = 0;
    int rc = QM_OK;
    for (int i = 0; !rc && i < n_steps; i++) {
        rc = check_step(e, &steps[i], err);
        rows += rc ? 0 : steps[i].n;
        if (!rc && steps[i].sequence->in_step)
            rc = qm_fail(err, QM_USAGE, "a sequence is in the step twice");
        if (!rc && rows > e->workload.chunk)
            rc = qm_fail(err, QM_USAGE, "a step of more than %lld tokens", (long long)e->workload.chunk);
        steps[i].sequence->in_step = true;
    }
    for (int i = 0; i < n_steps; i++)
        steps[i].sequence->in_step = false;
    return rc;
}

static void flatten(struct qm_engine *e, const struct qm_step_rows *steps, int n_steps, struct qm_batch *b) {
    *b = (struct qm_batch){.token = e->token,
                           .position = e->position,
                           .sequences = e->step_sequences,
                           .n_sequences = n_steps,
                           .logit_row = e->logit_row,
                           .logit_out = e->logit_out};
    int64_t vocab = e->model->config.vocab;
    for (int i = 0; i < n_steps; i++) {
        const struct qm_step_rows *s = &steps[i];
        int64_t position = s->sequence->tables.length;
        e->step_sequences[i] = (struct qm_batch_sequence){.tables = &s->sequence->tables,
                                                          .row = b->rows,
                                                          .n = s->n,
                                                          .position = position,
                                                          .hidden = s->hidden,
                                                          .attention = s->attention,
                                                          .attention_layer = s->attention_layer,
                                                          .attention_ld = s->attention_ld};
        for (int64_t t = 0; t < s->n; t++) {
            e->token[b->rows + t] = s->tokens[t];
            e->position[b->rows + t] = position + t;
        }
        for (int64_t j = 0; j < s->n_logits; j++, b->n_logits++) {
            e->logit_row[b->n_logits] = (int32_t)(b->rows + s->n - s->n_logits + j);
            e->logit_out[b->n_logits] = s->logits + j * vocab;
        }
        b->rows += s->n;
    }
}

/* What is counted in this step, and what of it follows the last one. */
static void count_routing(struct qm_engine *e, struct qm_batch *b) {
    const struct qm_batch_sequence *first = &b->sequences[0];
    b->routing = e->routing;
    b->routing_continues = e->routed == first->tables && e->routed_end == first->position;
    qm_routing_count_tokens(e->routing, b->rows, b->n_sequences, b->routing_continues);
    e->routed = b->n_sequences == 1 ? first->tables : NULL;
    e->routed_end = first->position + first->n;
}

double qm_engine_clock(const struct qm_engine *e) {
    return qm_host_now(&e->clock);
}

static bool interrupted(const struct qm_engine *e, const struct qm_batch *batch) {
    return e->interrupt && *e->interrupt && batch->rows > batch->n_sequences;
}

/* One beside another keeps to that one's. */
static struct qm_power_cap *cap_of(const struct qm_engine *e) {
    return e->beside ? e->beside->cap : e->cap;
}

static int execute_profiled(struct qm_engine *e, const struct qm_batch *batch) {
    struct qm_engine_profile *p = e->profile;
    struct qm_power_cap *cap = cap_of(e);
    uint64_t regions = qm_team_regions(e->team);
    for (int i = 0; i < e->forward.n_ops; i++) {
        const struct qm_op *op = &e->forward.ops[i];
        if (interrupted(e, batch))
            return QM_INTERRUPTED;
        uint64_t barriers = qm_team_barriers(e->team);
        double begin = qm_now();
        qm_cpu_execute(e->cpu, op, NULL, batch, NULL);
        p->seconds[op->kind] += qm_now() - begin;
        p->barriers[op->kind] += qm_team_barriers(e->team) - barriers;
        if (cap)
            e->paused += qm_power_cap_worked(cap, qm_now() - begin);
        p->calls[op->kind]++;
    }
    p->regions += qm_team_regions(e->team) - regions;
    p->steps++;
    return QM_OK;
}

double qm_profile_layer_barriers(const struct qm_engine_profile *p) {
    uint64_t all = 0;
    for (int kind = 0; kind < QM_OP_COUNT; kind++)
        all += kind == QM_OP_EMBED || kind == QM_OP_HEAD ? 0 : p->barriers[kind];
    return p->calls[QM_OP_ATTENTION] ? (double)all / (double)p->calls[QM_OP_ATTENTION] : 0;
}

static int execute(struct qm_engine *e, const struct qm_batch *batch, struct qm_error *err) {
    if (e->placed) {
        struct qm_error failure;
        int rc = qm_placed_execute(e->placed, batch, e->profile, &failure);
        if (!rc)
            return QM_OK;
        size_t n = strlen(e->failures);
        snprintf(e->failures + n, sizeof e->failures - n, "%s%s", n ? "; " : "", failure.message);
        return qm_fail(err, failure.code, "%s", failure.message);
    }
    struct qm_power_cap *cap = cap_of(e);
    bool stopped = e->profile && execute_profiled(e, batch) == QM_INTERRUPTED;
    for (int i = 0; !e->profile && !stopped && i < e->forward.n_ops; i++) {
        if ((stopped = interrupted(e, batch)))
            break;
        double begin = cap ? qm_now() : 0;
        qm_cpu_execute(e->cpu, &e->forward.ops[i], NULL, batch, NULL);
        if (cap)
            e->paused += qm_power_cap_worked(cap, qm_now() - begin);
    }
    return stopped ? qm_fail(err, QM_INTERRUPTED, "interrupted") : QM_OK;
}

/* One token a sequence: the threads that the search says, and their time for it. */
static int execute_quietly(struct qm_engine *e, const struct qm_batch *batch, struct qm_error *err) {
    struct qm_quiet_state found;
    bool decode = batch->rows == batch->n_sequences;
    if (decode) {
        use_threads(e, qm_quiet_next(e->quiet, batch->n_sequences));
        double begin = qm_engine_clock(e), paused = e->paused;
        int rc = execute(e, batch, err);
        qm_quiet_took(e->quiet, qm_engine_clock(e) - begin - (e->paused - paused));
        return rc;
    }
    qm_quiet_look(e->quiet, &found);
    struct qm_quiet_use use = {found.found ? found.use.threads : e->prefill_threads, true};
    bool checks_drafts = batch->n_logits == batch->rows; /* no prompt: decode with a few rows more */
    if (!e->quiet_prefill && !(found.found && checks_drafts))
        use.threads = qm_team_threads(e->team);
    use_threads(e, use);
    return execute(e, batch, err);
}

int qm_engine_step(struct qm_engine *e, const struct qm_step_rows *steps, int n_steps, struct qm_error *err) {
    if (n_steps < 1)
        return QM_OK;
    if (qm_engine_device_failed(e))
        return qm_fail(err, QM_SYSTEM, "%s", e->failures);
    int rc = check_steps(e, steps, n_steps, err);
    int64_t missing = 0;
    for (int i = 0; !rc && i < n_steps; i++)
        missing += qm_kv_missing(&e->kv, &steps[i].sequence->tables, steps[i].n);
    if (!rc)
        rc = qm_engine_check_pool(e, missing, err);
    if (rc)
        return rc;
    for (int i = 0; i < n_steps; i++)
        qm_kv_reserve(&e->kv, &steps[i].sequence->tables, steps[i].n);
    struct qm_batch batch;
    flatten(e, steps, n_steps, &batch);
    if (e->routing)
        count_routing(e, &batch);
    rc = e->quiet ? execute_quietly(e, &batch, err) : execute(e, &batch, err);
    for (int i = 0; i < n_steps && (!rc || rc == QM_INTERRUPTED); i++) {
        struct qm_kv_tables *t = &steps[i].sequence->tables;
        qm_kv_advance(&e->kv, t, steps[i].n);
        if (rc) /* windows may have been written on: what they no longer hold is gone */
            t->length -= steps[i].n;
    }
    return rc;
}
