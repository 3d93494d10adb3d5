/* Streamed answers against the demonstration model's tokenizer and template: the chunks' order and shape, and that
 * together they are the response that is not streamed, wherever its text is cut into tokens. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "protocol/failure.h"
#include "protocol/stream.h"
#include "tests/support/support.h"

static struct qm_tokenizer *tokenizer;
static struct qm_chat *chat;
static struct qm_openai_context context;

static int setup(void **state) {
    (void)state;
    struct qm_error err = {0};
    static const struct qm_generation_config publisher;
    if (qm_tokenizer_load("data/demo", &tokenizer, &err) || qm_chat_load("data/demo", NULL, &chat, &err))
        fail_msg("%s", err.message);
    static const struct tm now = {.tm_year = 126};
    const struct qm_config config = {.vocab = 1024, .max_positions = 4096};
    context = qm_openai_context_of(&config, &publisher, tokenizer, chat);
    context.now = &now;
    context.model = "demo";
    return 0;
}

static int teardown(void **state) {
    (void)state;
    qm_tokenizer_free(tokenizer);
    qm_chat_free(chat);
    return 0;
}

static struct qm_openai_request *taken(enum qm_endpoint e, const char *text) {
    struct qm_error err = {0};
    struct qm_openai_request *r;
    json_t *body;
    assert_int_equal(qm_json_parse(text, strlen(text), "body", &body, &err), QM_OK);
    int rc = qm_openai_request_new(&context, e, body, 7, &r, &err);
    json_decref(body);
    if (rc)
        fail_msg("%s: %s", text, err.message);
    return r;
}

static struct qm_outcome outcome_of(const char *text, int64_t n_ids, enum qm_finish how) {
    return (struct qm_outcome){.finish = how,
                               .text = text,
                               .text_len = strlen(text),
                               .n_ids = n_ids,
                               .prefix_tokens = 2,
                               .prefill_seconds = 0.5,
                               .decode_seconds = 0.25};
}

/* The stream of all parts, each with the same text, `step` bytes a token, the last `late` bytes without one. */
static void streamed(struct qm_openai_request *r, const char *text, enum qm_finish how, size_t step, size_t late,
                     struct qm_buf *out) {
    struct qm_error err = {0};
    struct qm_event_stream *s;
    assert_int_equal(qm_event_stream_new(r, "id-1", 1700000000, &s, &err), QM_OK);
    assert_int_equal(qm_event_stream_begin(s, out, &err), QM_OK);
    for (int part = 0; part < qm_openai_request_parts(r); part++) {
        int64_t n = 0;
        const struct qm_logprob best = {5, -0.5f};
        for (size_t at = 0, len; at + late < strlen(text); at += len, n++) {
            len = strlen(text) - late - at < step ? strlen(text) - late - at : step;
            while (((unsigned char)text[at + len] & 0xC0) == 0x80) /* tokens bring whole characters */
                len++;
            struct qm_generate_token t = {
                .id = 5, .text = text + at, .text_len = len, .logprob = best, .top = &best, .n_top = 1};
            assert_int_equal(qm_event_stream_token(s, part, &t, out, &err), QM_OK);
        }
        const struct qm_outcome o = outcome_of(text, n, how);
        assert_int_equal(qm_event_stream_done(s, part, &o, out, &err), QM_OK);
    }
    qm_event_stream_free(s);
}

/* The data of the events, parsed; that the stream ends with [DONE] is checked. */
static json_t *chunks_of(const struct qm_buf *out) {
    json_t *list = json_array();
    const char *at = out->data, *end;
    bool done = false;
    while ((end = strstr(at, "\n\n"))) {
        struct qm_error err;
        json_t *chunk;
        assert_false(done);
        assert_memory_equal(at, "data: ", 6);
        done = !strncmp(at, "data: [DONE]", 12);
        if (!done && qm_json_parse(at + 6, (size_t)(end - at) - 6, "a chunk", &chunk, &err))
            fail_msg("%s", err.message);
        if (!done)
            json_array_append_new(list, chunk);
        at = end + 2;
    }
    assert_true(done);
    assert_int_equal(*at, 0);
    return list;
}

static void add(json_t *to, const char *key, const json_t *piece) {
    const json_t *old = json_object_get(to, key);
    if (!json_is_string(piece))
        return;
    char *both = malloc(json_string_length(old) + json_string_length(piece) + 1);
    memcpy(both, json_is_string(old) ? json_string_value(old) : "", json_string_length(old));
    memcpy(both + json_string_length(old), json_string_value(piece), json_string_length(piece) + 1);
    json_object_set_new(to, key, json_string(both));
    free(both);
}

