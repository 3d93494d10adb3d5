/* From the events of a request's parts to its response body. */
#include <stdio.h>
#include <string.h>

#include "protocol/internal.h"
#include "protocol/logprob.h"

/* What hears an answer's events. */
struct hearing {
    struct qm_openai_request *r;
    int part;
};

static int add_logprob(const struct qm_openai_request *r, struct qm_openai_part *p, const struct qm_generate_token *t,
                       struct qm_error *err) {
    if (r->decoding.top_logprobs < 0)
        return QM_OK;
    if (!p->logprobs && !(p->logprobs = json_array()))
        return qm_fail_memory(err, 64, "log-probabilities");
    return qm_protocol_logprob(p->logprobs, t, r->context->tokenizer, err);
}

static int on_event(void *arg, const struct qm_answer_event *e, struct qm_error *err) {
    struct hearing *h = arg;
    struct qm_openai_part *p = &h->r->parts[h->part];
    int rc = e->kind == QM_ANSWER_TOKEN ? add_logprob(h->r, p, e->token, err) : qm_answer_sum_add(&p->sum, e, err);
    return rc || !h->r->listener ? rc : h->r->listener(h->r->listener_arg, h->part, e, err);
}

static int begin(const struct qm_openai_request *r, struct qm_openai_part *p, struct qm_error *err) {
    return p->events ? QM_OK : qm_events_new(&r->form, r->one_call, &p->events, err);
}

int qm_openai_request_token(struct qm_openai_request *r, int i, const struct qm_generate_token *t,
                            struct qm_error *err) {
    struct qm_openai_part *p = &r->parts[i];
    struct hearing h = {r, i};
    int rc = begin(r, p, err);
    p->n_ids++;
    if (!rc)
        rc = qm_events_token(p->events, t, on_event, &h, err);
    p->reasoning_tokens = rc ? 0 : qm_events_reasoning_tokens(p->events);
    return rc;
}

int qm_openai_request_done(struct qm_openai_request *r, int i, const struct qm_outcome *o, struct qm_error *err) {
    struct qm_openai_part *p = &r->parts[i];
    struct hearing h = {r, i};
    p->n_ids = o->n_ids;
    p->prefix_tokens = o->prefix_tokens;
    p->prefill_seconds = o->prefill_seconds;
    p->decode_seconds = o->decode_seconds;
    int rc = r->endpoint == QM_ENDPOINT_EMBEDDINGS ? qm_openai_take_embedding(p, o, err) : begin(r, p, err);
    if (!rc && p->events)
        rc = qm_events_end(p->events, o, on_event, &h, err);
    p->done = !rc;
    return rc;
}

const char *qm_openai_finish(enum qm_finish f) {
    return f == QM_FINISH_STOP ? "stop" : "length";
}

json_t *qm_openai_text(const struct qm_buf *b) {
    return json_stringn(b->len ? b->data : "", b->len);
}

bool qm_openai_part_calls(const struct qm_openai_part *p) {
    return p->sum.n_calls && p->sum.finish == QM_FINISH_STOP;
}

json_t *qm_openai_call(const struct qm_openai_part *p, const char *id, int index, int k, bool with_index) {
    const struct qm_answer_call *c = &p->sum.calls[k];
    char number[160];
    snprintf(number, sizeof number, "call_%.100s_%d_%d", id, index, k);
    const char *own = c->id ? c->id : number;
    json_t *function = json_pack("{s:s, s:o}", "name", c->name, "arguments", qm_openai_text(&c->arguments));
    if (with_index)
        return json_pack("{s:i, s:s, s:s, s:o}", "index", k, "id", own, "type", "function", "function", function);
    return json_pack("{s:s, s:s, s:o}", "id", own, "type", "function", "function", function);
}

static json_t *calls(const struct qm_openai_part *p, const char *id, int index) {
    json_t *list = p->sum.n_calls ? json_array() : NULL;
    for (int k = 0; k < p->sum.n_calls; k++)
        json_array_append_new(list, qm_openai_call(p, id, index, k, false));
    return list;
}

