/* A request body's fields: which there are, what they may be, and what they come to. */
#include "protocol/request.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "protocol/fields.h"
#include "protocol/internal.h"

enum { DEFAULT_COMPLETION_TOKENS = 16 };

static int refuse(struct qm_error *err, const char *field, const char *why) {
    return qm_about(err, field, qm_fail(err, QM_INPUT, "\"%s\": %s", field, why));
}

int qm_endpoint_parse(const char *url, enum qm_endpoint *out, struct qm_error *err) {
    static const char *const urls[] = {"/v1/chat/completions", "/v1/completions", "/v1/embeddings"};
    for (int i = 0; i < 3; i++)
        if (!strcmp(url, urls[i])) {
            *out = (enum qm_endpoint)i;
            return QM_OK;
        }
    return qm_fail(err, QM_INPUT, "url \"%.100s\" is not implemented: expected %s, %s or %s", url, urls[0], urls[1],
                   urls[2]);
}

struct qm_sampling qm_openai_sampling(const struct qm_generation_config *g) {
    struct qm_sampling s = qm_sampling_default;
    s.temperature = 1;
    if (g->has_temperature)
        s.temperature = g->temperature;
    else if (g->has_do_sample && !g->do_sample)
        s.temperature = 0;
    if (g->has_top_k)
        s.top_k = g->top_k;
    if (g->has_top_p)
        s.top_p = g->top_p;
    if (g->has_min_p)
        s.min_p = g->min_p;
    if (g->has_repetition_penalty)
        s.repetition_penalty = g->repetition_penalty;
    return s;
}

struct qm_openai_context qm_openai_context_of(const struct qm_config *c, const struct qm_generation_config *published,
                                              const struct qm_tokenizer *tokenizer, const struct qm_chat *chat) {
    return (struct qm_openai_context){.tokenizer = tokenizer,
                                      .chat = chat,
                                      .vocab = c->vocab,
                                      .context = c->max_positions,
                                      .no_head = c->no_head,
                                      .sampling = qm_openai_sampling(published)};
}

/* Fields that are accepted with one value only, the one that changes nothing. */
static int check_fixed(const json_t *body, struct qm_error *err) {
    const json_t *format = json_object_get(body, "response_format");
    const char *type = json_string_value(json_object_get(format, "type"));
    if (format && !json_is_null(format) && (!type || strcmp(type, "text") != 0))
        return refuse(err, "response_format", "not implemented but for {\"type\": \"text\"}");
    const json_t *choice = json_object_get(body, "tool_choice");
    const char *word = json_string_value(choice);
    if (choice && !json_is_null(choice) && (!word || (strcmp(word, "auto") != 0 && strcmp(word, "none") != 0)))
        return refuse(err, "tool_choice", "not implemented but for \"auto\" and \"none\"");
    return QM_OK;
}

static int read_sampling(struct qm_openai_request *r, const json_t *body, uint64_t default_seed, struct qm_error *err) {
    struct qm_sampling *s = &r->decoding.sampling;
    const char *where = "the body";
    int64_t seed = (int64_t)default_seed;
    int rc = qm_json_double(body, "temperature", where, &s->temperature, err);
    if (!rc)
        rc = qm_json_double(body, "top_p", where, &s->top_p, err);
    if (!rc)
        rc = qm_json_double(body, "min_p", where, &s->min_p, err);
    if (!rc)
        rc = qm_json_double(body, "repetition_penalty", where, &s->repetition_penalty, err);
    if (!rc)
        rc = qm_json_double(body, "presence_penalty", where, &s->presence_penalty, err);
    if (!rc)
        rc = qm_json_double(body, "frequency_penalty", where, &s->frequency_penalty, err);
    if (!rc) /* vLLM's -1: off */
        rc = qm_json_int(body, "top_k", where, -1, INT32_MAX, &s->top_k, err);
    if (!rc)
        rc = qm_json_int(body, "seed", where, INT64_MIN, INT64_MAX, &seed, err);
    s->top_k = s->top_k < 0 ? 0 : s->top_k;
    s->seed = (uint64_t)seed;
    return rc;
}

