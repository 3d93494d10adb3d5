/* Running the cases of a bench on an engine: depth, warm-up, repetitions, and the limits before and after. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "app/bench/bench.h"
#include "app/load_report.h"
#include "app/offload.h"
#include "base/words.h"
#include "engine/engine.h"
#include "engine/report.h"
#include "engine/sequence.h"
#include "session/feed.h"

enum { SEED = 1, TOKENS = 1 << 16, QUIET_STEPS = 1000, DRAFT_ROWS = 96 };
static const double LOOK_SECONDS = 0.7; /* of a repetition: twice what reading limits takes */

struct runner {
    const struct qm_bench_run *run;
    struct qm_engine *engine;
    struct qm_limits_probe *limits;
    struct qm_sequence **sequences;
    struct qm_step_rows *steps;
    int32_t *tokens; /* [TOKENS + longest], random: steps start where the last one ended, so that experts vary */
    int64_t longest; /* tokens that a step, or the way to a depth, takes */
    int64_t next_token;
    float *logits; /* [rows][vocab] */
    int64_t chunk, batch;
    int64_t rows;                   /* whose logits a step may want: a token of each sequence, and drafts */
    struct qm_bench_drafts *drafts; /* of the case that is measured; NULL: none */
};

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t largest(const struct qm_bench_list *l) {
    int64_t most = 0;
    for (int i = 0; i < l->n; i++)
        most = l->value[i] > most ? l->value[i] : most;
    return most;
}

void qm_bench_cut(const struct qm_bench_case *c, int64_t chunk, int64_t *together, int64_t *piece) {
    *together = c->n_prompt < chunk ? least(chunk / c->n_prompt, c->batch) : 1;
    *piece = least(c->n_prompt, chunk);
}

void qm_bench_work(const struct qm_model *m, enum qm_dtype kv_type, const struct qm_bench_case *c, int64_t chunk,
                   struct qm_work *out) {
    *out = (struct qm_work){0};
    for (int64_t i = 0; i < c->n_gen; i++)
        qm_work_add_step(m, kv_type, c->batch, c->n_depth + i, 1, 1, out);
    if (c->n_prompt == 0)
        return;
    int64_t together, piece;
    qm_bench_cut(c, chunk, &together, &piece);
    for (int64_t first = 0; first < c->batch; first += together)
        for (int64_t at = 0; at < c->n_prompt; at += piece) {
            int64_t n = least(piece, c->n_prompt - at);
            qm_work_add_step(m, kv_type, least(together, c->batch - first), c->n_depth + at, n, at + n == c->n_prompt,
                             out);
        }
}

static int stopped(const struct runner *r, struct qm_error *err) {
    return *r->run->stop ? qm_fail(err, QM_INTERRUPTED, "interrupted") : QM_OK;
}

/* One step: the next n tokens of `count` sequences from `first` on. */
static int step(struct runner *r, int64_t first, int64_t count, int64_t n, bool logits, struct qm_error *err) {
    int64_t vocab = qm_engine_model(r->engine)->config.vocab;
    for (int64_t i = 0; i < count; i++)
        r->steps[i] = (struct qm_step_rows){.sequence = r->sequences[first + i],
                                            .tokens = r->tokens + r->next_token + i * n,
                                            .n = n,
                                            .n_logits = logits,
                                            .logits = r->logits + i * vocab};
    r->next_token = (r->next_token + count * n) % TOKENS;
    int rc = stopped(r, err);
    qm_meter_tick(r->run->meter);
    return rc ? rc : qm_engine_step(r->engine, r->steps, (int)count, err);
}

static int generate(struct runner *r, const struct qm_bench_case *c, struct qm_error *err) {
    int rc = QM_OK;
    for (int64_t i = 0; i < c->n_gen && !rc; i++)
        rc = step(r, 0, c->batch, 1, true, err);
    return rc;
}

