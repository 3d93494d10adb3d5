/* Measuring a comparison: engines that are opened side by side where they fit, else one after another; rounds in which
 * every configuration reads and answers the same prompts, every other round in the other order, so that what drifts
 * hits all alike; and the limits of the machine, measured once a round. Agreement is compare/logits.c's. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "app/compare/compare_private.h"
#include "app/offload.h"
#include "app/remedy.h"
#include "app/weights_known.h"
#include "engine/report.h"
#include "engine/sequence.h"
#include "engine/work.h"
#include "numa/machine.h"
#include "numa/memory.h"
#include "planner/limits.h"
#include "session/draft/lookup.h"
#include "session/feed.h"

enum { QUIET_STEPS = 1000 };
_Static_assert((int)QM_COMPARE_NODES == (int)QM_MAX_NODES, "each node has a place");

static int load_progress(void *arg, const char *what, uint64_t done, uint64_t total) {
    const struct qm_compare_task *t = arg;
    qm_progress_update(t->progress, what, done, total, QM_PROGRESS_BYTES);
    return *t->stop;
}

static void close_lane(struct qm_compare_lane *l) {
    qm_sequence_close(l->sequence);
    qm_engine_close(l->engine);
    *l = (struct qm_compare_lane){0};
}

static bool has_devices(const struct qm_compare_spec *s) {
    return s->plan.placement.devices > 1;
}

/* cpu and quiet differ in threads alone: one engine is enough for both. */
static bool take_over(struct qm_compare_runner *r, int i, struct qm_error *err, int *rc) {
    for (int j = 0; j < r->task->specs; j++)
        if (r->lane[j].engine && !has_devices(&r->task->spec[i]) && !has_devices(&r->task->spec[j])) {
            r->lane[i] = r->lane[j];
            r->lane[j] = (struct qm_compare_lane){0};
            r->lane[i].warm = false;
            *rc = qm_engine_set_quiet(r->lane[i].engine, r->task->spec[i].share, false, 0, err);
            return true;
        }
    return false;
}

static int open_lane(struct qm_compare_runner *r, int i, struct qm_error *err) {
    struct qm_compare_task *t = r->task;
    struct qm_compare_lane *l = &r->lane[i];
    struct qm_engine_options options = {.threads = t->threads,
                                        .numa = t->numa,
                                        .topology = &r->topology,
                                        .isa = t->isa,
                                        .context = t->context,
                                        .sequences = 1,
                                        .chunk = t->chunk,
                                        .kv_type = t->kv_type,
                                        .progress = load_progress,
                                        .progress_arg = t};
    int rc = QM_OK;
    if (l->engine)
        return QM_OK;
    if (!r->keep && take_over(r, i, err, &rc))
        return rc;
    for (int j = 0; j < t->specs && !r->keep; j++)
        close_lane(&r->lane[j]);
    struct qm_device_setup devices[QM_MAX_DEVICES];
    struct qm_emulated_config config[QM_MAX_DEVICES];
    if (has_devices(&t->spec[i])) {
        qm_offload_drive(t->spec[i].speed, config, devices);
        options.placement = &t->spec[i].plan.placement;
        options.devices = devices;
        options.devices_required = true;
    }
    rc = qm_engine_open(t->model, &options, &l->engine, err);
    qm_progress_end(t->progress);
    if (!rc)
        qm_engine_set_interrupt(l->engine, t->stop);
    if (!rc && t->spec[i].share > 0)
        rc = qm_engine_set_quiet(l->engine, t->spec[i].share, false, 0, err);
    return rc ? rc : qm_sequence_open(l->engine, &l->sequence, err);
}

int qm_compare_step(struct qm_compare_runner *r, struct qm_compare_lane *l, const int32_t *tokens, int n, float *logits,
                    struct qm_error *err) {
    struct qm_step_rows step = {.sequence = l->sequence, .tokens = tokens, .n = n, .n_logits = n, .logits = logits};
    if (*r->task->stop)
        return qm_fail(err, QM_INTERRUPTED, "interrupted");
    qm_meter_tick(r->task->meter);
    return qm_engine_step(l->engine, &step, 1, err);
}

static int tick(void *arg, const struct qm_fed *f, struct qm_error *err) {
    (void)f, (void)err;
    qm_meter_tick(arg);
    return QM_OK;
}

int qm_compare_settle(struct qm_compare_runner *r, struct qm_compare_lane *l, const struct qm_ids *prompt, int64_t n,
                      struct qm_error *err) {
    const struct qm_compare_task *t = r->task;
    int64_t held = qm_sequence_truncate(l->sequence, n);
    const struct qm_feed f = {.engine = l->engine,
                              .step = {.sequence = l->sequence, .tokens = prompt->data + held, .n = n - held},
                              .piece = t->chunk,
                              .device_needed = true,
                              .on_piece = tick,
                              .arg = t->meter,
                              .interrupt = t->stop};
    return qm_feed(&f, err);
}

