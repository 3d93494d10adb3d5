/* The life of a request: checked and copied, waiting, running, preempted, ended. */
#include <stdlib.h>
#include <string.h>

#include "session/scheduler_internal.h"

static struct qm_decoding_options decoding_options(const struct qm_scheduler *s, const struct qm_request *r,
                                                   int64_t room) {
    struct qm_decoding_options o = r->decoding;
    o.tokenizer = s->o.tokenizer;
    o.room = room;
    return o;
}

static int check_ids(const struct qm_scheduler *s, const char *what, const int32_t *ids, int64_t n,
                     struct qm_error *err) {
    for (int64_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= s->vocab)
            return qm_fail(err, QM_INPUT, "token %lld of the %s is id %d: expected 0 to %lld, the model's vocabulary",
                           (long long)i, what, (int)ids[i], (long long)s->vocab - 1);
    return QM_OK;
}

static int check_request(const struct qm_scheduler *s, const struct qm_request *r, struct qm_error *err) {
    if (r->n_prompt < 1)
        return qm_fail(err, QM_INPUT, "the prompt has no tokens; at least one is needed");
    if (r->n_prompt > s->context)
        return qm_remedy(err, QM_REMEDY_SHORTER_REQUEST,
                         qm_fail(err, QM_INPUT, "the prompt has %lld tokens, but a sequence can hold %lld",
                                 (long long)r->n_prompt, (long long)s->context));
    if (r->n_generated < 0 || r->n_generated > s->context - r->n_prompt)
        return qm_fail(err, QM_INPUT, "%lld tokens generated before do not fit after a prompt of %lld",
                       (long long)r->n_generated, (long long)r->n_prompt);
    if (r->embed && r->n_generated)
        return qm_fail(err, QM_USAGE, "an embedding has no generated tokens");
    struct qm_decoding_options o = decoding_options(s, r, s->context - r->n_prompt);
    int rc = r->embed ? QM_OK : qm_decoding_check(&o, s->vocab, err);
    if (!rc)
        rc = check_ids(s, "prompt", r->prompt, r->n_prompt, err);
    return rc ? rc : check_ids(s, "tokens generated before", r->generated, r->n_generated, err);
}

/* Copies of what it is given, with room for what it generates. */
static int copy_request(struct qm_scheduled *q, const struct qm_request *r, struct qm_error *err) {
    size_t n_bias = r->embed ? 0 : r->decoding.sampling.n_bias;
    int64_t most = r->embed ? 0 : q->room;
    if (r->decoding.max_tokens >= 0 && r->decoding.max_tokens < most)
        most = r->decoding.max_tokens;
    q->most = most = most > r->n_generated ? most : r->n_generated;
    size_t bytes = (size_t)(r->n_prompt + most) * sizeof *q->tokens;
    q->n_tokens = r->n_prompt + r->n_generated;
    q->tokens = malloc(bytes);
    q->bias = n_bias ? malloc(n_bias * sizeof *q->bias) : NULL;
    if (!q->tokens || (n_bias && !q->bias))
        return qm_fail_memory(err, bytes, "a request's tokens");
    memcpy(q->tokens, r->prompt, (size_t)r->n_prompt * sizeof *q->tokens);
    if (r->n_generated)
        memcpy(q->tokens + r->n_prompt, r->generated, (size_t)r->n_generated * sizeof *q->tokens);
    if (n_bias)
        memcpy(q->bias, r->decoding.sampling.bias, n_bias * sizeof *q->bias);
    q->r.decoding.sampling.bias = q->bias;
    q->r.decoding.sampling.n_bias = n_bias;
    return QM_OK;
}

/* What its results need. */
static int prepare_results(const struct qm_scheduler *s, struct qm_scheduled *q, struct qm_error *err) {
    const struct qm_config *config = &qm_engine_model(s->o.engine)->config;
    size_t bytes = (size_t)config->hidden * sizeof *q->hidden;
    if (q->r.embed)
        return (q->hidden = malloc(bytes)) ? QM_OK : qm_fail_memory(err, bytes, "an embedding");
    struct qm_decoding_options o = decoding_options(s, &q->r, q->room);
    int rc = qm_decoding_new(&o, config, &q->decoding, err);
    if (!rc)
        qm_decoding_tokens(q->decoding, q->tokens, q->r.n_prompt, q->tokens + q->r.n_prompt);
    return rc;
}

int scheduled_new(const struct qm_scheduler *s, const struct qm_request *r, struct qm_scheduled **out,
                  struct qm_error *err) {
    *out = NULL;
    int rc = check_request(s, r, err);
    if (rc)
        return rc;
    struct qm_scheduled *q = calloc(1, sizeof *q);
    if (!q)
        return qm_fail_memory(err, sizeof *q, "a request");
    q->r = *r;
    q->room = r->embed ? 0 : s->context - r->n_prompt;
    rc = copy_request(q, r, err);
    if (!rc)
        rc = prepare_results(s, q, err);
    if (rc) {
        scheduled_free(q);
        return rc;
    }
    q->r.prompt = q->r.generated = q->r.decoding.stop_ids = NULL;
    q->r.decoding.stop = NULL;
    *out = q;
    return QM_OK;
}

void scheduled_free(struct qm_scheduled *q) {
    free(q->bias);
    free(q->tokens);
    free(q->hidden);
    qm_decoding_free(q->decoding);
    qm_speculated_close(q->speculated);
    free(q);
}