static int draft_step(void *arg, const struct qm_step_rows *steps, int64_t n, int64_t rows, struct qm_error *err) {
    struct runner *r = arg;
    r->next_token = (r->next_token + rows) % TOKENS;
    int rc = stopped(r, err);
    qm_meter_tick(r->run->meter);
    return rc ? rc : qm_engine_step(r->engine, steps, (int)n, err);
}

static struct qm_bench_drafting drafting(struct runner *r) {
    return (struct qm_bench_drafting){.engine = r->engine,
                                      .sequences = r->sequences,
                                      .vocab = qm_engine_model(r->engine)->config.vocab,
                                      .most_rows = least(r->rows, r->chunk),
                                      .tokens = r->tokens + r->next_token,
                                      .logits = r->logits,
                                      .step = draft_step,
                                      .arg = r};
}

static int prompt(struct runner *r, const struct qm_bench_case *c, struct qm_error *err) {
    int rc = QM_OK;
    int64_t together, piece;
    qm_bench_cut(c, r->chunk, &together, &piece);
    for (int64_t first = 0; first < c->batch && !rc; first += together)
        for (int64_t at = 0; at < c->n_prompt && !rc; at += piece) {
            int64_t n = least(piece, c->n_prompt - at);
            rc = step(r, first, least(together, c->batch - first), n, at + n == c->n_prompt, err);
        }
    return rc;
}

/* The case once. */
static int once(struct runner *r, const struct qm_bench_case *c, struct qm_error *err) {
    if (!c->n_gen)
        return prompt(r, c, err);
    if (!c->drafts)
        return generate(r, c, err);
    const struct qm_bench_drafting d = drafting(r);
    return qm_bench_drafts_generate(r->drafts, &d, c->n_gen, err);
}

struct settling {
    struct runner *runner;
    int64_t before, total; /* tokens of all sequences, without those of this one's feed */
};

static int note_depth(void *arg, const struct qm_fed *f, struct qm_error *err) {
    (void)err;
    const struct settling *s = arg;
    qm_meter_tick(s->runner->run->meter);
    qm_progress_update(s->runner->run->progress, "computing the depth", (uint64_t)(s->before + f->done),
                       (uint64_t)s->total, QM_PROGRESS_TOKENS);
    return QM_OK;
}

/* The next n tokens of one sequence. */
static int go_deeper(struct runner *r, int64_t sequence, int64_t n, struct settling *s, struct qm_error *err) {
    const struct qm_feed f = {.engine = r->engine,
                              .step = {.sequence = r->sequences[sequence], .tokens = r->tokens + r->next_token, .n = n},
                              .piece = r->chunk,
                              .device_needed = true,
                              .on_piece = note_depth,
                              .arg = s,
                              .interrupt = r->run->stop};
    r->next_token = (r->next_token + n) % TOKENS;
    return qm_feed(&f, err);
}

/* Brings every sequence to the depth: back to it, on to it, or anew where a window no longer holds what is
 * needed. */
static int settle_depth(struct runner *r, int64_t depth, struct qm_error *err) {
    int rc = QM_OK;
    for (int64_t i = 0; i < r->batch && !rc; i++) {
        struct qm_sequence *s = r->sequences[i];
        int64_t held = qm_sequence_truncate(s, depth);
        if (held < depth)
            qm_progress_update(r->run->progress, "computing the depth", (uint64_t)(i * depth + held),
                               (uint64_t)(r->batch * depth), QM_PROGRESS_TOKENS);
        if (r->run->plan->fill_depth && held < depth)
            rc = qm_sequence_fill_random(s, depth - held, SEED + (uint64_t)i, err);
        held = qm_sequence_length(s);
        struct settling settling = {r, i * depth + held, r->batch * depth};
        if (!rc)
            rc = go_deeper(r, i, depth - held, &settling, err);
    }
    return rc;
}

/* Generates until the fewest threads are found, so that every repetition has them, or for as many steps as a search
 * takes at most. */
