/* Requests and responses of the OpenAI API, against the demonstration model's tokenizer and template: what is
 * taken, what is refused and by which name, and the shape of each response. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "protocol/request.h"
#include "tests/support/support.h"

static struct qm_tokenizer *tokenizer;
static struct qm_chat *chat;
static struct qm_openai_context context;
static struct qm_generation_config publisher;

static int setup(void **state) {
    (void)state;
    struct qm_error err = {0};
    if (qm_tokenizer_load("data/demo", &tokenizer, &err) || qm_chat_load("data/demo", NULL, &chat, &err) ||
        qm_generation_config_read("data/demo", &publisher, &err))
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

static void helped(enum qm_endpoint e, const char *text, const char *part, enum qm_remedy remedy) {
    struct qm_error err = {0};
    struct qm_openai_request *r;
    json_t *body;
    if (qm_json_parse(text, strlen(text), "body", &body, &err))
        fail_msg("%s: %s", text, err.message);
    int rc = qm_openai_request_new(&context, e, body, 7, &r, &err);
    json_decref(body);
    assert_null(r);
    if (rc != QM_INPUT || !strstr(err.message, part))
        fail_msg("%s: expected \"%s\", found %d \"%s\"", text, part, rc, err.message);
    assert_int_equal(err.remedy, remedy);
}

static void refused(enum qm_endpoint e, const char *text, const char *part) {
    helped(e, text, part, QM_REMEDY_NONE);
}

static void streams_are_handed_on(void **state) {
    (void)state;
    static const char *const body[] = {"{\"prompt\": \"x\"}", "{\"prompt\": \"x\", \"stream\": false}",
                                       "{\"prompt\": \"x\", \"stream\": null}",
                                       "{\"prompt\": \"x\", \"stream\": true}"};
    for (int i = 0; i < 4; i++) {
        struct qm_openai_request *r = taken(QM_ENDPOINT_COMPLETIONS, body[i]);
        assert_int_equal(qm_openai_request_streams(r), i == 3);
        qm_openai_request_free(r);
    }
}

static void without_a_head_embeddings_alone(void **state) {
    (void)state;
    context.no_head = true;
    refused(QM_ENDPOINT_CHAT, "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}", "the model has no head");
    refused(QM_ENDPOINT_COMPLETIONS, "{\"prompt\": \"hi\"}", "the model has no head");
    qm_openai_request_free(taken(QM_ENDPOINT_EMBEDDINGS, "{\"input\": \"hi\"}"));
    context.no_head = false;
}

#define CHAT_OF(fields) "{\"messages\": [{\"role\": \"user\", \"content\": \"Hello.\"}]" fields "}"

static void assert_prompt(const struct qm_openai_request *r, int part, const char *want) {
    struct qm_request q;
    struct qm_buf text = {0};
    qm_openai_request_part(r, part, &q);
    assert_int_equal(qm_tokenizer_decode(tokenizer, q.prompt, (size_t)q.n_prompt, false, &text, NULL), QM_OK);
    assert_string_equal(text.data, want);
    qm_buf_free(&text);
}

static void urls(void **state) {
    (void)state;
    enum qm_endpoint e;
    struct qm_error err;
    assert_int_equal(qm_endpoint_parse("/v1/chat/completions", &e, &err), QM_OK);
    assert_int_equal(e, QM_ENDPOINT_CHAT);
    assert_int_equal(qm_endpoint_parse("/v1/completions", &e, &err), QM_OK);
    assert_int_equal(e, QM_ENDPOINT_COMPLETIONS);
    assert_int_equal(qm_endpoint_parse("/v1/embeddings", &e, &err), QM_OK);
    assert_int_equal(e, QM_ENDPOINT_EMBEDDINGS);
    assert_int_equal(qm_endpoint_parse("/v1/responses", &e, &err), QM_INPUT);
    assert_non_null(strstr(err.message, "/v1/responses"));
}

static void chat_is_rendered(void **state) {
    (void)state;
    struct qm_openai_request *r = taken(QM_ENDPOINT_CHAT, CHAT_OF(""));
    struct qm_request q;
    assert_int_equal(qm_openai_request_parts(r), 1);
    assert_prompt(r, 0, "<|im_start|>user\nHello.<|im_end|>\n<|im_start|>assistant\n");
    qm_openai_request_part(r, 0, &q);
    assert_int_equal(q.decoding.max_tokens, -1);
    assert_int_equal(q.decoding.top_logprobs, -1);
    assert_true(q.decoding.sampling.temperature == 0); /* the publisher's do_sample is false */
    assert_int_equal(q.decoding.sampling.seed, 7);
    assert_false(q.embed);
    qm_openai_request_free(r);

    r = taken(QM_ENDPOINT_CHAT,
              "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"One\"}, "
              "{\"type\": \"text\", \"text\": \"two\"}]}], \"user\": \"x\", \"store\": null}");
    assert_prompt(r, 0, "<|im_start|>user\nOne\ntwo<|im_end|>\n<|im_start|>assistant\n");
    qm_openai_request_free(r);
}

