/* One request's tokens: sampled, decoded to text, searched for stop strings, counted. */
#include "session/decoding.h"

#include <stdlib.h>
#include <string.h>

#include "text/stop.h"

enum { TOKEN_BYTES = 256, TEXT_TOKENS = 1 << 17 };

struct qm_decoding {
    struct qm_decoding_options o; /* its stop strings are not kept */
    const struct qm_config *config;
    struct qm_sampler sampler;
    struct qm_past_tokens past;
    int32_t *ends; /* [n_ends] end tokens, and then stop_ids */
    int n_ends;
    struct qm_stream *stream; /* NULL without a tokenizer, and so is stop */
    struct qm_stop *stop;
    int64_t n_sampled, n;          /* tokens sampled; and of them those that the text has taken */
    struct qm_buf text, raw, sure; /* raw, sure: one token's text, before and after the stop strings */
    struct qm_logprob chosen, top[QM_MAX_TOP_LOGPROBS];
    int n_top;
};

const char *qm_finish_name(enum qm_finish f) {
    switch (f) {
    case QM_FINISH_STOP: return "stop";
    case QM_FINISH_LENGTH: return "length";
    case QM_FINISH_CONTEXT: return "context_full";
    case QM_FINISH_INTERRUPTED: return "interrupted";
    }
    return "unknown";
}

int qm_decoding_check(const struct qm_decoding_options *o, int64_t vocab, struct qm_error *err) {
    if (o->max_tokens < -1)
        return qm_fail(err, QM_USAGE, "max_tokens must be 0 or more, or -1 for no limit, not %lld",
                       (long long)o->max_tokens);
    if (o->top_logprobs < -1 || o->top_logprobs > QM_MAX_TOP_LOGPROBS)
        return qm_fail(err, QM_USAGE, "top_logprobs must be from 0 to %d, not %d", QM_MAX_TOP_LOGPROBS,
                       o->top_logprobs);
    if (o->n_stop && !o->tokenizer)
        return qm_fail(err, QM_USAGE, "stop strings need a tokenizer");
    if (o->n_stop < 0 || o->n_stop > QM_MAX_STOPS)
        return qm_fail(err, QM_USAGE, "%d stop strings; at most %d are allowed", o->n_stop, QM_MAX_STOPS);
    for (int i = 0; i < o->n_stop; i++)
        if (strnlen(o->stop[i], QM_MAX_STOP_BYTES + 1) > QM_MAX_STOP_BYTES)
            return qm_fail(err, QM_USAGE, "stop string %d is longer than %d bytes", i + 1, QM_MAX_STOP_BYTES);
    if (o->n_stop_ids < 0 || o->n_stop_ids > QM_MAX_STOP_IDS)
        return qm_fail(err, QM_USAGE, "%d stop tokens; at most %d are allowed", o->n_stop_ids, QM_MAX_STOP_IDS);
    for (int i = 0; i < o->n_stop_ids; i++)
        if (o->stop_ids[i] < 0 || o->stop_ids[i] >= vocab)
            return qm_fail(err, QM_USAGE, "stop token %ld is not in the vocabulary (0 to %lld)", (long)o->stop_ids[i],
                           (long long)vocab - 1);
    if (o->min_tokens < 0 || (o->max_tokens >= 0 && o->min_tokens > o->max_tokens))
        return qm_fail(err, QM_USAGE, "min_tokens must be from 0 to max_tokens, not %lld", (long long)o->min_tokens);
    return qm_sampling_check(&o->sampling, vocab, err);
}

static int keep_ends(struct qm_decoding *d, struct qm_error *err) {
    const struct qm_config *c = d->config;
    size_t n = (size_t)(c->n_end_tokens + d->o.n_stop_ids);
    d->ends = malloc((n + 1) * sizeof *d->ends);
    if (!d->ends)
        return qm_fail_memory(err, (n + 1) * sizeof *d->ends, "the tokens that end a request");
    for (int i = 0; i < c->n_end_tokens; i++)
        if (c->end_tokens[i] >= 0 && c->end_tokens[i] < c->vocab)
            d->ends[d->n_ends++] = c->end_tokens[i];
    for (int i = 0; i < d->o.n_stop_ids; i++)
        d->ends[d->n_ends++] = d->o.stop_ids[i];
    d->o.stop_ids = d->ends + d->n_ends - d->o.n_stop_ids;
    d->sampler.set.forbidden = d->ends;
    return QM_OK;
}

static int open_parts(struct qm_decoding *d, struct qm_error *err) {
    const struct qm_decoding_options *o = &d->o;
    int64_t most = o->max_tokens >= 0 && o->max_tokens < o->room ? o->max_tokens : o->room;
    size_t longest = 0;
    for (int i = 0; i < o->n_stop; i++)
        longest = strlen(o->stop[i]) > longest ? strlen(o->stop[i]) : longest;
    int rc = keep_ends(d, err);
    if (!rc)
        rc = qm_buf_reserve(&d->raw, TOKEN_BYTES, err);
    if (!rc)
        rc = qm_buf_reserve(&d->sure, TOKEN_BYTES + longest, err);
    if (!rc)
        rc = qm_buf_reserve(&d->text, TOKEN_BYTES + 8 * (size_t)(most < TEXT_TOKENS ? most : TEXT_TOKENS), err);
    if (!rc && o->tokenizer)
        rc = qm_stream_new(o->tokenizer, o->skip_special, &d->stream, err);
    if (!rc && o->tokenizer)
        rc = qm_stop_new(o->stop, o->n_stop, o->include_stop, &d->stop, err);
    return rc;
}