static void add_calls(json_t *message, const json_t *calls) {
    const json_t *piece;
    size_t i;
    json_array_foreach(calls, i, piece) {
        json_t *list = json_object_get(message, "tool_calls");
        size_t index = (size_t)json_integer_value(json_object_get(piece, "index"));
        if (json_object_get(piece, "id")) { /* a call begins, in order */
            assert_int_equal(json_array_size(list), index);
            if (!list)
                json_object_set_new(message, "tool_calls", list = json_array());
            json_t *own = json_deep_copy(piece);
            json_object_del(own, "index");
            json_array_append_new(list, own);
        } else {
            assert_true(index < json_array_size(list));
            add(json_object_get(json_array_get(list, index), "function"), "arguments",
                json_object_get(json_object_get(piece, "function"), "arguments"));
        }
    }
}

/* What a client makes of one choice's chunks, as the choice of a response. */
static json_t *put_together(const json_t *chunks, int index, bool is_chat) {
    json_t *message = json_object(), *logprobs = NULL, *choice = json_pack("{s:i}", "index", index), *chunk, *one;
    const char *reason = NULL;
    size_t i, j;
    bool first = true;
    json_array_foreach(chunks, i, chunk) {
        json_array_foreach(json_object_get(chunk, "choices"), j, one) {
            if (json_integer_value(json_object_get(one, "index")) != index)
                continue;
            assert_null(reason); /* the reason comes last */
            const json_t *delta = json_object_get(one, "delta");
            if (is_chat && first)
                assert_string_equal(json_string_value(json_object_get(delta, "role")), "assistant");
            else
                assert_null(json_object_get(delta, "role"));
            first = false;
            add(message, "content", json_object_get(is_chat ? delta : one, is_chat ? "content" : "text"));
            add(message, "reasoning_content", json_object_get(delta, "reasoning_content"));
            add_calls(message, json_object_get(delta, "tool_calls"));
            const json_t *more = json_object_get(json_object_get(one, "logprobs"), "content");
            if (more && !logprobs)
                logprobs = json_array();
            if (more)
                json_array_extend(logprobs, (json_t *)(uintptr_t)more);
            reason = json_string_value(json_object_get(one, "finish_reason"));
        }
    }
    json_object_set_new(choice, "message", message);
    json_object_set_new(choice, "logprobs", logprobs ? logprobs : json_null());
    json_object_set_new(choice, "finish_reason", json_string(reason ? reason : "none"));
    return choice;
}

static void assert_same_message(const json_t *whole, const json_t *pieces) {
    static const char *const keys[] = {"reasoning_content", "tool_calls"};
    for (size_t i = 0; i < 2; i++) {
        const json_t *a = json_object_get(whole, keys[i]), *b = json_object_get(pieces, keys[i]);
        if (a != b && !json_equal(a, b))
            fail_msg("%s: %s and %s", keys[i], json_dumps(a, 0), json_dumps(b, JSON_ENCODE_ANY));
    }
    const char *text = json_string_value(json_object_get(whole, "content"));
    assert_string_equal(text ? text : "", json_string_value(json_object_get(pieces, "content")));
}

#define CHAT_OF(fields) "{\"messages\": [{\"role\": \"user\", \"content\": \"Hello.\"}], \"stream\": true" fields "}"
#define TOOLS ", \"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"weather\"}}]"

static void same_as_not_streamed(const char *body, const char *text, enum qm_finish how, size_t step, size_t late) {
    struct qm_error err = {0};
    struct qm_buf out = {0};
    json_t *response;
    struct qm_openai_request *r = taken(QM_ENDPOINT_CHAT, body);
    streamed(r, text, how, step, late, &out);
    assert_int_equal(qm_openai_response(r, "id-1", 1700000000, &response, &err), QM_OK);
    json_t *chunks = chunks_of(&out);
    for (int part = 0; part < qm_openai_request_parts(r); part++) {
        const json_t *whole = json_array_get(json_object_get(response, "choices"), (size_t)part);
        json_t *pieces = put_together(chunks, part, true);
        assert_same_message(json_object_get(whole, "message"), json_object_get(pieces, "message"));
        assert_string_equal(json_string_value(json_object_get(whole, "finish_reason")),
                            json_string_value(json_object_get(pieces, "finish_reason")));
        const json_t *logprobs = json_object_get(whole, "logprobs");
        if (json_is_object(logprobs) &&
            !json_equal(json_object_get(logprobs, "content"), json_object_get(pieces, "logprobs")))
            fail_msg("log-probabilities differ");
        json_decref(pieces);
    }
    json_decref(chunks);
    json_decref(response);
    qm_buf_free(&out);
    qm_openai_request_free(r);
}

