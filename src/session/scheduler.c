/* The scheduler's public functions, and the course of a step: admit, compose, compute, report. */
#include "session/scheduler.h"

#include <stdlib.h>

#include "session/prefix_cache.h"
#include "session/scheduler_internal.h"

enum { DEFAULT_WAITING = 1024 };

uint64_t qm_scheduler_bytes(int64_t vocab, int64_t sequences, int threads) {
    uint64_t logits = (uint64_t)(sequences + SCHEDULER_MORE_LOGITS) * (uint64_t)vocab * sizeof(float);
    uint64_t slot = sizeof(struct qm_step_rows) + 3 * sizeof(struct qm_scheduled *) + sizeof(struct qm_speculated *);
    return logits + (uint64_t)sequences * slot + (uint64_t)threads * qm_sampler_scratch_bytes(vocab);
}

static double engine_clock(void *arg) {
    return qm_engine_clock(arg);
}

static int allocate(struct qm_scheduler *s, struct qm_error *err) {
    size_t slots = (size_t)s->slots, logits = (size_t)s->n_logit_rows * (size_t)s->vocab * sizeof *s->logits;
    s->running = calloc(slots, sizeof *s->running);
    s->in_step = calloc(slots, sizeof *s->in_step);
    s->sampling = calloc(slots, sizeof *s->sampling);
    s->drafting = calloc(slots, sizeof *s->drafting);
    s->steps = calloc(slots, sizeof *s->steps);
    s->logits = malloc(logits);
    s->scratch = calloc((size_t)s->threads, sizeof *s->scratch);
    if (!s->running || !s->in_step || !s->sampling || !s->drafting || !s->steps || !s->logits || !s->scratch)
        return qm_fail_memory(err, logits, "the scheduler's logits");
    int rc = QM_OK;
    for (int i = 0; i < s->threads && !rc; i++)
        rc = qm_sampler_scratch_new(s->vocab, qm_engine_isa(s->o.engine), &s->scratch[i], err);
    return rc;
}

int qm_scheduler_open(const struct qm_scheduler_options *o, struct qm_scheduler **out, struct qm_error *err) {
    *out = NULL;
    if (o->max_waiting < 0 || o->prefill_tokens < 0)
        return qm_fail(err, QM_USAGE, "max_waiting and prefill_tokens must not be negative");
    struct qm_scheduler *s = calloc(1, sizeof *s);
    if (!s)
        return qm_fail_memory(err, sizeof *s, "the scheduler");
    int64_t sequences = qm_engine_sequences(o->engine);
    s->o = *o;
    s->o.max_waiting = o->max_waiting ? o->max_waiting : DEFAULT_WAITING;
    if (!o->now) {
        s->o.now = engine_clock;
        s->o.now_arg = o->engine;
    }
    s->context = qm_engine_longest(o->engine);
    s->block_tokens = qm_engine_block_tokens(o->engine);
    s->n_closed = 1;
    s->chunk = qm_engine_chunk(o->engine);
    s->vocab = qm_engine_model(o->engine)->config.vocab;
    s->slots = sequences < s->chunk ? sequences : s->chunk; /* each has a token in every step */
    s->n_logit_rows = s->slots + SCHEDULER_MORE_LOGITS;
    s->threads = qm_engine_threads(o->engine);
    int rc = allocate(s, err);
    if (rc)
        qm_scheduler_close(s);
    else
        *out = s;
    return rc;
}

void qm_scheduler_close(struct qm_scheduler *s) {
    if (!s)
        return;
    s->closing = true;
    while (s->n_running)
        scheduled_end(s, s->running[s->n_running - 1], QM_OK, NULL, QM_FINISH_INTERRUPTED);
    while (s->last)
        scheduled_end(s, s->last, QM_OK, NULL, QM_FINISH_INTERRUPTED);
    free(s->running);
    free(s->in_step);
    free(s->sampling);
    free(s->drafting);
    free(s->steps);
    free(s->logits);
    for (int i = 0; s->scratch && i < s->threads; i++)
        qm_sampler_scratch_free(s->scratch[i]);
    free(s->scratch);
    free(s);
}

int64_t qm_scheduler_context(const struct qm_scheduler *s) {
    return s->context;
}

int qm_scheduler_prepare(const struct qm_scheduler *s, const struct qm_request *r, struct qm_scheduled **out,
                         struct qm_error *err) {
    return scheduled_new(s, r, out, err);
}

void qm_scheduler_discard(struct qm_scheduled *q) {
    if (q)
        scheduled_free(q);
}

static int check_room(const struct qm_scheduler *s, struct qm_error *err) {
    if (s->closing)
        return qm_fail(err, QM_GONE, "the scheduler is closing");
    if (s->n_waiting >= s->o.max_waiting)
        return qm_fail(err, QM_BUSY, "%lld requests are waiting already, which is the limit; try again later",
                       (long long)s->n_waiting);
    return QM_OK;
}

