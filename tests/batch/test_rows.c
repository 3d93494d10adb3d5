/* Rows of a batch file, their order, and their output lines. */
#include "tests/support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batch/line.h"
#include "batch/row.h"
#include "batch/window.h"

static int parse(const char *text, struct qm_batch_row *row, struct qm_error *err) {
    *row = (struct qm_batch_row){0};
    return qm_batch_row_parse(text, strlen(text), "row 3", row, err);
}

static void test_row(void **state) {
    (void)state;
    struct qm_batch_row row;
    struct qm_error err = {0};
    assert_int_equal(parse("{\"custom_id\": \"a\", \"method\": \"POST\", \"url\": \"/v1/embeddings\", "
                           "\"body\": {\"input\": \"x\"}, \"more\": 1}",
                           &row, &err),
                     0);
    assert_string_equal(row.custom_id, "a");
    assert_int_equal(row.endpoint, QM_ENDPOINT_EMBEDDINGS);
    assert_true(json_is_object(row.body));
    qm_batch_row_free(&row);
}

static void test_streams_are_refused(void **state) {
    (void)state;
    struct qm_error err = {0};
    struct qm_tokenizer *tokenizer;
    if (qm_tokenizer_load("data/demo", &tokenizer, &err))
        fail_msg("%s", err.message);
    const struct qm_openai_context context = {
        .tokenizer = tokenizer, .vocab = 1024, .context = 64, .sampling = qm_sampling_default, .model = "demo"};
    for (int stream = 0; stream < 2; stream++) {
        struct qm_batch_row row;
        struct qm_openai_request *request;
        char text[200];
        snprintf(text, sizeof text,
                 "{\"custom_id\": \"a\", \"method\": \"POST\", \"url\": \"/v1/completions\", "
                 "\"body\": {\"prompt\": \"x\", \"stream\": %s}}",
                 stream ? "true" : "false");
        assert_int_equal(parse(text, &row, &err), 0);
        assert_int_equal(qm_batch_row_request(&row, &context, 7, &request, &err), stream ? QM_INPUT : QM_OK);
        if (stream) {
            assert_null(request);
            assert_string_equal(err.message, "\"stream\": a batch has no streamed responses: leave it out");
        }
        qm_openai_request_free(request);
        qm_batch_row_free(&row);
    }
    qm_tokenizer_free(tokenizer);
}

