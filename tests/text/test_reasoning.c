/* Reasoning separated from answers: every cut of the text gives the same. */
#include "text/reasoning.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct parts {
    struct qm_buf text[2];
};

static void collect(void *arg, enum qm_content part, const char *text, size_t len) {
    struct parts *p = arg;
    struct qm_error err;
    assert_true(len > 0);
    assert_int_equal(qm_buf_add(&p->text[part], text, len, &err), QM_OK);
}

static const char *string(const struct qm_buf *b) {
    return b->data ? b->data : "";
}

static void every_cut(enum qm_reasoning_format format, bool opened, const char *text, const char *reasoning,
                      const char *answer) {
    size_t len = strlen(text);
    for (size_t piece = 1; piece <= len; piece++) {
        struct qm_reasoning *r;
        struct qm_error err;
        struct parts p = {0};
        assert_int_equal(qm_reasoning_new(format, opened, &r, &err), QM_OK);
        for (size_t i = 0; i < len; i += piece) {
            size_t n = len - i < piece ? len - i : piece;
            assert_int_equal(qm_reasoning_push(r, text + i, n, collect, &p, &err), QM_OK);
        }
        assert_int_equal(qm_reasoning_flush(r, collect, &p, &err), QM_OK);
        assert_string_equal(string(&p.text[QM_CONTENT_REASONING]), reasoning);
        assert_string_equal(string(&p.text[QM_CONTENT_ANSWER]), answer);
        assert_string_equal(string(qm_reasoning_sum(r, QM_CONTENT_REASONING)), reasoning);
        assert_string_equal(string(qm_reasoning_sum(r, QM_CONTENT_ANSWER)), answer);
        qm_buf_free(&p.text[0]);
        qm_buf_free(&p.text[1]);
        qm_reasoning_free(r);
    }
}

static void test_think(void **state) {
    (void)state;
    every_cut(QM_REASONING_THINK, false, "<think>\nHm.\n\nYes.\n</think>\n\nFour.\n", "Hm.\n\nYes.", "Four.\n");
    every_cut(QM_REASONING_THINK, false, "\n<think>a</think>b", "a", "b");
    every_cut(QM_REASONING_THINK, false, "<think>\n\n</think>\n\nFour.", "", "Four.");
    every_cut(QM_REASONING_THINK, false, "<think>a < b, </thin, <</think>c", "a < b, </thin, <", "c");
    every_cut(QM_REASONING_THINK, false, "<think>never closed </thi", "never closed </thi", "");
    every_cut(QM_REASONING_THINK, false, "<think>a</think>b<think>c</think>", "a", "b<think>c</think>");
}

static void test_opened(void **state) {
    (void)state;
    every_cut(QM_REASONING_THINK, true, "Hm.\n</think>\n\nFour.", "Hm.", "Four.");
    every_cut(QM_REASONING_THINK, true, "\n</think>Four.", "", "Four.");
    every_cut(QM_REASONING_THINK, true, "cut off", "cut off", "");
    assert_true(qm_reasoning_opened("assistant\n<think>\n", 18));
    assert_true(qm_reasoning_opened("<think>", 7));
    assert_false(qm_reasoning_opened("<think>\n\n</think>\n\n", 19));
    assert_false(qm_reasoning_opened("think>", 6));
    assert_false(qm_reasoning_opened("", 0));
}

static void test_no_reasoning(void **state) {
    (void)state;
    every_cut(QM_REASONING_THINK, false, "\n\nFour, not <think>.", "", "\n\nFour, not <think>.");
    every_cut(QM_REASONING_THINK, false, "<thinking>x", "", "<thinking>x");
    every_cut(QM_REASONING_THINK, false, " <thi", "", " <thi");
    every_cut(QM_REASONING_THINK, false, "caf\xC3\xA9", "", "caf\xC3\xA9");
}