void scheduled_wait(struct qm_scheduler *s, struct qm_scheduled *q) {
    struct qm_scheduled *after = s->last;
    while (after && scheduled_before(q, after))
        after = after->prev;
    q->prev = after;
    q->next = after ? after->next : s->first;
    *(q->next ? &q->next->prev : &s->last) = q;
    *(after ? &after->next : &s->first) = q;
    s->n_waiting += !q->admitted;
    s->n_preempted += q->admitted;
}

void scheduled_unwait(struct qm_scheduler *s, struct qm_scheduled *q) {
    *(q->prev ? &q->prev->next : &s->first) = q->next;
    *(q->next ? &q->next->prev : &s->last) = q->prev;
    q->prev = q->next = NULL;
    s->n_waiting -= !q->admitted;
    s->n_preempted -= q->admitted;
}

/* Known tokens that the cache may have; those whose log-probabilities are still to be reported have to be computed. */
static int64_t attachable(const struct qm_scheduled *q) {
    bool reported_again = q->r.decoding.top_logprobs >= 0 && q->r.n_prompt + q->reported < q->n_tokens;
    return reported_again ? q->r.n_prompt : q->n_tokens;
}

bool scheduled_reads(struct qm_scheduler *s, const struct qm_scheduled *q) {
    if (!s->o.cache || !s->n_running)
        return false;
    if (s->may_read > 0)
        s->may_read -= qm_prefix_cache_read(s->o.cache, q->tokens, attachable(q), s->may_read);
    return s->may_read == 0;
}

int scheduled_prepare(struct qm_scheduler *s, struct qm_scheduled *q, struct qm_error *err) {
    int rc = qm_sequence_open(s->o.engine, &q->sequence, err);
    q->n_cached = 0;
    if (rc || !s->o.cache)
        return rc;
    int64_t held;
    rc = qm_prefix_cache_attach(s->o.cache, q->sequence, q->tokens, attachable(q), &held, NULL, err);
    q->n_cached = rc ? 0 : held / s->block_tokens;
    return rc;
}

void scheduled_start(struct qm_scheduler *s, struct qm_scheduled *q) {
    int64_t held = qm_sequence_length(q->sequence), at = s->n_running++;
    scheduled_unwait(s, q);
    q->state = QM_REQUEST_PREFILL;
    s->stats.prefix_tokens += held;
    if (!q->admitted) {
        q->started = scheduler_now(s);
        q->prefix_tokens = held;
    }
    q->admitted = true;
    for (; at > 0 && scheduled_before(q, s->running[at - 1]); at--)
        s->running[at] = s->running[at - 1];
    s->running[at] = q;
}

static void stop_running(struct qm_scheduler *s, struct qm_scheduled *q) {
    int64_t at = 0;
    while (s->running[at] != q)
        at++;
    s->n_running--;
    memmove(&s->running[at], &s->running[at + 1], (size_t)(s->n_running - at) * sizeof(struct qm_scheduled *));
    qm_sequence_close(q->sequence);
    q->sequence = NULL;
    s->n_closed++;
    s->claimed -= q->claim;
    q->piece = q->claim = 0;
}

void scheduled_preempt(struct qm_scheduler *s, struct qm_scheduled *q) {
    stop_running(s, q);
    q->state = QM_REQUEST_PREEMPTED;
    q->preemptions++;
    q->behind = q->too_big = 0;
    s->stats.preemptions++;
    scheduled_wait(s, q);
}

static void report_end(struct qm_scheduler *s, struct qm_scheduled *q, int rc, const struct qm_error *error,
                       enum qm_finish finish) {
    double end = scheduler_now(s), started = q->admitted ? q->started : end;
    const struct qm_buf *text = q->decoding ? qm_decoding_text(q->decoding) : NULL;
    struct qm_outcome o = {.id = q->id,
                           .rc = rc,
                           .error = rc ? error : NULL,
                           .finish = finish,
                           .ids = q->tokens + q->r.n_prompt,
                           .n_ids = q->reported,
                           .text = text ? text->data : "",
                           .text_len = text ? text->len : 0,
                           .embedding = rc || finish == QM_FINISH_INTERRUPTED ? NULL : q->hidden,
                           .prompt_tokens = q->r.n_prompt,
                           .prefix_tokens = q->prefix_tokens,
                           .preemptions = q->preemptions,
                           .wait_seconds = started - q->submitted,
                           .prefill_seconds = (q->reported ? q->first_token : end) - started};
    o.n_embedding = o.embedding ? qm_engine_model(s->o.engine)->config.hidden : 0;
    if (q->reported) {
        o.first_token_seconds = q->first_token - q->submitted;
        o.decode_seconds = end - q->first_token;
    }
    s->busy++;
    if (q->r.on_done)
        q->r.on_done(q->r.arg, &o);
    s->busy--;
}

void scheduled_end(struct qm_scheduler *s, struct qm_scheduled *q, int rc, const struct qm_error *error,
                   enum qm_finish finish) {
    struct qm_error own;
    if (q->sequence)
        stop_running(s, q);
    else
        scheduled_unwait(s, q);
    q->ended = true;
    q->next = s->ended;
    s->ended = q;
    s->stats.finished++;
    if (!rc && finish == QM_FINISH_INTERRUPTED && q->decoding && (rc = qm_decoding_interrupt(q->decoding, &own)))
        error = &own;
    report_end(s, q, rc, error, finish);
    scheduled_collect(s);
}

void scheduled_collect(struct qm_scheduler *s) {
    while (s->ended && !s->busy) {
        struct qm_scheduled *q = s->ended;
        s->ended = q->next;
        scheduled_free(q);
    }
}