/* {"50256": -100, ...} */
static int read_biases(struct qm_openai_request *r, const json_t *body, struct qm_error *err) {
    json_t *map = json_object_get(body, "logit_bias"), *value;
    if (!map || json_is_null(map) || (json_is_array(map) && !json_array_size(map)))
        return QM_OK;
    if (!qm_json_is_object(map) || json_object_size(map) > QM_OPENAI_BIASES)
        return qm_about(
            err, "logit_bias",
            qm_fail(err, QM_INPUT, "\"logit_bias\": expected an object of at most %d token ids", QM_OPENAI_BIASES));
    r->biases = calloc(json_object_size(map) + 1, sizeof *r->biases);
    if (!r->biases)
        return qm_fail_memory(err, json_object_size(map) * sizeof *r->biases, "logit biases");
    const char *key;
    json_object_foreach(map, key, value) {
        char *end;
        long long id = strtoll(key, &end, 10);
        if (!*key || *end || id < 0 || id >= r->context->vocab || !json_is_number(value))
            return qm_about(err, "logit_bias",
                            qm_fail(err, QM_INPUT,
                                    "\"logit_bias\": expected token ids from 0 to %lld with numbers, found \"%.40s\"",
                                    (long long)r->context->vocab - 1, key));
        r->biases[r->decoding.sampling.n_bias++] = (struct qm_logit_bias){(int32_t)id, (float)json_number_value(value)};
    }
    r->decoding.sampling.bias = r->biases;
    return QM_OK;
}

static int add_stop(struct qm_openai_request *r, const json_t *value, struct qm_error *err) {
    size_t len = json_string_length(value);
    if (json_is_string(value) && !len)
        return QM_OK; /* nothing ends before nothing */
    if (!json_is_string(value) || len > QM_MAX_STOP_BYTES || strlen(json_string_value(value)) != len)
        return qm_about(err, "stop",
                        qm_fail(err, QM_INPUT, "\"stop\": expected strings of 1 to %d bytes", QM_MAX_STOP_BYTES));
    if (!(r->stop[r->decoding.n_stop] = strdup(json_string_value(value))))
        return qm_fail_memory(err, len, "a stop string");
    r->decoding.n_stop++;
    return QM_OK;
}

static int read_stops(struct qm_openai_request *r, const json_t *body, struct qm_error *err) {
    const json_t *stop = json_object_get(body, "stop"), *value;
    if (!stop || json_is_null(stop))
        return QM_OK;
    if (!(r->stop = calloc(QM_MAX_STOPS, sizeof *r->stop)))
        return qm_fail_memory(err, QM_MAX_STOPS * sizeof *r->stop, "stop strings");
    if (json_is_string(stop))
        return add_stop(r, stop, err);
    if (!json_is_array(stop) || json_array_size(stop) > QM_MAX_STOPS)
        return qm_about(err, "stop",
                        qm_fail(err, QM_INPUT, "\"stop\": expected a string or a list of at most %d", QM_MAX_STOPS));
    int rc = QM_OK;
    for (size_t i = 0; i < json_array_size(stop) && !rc; i++) {
        value = json_array_get(stop, i);
        rc = add_stop(r, value, err);
    }
    return rc;
}

static int read_stop_ids(struct qm_openai_request *r, const json_t *body, struct qm_error *err) {
    const json_t *list = json_object_get(body, "stop_token_ids"), *id;
    if (!list || json_is_null(list))
        return QM_OK;
    if (!json_is_array(list) || json_array_size(list) > QM_MAX_STOP_IDS)
        return qm_about(
            err, "stop_token_ids",
            qm_fail(err, QM_INPUT, "\"stop_token_ids\": expected a list of at most %d token ids", QM_MAX_STOP_IDS));
    for (size_t i = 0; i < json_array_size(list); i++) {
        id = json_array_get(list, i);
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= r->context->vocab)
            return qm_about(err, "stop_token_ids",
                            qm_fail(err, QM_INPUT, "\"stop_token_ids\": entry %zu must be an id from 0 to %lld", i,
                                    (long long)r->context->vocab - 1));
        r->stop_ids[r->decoding.n_stop_ids++] = (int32_t)json_integer_value(id);
    }
    return QM_OK;
}

