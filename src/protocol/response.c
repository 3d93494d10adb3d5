/* From the outcomes of a request's parts to its response body. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/internal.h"
#include "protocol/logprob.h"
#include "text/tool_calls.h"

/* More of a part's text. */
static int take_text(const struct qm_openai_request *r, struct qm_openai_part *p, const char *text, size_t len,
                     struct qm_error *err) {
    int rc = p->reasoning ? QM_OK : qm_reasoning_new(r->form.format, r->form.opened, &p->reasoning, err);
    p->seen += len;
    return rc ? rc : qm_reasoning_push(p->reasoning, text, len, NULL, NULL, err);
}

int qm_openai_request_token(struct qm_openai_request *r, int i, const struct qm_generate_token *t,
                            struct qm_error *err) {
    struct qm_openai_part *p = &r->parts[i];
    int rc = take_text(r, p, t->text, t->text_len, err);
    if (rc || r->decoding.top_logprobs < 0)
        return rc;
    if (!p->logprobs && !(p->logprobs = json_array()))
        return qm_fail_memory(err, 64, "log-probabilities");
    return qm_protocol_logprob(p->logprobs, t, r->context->tokenizer, err);
}

static int end_text(const struct qm_openai_request *r, struct qm_openai_part *p, const struct qm_outcome *o,
                    struct qm_error *err) {
    int rc = take_text(r, p, o->text + p->seen, o->text_len - p->seen, err);
    return rc ? rc : qm_reasoning_flush(p->reasoning, NULL, NULL, err);
}

static int take_embedding(struct qm_openai_part *p, const struct qm_outcome *o, struct qm_error *err) {
    double norm = 0;
    for (int64_t i = 0; i < o->n_embedding; i++)
        norm += (double)o->embedding[i] * (double)o->embedding[i];
    norm = sqrt(norm);
    if (!(norm > 0) || !isfinite(norm))
        return qm_fail(err, QM_INPUT, "the hidden state of the last token has length %g: it cannot be normalised",
                       norm);
    if (!(p->embedding = malloc((size_t)o->n_embedding * sizeof *p->embedding)))
        return qm_fail_memory(err, (size_t)o->n_embedding * sizeof *p->embedding, "an embedding");
    p->n_embedding = o->n_embedding;
    for (int64_t i = 0; i < o->n_embedding; i++)
        p->embedding[i] = (float)((double)o->embedding[i] / norm);
    return QM_OK;
}

int qm_openai_request_done(struct qm_openai_request *r, int i, const struct qm_outcome *o, struct qm_error *err) {
    struct qm_openai_part *p = &r->parts[i];
    int rc = r->endpoint == QM_ENDPOINT_EMBEDDINGS ? take_embedding(p, o, err) : end_text(r, p, o, err);
    p->finish = o->finish;
    p->n_ids = o->n_ids;
    p->done = !rc;
    return rc;
}

static const char *finish_reason(enum qm_finish f) {
    return f == QM_FINISH_STOP ? "stop" : "length"; /* a full context is a length */
}

static json_t *text_value(const struct qm_buf *b) {
    return json_stringn(b->len ? b->data : "", b->len);
}

/* *calls: NULL where there are none; *content: what else there is. */
static int split_calls(const struct qm_openai_request *r, const struct qm_openai_part *p, const char *id, int index,
                       json_t **calls, json_t **content, struct qm_error *err) {
    const struct qm_buf *text = qm_reasoning_sum(p->reasoning, QM_CONTENT_ANSWER);
    struct qm_buf rest = {0};
    char of[128];
    int rc = QM_OK;
    *calls = NULL;
    snprintf(of, sizeof of, "%.100s_%d", id, index);
    if (r->form.tools)
        rc = qm_tool_calls(text->len ? text->data : "", text->len, of, calls, &rest, err);
    while (r->one_call && json_array_size(*calls) > 1) /* as vLLM: the first is the answer */
        json_array_remove(*calls, json_array_size(*calls) - 1);
    if (!rc)
        *content = !*calls ? text_value(text) : rest.len ? text_value(&rest) : json_null();
    qm_buf_free(&rest);
    return rc;
}

/* NULL where memory is short. */
static json_t *chat_choice(const struct qm_openai_request *r, const char *id, int index, struct qm_error *err) {
    const struct qm_openai_part *p = &r->parts[index];
    json_t *calls, *content;
    if (split_calls(r, p, id, index, &calls, &content, err))
        return NULL;
    const char *reason = calls && p->finish == QM_FINISH_STOP ? "tool_calls" : finish_reason(p->finish);
    json_t *logprobs = p->logprobs ? json_pack("{s:O, s:n}", "content", p->logprobs, "refusal") : json_null();
    const struct qm_buf *thought = qm_reasoning_sum(p->reasoning, QM_CONTENT_REASONING);
    json_t *reasoning = thought->len ? text_value(thought) : NULL;
    json_t *message = json_pack("{s:s, s:o, s:o*, s:o*, s:n}", "role", "assistant", "content", content,
                                "reasoning_content", reasoning, "tool_calls", calls, "refusal");
    return json_pack("{s:i, s:o, s:o, s:s}", "index", index, "message", message, "logprobs", logprobs, "finish_reason",
                     reason);
}