/* Pages mapped, threads awake, the fewest threads found. */
static int warm_up(struct qm_compare_runner *r, int i, struct qm_error *err) {
    const struct qm_compare_task *t = r->task;
    struct qm_compare_lane *l = &r->lane[i];
    const struct qm_ids *prompt = &t->prompt[0];
    struct qm_quiet_state quiet;
    int64_t n = (int64_t)prompt->len;
    int rc = l->warm ? QM_OK : qm_compare_settle(r, l, prompt, n, err);
    for (int64_t steps = 0; !l->warm && steps < QUIET_STEPS && !rc; steps++) {
        /* some steps, then back, as the answers that are measured */
        if (qm_sequence_length(l->sequence) == t->context || (steps > 0 && steps % (t->generate - 1) == 0))
            rc = qm_compare_settle(r, l, prompt, n, err);
        if (!rc)
            rc = qm_compare_step(r, l, prompt->data, 1, r->logits, err);
        if (t->spec[i].share <= 0 || (qm_engine_quiet(l->engine, &quiet) && quiet.found))
            break;
        qm_progress_update(t->progress, "finding the fewest threads", (uint64_t)steps, QUIET_STEPS, QM_PROGRESS_STEPS);
    }
    l->warm = true;
    return rc;
}

static void look_at_nodes(const struct qm_engine *e, struct qm_compare_config *c) {
    for (; c->n_nodes < qm_engine_nodes(e) && c->n_nodes < QM_COMPARE_NODES; c->n_nodes++) {
        struct qm_engine_node n = qm_engine_node(e, c->n_nodes);
        double pages = (double)(n.in_weights.pages + n.in_kv.pages);
        c->node[c->n_nodes] = (struct qm_compare_node){
            .number = n.number,
            .weights = n.weights.data ? n.weights.bytes : 0,
            .kv = n.kv.data ? n.kv.bytes : 0,
            .placed = pages > 0 ? (double)(n.in_weights.in_place + n.in_kv.in_place) / pages : NAN};
    }
}

/* Threads, the quiet ones, and memory, while the engine is there. */
static void look_at(struct qm_compare_runner *r, int i) {
    struct qm_compare_config *c = &r->report->config[i];
    struct qm_quiet_state quiet;
    const struct qm_engine *e = r->lane[i].engine;
    c->threads = c->threads_used = qm_engine_threads(e);
    if (qm_engine_quiet(e, &quiet))
        c->threads_used = quiet.use.threads;
    if (r->weights[0] && qm_engine_fingerprint(e, r->weights, &c->traits, NULL))
        c->traits = (struct qm_fingerprint){0};
    look_at_nodes(e, c);
    const struct qm_memory_table *m = qm_engine_memory(e);
    if (c->n_memory == 1)
        c->memory[0] = (struct qm_compare_memory){
            .device = "cpu", .weights = m->weights, .kv = m->kv, .activations = m->scratch, .total = m->total};
}

/* Anew in each round: what it looks in are the prompts and answers of this one. */
static int open_drafts(struct qm_compare_runner *r, struct qm_lookup **lookup, struct qm_error *err) {
    const struct qm_compare_task *t = r->task;
    int rc = qm_lookup_new((uint64_t)(t->context * t->prompts) * QM_LOOKUP_TOKEN_BYTES, lookup, err);
    struct qm_speculation_options o = {.most = QM_DRAFT_MAX};
    if (rc)
        return rc;
    o.drafter = qm_lookup_drafter(*lookup);
    return qm_speculation_new(&o, &r->speculation, err);
}

static void close_drafts(struct qm_compare_runner *r, int i, struct qm_lookup *lookup) {
    struct qm_compare_config *c = &r->report->config[i];
    struct qm_speculation_stats s = {0};
    if (r->speculation)
        qm_speculation_stats(r->speculation, &s);
    c->drafted += s.drafted;
    c->accepted += s.accepted;
    qm_speculation_free(r->speculation);
    r->speculation = NULL;
    qm_lookup_free(lookup);
}

static int run_config(struct qm_compare_runner *r, int i, int round, struct qm_error *err) {
    const struct qm_compare_task *t = r->task;
    struct qm_compare_samples *s = &r->samples[i];
    int rc = open_lane(r, i, err);
    if (!rc)
        rc = warm_up(r, i, err);
    s->prefill_now = s->decode_now = s->first_now = 0;
    struct qm_lookup *lookup = NULL;
    if (!rc && t->spec[i].kind == QM_COMPARE_DRAFTS)
        rc = open_drafts(r, &lookup, err);
    for (int p = 0; p < t->prompts && !rc; p++)
        rc = qm_compare_answer(r, i, p, round, err);
    close_drafts(r, i, lookup);
    if (rc)
        return rc;
    s->prefill_tps[round] = (double)r->report->prompt_tokens / s->prefill_now;
    s->decode_tps[round] = (double)(t->prompts * (t->generate - 1)) / s->decode_now;
    s->first[round] = (s->prefill_now + s->first_now) / t->prompts;
    s->prefill_seconds += s->prefill_now;
    s->decode_seconds += s->decode_now;
    look_at(r, i);
    return round == 0 ? qm_compare_logits(r, i, err) : QM_OK;
}