static void settings(void **state) {
    (void)state;
    struct qm_openai_request *r = taken(
        QM_ENDPOINT_CHAT,
        CHAT_OF(", \"temperature\": 0.5, \"top_p\": 0.9, \"top_k\": -1, \"min_p\": 0.1, \"presence_penalty\": 1, "
                "\"frequency_penalty\": -1, \"repetition_penalty\": 1.1, \"seed\": -1, \"n\": 3, \"max_tokens\": 5, "
                "\"stop\": [\"a\", \"bc\"], \"logit_bias\": {\"5\": -100, \"6\": 2.5}, \"logprobs\": true, "
                "\"top_logprobs\": 2, \"ignore_eos\": true, \"skip_special_tokens\": false"));
    struct qm_request q;
    assert_int_equal(qm_openai_request_parts(r), 3);
    for (int i = 0; i < 3; i++) {
        qm_openai_request_part(r, i, &q);
        assert_true(q.decoding.sampling.seed == (uint64_t)-1 + (uint64_t)i);
    }
    assert_true(q.decoding.sampling.temperature == 0.5 && q.decoding.sampling.top_p == 0.9 &&
                q.decoding.sampling.top_k == 0);
    assert_true(q.decoding.sampling.min_p == 0.1 && q.decoding.sampling.presence_penalty == 1 &&
                q.decoding.sampling.frequency_penalty == -1);
    assert_true(q.decoding.sampling.repetition_penalty == 1.1);
    assert_int_equal(q.decoding.max_tokens, 5);
    assert_int_equal(q.decoding.n_stop, 2);
    assert_string_equal(q.decoding.stop[1], "bc");
    assert_int_equal(q.decoding.sampling.n_bias, 2);
    assert_int_equal(q.decoding.sampling.bias[1].id, 6);
    assert_true(q.decoding.sampling.bias[1].bias == 2.5f);
    assert_int_equal(q.decoding.top_logprobs, 2);
    assert_true(q.decoding.ignore_end);
    assert_false(q.decoding.skip_special);
    qm_openai_request_free(r);

    r = taken(QM_ENDPOINT_COMPLETIONS, "{\"prompt\": \"Hello.\", \"logprobs\": 0}");
    qm_openai_request_part(r, 0, &q);
    assert_int_equal(q.decoding.max_tokens, 16);
    assert_int_equal(q.decoding.top_logprobs, 0);
    qm_openai_request_free(r);
}

static void prompts_of_each_kind(void **state) {
    (void)state;
    struct qm_request q;
    struct qm_openai_request *r = taken(QM_ENDPOINT_COMPLETIONS, "{\"prompt\": [\"Hello.\", \"Who?\"], \"n\": 2}");
    assert_int_equal(qm_openai_request_parts(r), 4);
    assert_prompt(r, 1, "Hello.");
    assert_prompt(r, 2, "Who?");
    qm_openai_request_free(r);
    r = taken(QM_ENDPOINT_COMPLETIONS, "{\"prompt\": [5, 6, 7]}");
    qm_openai_request_part(r, 0, &q);
    assert_int_equal(q.n_prompt, 3);
    assert_int_equal(q.prompt[2], 7);
    qm_openai_request_free(r);
    r = taken(QM_ENDPOINT_EMBEDDINGS, "{\"input\": [[5, 6], [7]]}");
    assert_int_equal(qm_openai_request_parts(r), 2);
    qm_openai_request_part(r, 1, &q);
    assert_int_equal(q.n_prompt, 1);
    assert_true(q.embed);
    qm_openai_request_free(r);
}