static void chat_wherever_it_is_cut(void **state) {
    (void)state;
    static const char *const texts[] = {
        "<think>\nhm\n</think>\n\nGrüße.",
        "I look.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Köln\"}}\n</tool_call>",
        "<tool_call>{\"name\": \"a\"}</tool_call> <tool_call>{\"name\": \"b\", \"arguments\": {}}</tool_call> then",
        "no <tool_call>\nat all",
        "blanks  <tool \n",
        "",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        for (size_t step = 1; step < 8; step++)
            for (size_t late = 0; late <= strlen(texts[i]) && late < 9; late++)
                same_as_not_streamed(CHAT_OF(TOOLS ", \"n\": 2, \"logprobs\": true"), texts[i],
                                     late % 2 ? QM_FINISH_STOP : QM_FINISH_LENGTH, step, late);
}

/* Text that nothing can hold back goes out with its token. */
static void nothing_waits(void **state) {
    (void)state;
    struct qm_error err = {0};
    struct qm_buf out = {0};
    struct qm_event_stream *s;
    struct qm_openai_request *r = taken(QM_ENDPOINT_CHAT, CHAT_OF(TOOLS));
    assert_int_equal(qm_event_stream_new(r, "id-1", 1, &s, &err), QM_OK);
    assert_int_equal(qm_event_stream_begin(s, &out, &err), QM_OK);
    out.len = 0;
    struct qm_generate_token t = {.id = 5, .text = "Well", .text_len = 4};
    assert_int_equal(qm_event_stream_token(s, 0, &t, &out, &err), QM_OK);
    assert_non_null(strstr(out.data, "\"delta\":{\"content\":\"Well\"},\"logprobs\":null,\"finish_reason\":null"));
    out.len = 0;
    assert_int_equal(qm_event_stream_ping(s, &out, &err), QM_OK);
    assert_string_equal(out.data, ": ping\n\n");
    out.len = 0;
    struct qm_error why = {0};
    qm_fail(&why, QM_BUSY, "later");
    assert_int_equal(qm_event_stream_error(s, &why, &out, &err), QM_OK);
    assert_string_equal(out.data,
                        "data: {\"error\":{\"message\":\"later\",\"type\":\"rate_limit_error\",\"param\":null,"
                        "\"code\":\"rate_limit_exceeded\"}}\n\ndata: [DONE]\n\n");
    qm_event_stream_free(s);
    qm_openai_request_free(r);
    qm_buf_free(&out);
}

static void usage_where_it_is_asked_for(void **state) {
    (void)state;
    static const char *const bodies[] = {
        CHAT_OF(""), CHAT_OF(", \"stream_options\": {\"include_usage\": true}"),
        CHAT_OF(", \"stream_options\": {\"include_usage\": true, \"continuous_usage_stats\": true}")};
    for (int i = 0; i < 3; i++) {
        struct qm_buf out = {0};
        struct qm_openai_request *r = taken(QM_ENDPOINT_CHAT, bodies[i]);
        streamed(r, "<think>ab</think>cd", QM_FINISH_STOP, 1, 0, &out);
        json_t *chunks = chunks_of(&out);
        size_t n = json_array_size(chunks);
        const json_t *last = json_array_get(chunks, n - 1), *before = json_array_get(chunks, n - 2);
        const json_t *usage = json_object_get(last, "usage");
        assert_int_equal(json_array_size(json_object_get(last, "choices")), i == 0);
        assert_int_equal(json_is_object(usage), i > 0);
        assert_int_equal(json_is_object(json_object_get(before, "usage")), i == 2);
        assert_int_equal(json_is_null(json_object_get(before, "usage")), i == 1);
        if (i) {
            json_int_t cached = 0, thought = 0, generated = 0;
            assert_int_equal(json_unpack((json_t *)(uintptr_t)usage, "{s:I, s:{s:I}, s:{s:I}}", "completion_tokens",
                                         &generated, "prompt_tokens_details", "cached_tokens", &cached,
                                         "completion_tokens_details", "reasoning_tokens", &thought),
                             0);
            assert_int_equal(cached, 2);
            assert_int_equal(generated, 19);
            assert_int_equal(thought, 10); /* with the mark that ends it */
        }
        json_decref(chunks);
        qm_buf_free(&out);
        qm_openai_request_free(r);
    }
}

static void progress_and_timings(void **state) {
    (void)state;
    struct qm_error err = {0};
    struct qm_buf out = {0};
    struct qm_event_stream *s;
    struct qm_openai_request *r = taken(QM_ENDPOINT_CHAT, CHAT_OF(", \"return_progress\": true, \"timings\": true"));
    assert_int_equal(qm_event_stream_new(r, "id-1", 1, &s, &err), QM_OK);
    assert_int_equal(qm_event_stream_begin(s, &out, &err), QM_OK);
    assert_int_equal(qm_event_stream_prefill(s, 0, 128, 256, &out, &err), QM_OK);
    assert_non_null(
        strstr(out.data, "\"choices\":[],\"prompt_progress\":{\"index\":0,\"total\":256,\"processed\":128}"));
    const struct qm_outcome o = outcome_of("x", 4, QM_FINISH_STOP);
    assert_int_equal(qm_event_stream_done(s, 0, &o, &out, &err), QM_OK);
    assert_non_null(strstr(out.data, "\"predicted_n\":4,\"predicted_ms\":250.0,\"predicted_per_second\":16.0"));
    qm_event_stream_free(s);
    qm_openai_request_free(r);
    qm_buf_free(&out);
}

static void completions(void **state) {
    (void)state;
    struct qm_buf out = {0};
    struct qm_openai_request *r =
        taken(QM_ENDPOINT_COMPLETIONS, "{\"prompt\": [\"He\", \"y\"], \"stream\": true, \"echo\": true}");
    streamed(r, "llo", QM_FINISH_LENGTH, 1, 1, &out);
    json_t *chunks = chunks_of(&out);
    for (int part = 0; part < 2; part++) {
        json_t *choice = put_together(chunks, part, false);
        assert_string_equal(json_string_value(json_object_get(json_object_get(choice, "message"), "content")),
                            part ? "yllo" : "Hello");
        assert_string_equal(json_string_value(json_object_get(choice, "finish_reason")), "length");
        json_decref(choice);
    }
    assert_string_equal(json_string_value(json_object_get(json_array_get(chunks, 0), "object")), "text_completion");
    json_decref(chunks);
    qm_buf_free(&out);
    qm_openai_request_free(r);
    /* offsets count from the first chunk on, as they do in a whole response */
    r = taken(QM_ENDPOINT_COMPLETIONS, "{\"prompt\": \"x\", \"stream\": true, \"logprobs\": 1}");
    streamed(r, "ab", QM_FINISH_LENGTH, 1, 0, &out);
    assert_non_null(strstr(out.data, "\"text_offset\":[0]"));
    assert_null(strstr(strstr(out.data, "\"text_offset\":[0]") + 1, "\"text_offset\":[0]"));
    qm_buf_free(&out);
    qm_openai_request_free(r);
}

static void options_of_streams(void **state) {
    (void)state;
    static const char *const bad[] = {CHAT_OF(", \"stream_options\": 5"),
                                      CHAT_OF(", \"stream_options\": {\"include_usage\": 1}"),
                                      CHAT_OF(", \"stream_options\": {\"x\": true}")};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct qm_error err = {0};
        struct qm_openai_request *r;
        json_t *body = json_loads(bad[i], 0, NULL);
        assert_int_equal(qm_openai_request_new(&context, QM_ENDPOINT_CHAT, body, 7, &r, &err), QM_INPUT);
        assert_string_equal(err.field, i == 1 ? "include_usage" : "stream_options");
        json_decref(body);
    }
}