/* What ends an answer, and what of that is in its text. */
static int read_ends(struct qm_openai_request *r, const json_t *body, struct qm_error *err) {
    int rc = read_stops(r, body, err);
    if (!rc)
        rc = read_stop_ids(r, body, err);
    if (!rc)
        rc = qm_json_bool(body, "include_stop_str_in_output", "the body", &r->decoding.include_stop, err);
    if (!rc)
        rc = qm_json_bool(body, "ignore_eos", "the body", &r->decoding.ignore_end, err);
    if (!rc)
        rc = qm_json_bool(body, "skip_special_tokens", "the body", &r->decoding.skip_special, err);
    return rc;
}

/* Chat: "logprobs" true and "top_logprobs" 0..20. Completions: "logprobs" is the number. */
static int read_logprobs(struct qm_openai_request *r, const json_t *body, struct qm_error *err) {
    int64_t n = -1;
    int rc = QM_OK;
    if (r->endpoint == QM_ENDPOINT_COMPLETIONS) {
        if (!json_is_false(json_object_get(body, "logprobs")))
            rc = qm_json_int(body, "logprobs", "the body", 0, QM_MAX_TOP_LOGPROBS, &n, err);
    } else {
        bool wanted = false;
        rc = qm_json_bool(body, "logprobs", "the body", &wanted, err);
        if (!rc)
            rc = qm_json_int(body, "top_logprobs", "the body", 0, QM_MAX_TOP_LOGPROBS, &n, err);
        if (!rc && n > 0 && !wanted)
            return refuse(err, "top_logprobs", "needs \"logprobs\": true");
        n = wanted ? (n < 0 ? 0 : n) : -1;
    }
    r->decoding.top_logprobs = (int)(n < r->context->vocab ? n : r->context->vocab);
    return rc;
}

static int read_lengths(struct qm_openai_request *r, const json_t *body, struct qm_error *err) {
    int64_t choices = 1, best_of = -1;
    r->decoding.max_tokens = r->endpoint == QM_ENDPOINT_COMPLETIONS ? DEFAULT_COMPLETION_TOKENS : -1;
    int rc = qm_json_bool(body, "echo", "the body", &r->echo, err);
    if (!rc)
        rc = qm_json_int(body, "max_tokens", "the body", !r->echo, INT64_MAX, &r->decoding.max_tokens, err);
    if (!rc)
        rc = qm_json_int(body, "max_completion_tokens", "the body", 1, INT64_MAX, &r->decoding.max_tokens, err);
    if (!rc)
        rc = qm_json_int(body, "n", "the body", 1, QM_OPENAI_CHOICES, &choices, err);
    if (!rc)
        rc = qm_json_int(body, "best_of", "the body", 1, QM_OPENAI_CHOICES, &best_of, err);
    if (!rc && best_of >= 0 && best_of != choices)
        return refuse(err, "best_of", "not implemented but for the value of \"n\"");
    if (!rc)
        rc = qm_json_int(body, "min_tokens", "the body", 0,
                         r->decoding.max_tokens < 0 ? INT64_MAX : r->decoding.max_tokens, &r->decoding.min_tokens, err);
    r->choices = (int)choices;
    return rc;
}

