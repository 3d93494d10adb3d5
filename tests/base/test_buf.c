/* The growable buffer: growth, termination, and failures that leave what was there. */
#include "base/buf.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "tests/support/support.h"

static void grows_and_stays_a_string(void **state) {
    (void)state;
    struct qm_buf b = {0};
    struct qm_error e;
    assert_int_equal(qm_buf_reserve(&b, 0, &e), QM_OK);
    assert_string_equal(b.data, "");
    for (size_t i = 0; i < 10000; i++) {
        char c = (char)('a' + i % 26);
        assert_int_equal(qm_buf_add(&b, &c, 1, &e), QM_OK);
        assert_int_equal(b.len, i + 1);
        assert_int_equal(b.data[b.len], 0);
        assert_true(b.cap > b.len);
    }
    for (size_t i = 0; i < b.len; i++)
        assert_int_equal(b.data[i], 'a' + i % 26);
    qm_buf_free(&b);
    assert_null(b.data);
    assert_int_equal(b.len + b.cap, 0);
    qm_buf_free(&b);
}

static void takes_bytes_strings_and_formats(void **state) {
    (void)state;
    struct qm_buf b = {0};
    struct qm_error e;
    assert_int_equal(qm_buf_add(&b, NULL, 0, &e), QM_OK);
    assert_int_equal(qm_buf_str(&b, "x=", &e), QM_OK);
    assert_int_equal(qm_buf_printf(&b, &e, "%d %s", 42, "ok"), QM_OK);
    assert_int_equal(qm_buf_add(&b, "\0z", 2, &e), QM_OK);
    assert_int_equal(b.len, 9);
    assert_memory_equal(b.data, "x=42 ok\0z", 10);
    assert_int_equal(qm_buf_printf(&b, &e, "%s", ""), QM_OK);
    assert_int_equal(b.len, 9);
    assert_int_equal(qm_buf_printf(&b, &e, "%5000d", 7), QM_OK);
    assert_int_equal(b.len, 5009);
    assert_int_equal(b.data[5008], '7');
    qm_buf_free(&b);
}

static void what_was_there_survives_a_failure(void **state) {
    (void)state;
    struct qm_buf b = {0};
    struct qm_error e;
    assert_int_equal(qm_buf_str(&b, "kept", &e), QM_OK);
    static const size_t much[] = {SIZE_MAX, SIZE_MAX / 2, SIZE_MAX / 2 - 4, SIZE_MAX / 4};
    for (size_t i = 0; i < sizeof much / sizeof *much; i++) {
        assert_int_equal(qm_buf_reserve(&b, much[i], &e), QM_SYSTEM);
        assert_non_null(strstr(e.message, "out of memory"));
        assert_string_equal(b.data, "kept");
        assert_int_equal(b.len, 4);
    }
    assert_int_equal(qm_buf_add(&b, "never read", SIZE_MAX / 2, &e), QM_SYSTEM);
    assert_string_equal(b.data, "kept");
    qm_buf_free(&b);
}

/* A wide character that the locale has no bytes for (vsnprintf: EILSEQ). */
static void text_that_cannot_be_formatted_is_refused(void **state) {
    (void)state;
    struct qm_buf b = {0};
    struct qm_error e;
    assert_int_equal(qm_buf_str(&b, "kept", &e), QM_OK);
    assert_int_equal(qm_buf_printf(&b, &e, "%lc", (wint_t)0x110000), QM_SYSTEM);
    assert_string_equal(e.message, "text could not be formatted");
    assert_string_equal(b.data, "kept");
    qm_buf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_stays_a_string),
        cmocka_unit_test(takes_bytes_strings_and_formats),
        cmocka_unit_test(what_was_there_survives_a_failure),
        cmocka_unit_test(text_that_cannot_be_formatted_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
