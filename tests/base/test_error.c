/* Error values: codes, cutting, cleaning, context. */
#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "tests/support/support.h"

static void fail_formats_and_returns_its_code(void **state) {
    (void)state;
    struct qm_error e = {0};
    assert_int_equal(qm_fail(&e, QM_INPUT, "%s: expected %d", "a.json", 7), QM_INPUT);
    assert_int_equal(e.code, QM_INPUT);
    assert_string_equal(e.message, "a.json: expected 7");
    assert_int_equal(qm_fail(NULL, QM_FIT, "nobody listens"), QM_FIT);
}

static void control_bytes_do_not_reach_a_terminal(void **state) {
    (void)state;
    struct qm_error e;
    qm_fail(&e, QM_INPUT, "a\x1b[2Jb\x07\x7f\r\tc\nd\xc3\xa9");
    assert_string_equal(e.message, "a?[2Jb???\tc\nd\xc3\xa9");
}

/* Messages of every length around the limit, ending in characters of 1 to 4 bytes. */
static void a_long_message_is_cut_at_a_character(void **state) {
    (void)state;
    static const char *const ends[] = {"a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    struct qm_error e;
    char text[1100];
    for (int i = 0; i < 4; i++) {
        for (size_t lead = 1010; lead < 1040; lead++) {
            memset(text, 'x', lead);
            strcpy(text + lead, ends[i]);
            strcat(text, ends[i]);
            qm_fail(&e, QM_INPUT, "%s", text);
            size_t n = strlen(e.message);
            assert_true(n < sizeof e.message);
            assert_int_equal(qm_utf8_check(e.message, n), n);
            assert_memory_equal(e.message, text, n);
            if (strlen(text) < sizeof e.message - 1)
                assert_string_equal(e.message, text);
            else
                assert_true(n + 5 >= sizeof e.message);
        }
    }
}

static void context_goes_before_and_keeps_the_code(void **state) {
    (void)state;
    struct qm_error e;
    qm_fail(&e, QM_FIT, "too large");
    assert_int_equal(qm_fail_context(&e, "layer %d", 3), QM_FIT);
    assert_int_equal(e.code, QM_FIT);
    assert_string_equal(e.message, "layer 3: too large");
    assert_int_equal(qm_fail_context(NULL, "x"), QM_SYSTEM);

    char text[1500];
    memset(text, 'y', sizeof text - 1);
    text[sizeof text - 1] = 0;
    qm_fail(&e, QM_INPUT, "%s", text);
    assert_int_equal(qm_fail_context(&e, "%s", text), QM_INPUT);
    assert_int_equal(strlen(e.message), sizeof e.message - 1);
}

static void a_remedy_outlives_context_and_ends_with_the_next_error(void **state) {
    (void)state;
    struct qm_error e;
    assert_int_equal(qm_remedy(&e, QM_REMEDY_CHAT_TEMPLATE, qm_fail(&e, QM_INPUT, "no template")), QM_INPUT);
    assert_int_equal(qm_fail_context(&e, "row 3"), QM_INPUT);
    assert_int_equal(e.remedy, QM_REMEDY_CHAT_TEMPLATE);
    assert_string_equal(e.message, "row 3: no template");
    qm_fail(&e, QM_INPUT, "something else");
    assert_int_equal(e.remedy, QM_REMEDY_NONE);
    assert_int_equal(qm_remedy(NULL, QM_REMEDY_CHAT_TEMPLATE, QM_FIT), QM_FIT);
}

static void errno_separates_input_from_system(void **state) {
    (void)state;
    static const struct {
        int number, code;
    } cases[] = {{ENOENT, QM_INPUT},  {EISDIR, QM_INPUT}, {ENOTDIR, QM_INPUT},      {EACCES, QM_INPUT},
                 {ELOOP, QM_INPUT},   {ENXIO, QM_INPUT},  {ENAMETOOLONG, QM_INPUT}, {EIO, QM_SYSTEM},
                 {ENOSPC, QM_SYSTEM}, {ENOMEM, QM_SYSTEM}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct qm_error e;
        errno = cases[i].number;
        assert_int_equal(qm_fail_errno(&e, "file %d", 1), cases[i].code);
        char want[200];
        snprintf(want, sizeof want, "file 1: %s", strerror(cases[i].number));
        assert_string_equal(e.message, want);
    }
}

static void memory_names_bytes_and_purpose(void **state) {
    (void)state;
    struct qm_error e;
    assert_int_equal(qm_fail_memory(&e, 12345678901ull, "the panels"), QM_SYSTEM);
    assert_string_equal(e.message, "out of memory: 12345678901 bytes for the panels");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fail_formats_and_returns_its_code),
        cmocka_unit_test(control_bytes_do_not_reach_a_terminal),
        cmocka_unit_test(a_long_message_is_cut_at_a_character),
        cmocka_unit_test(context_goes_before_and_keeps_the_code),
        cmocka_unit_test(a_remedy_outlives_context_and_ends_with_the_next_error),
        cmocka_unit_test(errno_separates_input_from_system),
        cmocka_unit_test(memory_names_bytes_and_purpose),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