static int find_quiet(struct runner *r, const struct qm_bench_case *c, struct qm_error *err) {
    struct qm_quiet_state s;
    int rc = QM_OK;
    int64_t steps = 0;
    qm_engine_quiet(r->engine, &s);
    if (!s.found)
        qm_progress_update(r->run->progress, "finding the fewest threads", 0, QUIET_STEPS, QM_PROGRESS_STEPS);
    for (; !s.found && steps < QUIET_STEPS && !rc; steps += c->n_gen) {
        rc = generate(r, c, err);
        if (!rc)
            rc = settle_depth(r, c->n_depth, err);
        qm_engine_quiet(r->engine, &s);
        qm_progress_update(r->run->progress, "finding the fewest threads", (uint64_t)steps, QUIET_STEPS,
                           QM_PROGRESS_STEPS);
    }
    return rc;
}

/* Caches warm, pages mapped, threads awake. */
static int warm_up(struct runner *r, const struct qm_bench_case *c, struct qm_error *err) {
    struct qm_bench_case first = *c;
    first.n_gen = least(c->n_gen, 1);
    first.n_prompt = least(c->n_prompt, r->chunk);
    first.batch = c->n_gen ? c->batch : 1;
    int rc = c->n_gen ? generate(r, &first, err) : prompt(r, &first, err);
    if (!rc)
        rc = settle_depth(r, c->n_depth, err);
    if (!rc && c->drafts) /* until it is known what checking takes, and what is right */
        rc = once(r, c, err);
    if (!rc && c->drafts)
        rc = settle_depth(r, c->n_depth, err);
    return !rc && c->n_gen && r->run->plan->quiet.share > 0 ? find_quiet(r, c, err) : rc;
}

/* What multiplies most: the type of the matrices, experts where there are some. */
static enum qm_dtype product_type(const struct qm_config *c) {
    return c->experts ? c->expert_dtype : c->dtype;
}

/* Read around a case: before, after, and in between where that is not much beside the repetition. */
struct limits_around {
    struct qm_limits list[QM_LIMITS_LIST];
    int n;
};

static void look_around(const struct runner *r, struct limits_around *a) {
    if (a->n < QM_LIMITS_LIST)
        a->list[a->n++] = qm_limits_measure(r->limits);
}

static int repeat(struct runner *r, struct qm_bench_result *out, struct limits_around *around, struct qm_error *err) {
    const struct qm_bench_case *c = &out->which;
    char what[64];
    snprintf(what, sizeof what, "%s%lld at depth %lld%s", c->n_gen ? "tg" : "pp",
             (long long)(c->n_gen ? c->n_gen : c->n_prompt), (long long)c->n_depth, c->drafts ? ", drafts" : "");
    uint64_t tokens = (uint64_t)((c->n_gen + c->n_prompt) * c->batch);
    int repetitions = r->run->plan->repetitions;
    if (r->run->plan->progress_lines)
        qm_note(r->run->progress, "bench: %s, %d repetition%s", what, repetitions, qm_s(repetitions));
    qm_progress_update(r->run->progress, what, 0, tokens * (uint64_t)repetitions, QM_PROGRESS_TOKENS);
    int rc = warm_up(r, c, err);
    struct qm_meter *meter = r->run->meter;
    out->joules = 0;
    out->celsius = out->fan_rpm = NAN;
    for (int i = 0; i < repetitions && !rc; i++) {
        qm_meter_begin(meter);
        double start = qm_engine_clock(r->engine);
        rc = once(r, c, err);
        out->seconds[i] = qm_engine_clock(r->engine) - start;
        qm_meter_end(meter);
        out->joules += meter->joules;
        out->metered_seconds += meter->seconds;
        out->celsius = fmax(out->celsius, meter->celsius);
        out->fan_rpm = fmax(out->fan_rpm, meter->fan_rpm);
        out->n = i + 1;
        if (!rc)
            rc = settle_depth(r, c->n_depth, err);
        if (!rc && i + 1 < repetitions && out->seconds[i] > LOOK_SECONDS)
            look_around(r, around);
        qm_progress_update(r->run->progress, what, tokens * (uint64_t)(i + 1), tokens * (uint64_t)repetitions,
                           QM_PROGRESS_TOKENS);
    }
    if (!rc && r->run->plan->profile) {
        qm_engine_set_profile(r->engine, &out->profile);
        rc = once(r, c, err);
        qm_engine_set_profile(r->engine, NULL);
        out->profiled = true;
        if (!rc)
            rc = settle_depth(r, c->n_depth, err);
    }
    return rc;
}