static void test_harmony(void **state) {
    (void)state;
    every_cut(QM_REASONING_HARMONY, false,
              "<|channel|>analysis<|message|>Two and two.\n<|end|><|start|>assistant<|channel|>final<|message|>Four.",
              "Two and two.\n", "Four.");
    every_cut(QM_REASONING_HARMONY, false, "<|channel|>final<|message|>a <| b <|return|>", "", "a <| b ");
    every_cut(QM_REASONING_HARMONY, false,
              "<|channel|>analysis<|message|>A<|end|><|start|>assistant<|channel|>commentary<|message|>B<|end|>"
              "<|start|>assistant<|channel|>analysis<|message|>C<|channel|>final<|message|>D",
              "AC", "BD");
    every_cut(QM_REASONING_HARMONY, false, "<|channel|>analysis<|message|>cut <|en", "cut <|en", "");
    /* The end in the middle of a header, and text with no header at all. */
    every_cut(QM_REASONING_HARMONY, false, "<|channel|>final<|message|>A<|end|><|start|>assist", "", "A");
    every_cut(QM_REASONING_HARMONY, false, "<|channel|>analysis<|message|>A<|end|><|start|>assist", "A", "");
    every_cut(QM_REASONING_HARMONY, false, "<|channel|>analysis<|message|>A<|start|>assist", "A", "");
    every_cut(QM_REASONING_HARMONY, false, "<|channel|>ana", "", "");
    every_cut(QM_REASONING_HARMONY, false, "<|channel|>analysis<|message|>A<|end|>b", "A", "b");
    every_cut(QM_REASONING_HARMONY, false, "plain", "", "plain");
    every_cut(QM_REASONING_HARMONY, false, "plain\ntext<|end|>", "", "plain\ntext");
}

static void test_long_header(void **state) {
    (void)state;
    char text[1025];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    every_cut(QM_REASONING_HARMONY, false, text, "", text);
}

static void test_none(void **state) {
    (void)state;
    every_cut(QM_REASONING_NONE, false, "\n<think>a</think><|end|>b\n", "", "\n<think>a</think><|end|>b\n");
    every_cut(QM_REASONING_NONE, true, "a", "", "a");
}

/* The sums are there without a listener too, and before anything has come. */
static void test_without_a_listener(void **state) {
    (void)state;
    struct qm_reasoning *r;
    struct qm_error err;
    assert_int_equal(qm_reasoning_new(QM_REASONING_THINK, false, &r, &err), QM_OK);
    assert_int_equal(qm_reasoning_sum(r, QM_CONTENT_REASONING)->len, 0);
    assert_int_equal(qm_reasoning_push(r, "<think>a</thi", 13, NULL, NULL, &err), QM_OK);
    assert_string_equal(string(qm_reasoning_sum(r, QM_CONTENT_REASONING)), "a");
    assert_int_equal(qm_reasoning_push(r, "nk>b", 4, NULL, NULL, &err), QM_OK);
    assert_int_equal(qm_reasoning_flush(r, NULL, NULL, &err), QM_OK);
    assert_string_equal(string(qm_reasoning_sum(r, QM_CONTENT_REASONING)), "a");
    assert_string_equal(string(qm_reasoning_sum(r, QM_CONTENT_ANSWER)), "b");
    qm_reasoning_free(r);
}

/* Nothing sure is held back. */
static void test_at_once(void **state) {
    (void)state;
    struct qm_reasoning *r;
    struct qm_error err;
    struct parts p = {0};
    assert_int_equal(qm_reasoning_new(QM_REASONING_THINK, false, &r, &err), QM_OK);
    assert_int_equal(qm_reasoning_push(r, "<think>so <", 11, collect, &p, &err), QM_OK);
    assert_string_equal(string(&p.text[QM_CONTENT_REASONING]), "so ");
    assert_int_equal(qm_reasoning_push(r, "b", 1, collect, &p, &err), QM_OK);
    assert_string_equal(string(&p.text[QM_CONTENT_REASONING]), "so <b");
    qm_buf_free(&p.text[0]);
    qm_buf_free(&p.text[1]);
    qm_reasoning_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_think),
        cmocka_unit_test(test_opened),
        cmocka_unit_test(test_no_reasoning),
        cmocka_unit_test(test_harmony),
        cmocka_unit_test(test_long_header),
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_without_a_listener),
        cmocka_unit_test(test_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