static void refusals(void **state) {
    (void)state;
    refused(QM_ENDPOINT_CHAT, "[]", "object");
    refused(QM_ENDPOINT_CHAT, "{}", "messages");
    refused(QM_ENDPOINT_CHAT, "{\"messages\": []}", "messages");
    refused(QM_ENDPOINT_CHAT, "{\"messages\": [5]}", "message 0");
    refused(QM_ENDPOINT_CHAT, "{\"messages\": [{\"role\": \"user\", \"content\": 5}]}", "content");
    refused(QM_ENDPOINT_CHAT,
            "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"image_url\", \"image_url\": {}}]}]}",
            "part 0");
    refused(QM_ENDPOINT_CHAT,
            "{\"messages\": [{\"role\": \"assistant\", \"tool_calls\": [{\"function\": {\"arguments\": \"{\"}}]}]}",
            "arguments of tool call 0");
    refused(QM_ENDPOINT_CHAT, CHAT_OF(", \"temprature\": 1"), "temprature");
    refused(QM_ENDPOINT_CHAT, CHAT_OF(", \"prompt\": \"x\""), "prompt");
    refused(QM_ENDPOINT_CHAT, CHAT_OF(", \"response_format\": {\"type\": \"json_object\"}"), "response_format");
    refused(QM_ENDPOINT_CHAT, CHAT_OF(", \"tool_choice\": \"required\""), "tool_choice");
    refused(QM_ENDPOINT_CHAT, CHAT_OF(", \"stream\": 1"), "stream");
    refused(QM_ENDPOINT_CHAT, CHAT_OF(", \"min_tokens\": 3, \"max_tokens\": 2"), "min_tokens");
    refused(QM_ENDPOINT_CHAT, CHAT_OF(", \"min_tokens\": -1"), "min_tokens");
    refused(QM_ENDPOINT_CHAT, CHAT_OF(", \"stop_token_ids\": 5"), "stop_token_ids");
    refused(QM_ENDPOINT_CHAT, CHAT_OF(", \"stop_token_ids\": [5, 1024]"), "stop_token_ids");
    refused(QM_ENDPOINT_CHAT, CHAT_OF(", \"echo\": true"), "echo");
    refused(QM_ENDPOINT_CHAT, CHAT_OF(", \"bad_words\": [\"x\"]"), "bad_words");
    refused(QM_ENDPOINT_CHAT, CHAT_OF(", \"use_beam_search\": true"), "use_beam_search");
    refused(QM_ENDPOINT_CHAT, CHAT_OF(", \"temperature\": \"hot\""), "temperature");
    refused(QM_ENDPOINT_CHAT, CHAT_OF(", \"temperature\": -1"), "temperature");
    refused(QM_ENDPOINT_CHAT, CHAT_OF(", \"top_p\": 2"), "top_p");
    refused(QM_ENDPOINT_CHAT, CHAT_OF(", \"n\": 0"), "\"n\"");
    refused(QM_ENDPOINT_CHAT, CHAT_OF(", \"n\": 129"), "\"n\"");
    refused(QM_ENDPOINT_CHAT, CHAT_OF(", \"max_tokens\": 0"), "max_tokens");
    refused(QM_ENDPOINT_CHAT, CHAT_OF(", \"stop\": [1]"), "stop");
    refused(QM_ENDPOINT_CHAT, CHAT_OF(", \"logit_bias\": {\"1024\": 1}"), "1024");
    refused(QM_ENDPOINT_CHAT, CHAT_OF(", \"logit_bias\": {\"x\": 1}"), "logit_bias");
    refused(QM_ENDPOINT_CHAT, CHAT_OF(", \"top_logprobs\": 2"), "logprobs");
    refused(QM_ENDPOINT_CHAT, CHAT_OF(", \"logprobs\": true, \"top_logprobs\": 21"), "top_logprobs");
    refused(QM_ENDPOINT_COMPLETIONS, "{}", "prompt");
    refused(QM_ENDPOINT_COMPLETIONS, "{\"prompt\": [5, \"x\"]}", "token 1");
    refused(QM_ENDPOINT_COMPLETIONS, "{\"prompt\": [5, 1024]}", "token 1");
    refused(QM_ENDPOINT_COMPLETIONS, "{\"prompt\": \"\"}", "no tokens");
    refused(QM_ENDPOINT_COMPLETIONS, "{\"prompt\": \"x\", \"best_of\": 3}", "best_of");
    refused(QM_ENDPOINT_COMPLETIONS, "{\"prompt\": \"x\", \"echo\": true, \"logprobs\": 1}", "echo");
    refused(QM_ENDPOINT_COMPLETIONS, "{\"prompt\": \"x\", \"max_tokens\": 0}", "max_tokens");
    refused(QM_ENDPOINT_EMBEDDINGS, "{\"input\": \"x\", \"encoding_format\": \"hex\"}", "encoding_format");
    refused(QM_ENDPOINT_EMBEDDINGS, "{\"input\": \"x\", \"dimensions\": 3}", "dimensions");
    context.context = 2;
    helped(QM_ENDPOINT_COMPLETIONS, "{\"prompt\": [5, 6]}", "has room for 1", QM_REMEDY_LARGER_CONTEXT);
    context.context = 4096;
    context.chat = NULL;
    helped(QM_ENDPOINT_CHAT, CHAT_OF(""), "chat template", QM_REMEDY_CHAT_TEMPLATE);
    context.chat = chat;
}

static void too_many_together(void **state) {
    (void)state;
    struct qm_buf body = {0};
    assert_int_equal(qm_buf_str(&body, "{\"n\": 128, \"prompt\": [\"a\"", NULL), QM_OK);
    for (int i = 0; i < 16; i++)
        assert_int_equal(qm_buf_str(&body, ", \"b\"", NULL), QM_OK);
    assert_int_equal(qm_buf_str(&body, "]}", NULL), QM_OK);
    refused(QM_ENDPOINT_COMPLETIONS, body.data, "at most 2048 together");
    qm_buf_free(&body);
}