/* NULL where memory is short. */
static json_t *chat_choice(const struct qm_openai_request *r, const char *id, int index) {
    const struct qm_openai_part *p = &r->parts[index];
    const struct qm_answer_sum *s = &p->sum;
    const char *reason = qm_openai_part_calls(p) ? "tool_calls" : qm_openai_finish(s->finish);
    json_t *logprobs = p->logprobs ? json_pack("{s:O, s:n}", "content", p->logprobs, "refusal") : json_null();
    json_t *content = s->n_calls && !s->text.len ? json_null() : qm_openai_text(&s->text);
    json_t *reasoning = s->reasoning.len ? qm_openai_text(&s->reasoning) : NULL;
    json_t *message = json_pack("{s:s, s:o, s:o*, s:o*, s:n}", "role", "assistant", "content", content,
                                "reasoning_content", reasoning, "tool_calls", calls(p, id, index), "refusal");
    return json_pack("{s:i, s:o, s:o, s:s}", "index", index, "message", message, "logprobs", logprobs, "finish_reason",
                     reason);
}

static size_t characters(const char *text) {
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

json_t *qm_openai_flat_logprobs(const json_t *list, size_t *offset) {
    json_t *tokens = json_array(), *values = json_array(), *tops = json_array(), *offsets = json_array();
    const json_t *entry, *candidate;
    size_t i, j;
    json_array_foreach(list, i, entry) {
        json_t *top = json_object();
        /* Several candidates may have one text (parts of characters, ids that no token has): the first is the
         * likeliest. */
        json_array_foreach(json_object_get(entry, "top_logprobs"), j, candidate) {
            const char *token = json_string_value(json_object_get(candidate, "token"));
            if (!json_object_get(top, token))
                json_object_set(top, token, json_object_get(candidate, "logprob"));
        }
        json_array_append(tokens, json_object_get(entry, "token"));
        json_array_append(values, json_object_get(entry, "logprob"));
        json_array_append_new(tops, top);
        json_array_append_new(offsets, json_integer((json_int_t)*offset));
        *offset += characters(json_string_value(json_object_get(entry, "token")));
    }
    return json_pack("{s:o, s:o, s:o, s:o}", "tokens", tokens, "token_logprobs", values, "top_logprobs", tops,
                     "text_offset", offsets);
}

const struct qm_buf *qm_openai_echoed(const struct qm_openai_request *r, int i) {
    return &r->echoed[i / r->choices];
}

/* The prompt's text before the answer's. NULL where memory is short. */
static json_t *echoed_value(const struct qm_buf *prompt, const struct qm_buf *text) {
    struct qm_buf both = {0};
    json_t *out = NULL;
    if (!qm_buf_add(&both, prompt->data, prompt->len, NULL) && !qm_buf_add(&both, text->data, text->len, NULL))
        out = qm_openai_text(&both);
    qm_buf_free(&both);
    return out;
}

static json_t *text_choice(const struct qm_openai_request *r, int index) {
    const struct qm_openai_part *p = &r->parts[index];
    size_t offset = 0;
    json_t *text = r->echo ? echoed_value(qm_openai_echoed(r, index), &p->sum.text) : qm_openai_text(&p->sum.text);
    json_t *logprobs = p->logprobs ? qm_openai_flat_logprobs(p->logprobs, &offset) : json_null();
    return json_pack("{s:i, s:o, s:o, s:s}", "index", index, "text", text, "logprobs", logprobs, "finish_reason",
                     qm_openai_finish(p->sum.finish));
}

json_t *qm_openai_usage(const struct qm_openai_request *r, bool details) {
    json_int_t prompt = 0, completion = 0, cached = 0, reasoning = 0;
    for (int i = 0; i < r->n_prompts; i++)
        prompt += (json_int_t)r->prompts[i].len;
    for (int i = 0; i < qm_openai_request_parts(r); i++) {
        completion += (json_int_t)r->parts[i].n_ids;
        reasoning += (json_int_t)r->parts[i].reasoning_tokens;
        if (i % r->choices == 0) /* prompt tokens count once, whatever the choices */
            cached += (json_int_t)r->parts[i].prefix_tokens;
    }
    if (r->endpoint == QM_ENDPOINT_EMBEDDINGS)
        return json_pack("{s:I, s:I}", "prompt_tokens", prompt, "total_tokens", prompt);
    json_t *usage = json_pack("{s:I, s:I, s:I}", "prompt_tokens", prompt, "completion_tokens", completion,
                              "total_tokens", prompt + completion);
    if (details) {
        json_object_set_new(usage, "prompt_tokens_details", json_pack("{s:I}", "cached_tokens", cached));
        json_object_set_new(usage, "completion_tokens_details", json_pack("{s:I}", "reasoning_tokens", reasoning));
    }
    return usage;
}

json_t *qm_openai_timings(const struct qm_openai_request *r) {
    double prompt_ms = 0, ms = 0;
    json_int_t prompt = 0, cached = 0, generated = 0;
    for (int i = 0; i < qm_openai_request_parts(r); i++) {
        const struct qm_openai_part *p = &r->parts[i];
        generated += (json_int_t)p->n_ids;
        if (!p->done)
            continue;
        prompt_ms += p->prefill_seconds * 1e3;
        ms += p->decode_seconds * 1e3;
        cached += (json_int_t)p->prefix_tokens;
        prompt += (json_int_t)r->prompts[i / r->choices].len - (json_int_t)p->prefix_tokens;
    }
    return json_pack("{s:I, s:I, s:f, s:f, s:I, s:f, s:f}", "cache_n", cached, "prompt_n", prompt, "prompt_ms",
                     prompt_ms, "prompt_per_second", prompt_ms > 0 ? (double)prompt * 1e3 / prompt_ms : 0.0,
                     "predicted_n", generated, "predicted_ms", ms, "predicted_per_second",
                     ms > 0 ? (double)generated * 1e3 / ms : 0.0);
}

static int response(const struct qm_openai_request *r, const char *id, int64_t created, bool details, json_t **out,
                    struct qm_error *err) {
    json_t *list = json_array();
    *out = NULL;
    for (int i = 0; i < qm_openai_request_parts(r); i++) {
        const struct qm_openai_part *p = &r->parts[i];
        if (!p->done) {
            json_decref(list);
            return qm_fail(err, QM_USAGE, "a response asked for before part %d of the request is done", i);
        }
        json_t *one = r->endpoint == QM_ENDPOINT_EMBEDDINGS ? qm_openai_embedding(r, i)
                      : r->endpoint == QM_ENDPOINT_CHAT     ? chat_choice(r, id, i)
                                                            : text_choice(r, i);
        json_array_append_new(list, one);
    }
    if (r->endpoint == QM_ENDPOINT_EMBEDDINGS)
        *out = json_pack("{s:s, s:o, s:s, s:o}", "object", "list", "data", list, "model", r->model, "usage",
                         qm_openai_usage(r, details));
    else
        *out = json_pack("{s:s, s:s, s:I, s:s, s:o, s:o}", "id", id, "object",
                         r->endpoint == QM_ENDPOINT_CHAT ? "chat.completion" : "text_completion", "created",
                         (json_int_t)created, "model", r->model, "choices", list, "usage", qm_openai_usage(r, details));
    if (!*out || json_array_size(list) != (size_t)qm_openai_request_parts(r)) {
        json_decref(*out);
        *out = NULL;
        return qm_fail_memory(err, 4096, "a response");
    }
    return QM_OK;
}

int qm_openai_response(const struct qm_openai_request *r, const char *id, int64_t created, json_t **out,
                       struct qm_error *err) {
    return response(r, id, created, false, out, err);
}

int qm_openai_response_detailed(const struct qm_openai_request *r, const char *id, int64_t created, json_t **out,
                                struct qm_error *err) {
    int rc = response(r, id, created, true, out, err);
    if (!rc && r->timings)
        json_object_set_new(*out, "timings", qm_openai_timings(r));
    return rc;
}

static int add_text(const char *text, size_t len, void *arg) {
    return qm_buf_add(arg, text, len, NULL) ? -1 : 0;
}

int qm_openai_dump(const json_t *value, struct qm_buf *out, struct qm_error *err) {
    size_t before = out->len;
    if (!json_dump_callback(value, add_text, out, JSON_COMPACT | JSON_REAL_PRECISION(9) | JSON_ENCODE_ANY))
        return QM_OK;
    out->len = before;
    return qm_fail_memory(err, 4096, "a response");
}
