/* Stop strings: every cut of the text gives the same, and nothing sure is held back. */
#include "text/stop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Pushes text in pieces of `piece` bytes; the sure text is checked to be a prefix of expected all along. */
static bool run(const char *const *stop, int n, const char *text, size_t piece, bool flush, const char *expected) {
    struct qm_stop *s;
    struct qm_buf out = {0};
    struct qm_error err;
    bool matched = false;
    assert_int_equal(qm_stop_new(stop, n, false, &s, &err), QM_OK);
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i += piece) {
        assert_int_equal(qm_stop_push(s, text + i, len - i < piece ? len - i : piece, true, &out, &matched, &err),
                         QM_OK);
        assert_true(out.len <= strlen(expected) && memcmp(out.data ? out.data : "", expected, out.len) == 0);
    }
    if (flush)
        assert_int_equal(qm_stop_flush(s, &out, &err), QM_OK);
    assert_string_equal(out.data ? out.data : "", expected);
    qm_buf_free(&out);
    qm_stop_free(s);
    return matched;
}

static void every_cut(const char *const *stop, int n, const char *text, bool matched, const char *expected) {
    for (size_t piece = 1; piece <= strlen(text) + 1; piece++)
        assert_int_equal(run(stop, n, text, piece, true, expected), matched);
}

static void test_cuts(void **state) {
    (void)state;
    every_cut((const char *[]){"\n\n"}, 1, "one\ntwo\n\nthree", true, "one\ntwo");
    every_cut((const char *[]){"END"}, 1, "the EN, the E, the ENEND of it", true, "the EN, the E, the EN");
    every_cut((const char *[]){"aab"}, 1, "aaaaab!", true, "aaa");
    every_cut((const char *[]){"abab", "b"}, 2, "xaab", true, "xaa");
    every_cut((const char *[]){"never"}, 1, "never say neve", true, "");
    every_cut((const char *[]){"never!"}, 1, "never say neve", false, "never say neve");
    every_cut((const char *[]){"é", "ê!"}, 2, "crè ê, é", true, "crè ê, ");
    every_cut(NULL, 0, "anything", false, "anything");
}

static void test_several(void **state) {
    (void)state;
    /* The one that ends first; the longest where two end together. */
    every_cut((const char *[]){"abcdef", "cd"}, 2, "xabcdef", true, "xab");
    every_cut((const char *[]){"cd", "abcd"}, 2, "xabcdef", true, "x");
    every_cut((const char *[]){"User:", "\nUser:", "Human:"}, 3, "Hi.\nUser: no", true, "Hi.");
    /* Held for one string, then only for a shorter one. */
    every_cut((const char *[]){"aXbXc", "Xbd"}, 2, "aXbXbd", true, "aXb");
}

static void test_held(void **state) {
    (void)state;
    const char *stop[] = {"STOP"};
    assert_false(run(stop, 1, "go STO", 3, false, "go "));
    assert_false(run(stop, 1, "go STOX", 3, false, "go STOX"));
    assert_false(run(stop, 1, "go STSTO", 2, false, "go ST"));
    assert_true(run(stop, 1, "go STOP and more", 16, false, "go "));
}

static void test_utf8_held(void **state) {
    (void)state;
    /* Sharing the first byte of a character must not hold or cut a character in the middle. */
    const char *stop[] = {"é"};
    assert_false(run(stop, 1, "aè", 3, false, "aè"));
}

static void test_after_match(void **state) {
    (void)state;
    struct qm_stop *s;
    struct qm_buf out = {0};
    struct qm_error err;
    bool matched;
    assert_int_equal(qm_stop_new((const char *[]){"."}, 1, false, &s, &err), QM_OK);
    assert_int_equal(qm_stop_push(s, "a.b", 3, true, &out, &matched, &err), QM_OK);
    assert_int_equal(qm_stop_push(s, "c", 1, true, &out, &matched, &err), QM_OK);
    assert_true(matched);
    assert_int_equal(qm_stop_flush(s, &out, &err), QM_OK);
    assert_string_equal(out.data, "a");
    qm_buf_free(&out);
    qm_stop_free(s);
}