/* Responses are compared as text: the order of fields is part of a file that must come out the same. */
static void assert_response(const struct qm_openai_request *r, const char *want) {
    struct qm_buf text = {0};
    struct qm_error err = {0};
    json_t *response;
    if (qm_openai_response(r, "id-1", 1700000000, &response, &err))
        fail_msg("%s", err.message);
    assert_int_equal(qm_openai_dump(response, &text, &err), QM_OK);
    assert_string_equal(text.data, want);
    qm_buf_free(&text);
    json_decref(response);
}

static void finish(struct qm_openai_request *r, int i, enum qm_finish how, const char *text, int64_t n_ids) {
    struct qm_error err = {0};
    struct qm_outcome o = {.finish = how, .text = text, .text_len = strlen(text), .n_ids = n_ids};
    assert_int_equal(qm_openai_request_done(r, i, &o, &err), QM_OK);
}

/* Its text byte by byte as tokens bring it, all but the last `late` bytes, which the outcome alone has. */
static void stream(struct qm_openai_request *r, int i, enum qm_finish how, const char *text, int64_t n_ids,
                   size_t late) {
    struct qm_error err = {0};
    for (size_t at = 0; at + late < strlen(text); at++) {
        struct qm_generate_token t = {.id = 1, .text = text + at, .text_len = 1};
        assert_int_equal(qm_openai_request_token(r, i, &t, &err), QM_OK);
    }
    finish(r, i, how, text, n_ids);
}

/* However the text comes, the answer is the same. */
static void streamed_responses(void **state) {
    (void)state;
    static const char *const texts[] = {"<think>\nhm\n</think>\n\nGrüße.", "a </think> b", "", "<think>cut"};
    static const char *const bodies[] = {CHAT_OF(""), "{\"prompt\": \"x\", \"echo\": true}"};
    for (size_t i = 0; i < 8; i++)
        for (size_t late = 0; late <= strlen(texts[i / 2]); late++) {
            enum qm_endpoint e = i % 2 ? QM_ENDPOINT_COMPLETIONS : QM_ENDPOINT_CHAT;
            struct qm_openai_request *whole = taken(e, bodies[i % 2]), *pieces = taken(e, bodies[i % 2]);
            struct qm_buf want = {0};
            struct qm_error err = {0};
            json_t *response;
            finish(whole, 0, QM_FINISH_STOP, texts[i / 2], 9);
            stream(pieces, 0, QM_FINISH_STOP, texts[i / 2], 9, late);
            assert_int_equal(qm_openai_response(whole, "id-1", 1700000000, &response, &err), QM_OK);
            assert_int_equal(qm_openai_dump(response, &want, &err), QM_OK);
            json_decref(response);
            assert_response(pieces, want.data);
            qm_buf_free(&want);
            qm_openai_request_free(whole);
            qm_openai_request_free(pieces);
        }
}

static void chat_response(void **state) {
    (void)state;
    struct qm_openai_request *r = taken(QM_ENDPOINT_CHAT, CHAT_OF(", \"model\": \"m\", \"n\": 2"));
    struct qm_error err;
    json_t *response;
    finish(r, 0, QM_FINISH_STOP, "<think>\nhm\n</think>\n\nHello.", 9);
    assert_int_equal(qm_openai_response(r, "id", 0, &response, &err), QM_USAGE); /* part 1 is not done */
    finish(r, 1, QM_FINISH_CONTEXT, "Grüße", 4);
    struct qm_request q;
    qm_openai_request_part(r, 0, &q);
    char want[1024];
    snprintf(
        want, sizeof want,
        "{\"id\":\"id-1\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"m\",\"choices\":["
        "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hello.\",\"reasoning_content\":\"hm\","
        "\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"},"
        "{\"index\":1,\"message\":{\"role\":\"assistant\",\"content\":\"Grüße\",\"refusal\":null},\"logprobs\":null,"
        "\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":13,\"total_tokens\":%d}}",
        (int)q.n_prompt, (int)q.n_prompt + 13);
    assert_response(r, want);
    qm_openai_request_free(r);
}

/* The message and the reason of an answer's only choice. */
static void answers(const char *fields, enum qm_finish how, const char *text, const char *message, const char *reason) {
    struct qm_openai_request *r = taken(QM_ENDPOINT_CHAT, fields);
    struct qm_buf line = {0};
    struct qm_error err;
    json_t *response;
    finish(r, 0, how, text, 3);
    assert_int_equal(qm_openai_response(r, "id-1", 0, &response, &err), QM_OK);
    const json_t *choice = json_array_get(json_object_get(response, "choices"), 0);
    assert_int_equal(qm_openai_dump(json_object_get(choice, "message"), &line, &err), QM_OK);
    assert_string_equal(line.data, message);
    assert_string_equal(json_string_value(json_object_get(choice, "finish_reason")), reason);
    qm_buf_free(&line);
    json_decref(response);
    qm_openai_request_free(r);
}