int qm_decoding_new(const struct qm_decoding_options *o, const struct qm_config *config, struct qm_decoding **out,
                    struct qm_error *err) {
    *out = NULL;
    int rc = qm_decoding_check(o, config->vocab, err);
    if (rc)
        return rc;
    struct qm_decoding *d = calloc(1, sizeof *d);
    if (!d)
        return qm_fail_memory(err, sizeof *d, "a request's decoding");
    d->o = *o;
    d->config = config;
    d->n_top = o->top_logprobs < config->vocab ? o->top_logprobs : (int)config->vocab;
    qm_sampler_start(&d->sampler, &o->sampling);
    rc = open_parts(d, err);
    d->o.stop = NULL;
    if (rc)
        qm_decoding_free(d);
    else
        *out = d;
    return rc;
}

void qm_decoding_free(struct qm_decoding *d) {
    if (!d)
        return;
    free(d->ends);
    qm_stream_free(d->stream);
    qm_stop_free(d->stop);
    qm_buf_free(&d->text);
    qm_buf_free(&d->raw);
    qm_buf_free(&d->sure);
    free(d);
}

void qm_decoding_tokens(struct qm_decoding *d, const int32_t *prompt, int64_t n_prompt, const int32_t *generated) {
    d->past = (struct qm_past_tokens){.prompt = prompt, .n_prompt = n_prompt, .output = generated};
}

bool qm_decoding_begins(const struct qm_decoding *d, enum qm_finish *finish) {
    *finish = d->o.max_tokens == 0 ? QM_FINISH_LENGTH : QM_FINISH_CONTEXT;
    return d->o.max_tokens != 0 && d->o.room > 0;
}

int qm_decoding_sample(struct qm_decoding *d, struct qm_sampler_scratch *x, const float *logits, int32_t *id,
                       struct qm_error *err) {
    d->past.n_output = d->past.output ? d->n_sampled : 0;
    d->sampler.set.n_forbidden = d->n_sampled < d->o.min_tokens ? (size_t)d->n_ends : 0;
    int rc = qm_sampler_next(&d->sampler, x, &d->past, logits, id, err);
    d->n_sampled += !rc;
    return rc;
}

void qm_decoding_replay(struct qm_decoding *d) {
    qm_sampler_replay(&d->sampler);
    d->n_sampled++;
}

/* Lets what has become sure of the text into d->sure and the whole text. *matched: a stop string is complete. */
static int add_text(struct qm_decoding *d, const int32_t *id, bool last, bool *matched, struct qm_error *err) {
    int rc = QM_OK;
    d->raw.len = d->sure.len = 0;
    d->sure.data[0] = 0;
    if (!d->o.tokenizer)
        return QM_OK;
    if (id)
        rc = qm_stream_push(d->stream, *id, &d->raw, err);
    if (!rc && last)
        rc = qm_stream_flush(d->stream, &d->raw, err);
    if (!rc)
        rc = qm_stop_push(d->stop, d->raw.data, d->raw.len, d->n > d->o.min_tokens, &d->sure, matched, err);
    if (!rc && last)
        rc = qm_stop_flush(d->stop, &d->sure, err);
    return rc ? rc : qm_buf_add(&d->text, d->sure.data, d->sure.len, err);
}

static bool is_end(const struct qm_decoding *d, int32_t id) {
    for (int i = d->o.ignore_end ? d->n_ends - d->o.n_stop_ids : 0; i < d->n_ends; i++) {
        if (d->ends[i] == id)
            return true;
    }
    return false;
}

int qm_decoding_take(struct qm_decoding *d, int32_t id, const float *logits, struct qm_generate_token *t, bool *ended,
                     enum qm_finish *finish, struct qm_error *err) {
    d->n++;
    bool matched = false, end = is_end(d, id);
    bool length = d->n == d->o.max_tokens, full = d->n == d->o.room;
    int rc = add_text(d, end && !d->o.include_stop ? NULL : &id, end || length || full, &matched, err);
    if (rc)
        return rc;
    *ended = end || matched || length || full;
    *finish = end || matched ? QM_FINISH_STOP : length ? QM_FINISH_LENGTH : QM_FINISH_CONTEXT;
    *t = (struct qm_generate_token){.id = id, .text = d->sure.data, .text_len = d->sure.len};
    if (d->o.top_logprobs < 0)
        return QM_OK;
    if (logits)
        qm_logprobs(logits, d->config->vocab, id, &d->chosen, d->top, d->n_top);
    t->logprob = d->chosen;
    t->top = d->top;
    t->n_top = d->n_top;
    return QM_OK;
}

int qm_decoding_interrupt(struct qm_decoding *d, struct qm_error *err) {
    bool matched;
    return add_text(d, NULL, true, &matched, err);
}

struct qm_buf *qm_decoding_text(struct qm_decoding *d) {
    return &d->text;
}
