/* Chunks, as OpenAI's chat and completions have them. Further members as other servers': "prompt_progress" and
 * "timings" (llama-server), usage in every chunk (vLLM). */
#include <stdlib.h>

#include "protocol/failure.h"
#include "protocol/stream_internal.h"

static bool is_chat(const struct qm_event_stream *s) {
    return s->r->endpoint == QM_ENDPOINT_CHAT;
}

/* choices: a new reference, which is taken. */
static json_t *chunk(const struct qm_event_stream *s, json_t *choices) {
    json_t *c = json_pack("{s:s, s:s, s:I, s:s, s:o}", "id", s->id.data, "object",
                          is_chat(s) ? "chat.completion.chunk" : "text_completion", "created", (json_int_t)s->created,
                          "model", s->r->model, "choices", choices);
    if (c && s->r->continuous_usage)
        json_object_set_new(c, "usage", qm_openai_usage(s->r, true));
    else if (c && s->r->include_usage)
        json_object_set_new(c, "usage", json_null());
    return c;
}

/* The log-probabilities that came since the last chunk. */
static json_t *new_logprobs(struct qm_event_stream *s, int part) {
    const json_t *all = s->r->parts[part].logprobs;
    struct qm_event_stream_sent *sent = &s->sent[part];
    if (json_array_size(all) <= sent->logprobs)
        return json_null();
    json_t *list = json_array();
    for (; sent->logprobs < json_array_size(all); sent->logprobs++)
        json_array_append(list, json_array_get(all, sent->logprobs));
    if (is_chat(s))
        return json_pack("{s:o, s:n}", "content", list, "refusal");
    json_t *flat = qm_openai_flat_logprobs(list, &sent->offset);
    json_decref(list);
    return flat;
}

/* One choice's chunk. change: {"delta": ...} or {"text": ...}, whose reference is taken. finish: NULL until the end. */
static int put(struct qm_event_stream *s, int part, json_t *change, const char *finish, struct qm_error *err) {
    const struct qm_openai_request *r = s->r;
    json_t *choice = change ? json_pack("{s:i}", "index", part) : NULL;
    if (!choice)
        return qm_fail_memory(err, 256, "a chunk");
    json_object_update(choice, change);
    json_decref(change);
    json_object_set_new(choice, "logprobs", new_logprobs(s, part));
    json_object_set_new(choice, "finish_reason", finish ? json_string(finish) : json_null());
    json_t *c = chunk(s, json_pack("[o]", choice));
    if (c && r->timings_per_token)
        json_object_set_new(c, "timings", qm_openai_timings(r));
    return qm_event_stream_put(s, NULL, c, err);
}

static json_t *piece(const char *text, size_t len) {
    return json_stringn(text, len);
}

static int begin(struct qm_event_stream *s, struct qm_error *err) {
    int parts = qm_openai_request_parts(s->r), rc = QM_OK;
    if (!(s->sent = calloc((size_t)parts, sizeof *s->sent)))
        return qm_fail_memory(err, (size_t)parts * sizeof *s->sent, "a stream");
    for (int i = 0; i < parts && !rc; i++) {
        if (is_chat(s))
            rc = put(s, i, json_pack("{s:{s:s, s:s}}", "delta", "role", "assistant", "content", ""), NULL, err);
        else if (s->r->echo)
            rc = put(s, i, json_pack("{s:o}", "text", qm_openai_text(qm_openai_echoed(s->r, i))), NULL, err);
    }
    return rc;
}

static int prefill(struct qm_event_stream *s, int part, int64_t done, int64_t total, struct qm_error *err) {
    const struct qm_openai_request *r = s->r;
    if (!r->progress)
        return QM_OK;
    json_t *c = chunk(s, json_array());
    if (c)
        json_object_set_new(
            c, "prompt_progress",
            json_pack("{s:i, s:I, s:I}", "index", part, "total", (json_int_t)total, "processed", (json_int_t)done));
    return qm_event_stream_put(s, NULL, c, err);
}

/* The first delta of a call has its index, id, type and name; later ones the index and a piece of its arguments. */
static int put_call(struct qm_event_stream *s, int part, const struct qm_answer_event *e, struct qm_error *err) {
    json_t *call = e->kind == QM_ANSWER_CALL
                       ? qm_openai_call(&s->r->parts[part], s->id.data, part, e->call, true)
                       : json_pack("{s:i, s:{s:o}}", "index", e->call, "function", "arguments", piece(e->text, e->len));
    return put(s, part, json_pack("{s:{s:[o]}}", "delta", "tool_calls", call), NULL, err);
}

static int event(struct qm_event_stream *s, int part, const struct qm_answer_event *e, struct qm_error *err) {
    const struct qm_openai_part *p = &s->r->parts[part];
    json_t *nothing;
    switch (e->kind) {
    case QM_ANSWER_REASONING:
        return put(s, part, json_pack("{s:{s:o}}", "delta", "reasoning_content", piece(e->text, e->len)), NULL, err);
    case QM_ANSWER_TEXT:
        return put(s, part,
                   is_chat(s) ? json_pack("{s:{s:o}}", "delta", "content", piece(e->text, e->len))
                              : json_pack("{s:o}", "text", piece(e->text, e->len)),
                   NULL, err);
    case QM_ANSWER_CALL:
    case QM_ANSWER_ARGUMENTS: return put_call(s, part, e, err);
    case QM_ANSWER_END:
        nothing = is_chat(s) ? json_pack("{s:{}}", "delta") : json_pack("{s:s}", "text", "");
        return put(s, part, nothing, qm_openai_part_calls(p) ? "tool_calls" : qm_openai_finish(e->finish), err);
    case QM_ANSWER_TOKEN:
    case QM_ANSWER_CALL_END: break;
    }
    return QM_OK;
}

static int end(struct qm_event_stream *s, struct qm_error *err) {
    const struct qm_openai_request *r = s->r;
    int rc = QM_OK;
    if (r->include_usage || r->timings) {
        json_t *last = chunk(s, json_array());
        if (last && r->include_usage)
            json_object_set_new(last, "usage", qm_openai_usage(r, true));
        if (last && r->timings)
            json_object_set_new(last, "timings", qm_openai_timings(r));
        rc = qm_event_stream_put(s, NULL, last, err);
    }
    return rc ? rc : qm_buf_str(s->out, "data: [DONE]\n\n", err);
}

static int ping(struct qm_event_stream *s, struct qm_error *err) {
    return qm_buf_str(s->out, ": ping\n\n", err);
}

static int error(struct qm_event_stream *s, const struct qm_error *why, struct qm_error *err) {
    int rc = qm_event_stream_put(s, NULL, qm_failure(why, qm_failure_status(why), NULL), err);
    return rc ? rc : qm_buf_str(s->out, "data: [DONE]\n\n", err);
}

const struct qm_event_stream_form qm_event_stream_chunks = {
    .begin = begin, .prefill = prefill, .event = event, .end = end, .ping = ping, .error = error};