#define TOOLS ", \"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"weather\"}}]"
#define CALL "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Köln\", \"x\": 0.5}}\n</tool_call>"
#define CALLED(n)                                                                                                      \
    "{\"id\":\"call_id-1_0_" #n "\",\"type\":\"function\",\"function\":{\"name\":\"weather\",\"arguments\":"           \
    "\"{\\\"city\\\":\\\"Köln\\\",\\\"x\\\":0.5}\"}}"
#define MESSAGE(content, more) "{\"role\":\"assistant\",\"content\":" content more ",\"refusal\":null}"

static void tool_calls(void **state) {
    (void)state;
    const char *with = CHAT_OF(TOOLS), *without = CHAT_OF("");
    answers(with, QM_FINISH_STOP, CALL, MESSAGE("null", ",\"tool_calls\":[" CALLED(0) "]"), "tool_calls");
    answers(CHAT_OF(TOOLS ", \"parallel_tool_calls\": false"), QM_FINISH_STOP, CALL "\n" CALL,
            MESSAGE("null", ",\"tool_calls\":[" CALLED(0) "]"), "tool_calls");
    answers(with, QM_FINISH_STOP, "I look.\n" CALL "\n" CALL "\n",
            MESSAGE("\"I look.\"", ",\"tool_calls\":[" CALLED(0) "," CALLED(1) "]"), "tool_calls");
    /* cut off, but whole */
    answers(with, QM_FINISH_LENGTH, "<tool_call>{\"name\": \"weather\"}",
            MESSAGE("null", ",\"tool_calls\":[{\"id\":\"call_id-1_0_0\",\"type\":\"function\",\"function\":{\"name\":"
                            "\"weather\",\"arguments\":\"{}\"}}]"),
            "length");
    /* no tools, and what is no call: text */
    answers(without, QM_FINISH_STOP, "<tool_call>{\"name\": \"a\"}",
            MESSAGE("\"<tool_call>{\\\"name\\\": \\\"a\\\"}\"", ""), "stop");
    static const char *const not_calls[] = {
        "", "x", "<tool_call>", "</tool_call>", "<tool_call>x", "<tool_call>[]", "<tool_call>{}</tool_call>"};
    for (size_t i = 0; i < sizeof not_calls / sizeof *not_calls; i++) {
        char want[128];
        snprintf(want, sizeof want, MESSAGE("\"%s\"", ""), not_calls[i]);
        answers(with, QM_FINISH_STOP, not_calls[i], want, "stop");
    }
    answers(with, QM_FINISH_STOP, "<tool_call>{\"name\": 1}</tool_call>" CALL,
            MESSAGE("\"<tool_call>{\\\"name\\\": 1}</tool_call><tool_call>\\n{\\\"name\\\": \\\"weather\\\", "
                    "\\\"arguments\\\": {\\\"city\\\": \\\"Köln\\\", \\\"x\\\": 0.5}}\\n</tool_call>\"",
                    ""),
            "stop");
}

static void token(struct qm_openai_request *r, int32_t id, float logprob, int32_t other) {
    struct qm_error err = {0};
    struct qm_logprob top[] = {{id, logprob}, {other, -INFINITY}};
    struct qm_generate_token t = {.id = id, .logprob = top[0], .top = top, .n_top = 2};
    assert_int_equal(qm_openai_request_token(r, 0, &t, &err), QM_OK);
}

static void text_response(void **state) {
    (void)state;
    struct qm_openai_request *r = taken(QM_ENDPOINT_COMPLETIONS, "{\"prompt\": [5, 6], \"logprobs\": 2}");
    int32_t a = qm_tokenizer_id(tokenizer, "a", 1), b = qm_tokenizer_id(tokenizer, "b", 1);
    token(r, a, -0.5f, b);
    token(r, b, -0.25f, a);
    finish(r, 0, QM_FINISH_LENGTH, "ab", 2);
    assert_response(
        r, "{\"id\":\"id-1\",\"object\":\"text_completion\",\"created\":1700000000,\"model\":\"demo\",\"choices\":["
           "{\"index\":0,\"text\":\"ab\",\"logprobs\":{\"tokens\":[\"a\",\"b\"],\"token_logprobs\":[-0.5,-0.25],"
           "\"top_logprobs\":[{\"a\":-0.5,\"b\":-9999.0},{\"b\":-0.25,\"a\":-9999.0}],\"text_offset\":[0,1]},"
           "\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":2,"
           "\"total_tokens\":4}}");
    qm_openai_request_free(r);
}