static int measure_limits(struct qm_compare_runner *r, int i, struct qm_error *err) {
    struct qm_limits_probe *probe = NULL;
    const struct qm_kernels *kernels;
    int rc = open_lane(r, i, err);
    if (!rc)
        rc = qm_kernels_get(r->task->isa, &kernels, err);
    if (!rc)
        rc = qm_limits_open(qm_engine_team(r->lane[i].engine), kernels, &probe, err);
    if (rc)
        return rc;
    struct qm_limits now = qm_limits_measure(probe);
    qm_limits_close(probe);
    const struct qm_limits both[] = {now, r->limits};
    r->limits = r->limits_read++ ? qm_limits_median(both, 2) : now;
    return QM_OK;
}

static bool can_run(const struct qm_compare_config *c) {
    return !c->why_not[0] && !c->failed[0];
}

/* What it did in this round does not count. Nothing to be held against it comes of a first round that is not whole, nor
 * anything to hold others against: that is the next one's to give. */
static void set_aside(struct qm_compare_runner *r, int i, int round, const struct qm_error *why) {
    struct qm_compare_config *c = &r->report->config[i];
    struct qm_error remedied = *why;
    if (!r->failure.code)
        r->failure = *why;
    qm_remedy_add(&remedied);
    snprintf(c->failed, sizeof c->failed, "round %d: %.230s", round + 1, remedied.message);
    if (!r->keep)
        close_lane(&r->lane[i]);
    if (round > 0)
        return;
    c->agreement = (struct qm_agreement){.first_difference = -1, .kl_mean = NAN, .kl_max = NAN};
    c->unsteady = false;
    for (int p = 0; p < r->task->prompts; p++) {
        free(c->answer[p]);
        c->answer[p] = NULL;
        c->n_answer[p] = 0;
    }
    if (i != r->report->reference)
        return;
    qm_compare_logits_free(r);
    do
        r->report->reference++;
    while (r->report->reference < r->report->configs && !can_run(&r->report->config[r->report->reference]));
    if (r->report->reference == r->report->configs)
        r->report->reference = -1;
}

/* One configuration's part of a round. Where the system or a device fails, the others go on. */
static int try_config(struct qm_compare_runner *r, int i, int round, bool *limits_read, struct qm_error *err) {
    struct qm_compare_samples before = r->samples[i];
    struct qm_error why = {0};
    int rc = *limits_read ? QM_OK : measure_limits(r, i, &why);
    *limits_read = *limits_read || !rc;
    if (!rc)
        rc = run_config(r, i, round, &why);
    if (rc == QM_SYSTEM || rc == QM_FIT) {
        r->samples[i] = before;
        set_aside(r, i, round, &why);
        return QM_OK;
    }
    r->samples[i].rounds = round + 1;
    if (rc)
        *err = why;
    return rc;
}

/* Ctrl-C: the result is that of the rounds before, if there are any. */
static int end_early(struct qm_compare_runner *r, int rounds, struct qm_error *err) {
    if (rounds == 0)
        return qm_fail(err, QM_INTERRUPTED, "interrupted in the first round: nothing is shown or kept");
    memcpy(r->samples, r->whole, sizeof r->samples);
    r->report->rounds = rounds;
    return QM_OK;
}

static int run_rounds(struct qm_compare_runner *r, struct qm_error *err) {
    const struct qm_compare_task *t = r->task;
    int rc = QM_OK;
    qm_progress_update(t->progress, "comparing", 0, (uint64_t)(t->rounds * t->specs), QM_PROGRESS_STEPS);
    for (int round = 0; round < t->rounds && !rc; round++) {
        bool limits_read = false;
        memcpy(r->whole, r->samples, sizeof r->whole);
        for (int k = 0; k < t->specs && !rc; k++) {
            int i = round % 2 ? t->specs - 1 - k : k;
            if (!can_run(&r->report->config[i]))
                continue;
            rc = try_config(r, i, round, &limits_read, err);
            if (!rc)
                qm_progress_update(t->progress, "comparing", (uint64_t)(round * t->specs + k + 1),
                                   (uint64_t)(t->rounds * t->specs), QM_PROGRESS_STEPS);
        }
        if (rc == QM_INTERRUPTED)
            return end_early(r, round, err);
    }
    if (rc || r->report->reference >= 0)
        return rc;
    *err = r->failure; /* of every one */
    return err->code;
}

