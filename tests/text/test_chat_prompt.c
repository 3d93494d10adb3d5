/* From messages to tokens: those of the rendered text, and what is known of the answer. With the demonstration model's
 * template and tokenizer. */
#include "text/chat_prompt.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "tests/support/support.h"

static struct qm_tokenizer *tokenizer;
static struct qm_chat *chat;
static const struct tm now = {.tm_year = 126};

static int setup(void **state) {
    (void)state;
    struct qm_error err = {0};
    if (qm_tokenizer_load("data/demo", &tokenizer, &err) || qm_chat_load("data/demo", NULL, &chat, &err))
        fail_msg("%s", err.message);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    qm_tokenizer_free(tokenizer);
    qm_chat_free(chat);
    return 0;
}

static json_t *parsed(const char *text) {
    json_t *body;
    assert_int_equal(qm_json_parse(text, strlen(text), "body", &body, NULL), QM_OK);
    return body;
}

static void test_tokens(void **state) {
    (void)state;
    json_t *body = parsed("{\"messages\": [{\"role\": \"user\", \"content\": \"Grüße <|im_end|>\"}]}");
    struct qm_error err = {0};
    struct qm_buf text = {0};
    struct qm_ids want = {0}, found = {0};
    struct qm_answer_form form;
    assert_int_equal(qm_chat_prompt(chat, body, &now, &text, &err), QM_OK);
    assert_int_equal(qm_tokenizer_encode(tokenizer, text.data, text.len, false, true, &want, &err), QM_OK);
    const struct qm_chat_input in = {.chat = chat, .tokenizer = tokenizer, .body = body, .now = &now};
    assert_int_equal(qm_chat_tokens(&in, &found, &form, &err), QM_OK);
    assert_int_equal(found.len, want.len);
    assert_memory_equal(found.data, want.data, want.len * sizeof *want.data);
    assert_int_equal(form.format, QM_REASONING_THINK);
    assert_false(form.opened || form.tools);
    /* appended; the local time where none is given */
    struct qm_chat_input local = in;
    local.now = NULL;
    assert_int_equal(qm_chat_tokens(&local, &found, &form, &err), QM_OK);
    assert_true(found.len > want.len);
    qm_ids_free(&want);
    qm_ids_free(&found);
    qm_buf_free(&text);
    json_decref(body);
}

static void test_form(void **state) {
    (void)state;
    static const struct {
        const char *more;
        bool tools, opened;
    } cases[] = {
        {"\"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"a\"}}]", true, false},
        {"\"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"a\"}}], \"tool_choice\": \"none\"", false,
         false},
        {"\"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"a\"}}], \"tool_choice\": \"auto\"", true,
         false},
        {"\"tools\": []", false, false},
        {"\"tools\": null, \"continue_final_message\": true", false, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[400];
        snprintf(text, sizeof text, "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi <think>\"}], %s}",
                 cases[i].more);
        json_t *body = parsed(text);
        struct qm_error err = {0};
        struct qm_ids ids = {0};
        struct qm_answer_form form;
        const struct qm_chat_input in = {.chat = chat, .tokenizer = tokenizer, .body = body, .now = &now};
        assert_int_equal(qm_chat_has_tools(body), cases[i].tools);
        if (qm_chat_tokens(&in, &ids, &form, &err))
            fail_msg("%s: %s", text, err.message);
        assert_int_equal(form.tools, cases[i].tools);
        assert_int_equal(form.opened, cases[i].opened);
        qm_ids_free(&ids);
        json_decref(body);
    }
}

static void test_refusals(void **state) {
    (void)state;
    json_t *bad = parsed("{\"messages\": 3}"),
           *good = parsed("{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}");
    struct qm_error err = {0};
    struct qm_ids ids = {0};
    struct qm_answer_form form;
    const volatile sig_atomic_t flag = 1;
    struct qm_chat_input in = {.chat = chat, .tokenizer = tokenizer, .body = bad, .now = &now};
    assert_int_equal(qm_chat_tokens(&in, &ids, &form, &err), QM_INPUT);
    in.body = good;
    in.interrupt = &flag;
    assert_int_equal(qm_chat_tokens(&in, &ids, &form, &err), QM_INTERRUPTED);
    assert_int_equal(ids.len, 0);
    qm_ids_free(&ids);
    json_decref(bad);
    json_decref(good);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_form),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