/* Ids of a padded vocabulary, which no token has, are "" in the lists, and the likeliest of one text stays. */
static void padded_response(void **state) {
    (void)state;
    int64_t vocab = context.vocab;
    int32_t beyond = (int32_t)qm_tokenizer_size(tokenizer) + 3, a = qm_tokenizer_id(tokenizer, "a", 1);
    context.vocab = beyond + 2;
    char body[100];
    snprintf(body, sizeof body, "{\"prompt\": [%d, %d], \"logprobs\": 2}", (int)a, (int)beyond);
    struct qm_openai_request *r = taken(QM_ENDPOINT_COMPLETIONS, body);
    token(r, beyond, -0.5f, beyond + 1);
    token(r, a, -0.25f, beyond);
    finish(r, 0, QM_FINISH_LENGTH, "a", 2);
    assert_response(
        r, "{\"id\":\"id-1\",\"object\":\"text_completion\",\"created\":1700000000,\"model\":\"demo\",\"choices\":["
           "{\"index\":0,\"text\":\"a\",\"logprobs\":{\"tokens\":[\"\",\"a\"],\"token_logprobs\":[-0.5,-0.25],"
           "\"top_logprobs\":[{\"\":-0.5},{\"a\":-0.25,\"\":-9999.0}],\"text_offset\":[0,0]},"
           "\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":2,"
           "\"total_tokens\":4}}");
    qm_openai_request_free(r);
    snprintf(body, sizeof body, "{\"prompt\": [%d, %d, %d], \"echo\": true}", (int)a, (int)beyond, (int)a);
    r = taken(QM_ENDPOINT_COMPLETIONS, body);
    finish(r, 0, QM_FINISH_LENGTH, "b", 1);
    json_t *response;
    struct qm_error err;
    assert_int_equal(qm_openai_response(r, "id-1", 1, &response, &err), QM_OK);
    const json_t *choice = json_array_get(json_object_get(response, "choices"), 0);
    assert_string_equal(json_string_value(json_object_get(choice, "text")), "aab");
    json_decref(response);
    qm_openai_request_free(r);
    r = taken(QM_ENDPOINT_CHAT, CHAT_OF(", \"logprobs\": true"));
    token(r, beyond, -0.5f, a);
    finish(r, 0, QM_FINISH_LENGTH, "", 1);
    assert_int_equal(qm_openai_response(r, "id-1", 1, &response, &err), QM_OK);
    choice = json_array_get(json_object_get(response, "choices"), 0);
    const json_t *first = json_array_get(json_object_get(json_object_get(choice, "logprobs"), "content"), 0);
    assert_string_equal(json_string_value(json_object_get(first, "token")), "");
    assert_int_equal(json_array_size(json_object_get(first, "bytes")), 0);
    json_decref(response);
    qm_openai_request_free(r);
    context.vocab = vocab;
}

/* The prompt as it was given, or as its tokens read. */
static void echoed(void **state) {
    (void)state;
    struct qm_openai_request *r =
        taken(QM_ENDPOINT_COMPLETIONS, "{\"prompt\": \"H\\u00e9llo.\", \"echo\": true, \"max_tokens\": 0}");
    finish(r, 0, QM_FINISH_LENGTH, "", 0);
    json_t *response;
    struct qm_error err;
    assert_int_equal(qm_openai_response(r, "id-1", 1, &response, &err), QM_OK);
    const json_t *choices = json_object_get(response, "choices");
    assert_string_equal(json_string_value(json_object_get(json_array_get(choices, 0), "text")), "H\u00e9llo.");
    json_decref(response);
    qm_openai_request_free(r);

    struct qm_buf body = {0};
    int32_t a = qm_tokenizer_id(tokenizer, "a", 1), b = qm_tokenizer_id(tokenizer, "b", 1);
    assert_int_equal(qm_buf_printf(&body, &err, "{\"prompt\": [[%d], [%d, %d]], \"echo\": true, \"n\": 2}", a, b, a),
                     QM_OK);
    r = taken(QM_ENDPOINT_COMPLETIONS, body.data);
    static const char *const answers_of[] = {"1", "2", "3", "4"}, *const want[] = {"a1", "a2", "ba3", "ba4"};
    for (int i = 0; i < 4; i++)
        finish(r, i, QM_FINISH_STOP, answers_of[i], 1);
    assert_int_equal(qm_openai_response(r, "id-1", 1, &response, &err), QM_OK);
    choices = json_object_get(response, "choices");
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(json_string_value(json_object_get(json_array_get(choices, i), "text")), want[i]);
    json_decref(response);
    qm_buf_free(&body);
    qm_openai_request_free(r);
}