/* And what checking costs. */
static int open_drafts(struct runner *r, struct qm_bench_result *out, struct qm_error *err) {
    struct qm_bench_drafted *d = &out->drafted;
    int rc = qm_bench_drafts_open(r->run->plan->acceptance, r->batch, &r->drafts, err);
    const struct qm_bench_drafting with = drafting(r);
    if (!rc)
        rc = qm_bench_drafts_costs(r->drafts, &with, d->seconds, err);
    if (!rc)
        d->best_ts = qm_bench_drafts_best(r->drafts, d->seconds);
    return rc ? rc : settle_depth(r, out->which.n_depth, err);
}

static int run_case(struct runner *r, const struct qm_bench_case *c, struct qm_error *err) {
    const struct qm_bench_subject *s = r->run->subject;
    struct qm_bench_result *out = calloc(1, sizeof *out);
    if (!out)
        return qm_fail_memory(err, sizeof *out, "a result");
    enum qm_dtype kv = qm_engine_kv_type(r->engine);
    time_t now = time(NULL);
    struct tm utc;
    out->which = *c;
    out->product = product_type(&s->model->config);
    strftime(out->when, sizeof out->when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    qm_bench_work(s->model, kv, c, r->chunk, &out->work);
    if (s->whole)
        qm_bench_work(s->whole, kv, c, r->chunk, &out->whole_work);
    struct limits_around around = {.n = 0};
    look_around(r, &around);
    int rc = c->drafts ? open_drafts(r, out, err) : QM_OK;
    if (!rc)
        rc = repeat(r, out, &around, err);
    if (r->drafts)
        qm_bench_drafts_stats(r->drafts, &out->drafted.stats);
    qm_bench_drafts_close(r->drafts);
    r->drafts = NULL;
    if (!rc) {
        look_around(r, &around);
        out->limits = qm_limits_median(around.list, around.n);
        out->quiet = qm_engine_quiet(r->engine, &out->quiet_state) && c->n_gen > 0;
        qm_progress_end(r->run->progress);
        rc = r->run->result(r->run->arg, r->engine, out, err);
    }
    free(out);
    return rc;
}

static int run_batch(struct runner *r, struct qm_error *err) {
    const struct qm_bench_plan *plan = r->run->plan;
    int rc = QM_OK;
    for (int64_t i = 0; i < r->batch && !rc; i++)
        rc = qm_sequence_open(r->engine, &r->sequences[i], err);
    for (int d = 0; d < plan->depth.n && !rc; d++) {
        struct qm_bench_case c = {.n_depth = plan->depth.value[d], .batch = r->batch};
        rc = settle_depth(r, c.n_depth, err);
        for (int i = 0; i < plan->prompt.n && !rc; i++) {
            c.n_prompt = plan->prompt.value[i];
            rc = c.n_prompt ? run_case(r, &c, err) : QM_OK;
        }
        c.n_prompt = 0;
        for (int i = 0; i < plan->gen.n && !rc; i++) {
            c.n_gen = plan->gen.value[i];
            rc = c.n_gen ? run_case(r, &c, err) : QM_OK;
            c.drafts = plan->drafts;
            if (!rc && c.n_gen && c.drafts)
                rc = run_case(r, &c, err);
            c.drafts = false;
        }
    }
    for (int64_t i = 0; i < r->batch; i++) {
        qm_sequence_close(r->sequences[i]);
        r->sequences[i] = NULL;
    }
    return rc;
}

static int load_progress(void *arg, const char *what, uint64_t done, uint64_t total) {
    const struct qm_bench_run *run = arg;
    qm_progress_update(run->progress, what, done, total, QM_PROGRESS_BYTES);
    return *run->stop;
}

static int open_runner(struct runner *r, int threads, struct qm_error *err) {
    const struct qm_bench_plan *plan = r->run->plan;
    const struct qm_model *m = r->run->subject->model;
    int64_t most_tokens = largest(&plan->prompt), most_batch = largest(&plan->batch), vocab = m->config.vocab;
    most_tokens = largest(&plan->gen) > most_tokens ? largest(&plan->gen) : most_tokens;
    r->rows = plan->drafts && most_batch < DRAFT_ROWS ? DRAFT_ROWS : most_batch;
    r->chunk = plan->chunk > most_batch ? plan->chunk : most_batch;
    struct qm_engine_options options = {.threads = threads,
                                        .numa = plan->numa,
                                        .isa = plan->isa,
                                        .context =
                                            largest(&plan->depth) + most_tokens + (plan->drafts ? QM_DRAFT_MAX : 0),
                                        .sequences = most_batch,
                                        .chunk = r->chunk,
                                        .kv_type = plan->kv_type,
                                        .progress = load_progress,
                                        .progress_arg = (void *)r->run};
    size_t n = (size_t)most_batch;
    r->sequences = calloc(n, sizeof *r->sequences);
    r->steps = calloc(n, sizeof *r->steps);
    r->longest = largest(&plan->depth) > r->chunk ? largest(&plan->depth) : r->chunk;
    r->tokens = calloc((size_t)(TOKENS + r->longest), sizeof *r->tokens);
    size_t logits = (size_t)r->rows * (size_t)vocab;
    r->logits = calloc(logits, sizeof *r->logits);
    if (!r->sequences || !r->steps || !r->tokens || !r->logits)
        return qm_fail_memory(err, logits * sizeof *r->logits, "logits");
    uint32_t state = SEED;
    for (int64_t i = 0; i < TOKENS + r->longest; i++) {
        state = state * 1664525u + 1013904223u;
        r->tokens[i] = (int32_t)((state >> 8) % (uint64_t)vocab);
    }
    const struct qm_kernels *kernels;
    const struct qm_scenario job = {.sequences = most_batch,
                                    .depth = largest(&plan->depth),
                                    .prompt = largest(&plan->prompt),
                                    .generate = largest(&plan->prompt) ? 0 : largest(&plan->gen)};
    struct qm_offload *offload = NULL;
    int rc = qm_kernels_get(plan->isa, &kernels, err);
    if (!rc)
        rc = qm_offload_open(&plan->offload, m, &job, &options, NULL, r->run->progress, &offload, err);
    if (!rc)
        rc = qm_engine_open(m, &options, &r->engine, err);
    if (!rc)
        qm_offload_note(offload, r->run->progress);
    qm_offload_free(offload);
    if (rc == QM_FIT)
        qm_fail_context(err, "%lld sequence%s of %lld tokens (-d, -p, -n, --batch)", (long long)most_batch,
                        qm_s(most_batch), (long long)options.context);
    qm_progress_end(r->run->progress);
    if (!rc) {
        qm_engine_set_interrupt(r->engine, r->run->stop);
        qm_report_load(r->run->progress, r->engine);
        rc = qm_quiet_apply(&plan->quiet, r->run->progress, r->engine, err);
    }
    return rc ? rc : qm_limits_open(qm_engine_team(r->engine), kernels, &r->limits, err);
}

int qm_bench_run(const struct qm_bench_run *run, int threads, struct qm_error *err) {
    struct runner r = {.run = run};
    int rc = open_runner(&r, threads, err);
    for (int i = 0; i < run->plan->batch.n && !rc; i++) {
        r.batch = run->plan->batch.value[i];
        rc = run_batch(&r, err);
    }
    qm_progress_end(run->progress);
    qm_limits_close(r.limits);
    qm_engine_close(r.engine);
    free(r.sequences);
    free(r.steps);
    free(r.tokens);
    free(r.logits);
    return rc;
}