static size_t characters(const char *text) {
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

/* The completions API has parallel lists where chat has a list of objects. */
static json_t *flat_logprobs(const json_t *list) {
    json_t *tokens = json_array(), *values = json_array(), *tops = json_array(), *offsets = json_array();
    const json_t *entry, *candidate;
    size_t i, j, offset = 0;
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
        json_array_append_new(offsets, json_integer((json_int_t)offset));
        offset += characters(json_string_value(json_object_get(entry, "token")));
    }
    return json_pack("{s:o, s:o, s:o, s:o}", "tokens", tokens, "token_logprobs", values, "top_logprobs", tops,
                     "text_offset", offsets);
}

/* The prompt's text before the answer's. NULL where memory is short. */
static json_t *echoed_value(const struct qm_openai_request *r, const struct qm_buf *text, int index) {
    const struct qm_buf *prompt = &r->echoed[index / r->choices];
    struct qm_buf both = {0};
    json_t *out = NULL;
    if (!qm_buf_add(&both, prompt->data, prompt->len, NULL) && !qm_buf_add(&both, text->data, text->len, NULL))
        out = text_value(&both);
    qm_buf_free(&both);
    return out;
}

static json_t *text_choice(const struct qm_openai_request *r, int index) {
    const struct qm_openai_part *p = &r->parts[index];
    const struct qm_buf *answer = qm_reasoning_sum(p->reasoning, QM_CONTENT_ANSWER);
    json_t *text = r->echo ? echoed_value(r, answer, index) : text_value(answer);
    json_t *logprobs = p->logprobs ? flat_logprobs(p->logprobs) : json_null();
    return json_pack("{s:i, s:o, s:o, s:s}", "index", index, "text", text, "logprobs", logprobs, "finish_reason",
                     finish_reason(p->finish));
}

/* RFC 4648. */
static json_t *base64(const void *bytes, size_t n) {
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *in = bytes;
    size_t len = (n + 2) / 3 * 4;
    char *out = malloc(len + 1);
    if (!out)
        return NULL;
    for (size_t i = 0, o = 0; i < n; i += 3, o += 4) {
        unsigned v = (unsigned)in[i] << 16 | (i + 1 < n ? in[i + 1] : 0u) << 8 | (i + 2 < n ? in[i + 2] : 0u);
        out[o] = digit[v >> 18];
        out[o + 1] = digit[v >> 12 & 63];
        out[o + 2] = i + 1 < n ? digit[v >> 6 & 63] : '=';
        out[o + 3] = i + 2 < n ? digit[v & 63] : '=';
    }
    json_t *text = json_stringn(out, len);
    free(out);
    return text;
}

static json_t *embedding_entry(const struct qm_openai_request *r, const struct qm_openai_part *p, int index) {
    json_t *vector;
    if (r->base64) {
        vector = base64(p->embedding, (size_t)p->n_embedding * sizeof *p->embedding);
    } else {
        vector = json_array();
        for (int64_t i = 0; i < p->n_embedding; i++)
            json_array_append_new(vector, json_real((double)p->embedding[i]));
    }
    return json_pack("{s:s, s:i, s:o}", "object", "embedding", "index", index, "embedding", vector);
}

static json_t *usage(const struct qm_openai_request *r) {
    json_int_t prompt = 0, completion = 0;
    for (int i = 0; i < r->n_prompts; i++)
        prompt += (json_int_t)r->prompts[i].len;
    if (r->endpoint == QM_ENDPOINT_EMBEDDINGS)
        return json_pack("{s:I, s:I}", "prompt_tokens", prompt, "total_tokens", prompt);
    for (int i = 0; i < qm_openai_request_parts(r); i++)
        completion += (json_int_t)r->parts[i].n_ids;
    return json_pack("{s:I, s:I, s:I}", "prompt_tokens", prompt, "completion_tokens", completion, "total_tokens",
                     prompt + completion);
}

int qm_openai_response(const struct qm_openai_request *r, const char *id, int64_t created, json_t **out,
                       struct qm_error *err) {
    json_t *list = json_array();
    *out = NULL;
    for (int i = 0; i < qm_openai_request_parts(r); i++) {
        const struct qm_openai_part *p = &r->parts[i];
        if (!p->done) {
            json_decref(list);
            return qm_fail(err, QM_USAGE, "a response asked for before part %d of the request is done", i);
        }
        json_t *one = r->endpoint == QM_ENDPOINT_EMBEDDINGS ? embedding_entry(r, p, i)
                      : r->endpoint == QM_ENDPOINT_CHAT     ? chat_choice(r, id, i, err)
                                                            : text_choice(r, i);
        json_array_append_new(list, one);
    }
    if (r->endpoint == QM_ENDPOINT_EMBEDDINGS)
        *out = json_pack("{s:s, s:o, s:s, s:o}", "object", "list", "data", list, "model", r->model, "usage", usage(r));
    else
        *out = json_pack("{s:s, s:s, s:I, s:s, s:o, s:o}", "id", id, "object",
                         r->endpoint == QM_ENDPOINT_CHAT ? "chat.completion" : "text_completion", "created",
                         (json_int_t)created, "model", r->model, "choices", list, "usage", usage(r));
    if (!*out || json_array_size(list) != (size_t)qm_openai_request_parts(r)) {
        json_decref(*out);
        *out = NULL;
        return qm_fail_memory(err, 4096, "a response");
    }
    return QM_OK;
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