/* What files of vLLM and OpenAI's own clients carry: what changes decoding arrives, what changes nothing is taken, and
 * null is as if it were not there, whatever the field. */
static void carried_along(void **state) {
    (void)state;
    static const char *const nulls[] = {
        "model",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "repetition_penalty",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
        "seed",
        "n",
        "stop",
        "ignore_eos",
        "min_tokens",
        "stop_token_ids",
        "skip_special_tokens",
        "logprobs",
        "top_logprobs",
        "tools",
        "tool_choice",
        "documents",
        "reasoning_effort",
        "chat_template_kwargs",
        "stream",
        "stream_options",
        "response_format",
        "user",
        "metadata",
        "store",
        "service_tier",
        "functions",
        "function_call",
        "modalities",
        "audio",
        "prediction",
        "guided_json",
        "guided_regex",
        "bad_words",
        "prompt_logprobs",
        "allowed_token_ids",
        "parallel_tool_calls",
        "add_generation_prompt",
    };
    char body[200];
    for (size_t i = 0; i < sizeof nulls / sizeof *nulls; i++) {
        snprintf(body, sizeof body, CHAT_OF(", \"%s\": null"), nulls[i]);
        qm_openai_request_free(taken(QM_ENDPOINT_CHAT, body));
    }
    struct qm_request q;
    struct qm_openai_request *r =
        taken(QM_ENDPOINT_CHAT,
              CHAT_OF(", \"stop_token_ids\": [7, 9], \"min_tokens\": 4, \"max_completion_tokens\": 4, "
                      "\"include_stop_str_in_output\": true, \"stream\": false, \"store\": true, \"user\": \"u\", "
                      "\"metadata\": {\"a\": \"b\"}, \"service_tier\": \"auto\", \"use_beam_search\": false, "
                      "\"response_format\": {\"type\": \"text\"}, \"stream_options\": {\"include_usage\": true}"));
    qm_openai_request_part(r, 0, &q);
    assert_int_equal(q.decoding.n_stop_ids, 2);
    assert_true(q.decoding.stop_ids[0] == 7 && q.decoding.stop_ids[1] == 9 && q.decoding.include_stop);
    assert_true(q.decoding.min_tokens == 4 && q.decoding.max_tokens == 4);
    qm_openai_request_free(r);
    r = taken(QM_ENDPOINT_COMPLETIONS, "{\"prompt\": \"x\", \"metadata\": {}, \"store\": false, \"echo\": null}");
    qm_openai_request_part(r, 0, &q);
    assert_true(q.decoding.n_stop_ids == 0 && q.decoding.min_tokens == 0 && !q.decoding.include_stop);
    qm_openai_request_free(r);
}

/* Values that ask for nothing are passed over, those that ask for something are refused by name. */
static void neutral_values(void **state) {
    (void)state;
    static const char *const nothing[] = {
        "\"modalities\": [\"text\"]",
        "\"bad_words\": []",
        "\"logit_bias\": {}",
        "\"logit_bias\": []",
        "\"stop\": []",
        "\"stop\": \"\"",
        "\"stop\": [\"\"]",
        "\"allowed_token_ids\": []",
        "\"functions\": []",
        "\"function_call\": \"none\"",
        "\"function_call\": \"auto\"",
        "\"verbosity\": \"medium\"",
        "\"n\": 1",
        "\"echo\": false",
        "\"length_penalty\": 1.0",
        "\"early_stopping\": false",
        "\"prompt_logprobs\": false",
        "\"include_reasoning\": true",
        "\"guided_regex\": \"\"",
        "\"guided_choice\": []",
        "\"structured_outputs\": {}",
        "\"mm_processor_kwargs\": {}",
        "\"tools\": []",
        "\"documents\": []",
        "\"typical_p\": 1",
        "\"mirostat\": 0",
        "\"frequency_penalty\": 0",
        "\"presence_penalty\": 0.0",
        "\"tool_choice\": \"auto\"",
        "\"chat_template\": \"\"",
        "\"prediction\": {}",
        "\"nobody_knows_this\": null",
        "\"stop_token_ids\": []",
        "\"logprobs\": false",
        "\"parallel_tool_calls\": true",
        "\"chat_template_kwargs\": {}",
        "\"response_format\": {\"type\": \"text\"}",
        "\"stream\": false, \"store\": false, \"metadata\": {}, \"user\": \"\", \"service_tier\": \"auto\""};
    static const char *const something[][2] = {{"\"modalities\": [\"text\", \"audio\"]", "modalities"},
                                               {"\"bad_words\": [\"x\"]", "bad_words"},
                                               {"\"verbosity\": \"low\"", "verbosity"},
                                               {"\"web_search_options\": {}", "web_search_options"},
                                               {"\"guided_json\": {}", "guided_json"},
                                               {"\"include_reasoning\": false", "include_reasoning"},
                                               {"\"echo\": true", "echo"},
                                               {"\"length_penalty\": 2", "length_penalty"},
                                               {"\"prompt_logprobs\": 0", "prompt_logprobs"},
                                               {"\"chat_template\": \"x\"", "chat_template"},
                                               {"\"suffix\": \"x\"", "suffix"},
                                               {"\"nobody_knows_this\": false", "nobody_knows_this"}};
    char body[300];
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++) {
        snprintf(body, sizeof body, CHAT_OF(", %s"), nothing[i]);
        struct qm_openai_request *r = taken(QM_ENDPOINT_CHAT, body);
        struct qm_request q;
        assert_prompt(r, 0, "<|im_start|>user\nHello.<|im_end|>\n<|im_start|>assistant\n");
        qm_openai_request_part(r, 0, &q);
        assert_true(q.decoding.n_stop == 0 && q.decoding.n_stop_ids == 0 && q.decoding.sampling.n_bias == 0);
        assert_int_equal(q.decoding.top_logprobs, -1);
        qm_openai_request_free(r);
    }
    for (size_t i = 0; i < sizeof something / sizeof *something; i++) {
        snprintf(body, sizeof body, CHAT_OF(", %s"), something[i][0]);
        refused(QM_ENDPOINT_CHAT, body, something[i][1]);
    }
    qm_openai_request_free(taken(QM_ENDPOINT_COMPLETIONS, "{\"prompt\": \"x\", \"suffix\": \"\", \"logprobs\": false, "
                                                          "\"best_of\": 1, \"stream\": false}"));
    refused(QM_ENDPOINT_COMPLETIONS, "{\"prompt\": \"x\", \"suffix\": \"y\"}", "suffix");
    qm_openai_request_free(taken(QM_ENDPOINT_EMBEDDINGS, "{\"input\": \"x\", \"dimensions\": null, \"user\": null}"));
    refused(QM_ENDPOINT_EMBEDDINGS, "{\"input\": \"x\", \"dimensions\": 5}", "dimensions");
}