static void test_bad_rows(void **state) {
    (void)state;
    static const struct {
        const char *text, *id, *says;
    } bad[] = {
        {"", NULL, "JSON"},
        {"{", NULL, "JSON"},
        /* the name of what can't be read, where that can be */
        {"{\"custom_id\": \"a\", \"body\": {\"x\": ", "a", "JSON"},
        {" {\"body\": {\"custom_id\": \"no\", \"y\": [\"}\", \"\\\"\"]}, \"custom_id\" : \"\\u00e4 b\", oops}",
         "\xc3\xa4 b", "JSON"},
        {"{\"custom_id\": \"a\", \"body\": \"\xff\"}", "a", "JSON"},
        {"{\"custom_id\": \"a", NULL, "JSON"},
        {"{\"custom_id\": \"\xff\"}", NULL, "JSON"},
        {"{\"body\": {\"custom_id\": \"a\"", NULL, "JSON"},
        {"text {\"custom_id\": \"a\"", NULL, "JSON"},
        {"[1]", NULL, "a list"},
        {"{}", NULL, "custom_id"},
        {"{\"custom_id\": 1}", NULL, "an integer"},
        {"{\"custom_id\": \"\"}", NULL, "1 to 512"},
        {"{\"custom_id\": \"a\\u0000b\"}", NULL, "NUL"},
        {"{\"custom_id\": \"a\"}", "a", "method"},
        {"{\"custom_id\": \"a\", \"method\": \"GET\", \"url\": \"/v1/embeddings\"}", "a", "POST"},
        {"{\"custom_id\": \"a\", \"method\": \"POST\"}", "a", "url"},
        {"{\"custom_id\": \"a\", \"method\": \"POST\", \"url\": \"/v1/images\"}", "a", "/v1/images"},
        {"{\"custom_id\": \"a\", \"method\": \"POST\", \"url\": \"/v1/embeddings\"}", "a", "body"},
        {"{\"custom_id\": \"a\", \"method\": \"POST\", \"url\": \"/v1/embeddings\", \"body\": []}", "a", "a list"},
        {"{\"custom_id\": \"a\", \"custom_id\": \"b\"}", "b", "method"}, /* the last counts */
        {"{\"custom_id\": 18446744073709551616}", NULL, "an integer beyond 64 bits"},
        {"{\"custom_id\": \"a\", \"method\": \"POST\", \"url\": \"/v1/embeddings\", \"body\": NaN}", "a", "NaN"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct qm_batch_row row;
        struct qm_error err = {0};
        assert_int_equal(parse(bad[i].text, &row, &err), QM_INPUT);
        if (!strstr(err.message, bad[i].says))
            fail_msg("%s: %s", bad[i].text, err.message);
        if (bad[i].id)
            assert_string_equal(row.custom_id, bad[i].id);
        else
            assert_null(row.custom_id);
        qm_batch_row_free(&row);
    }
}

/* A chat request whose content is n letters, then a word of its own. */
static struct qm_batch_prefix prefix_of(char letter, size_t n, const char *word) {
    char *text = malloc(n + 300);
    int head =
        sprintf(text, "{\"custom_id\": \"a\", \"method\": \"POST\", \"url\": \"/v1/chat/completions\", \"body\": "
                      "{\"messages\": [{\"role\": \"user\", \"content\": \"");
    memset(text + head, letter, n);
    sprintf(text + head + n, "%s\"}]}}", word);
    struct qm_batch_row row;
    struct qm_batch_prefix prefix;
    assert_int_equal(parse(text, &row, NULL), 0);
    assert_int_equal(qm_batch_row_prefix(&row, &prefix, NULL), 0);
    qm_batch_row_free(&row);
    free(text);
    return prefix;
}

static void test_prefix(void **state) {
    (void)state;
    struct qm_batch_prefix small = prefix_of('a', 10, "x"), a = prefix_of('a', 5000, "x"),
                           b = prefix_of('a', 5000, "y"), c = prefix_of('a', 900, "y"), d = prefix_of('b', 5000, "x");
    assert_int_equal(small.n, 0);
    assert_int_equal(a.n, 3);
    assert_int_equal(qm_batch_prefix_common(&a, &b), 3);
    assert_int_equal(qm_batch_prefix_common(&a, &c), 1); /* 256 bytes, not 1024 */
    assert_int_equal(qm_batch_prefix_common(&a, &d), 0);
    assert_int_equal(qm_batch_prefix_common(&a, &small), 0);
}

static void add(struct qm_batch_window *w, int64_t number, const char *id, const struct qm_batch_prefix *p) {
    struct qm_batch_line line = {.number = number, .offset = (uint64_t)number * 100, .length = 50, .text = "gone"};
    assert_true(qm_batch_window_room(w));
    assert_int_equal(qm_batch_window_add(w, &line, id, p, number % 2 == 0, NULL), 0);
}

static void takes(struct qm_batch_window *w, int64_t number) {
    struct qm_batch_pending *p = qm_batch_window_take(w);
    assert_non_null(p);
    assert_int_equal(p->line.number, number);
    assert_int_equal(p->follows, number % 2 == 0);
    assert_null(p->line.text);
}

static void test_window(void **state) {
    (void)state;
    struct qm_batch_window *w;
    struct qm_batch_prefix a = prefix_of('a', 2000, "x"), b = prefix_of('b', 2000, "x"), none = {0};
    assert_int_equal(qm_batch_window_new(5, &w, NULL), 0);
    assert_null(qm_batch_window_take(w));
    assert_null(qm_batch_window_first(w));
    add(w, 10, "r10", &a);
    add(w, 11, "r11", &b);
    add(w, 13, "r13", &a); /* 12 was an error */
    add(w, 14, "r14", &b);
    add(w, 15, "r15", &none);
    assert_false(qm_batch_window_room(w));
    assert_non_null(qm_batch_window_named(w, "r14"));
    assert_null(qm_batch_window_named(w, "r12"));
    takes(w, 10);
    takes(w, 13); /* shares 10's prefix */
    takes(w, 11);
    takes(w, 14);
    qm_batch_window_remove(w, 13);
    assert_int_equal(qm_batch_window_first(w)->line.number, 10);
    assert_true(qm_batch_window_room(w)); /* a finished row leaves, whichever it is */
    qm_batch_window_remove(w, 10);
    assert_int_equal(qm_batch_window_first(w)->line.number, 11);
    add(w, 16, "r16", &b);
    takes(w, 16); /* before 15: it shares 14's prefix */
    takes(w, 15);
    assert_null(qm_batch_window_take(w));
    qm_batch_window_remove(w, 11);
    qm_batch_window_remove(w, 14);
    qm_batch_window_remove(w, 15);
    qm_batch_window_remove(w, 16);
    assert_null(qm_batch_window_first(w));
    add(w, 1000, "r1000", &none); /* after a gap */
    takes(w, 1000);
    qm_batch_window_free(w);
}

/* One row that takes all night keeps nothing from being read; and nothing waits for ever behind rows that are alike. */
static void test_long_row(void **state) {
    (void)state;
    struct qm_batch_window *w;
    struct qm_batch_prefix a = prefix_of('a', 2000, "x"), b = prefix_of('b', 2000, "x");
    assert_int_equal(qm_batch_window_new(4, &w, NULL), 0);
    add(w, 1, "long", &a);
    takes(w, 1);
    add(w, 2, "other", &b);
    int64_t other = 0;
    for (int64_t n = 3; n < 3000; n++) {
        char id[32];
        snprintf(id, sizeof id, "r%lld", (long long)n);
        add(w, n, id, &a);
        struct qm_batch_pending *p = qm_batch_window_take(w);
        assert_non_null(p);
        int64_t number = p->line.number;
        if (number == 2)
            other = n;
        assert_true(number == 2 || number >= n - 1);
        assert_int_equal(qm_batch_window_first(w)->line.number, 1);
        qm_batch_window_remove(w, number);
    }
    assert_in_range(other, 3, 8);
    qm_batch_window_free(w);
}

static void test_lines(void **state) {
    (void)state;
    struct qm_buf out = {0}, again = {0};
    struct qm_error why = {0};
    char id[64], other[64];
    qm_batch_body_id("job", 1, QM_ENDPOINT_CHAT, id);
    assert_memory_equal(id, "chatcmpl-", 9);
    qm_batch_body_id("job", 2, QM_ENDPOINT_CHAT, other);
    assert_string_not_equal(id, other);
    assert_int_equal(qm_batch_line_answer("job", 1, "a", json_pack("{s:i}", "x", 1), &out, NULL), 0);
    assert_int_equal(qm_batch_line_answer("job", 1, "a", json_pack("{s:i}", "x", 1), &again, NULL), 0);
    assert_string_equal(out.data, again.data);
    json_t *line = json_loads(out.data, 0, NULL);
    assert_non_null(line);
    int code;
    const char *name, *request;
    assert_int_equal(json_unpack(line, "{s:s, s:{s:i, s:s, s:{s:i}}, s:n}", "custom_id", &name, "response",
                                 "status_code", &code, "request_id", &request, "body", "x", &(int){0}, "error"),
                     0);
    assert_int_equal(code, 200);
    json_decref(line);
    out.len = 0;
    qm_fail(&why, QM_INPUT, "row 7: \"x\" is wrong");
    assert_int_equal(qm_batch_line_error("job", 7, 0, NULL, &why, &out, NULL), 0);
    line = json_loads(out.data, 0, NULL);
    assert_int_equal(json_unpack(line, "{s:n, s:n, s:{s:s, s:s}}", "custom_id", "response", "error", "code", &name,
                                 "message", &request),
                     0);
    assert_string_equal(request, "row 7: \"x\" is wrong");
    json_decref(line);
    qm_buf_free(&out);
    qm_buf_free(&again);
}

static void test_reasons(void **state) {
    (void)state;
    char reason[160];
    qm_batch_reason("row 17: \"method\" must be \"POST\", found \"GET\"", reason);
    assert_string_equal(reason, "\"method\" must be \"POST\"");
    qm_batch_reason("prompt 3 has 4000 tokens", reason);
    assert_string_equal(reason, "prompt N has N tokens");
    qm_batch_reason("row 3: not valid JSON at column 18: invalid token near 'x'", reason);
    assert_string_equal(reason, "not valid JSON");
    char text[400];
    memset(text, 'x', sizeof text);
    text[399] = 0;
    qm_batch_reason(text, reason);
    assert_in_range(strlen(reason), 100, 159);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_row),      cmocka_unit_test(test_bad_rows),
        cmocka_unit_test(test_prefix),   cmocka_unit_test(test_window),
        cmocka_unit_test(test_long_row), cmocka_unit_test(test_lines),
        cmocka_unit_test(test_reasons),  cmocka_unit_test(test_streams_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
