/* Ids files: what is one, what is not, and where the message points. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "text/ids_file.h"

static void accepted(const char *text, const int32_t *want, size_t n) {
    struct qm_ids ids = {0};
    struct qm_error err = {0};
    int rc = qm_ids_parse(text, strlen(text), "x.ids", &ids, &err);
    if (rc)
        fail_msg("%s: %s", text, err.message);
    assert_int_equal(ids.len, n);
    if (n)
        assert_memory_equal(ids.data, want, n * sizeof *want);
    qm_ids_free(&ids);
}

static void refused_bytes(const char *text, size_t len, const char *part) {
    struct qm_ids ids = {0};
    struct qm_error err = {0};
    assert_int_equal(qm_ids_parse(text, len, "x.ids", &ids, &err), QM_INPUT);
    if (!strstr(err.message, part))
        fail_msg("expected \"%s\", found \"%s\"", part, err.message);
    qm_ids_free(&ids);
}

static void refused(const char *text, const char *part) {
    refused_bytes(text, strlen(text), part);
}

static void test_accepted(void **state) {
    (void)state;
    accepted("", NULL, 0);
    accepted(" \n\t ", NULL, 0);
    accepted("1 2\n3\r\n4\t5", (int32_t[]){1, 2, 3, 4, 5}, 5);
    accepted("  0\n2147483647 007\n", (int32_t[]){0, INT32_MAX, 7}, 3);
}

static void test_refused(void **state) {
    (void)state;
    refused("-1", "line 1, column 1");
    refused("1 2\n 3 x4", "line 2, column 4: expected a token id from 0 to 2147483647, found \"x4\"");
    refused("1,2", "found \"1,2\"");
    refused("1.5", "found \"1.5\"");
    refused("2147483648", "found \"2147483648\"");
    refused("99999999999999999999999999", "expected a token id");
    refused("+1", "found \"+1\"");
    refused_bytes("1\0002", 3, "column 1");
    refused("\xff\xfe", "expected a token id");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