static void test_refused(void **state) {
    (void)state;
    struct qm_stop *s;
    struct qm_error err;
    assert_int_equal(qm_stop_new((const char *[]){"ok", ""}, 2, false, &s, &err), QM_USAGE);
    assert_int_equal(qm_stop_new((const char *[]){"\xC3"}, 1, false, &s, &err), QM_USAGE);
    assert_null(s);
}

/* Against the definition, on random text of few letters. */
static void test_random(void **state) {
    (void)state;
    uint32_t r = 7;
    for (int round = 0; round < 3000; round++) {
        char text[40], stops[3][6];
        const char *list[3];
        for (size_t i = 0; i < sizeof text; i++)
            text[i] = (char)('a' + ((r = r * 1664525u + 1013904223u) >> 16) % 3);
        text[sizeof text - 1] = 0;
        for (int i = 0; i < 3; i++) {
            size_t n = 2 + ((r = r * 1664525u + 1013904223u) >> 16) % 4;
            for (size_t j = 0; j < n; j++)
                stops[i][j] = (char)('a' + ((r = r * 1664525u + 1013904223u) >> 16) % 3);
            stops[i][n] = 0;
            list[i] = stops[i];
        }
        size_t end = SIZE_MAX, begin = 0;
        for (int i = 0; i < 3; i++) {
            const char *p = strstr(text, stops[i]);
            size_t b = p ? (size_t)(p - text) : 0, e = b + strlen(stops[i]);
            if (p && (e < end || (e == end && b < begin))) {
                end = e;
                begin = b;
            }
        }
        char expected[40];
        strcpy(expected, text);
        if (end != SIZE_MAX)
            expected[begin] = 0;
        assert_int_equal(run(list, 3, text, 1 + (size_t)round % 7, true, expected), end != SIZE_MAX);
    }
}

/* A string that is completed while it does not count is text; one that only begins there counts. */
static void test_armed(void **state) {
    (void)state;
    static const struct {
        const char *before, *after, *text;
        bool matched;
    } cases[] = {
        {"aXYb", "cXYd", "aXYbc", true}, {"aX", "Yb", "a", true},       {"aXY", "b", "aXYb", false},
        {"aXYX", "Yb", "aXY", true},     {"XYXY", "XYb", "XYXY", true}, {"aX", "b", "aXb", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct qm_stop *s;
        struct qm_error err;
        struct qm_buf out = {0};
        bool matched;
        assert_int_equal(qm_stop_new((const char *[]){"XY"}, 1, false, &s, &err), QM_OK);
        assert_int_equal(qm_stop_push(s, cases[i].before, strlen(cases[i].before), false, &out, &matched, &err), QM_OK);
        assert_false(matched);
        assert_int_equal(qm_stop_push(s, cases[i].after, strlen(cases[i].after), true, &out, &matched, &err), QM_OK);
        assert_int_equal(matched, cases[i].matched);
        assert_int_equal(qm_stop_flush(s, &out, &err), QM_OK);
        assert_string_equal(out.data, cases[i].text);
        qm_stop_free(s);
        qm_buf_free(&out);
    }
}

/* The string stays, wherever the pieces are cut; what comes after it does not. */
static void test_included(void **state) {
    (void)state;
    const char text[] = "ab END of it";
    for (size_t cut = 0; cut < sizeof text; cut++) {
        struct qm_stop *s;
        struct qm_error err;
        struct qm_buf out = {0};
        bool matched;
        assert_int_equal(qm_stop_new((const char *[]){"END", "never"}, 2, true, &s, &err), QM_OK);
        assert_int_equal(qm_stop_push(s, text, cut, true, &out, &matched, &err), QM_OK);
        assert_int_equal(qm_stop_push(s, text + cut, strlen(text + cut), true, &out, &matched, &err), QM_OK);
        assert_true(matched);
        assert_string_equal(out.data, "ab END");
        qm_stop_free(s);
        qm_buf_free(&out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cuts),      cmocka_unit_test(test_several),     cmocka_unit_test(test_held),
        cmocka_unit_test(test_utf8_held), cmocka_unit_test(test_after_match), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_random),    cmocka_unit_test(test_armed),       cmocka_unit_test(test_included),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