static void embedding_response(void **state) {
    (void)state;
    static const float hidden[] = {3, -4}, none[] = {0, 0};
    struct qm_error err = {0};
    struct qm_outcome o = {.embedding = hidden, .n_embedding = 2};
    struct qm_openai_request *r = taken(QM_ENDPOINT_EMBEDDINGS, "{\"input\": [5, 6]}");
    assert_int_equal(qm_openai_request_done(r, 0, &o, &err), QM_OK);
    assert_response(r,
                    "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":[0.600000024,"
                    "-0.800000012]}],\"model\":\"demo\",\"usage\":{\"prompt_tokens\":2,\"total_tokens\":2}}");
    qm_openai_request_free(r);
    r = taken(QM_ENDPOINT_EMBEDDINGS, "{\"input\": [5, 6], \"encoding_format\": \"base64\"}");
    assert_int_equal(qm_openai_request_done(r, 0, &o, &err), QM_OK);
    assert_response(
        r, "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":\"mpkZP83MTL8=\"}],"
           "\"model\":\"demo\",\"usage\":{\"prompt_tokens\":2,\"total_tokens\":2}}");
    qm_openai_request_free(r);
    r = taken(QM_ENDPOINT_EMBEDDINGS, "{\"input\": [5, 6]}");
    o.embedding = none;
    assert_int_equal(qm_openai_request_done(r, 0, &o, &err), QM_INPUT);
    qm_openai_request_free(r);
}

static void defaults(void **state) {
    (void)state;
    struct qm_generation_config g = {0};
    assert_true(qm_openai_sampling(&g).temperature == 1);
    g = (struct qm_generation_config){.has_do_sample = true};
    assert_true(qm_openai_sampling(&g).temperature == 0);
    g = (struct qm_generation_config){.has_temperature = true, .temperature = 0.6, .has_top_k = true, .top_k = 20};
    assert_true(qm_openai_sampling(&g).temperature == 0.6);
    assert_int_equal(qm_openai_sampling(&g).top_k, 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_are_handed_on),
        cmocka_unit_test(without_a_head_embeddings_alone),
        cmocka_unit_test(urls),
        cmocka_unit_test(defaults),
        cmocka_unit_test(chat_is_rendered),
        cmocka_unit_test(settings),
        cmocka_unit_test(prompts_of_each_kind),
        cmocka_unit_test(refusals),
        cmocka_unit_test(too_many_together),
        cmocka_unit_test(chat_response),
        cmocka_unit_test(streamed_responses),
        cmocka_unit_test(tool_calls),
        cmocka_unit_test(text_response),
        cmocka_unit_test(padded_response),
        cmocka_unit_test(echoed),
        cmocka_unit_test(carried_along),
        cmocka_unit_test(neutral_values),
        cmocka_unit_test(embedding_response),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