static int take_curve(const struct qm_compare_curve *curve, struct qm_compare_point *out) {
    int n = 0;
    for (int k = 0; k < QM_COMPARE_POINTS; k++)
        if (curve->tokens[k] > 0 && curve->seconds[k] > 0)
            out[n++] = (struct qm_compare_point){round(curve->depth[k] / curve->tokens[k]),
                                                 curve->tokens[k] / curve->seconds[k], NAN};
    return n;
}

static void conclude(struct qm_compare_runner *r, int i) {
    const struct qm_compare_samples *s = &r->samples[i];
    struct qm_compare_config *c = &r->report->config[i];
    const struct qm_config *model = &r->task->model->config;
    enum qm_dtype product = model->experts ? model->expert_dtype : model->dtype;
    bool devices = has_devices(&r->task->spec[i]);
    double flops = product == QM_F32 || product == QM_F16 ? r->limits.peak.f32 : r->limits.peak.bf16;
    c->prefill.measured = qm_figure_of(s->prefill_tps, s->rounds);
    c->decode.measured = qm_figure_of(s->decode_tps, s->rounds);
    c->first.measured = qm_figure_of(s->first, s->rounds);
    c->n_prefill_at = take_curve(&s->prefill, c->prefill_at);
    c->n_decode_at = take_curve(&s->decode, c->decode_at);
    if (!devices) {
        c->gb_s = (s->decode_work.weight_bytes + s->decode_work.kv_bytes) / s->decode_seconds * 1e-9;
        c->limit_gb_s = r->limits.peak.read * 1e-9;
        c->decode_efficiency = qm_work_seconds(&s->decode_work, r->limits.peak.read, flops) / s->decode_seconds;
        c->prefill_efficiency = qm_work_seconds(&s->prefill_work, r->limits.peak.read, flops) / s->prefill_seconds;
        c->joules_per_token = s->decode_joules / s->written;
        c->joules_per_prompt_token = s->read_joules / s->read_tokens;
        c->watts = s->decode_joules / s->write_metered;
    }
    qm_compare_predict(r->task, i, c->threads_used, c);
}

/* Whether all engines fit side by side, with some left. An emulated device's memory is this machine's. */
static int choose_keep(struct qm_compare_runner *r, struct qm_error *err) {
    uint64_t available, wanted = 0;
    for (int i = 0; i < r->report->configs; i++)
        for (int d = 0; d < r->report->config[i].n_memory && !r->report->config[i].why_not[0]; d++)
            wanted += r->report->config[i].memory[d].total;
    int rc = qm_memory_available(&available, err);
    r->keep = wanted <= available - available / 10;
    r->report->reopened = !r->keep;
    return rc;
}

int qm_compare_run(struct qm_compare_task *t, struct qm_compare_report *report, struct qm_error *err) {
    struct qm_compare_runner *r = calloc(1, sizeof *r);
    if (!r)
        return qm_fail_memory(err, sizeof *r, "the comparison");
    *r = (struct qm_compare_runner){.task = t, .report = report};
    report->reference = -1;
    for (int i = report->configs - 1; i >= 0; i--)
        report->reference = report->config[i].why_not[0] ? report->reference : i;
    int64_t vocab = t->model->config.vocab;
    struct qm_files_known known = {0};
    /* as this thread sees it before the first engine pins it to a core */
    int rc = qm_topology_load(&t->numa, &r->topology, err);
    if (!rc)
        rc = choose_keep(r, err);
    if (!rc && report->reference >= 0)
        rc = qm_app_weights_known(t->model, t->progress, r->weights, &known, err);
    size_t logits = (size_t)(QM_COMPARE_LOGITS * vocab);
    if (!rc && !(r->logits = malloc(logits * sizeof *r->logits)))
        rc = qm_fail_memory(err, logits * sizeof *r->logits, "logits");
    if (!rc && report->reference >= 0)
        rc = run_rounds(r, err);
    qm_progress_end(t->progress);
    for (int i = 0; i < report->configs; i++)
        if (!rc && r->samples[i].rounds)
            conclude(r, i);
    report->agree = report->reference >= 0;
    for (int i = 0; i < report->configs; i++) {
        const struct qm_compare_config *c = &report->config[i];
        if (c->unsteady || (c->agreement.compared && !qm_agreement_holds(&c->agreement, report->bound)))
            report->agree = false;
    }
    /* the last one first: each gives back the affinity that it found */
    for (int i = t->specs - 1; i >= 0; i--)
        close_lane(&r->lane[i]);
    qm_topology_free(&r->topology);
    qm_compare_logits_free(r);
    qm_files_known_free(&known);
    free(r->logits);
    free(r);
    return rc;
}