/* What a streamed response has beside the answer. Where it is not streamed none of it is looked at. */
static int read_stream(struct qm_openai_request *r, const json_t *body, struct qm_error *err) {
    const json_t *options = json_object_get(body, "stream_options");
    int rc = qm_json_bool(body, "stream", "the body", &r->stream, err);
    if (!rc)
        rc = qm_json_bool(body, "timings", "the body", &r->timings, err);
    if (rc || !r->stream)
        return rc;
    if (options && !json_is_null(options) && !qm_json_is_object(options))
        return refuse(err, "stream_options", "expected an object");
    rc = qm_json_bool(options, "include_usage", "\"stream_options\"", &r->include_usage, err);
    if (!rc)
        rc = qm_json_bool(options, "continuous_usage_stats", "\"stream_options\"", &r->continuous_usage, err);
    if (rc)
        return rc;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)options, key, value) {
        bool known = !strcmp(key, "include_usage") || !strcmp(key, "continuous_usage_stats");
        if (!known && strcmp(key, "include_obfuscation") != 0)
            return refuse(err, "stream_options", "expected include_usage and continuous_usage_stats alone");
        if (!known && (rc = qm_ignored_add(&r->ignored, "stream_options.include_obfuscation", err)))
            return rc;
    }
    rc = qm_json_bool(body, "return_progress", "the body", &r->progress, err);
    if (!rc)
        rc = qm_json_bool(body, "timings_per_token", "the body", &r->timings_per_token, err);
    return rc;
}

static int read_generation(struct qm_openai_request *r, const json_t *body, uint64_t default_seed,
                           struct qm_error *err) {
    int rc = read_stream(r, body, err);
    if (!rc)
        rc = check_fixed(body, err);
    if (!rc)
        rc = read_lengths(r, body, err);
    if (!rc)
        rc = read_sampling(r, body, default_seed, err);
    if (!rc)
        rc = read_biases(r, body, err);
    if (!rc && qm_sampling_check(&r->decoding.sampling, r->context->vocab, err)) { /* a request's mistake, not usage */
        rc = QM_INPUT;
        if (err)
            err->code = rc;
    }
    if (!rc)
        rc = read_ends(r, body, err);
    if (!rc)
        rc = read_logprobs(r, body, err);
    if (!rc && r->echo && r->decoding.top_logprobs >= 0)
        return refuse(err, "echo", "not implemented together with \"logprobs\"");
    return rc;
}

static int read_embedding(struct qm_openai_request *r, const json_t *body, struct qm_error *err) {
    const char *encoding = "float";
    int rc = qm_json_string(body, "encoding_format", "the body", &encoding, err);
    r->base64 = !rc && !strcmp(encoding, "base64");
    if (!rc && !r->base64 && strcmp(encoding, "float") != 0)
        rc = qm_about(
            err, "encoding_format",
            qm_fail(err, QM_INPUT, "\"encoding_format\": expected \"float\" or \"base64\", found \"%.40s\"", encoding));
    return rc;
}

static const char *prompt_field(enum qm_endpoint e) {
    return e == QM_ENDPOINT_CHAT ? "messages" : e == QM_ENDPOINT_COMPLETIONS ? "prompt" : "input";
}

/* A generated token needs a place too. */
static int check_prompts(const struct qm_openai_request *r, struct qm_error *err) {
    int64_t most = r->context->context - (r->endpoint != QM_ENDPOINT_EMBEDDINGS);
    for (int i = 0; i < r->n_prompts; i++) {
        if (!r->prompts[i].len)
            return qm_fail(err, QM_INPUT, "prompt %d has no tokens", i);
        if ((int64_t)r->prompts[i].len > most)
            return qm_remedy(err, QM_REMEDY_LARGER_CONTEXT,
                             qm_fail(err, QM_INPUT, "prompt %d has %zu tokens: the context of %lld has room for %lld",
                                     i, r->prompts[i].len, (long long)r->context->context, (long long)most));
    }
    return QM_OK;
}

static int read_prompts(struct qm_openai_request *r, const json_t *body, struct qm_error *err) {
    int rc = r->endpoint == QM_ENDPOINT_CHAT ? qm_openai_chat_prompt(r, body, err)
                                             : qm_openai_text_prompts(r, body, prompt_field(r->endpoint), err);
    return rc ? rc : check_prompts(r, err);
}

