/* Prefill, then token by token: step, sample, text, callback. Between the engine's steps and whoever shows
 * or stores the text; it keeps no conversation and schedules nothing. */
#include "session/generate.h"

#include <stdlib.h>
#include <time.h>

#include "session/stop.h"

const char *qm_finish_name(enum qm_finish f) {
    switch (f) {
    case QM_FINISH_STOP: return "stop";
    case QM_FINISH_LENGTH: return "length";
    case QM_FINISH_CONTEXT: return "context_full";
    case QM_FINISH_INTERRUPTED: return "interrupted";
    }
    return "unknown";
}

struct run {
    const struct qm_generate *g;
    struct qm_generate_result *out;
    struct qm_error *err;
    int64_t vocab, room; /* room: for generated tokens, in context and max_tokens */
    float *logits;
    struct qm_sampler *sampler;
    struct qm_stream *stream; /* NULL without a tokenizer, and so is stop */
    struct qm_stop *stop;
    struct qm_buf raw, sure; /* one token's text, before and after the stop strings */
    struct qm_logprob chosen, top[QM_MAX_TOP_LOGPROBS];
    int n_top;
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool interrupted(const struct qm_generate *g) {
    return g->interrupt && *g->interrupt;
}

static int check(struct run *r) {
    const struct qm_generate *g = r->g;
    if (g->n_prompt < 1)
        return qm_fail(r->err, QM_INPUT, "the prompt has no tokens; at least one is needed");
    if (g->max_tokens < -1)
        return qm_fail(r->err, QM_USAGE, "max_tokens must be 0 or more, or -1 for no limit, not %lld",
                       (long long)g->max_tokens);
    if (g->top_logprobs < -1 || g->top_logprobs > QM_MAX_TOP_LOGPROBS)
        return qm_fail(r->err, QM_USAGE, "top_logprobs must be from 0 to %d, not %d", QM_MAX_TOP_LOGPROBS,
                       g->top_logprobs);
    if (g->n_stop && !g->tokenizer)
        return qm_fail(r->err, QM_USAGE, "stop strings need a tokenizer");
    int64_t context = qm_engine_context(g->engine), prefix = qm_sequence_length(g->sequence);
    if (g->n_prompt > context - prefix)
        return qm_fail(r->err, QM_INPUT,
                       "the prompt has %lld tokens, but the context of %lld tokens has room for %lld (%lld are taken); "
                       "shorten the prompt or raise --context",
                       (long long)g->n_prompt, (long long)context, (long long)(context - prefix), (long long)prefix);
    r->room = context - prefix - g->n_prompt;
    r->out->prefix_tokens = prefix;
    r->out->prompt_tokens = prefix + g->n_prompt;
    return QM_OK;
}

/* Everything that is allocated, before anything is computed. */
static int prepare(struct run *r) {
    const struct qm_generate *g = r->g;
    r->vocab = qm_engine_model(g->engine)->config.vocab;
    int rc = qm_sampler_new(&g->sampling, r->vocab, &r->sampler, r->err);
    if (rc)
        return rc;
    for (int64_t i = 0; g->history && i < g->n_history; i++)
        qm_sampler_prompt(r->sampler, g->history[i]);
    for (int64_t i = 0; i < g->n_prompt; i++)
        qm_sampler_prompt(r->sampler, g->prompt[i]);

    size_t n_ids = (size_t)(g->max_tokens >= 0 && g->max_tokens < r->room ? g->max_tokens : r->room);
    size_t bytes = (size_t)r->vocab * sizeof *r->logits;
    r->logits = malloc(bytes);
    r->out->ids.data = malloc((n_ids + 1) * sizeof *r->out->ids.data);
    if (!r->logits || !r->out->ids.data)
        return qm_fail_memory(r->err, bytes + (n_ids + 1) * sizeof *r->out->ids.data, "a token's logits and the ids");
    r->out->ids.cap = n_ids + 1;
    r->n_top = g->top_logprobs < r->vocab ? g->top_logprobs : (int)r->vocab;

    if ((rc = qm_buf_reserve(&r->raw, 256, r->err)) || (rc = qm_buf_reserve(&r->sure, 256, r->err)))
        return rc;
    if ((rc = qm_buf_reserve(&r->out->text, n_ids < 4096 ? 8 * n_ids : 32768, r->err)) || !g->tokenizer)
        return rc;
    if ((rc = qm_stream_new(g->tokenizer, g->skip_special, &r->stream, r->err)))
        return rc;
    return qm_stop_new(g->stop, g->n_stop, &r->stop, r->err);
}

/* *stopped: interrupted before the last token was computed. */
static int prefill(struct run *r, bool *stopped) {
    const struct qm_generate *g = r->g;
    int64_t chunk = qm_engine_chunk(g->engine);
    *stopped = false;
    for (int64_t done = 0; done < g->n_prompt;) {
        if ((*stopped = interrupted(g)))
            return QM_OK;
        int64_t n = g->n_prompt - done < chunk ? g->n_prompt - done : chunk;
        bool last = done + n == g->n_prompt;
        struct qm_step step = {.sequence = g->sequence,
                               .tokens = g->prompt + done,
                               .n = n,
                               .n_logits = last,
                               .logits = last ? r->logits : NULL};
        int rc = qm_engine_step(g->engine, &step, 1, r->err);
        if (rc)
            return rc;
        done += n;
        if (g->on_prefill && g->on_prefill(g->arg, done, g->n_prompt)) {
            *stopped = true;
            return QM_OK;
        }
    }
    return QM_OK;
}

/* Computes the logits after the last generated token. */
static int decode_step(struct run *r) {
    const struct qm_generate *g = r->g;
    const struct qm_ids *ids = &r->out->ids;
    r->out->decode_bytes += qm_engine_decode_bytes(g->engine, qm_sequence_length(g->sequence));
    r->out->decode_steps++;
    struct qm_step step = {
        .sequence = g->sequence, .tokens = &ids->data[ids->len - 1], .n = 1, .n_logits = 1, .logits = r->logits};
    return qm_engine_step(g->engine, &step, 1, r->err);
}

/* Lets what has become sure of the text into r->sure and the result. An id the tokenizer does not know (models
 * pad their vocabulary) has no text. *matched: a stop string is complete. */
static int add_text(struct run *r, const int32_t *id, bool last, bool *matched) {
    const struct qm_generate *g = r->g;
    int rc = QM_OK;
    r->raw.len = r->sure.len = 0;
    r->sure.data[0] = 0;
    if (!g->tokenizer)
        return QM_OK;
    if (id && *id < qm_tokenizer_size(g->tokenizer))
        rc = qm_stream_push(r->stream, *id, &r->raw, r->err);
    if (!rc && last)
        rc = qm_stream_flush(r->stream, &r->raw, r->err);
    if (!rc)
        rc = qm_stop_push(r->stop, r->raw.data, r->raw.len, &r->sure, matched, r->err);
    if (!rc && last)
        rc = qm_stop_flush(r->stop, &r->sure, r->err);
    return rc ? rc : qm_buf_add(&r->out->text, r->sure.data, r->sure.len, r->err);
}

static bool is_end(const struct qm_config *c, int32_t id) {
    for (int i = 0; i < c->n_end_tokens; i++) {
        if (c->end_tokens[i] == id)
            return true;
    }
    return false;
}

/* Draws a token from r->logits and hands it out. *ended: it was the last, out->finish says why. */
static int take_token(struct run *r, bool *ended) {
    const struct qm_generate *g = r->g;
    struct qm_generate_result *out = r->out;
    int32_t id;
    int rc = qm_sampler_next(r->sampler, r->logits, &id, r->err);
    if (!rc)
        rc = qm_ids_push(&out->ids, id, r->err);
    if (rc)
        return rc;
    if (g->top_logprobs >= 0)
        qm_logprobs(r->logits, r->vocab, id, &r->chosen, r->top, r->n_top);

    int64_t n = (int64_t)out->ids.len;
    bool matched = false, end = !g->ignore_end && is_end(&qm_engine_model(g->engine)->config, id);
    bool length = n == g->max_tokens, full = n == r->room;
    if ((rc = add_text(r, end ? NULL : &id, end || length || full, &matched)))
        return rc;
    *ended = end || matched || length || full;
    out->finish = end || matched ? QM_FINISH_STOP : length ? QM_FINISH_LENGTH : QM_FINISH_CONTEXT;

    struct qm_generate_token t = {.id = id, .text = r->sure.data, .text_len = r->sure.len};
    if (g->top_logprobs >= 0) {
        t.logprob = r->chosen;
        t.top = r->top;
        t.n_top = r->n_top;
    }
    if (g->on_token && g->on_token(g->arg, &t) && !*ended) {
        *ended = true;
        out->finish = QM_FINISH_INTERRUPTED;
    }
    return QM_OK;
}

static int decode(struct run *r) {
    const struct qm_generate *g = r->g;
    bool ended = g->max_tokens == 0 || r->room == 0;
    r->out->finish = g->max_tokens == 0 ? QM_FINISH_LENGTH : QM_FINISH_CONTEXT;
    int rc = QM_OK;
    while (!rc && !ended) {
        if ((ended = interrupted(g)))
            r->out->finish = QM_FINISH_INTERRUPTED;
        else if (r->out->ids.len == 0 || !(rc = decode_step(r)))
            rc = take_token(r, &ended);
    }
    bool matched;
    if (!rc && r->out->finish == QM_FINISH_INTERRUPTED)
        rc = add_text(r, NULL, true, &matched);
    return rc;
}

int qm_generate(const struct qm_generate *g, struct qm_generate_result *out, struct qm_error *err) {
    *out = (struct qm_generate_result){0};
    struct run r = {.g = g, .out = out, .err = err};
    int rc = check(&r);
    if (!rc)
        rc = prepare(&r);
    if (!rc) {
        bool stopped;
        double begin = now();
        rc = prefill(&r, &stopped);
        double middle = now();
        out->prefill_seconds = middle - begin;
        if (stopped)
            out->finish = QM_FINISH_INTERRUPTED;
        else if (!rc)
            rc = decode(&r);
        out->decode_seconds = now() - middle;
    }
    free(r.logits);
    qm_sampler_free(r.sampler);
    qm_stream_free(r.stream);
    qm_stop_free(r.stop);
    qm_buf_free(&r.raw);
    qm_buf_free(&r.sure);
    if (rc)
        qm_generate_result_free(out);
    return rc;
}

void qm_generate_result_free(struct qm_generate_result *r) {
    qm_ids_free(&r->ids);
    qm_buf_free(&r->text);
    *r = (struct qm_generate_result){0};
}