int qm_scheduler_enter(struct qm_scheduler *s, struct qm_scheduled *q, uint64_t *id, struct qm_error *err) {
    int rc = check_room(s, err);
    if (!rc && !q->r.embed)
        rc = qm_speculated_open(s->o.speculation, &q->speculated, err); /* which is this thread's */
    if (rc)
        return rc;
    q->id = *id = ++s->last_id;
    q->submitted = scheduler_now(s);
    s->stats.submitted++;
    scheduled_wait(s, q);
    return QM_OK;
}

int qm_scheduler_submit(struct qm_scheduler *s, const struct qm_request *r, uint64_t *id, struct qm_error *err) {
    struct qm_scheduled *q;
    int rc = check_room(s, err); /* before anything is copied */
    if (!rc)
        rc = qm_scheduler_prepare(s, r, &q, err);
    if (rc)
        return rc;
    rc = qm_scheduler_enter(s, q, id, err);
    if (rc)
        qm_scheduler_discard(q);
    return rc;
}

static struct qm_scheduled *find(const struct qm_scheduler *s, uint64_t id) {
    for (int64_t i = 0; i < s->n_running; i++)
        if (s->running[i]->id == id)
            return s->running[i];
    for (struct qm_scheduled *q = s->first; q; q = q->next)
        if (q->id == id)
            return q;
    return NULL;
}

int qm_scheduler_cancel(struct qm_scheduler *s, uint64_t id) {
    struct qm_scheduled *q = find(s, id);
    if (!q)
        return QM_GONE;
    scheduled_end(s, q, QM_OK, NULL, QM_FINISH_INTERRUPTED);
    return QM_OK;
}

bool qm_scheduler_idle(const struct qm_scheduler *s) {
    return !s->n_running && !s->first;
}

/* A device took keys and values with it: all is computed again, without it. */
static int start_over(struct qm_scheduler *s, struct qm_error *err) {
    int rc = qm_engine_fall_back(s->o.engine, err);
    if (rc)
        return rc;
    while (s->n_running)
        scheduled_preempt(s, s->running[s->n_running - 1]);
    if (s->o.cache)
        qm_prefix_cache_clear(s->o.cache);
    return QM_OK;
}

static int compute(struct qm_scheduler *s, struct qm_error *err) {
    double begin = scheduler_now(s);
    int rc = qm_engine_step(s->o.engine, s->steps, (int)s->n_steps, err);
    s->step_seconds = scheduler_now(s) - begin;
    for (int64_t i = 0; i < s->n_steps; i++)
        s->in_step[i]->claim = 0;
    s->claimed = 0;
    return rc && qm_engine_device_failed(s->o.engine) ? start_over(s, err) : rc;
}

/* The first request can have everything that the others and the cache have, so a step without it is a step without
 * pages. */
static int end_first(struct qm_scheduler *s, bool *worked) {
    struct qm_error err;
    struct qm_scheduled *q = s->running[0];
    int rc =
        qm_fail(&err, QM_FIT, "the KV cache is full: no pages for a sequence of %lld tokens", (long long)q->n_tokens);
    qm_remedy(&err, QM_REMEDY_LARGER_KV_MEMORY, rc);
    scheduled_end(s, q, rc, &err, QM_FINISH_INTERRUPTED);
    *worked = true;
    return QM_OK;
}

int qm_scheduler_step(struct qm_scheduler *s, bool *worked, struct qm_error *err) {
    double begin = scheduler_now(s);
    *worked = false;
    s->busy++;
    scheduler_admit(s);
    scheduler_compose(s);
    s->stats.schedule_seconds += scheduler_now(s) - begin;
    int rc = s->n_steps ? compute(s, err) : s->n_running ? end_first(s, worked) : QM_OK;
    *worked = *worked || s->n_steps;
    if (!rc && s->n_running && s->n_steps) {
        begin = scheduler_now(s);
        scheduler_tokens(s);
        s->stats.token_seconds += scheduler_now(s) - begin;
    }
    s->busy--;
    scheduled_collect(s);
    return rc;
}

int qm_scheduler_view(const struct qm_scheduler *s, uint64_t id, struct qm_request_view *out) {
    const struct qm_scheduled *q = find(s, id);
    if (!q)
        return QM_GONE;
    *out = (struct qm_request_view){.state = q->state,
                                    .n_prompt = q->r.n_prompt,
                                    .n_generated = q->reported,
                                    .most = q->most,
                                    .tokens = q->tokens,
                                    .sequence = q->sequence,
                                    .held = q->sequence ? qm_sequence_length(q->sequence) : 0,
                                    .arg = q->r.arg,
                                    .submitted = q->submitted,
                                    .started = q->started};
    return QM_OK;
}

void qm_scheduler_stats(const struct qm_scheduler *s, struct qm_scheduler_stats *out) {
    *out = s->stats;
    out->running = s->n_running;
    out->waiting = s->n_waiting;
    out->preempted = s->n_preempted;
    out->prefill_rate = s->rates.prefill_rate;
    out->decode_rate = s->rates.decode_rate;
    out->decode_step = s->rates.decode_step;
    out->decode_tokens = s->rates.decode_tokens;
    out->prompt_token = s->rates.prompt_token;
}