/* What is passed over is named, tools that nothing here can run among it. */
static void ignored(void **state) {
    (void)state;
    struct qm_openai_request *r = taken(
        QM_ENDPOINT_CHAT, CHAT_OF(", \"store\": true, \"metadata\": null, \"tools\": [{\"type\": \"web_search\"}, "
                                  "{\"type\": \"function\", \"function\": {\"name\": \"f\"}}], \"user\": \"x\""));
    assert_string_equal(qm_openai_request_ignored(r), "store, user, tools.web_search");
    qm_openai_request_free(r);
    r = taken(QM_ENDPOINT_CHAT, CHAT_OF(""));
    assert_string_equal(qm_openai_request_ignored(r), "");
    qm_openai_request_free(r);
}

static void failures(void **state) {
    (void)state;
    struct qm_error e = {0};
    qm_about(&e, "prompt", qm_remedy(&e, QM_REMEDY_LARGER_CONTEXT, qm_fail(&e, QM_INPUT, "too long")));
    assert_int_equal(qm_failure_status(&e), 400);
    json_t *body = qm_failure(&e, 400, NULL);
    char *text = json_dumps(body, JSON_COMPACT);
    assert_string_equal(text, "{\"error\":{\"message\":\"too long\",\"type\":\"invalid_request_error\","
                              "\"param\":\"prompt\",\"code\":\"context_length_exceeded\"}}");
    free(text);
    json_decref(body);
    qm_fail(&e, QM_BUSY, "x");
    assert_int_equal(qm_failure_status(&e), 429);
    assert_string_equal(e.field, "");
    qm_fail(&e, QM_GONE, "x");
    assert_int_equal(qm_failure_status(&e), 503);
    qm_fail(&e, QM_SYSTEM, "x");
    assert_int_equal(qm_failure_status(&e), 500);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chat_wherever_it_is_cut),
        cmocka_unit_test(nothing_waits),
        cmocka_unit_test(usage_where_it_is_asked_for),
        cmocka_unit_test(progress_and_timings),
        cmocka_unit_test(completions),
        cmocka_unit_test(options_of_streams),
        cmocka_unit_test(ignored),
        cmocka_unit_test(failures),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