int qm_openai_request_new(const struct qm_openai_context *c, enum qm_endpoint endpoint, const json_t *body,
                          uint64_t default_seed, struct qm_openai_request **out, struct qm_error *err) {
    *out = NULL;
    if (!qm_json_is_object(body))
        return qm_fail(err, QM_INPUT, "the body must be an object, found %s", qm_json_type_name(body));
    if (c->no_head && endpoint != QM_ENDPOINT_EMBEDDINGS)
        return qm_fail(err, QM_INPUT, "the model has no head: it gives embeddings (/v1/embeddings), and no text");
    struct qm_openai_request *r = calloc(1, sizeof *r);
    if (!r)
        return qm_fail_memory(err, sizeof *r, "a request");
    *r = (struct qm_openai_request){.context = c,
                                    .endpoint = endpoint,
                                    .choices = 1,
                                    .decoding.max_tokens = -1,
                                    .decoding.sampling = c->sampling,
                                    .decoding.skip_special = true,
                                    .decoding.top_logprobs = -1};
    const char *model = c->model;
    int rc = qm_fields_check(endpoint, body, &r->ignored, err);
    if (!rc)
        rc = qm_json_string(body, "model", "the body", &model, err);
    if (!rc && !(r->model = strdup(model)))
        rc = qm_fail_memory(err, strlen(model), "a request");
    if (!rc)
        rc = endpoint == QM_ENDPOINT_EMBEDDINGS ? read_embedding(r, body, err)
                                                : read_generation(r, body, default_seed, err);
    if (!rc)
        rc = qm_about(err, prompt_field(endpoint), read_prompts(r, body, err));
    size_t parts = (size_t)r->n_prompts * (size_t)r->choices;
    if (!rc && !(r->parts = calloc(parts, sizeof *r->parts)))
        rc = qm_fail_memory(err, parts * sizeof *r->parts, "a request");
    if (rc) {
        qm_openai_request_free(r);
        return rc;
    }
    *out = r;
    return QM_OK;
}

void qm_openai_request_free(struct qm_openai_request *r) {
    if (!r)
        return;
    for (int i = 0; r->parts && i < r->n_prompts * r->choices; i++) {
        qm_events_free(r->parts[i].events);
        qm_answer_sum_free(&r->parts[i].sum);
        json_decref(r->parts[i].logprobs);
        free(r->parts[i].embedding);
    }
    free(r->parts);
    for (int i = 0; i < r->n_prompts; i++)
        qm_ids_free(&r->prompts[i]);
    for (int i = 0; r->echoed && i < r->n_prompts; i++)
        qm_buf_free(&r->echoed[i]);
    free(r->echoed);
    free(r->prompts);
    for (int i = 0; i < r->decoding.n_stop; i++)
        free(r->stop[i]);
    free(r->stop);
    free(r->biases);
    qm_buf_free(&r->ignored);
    free(r->model);
    free(r);
}

void qm_openai_request_listen(struct qm_openai_request *r, qm_openai_event_fn *fn, void *arg) {
    r->listener = fn;
    r->listener_arg = arg;
}

bool qm_openai_request_streams(const struct qm_openai_request *r) {
    return r->stream;
}

const char *qm_openai_request_ignored(const struct qm_openai_request *r) {
    return r->ignored.len ? r->ignored.data : "";
}

int qm_openai_request_parts(const struct qm_openai_request *r) {
    return r->n_prompts * r->choices;
}

void qm_openai_request_part(const struct qm_openai_request *r, int i, struct qm_request *out) {
    const struct qm_ids *prompt = &r->prompts[i / r->choices];
    *out = (struct qm_request){.prompt = prompt->data,
                               .n_prompt = (int64_t)prompt->len,
                               .decoding = r->decoding,
                               .embed = r->endpoint == QM_ENDPOINT_EMBEDDINGS};
    out->decoding.stop = (const char *const *)r->stop;
    out->decoding.stop_ids = r->stop_ids;
    out->decoding.sampling.seed += (uint64_t)(i % r->choices);
}
