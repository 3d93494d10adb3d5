/* Strict numbers, and the nearest of several names. */
#include "base/parse.h"

#include <string.h>

#include "tests/support/support.h"

static void test_int(void **state) {
    (void)state;
    int64_t v = 5;
    assert_true(qm_parse_int("0", &v) && v == 0);
    assert_true(qm_parse_int("-12", &v) && v == -12);
    assert_true(qm_parse_int("9223372036854775807", &v) && v == INT64_MAX);
    static const char *const wrong[] = {"", "-", "+1", " 1", "1 ", "1a", "1.0", "0x1", "9223372036854775808"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(qm_parse_int(wrong[i], &v));
    assert_true(v == INT64_MAX); /* what is refused changes nothing */
}

static void test_real(void **state) {
    (void)state;
    double v = 5;
    assert_true(qm_parse_real("0.5", &v) && v == 0.5);
    assert_true(qm_parse_real("-1e3", &v) && v == -1000);
    assert_true(qm_parse_real("1e-400", &v) && v >= 0 && v < 1e-300);
    static const char *const wrong[] = {"", "e", "nan", "inf", "0x1", " 1", "1 ", "1e", "1e999", "1,5"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(qm_parse_real(wrong[i], &v));
}

static void test_nearest(void **state) {
    (void)state;
    static const char *const names[] = {"run", "chat", "tokenize", "render", "logits"};
    assert_string_equal(qm_nearest("rnu", names, 5), "run");
    assert_string_equal(qm_nearest("tokenise", names, 5), "tokenize");
    assert_string_equal(qm_nearest("tok", names, 5), "tokenize");
    assert_string_equal(qm_nearest("chta", names, 5), "chat");
    assert_null(qm_nearest("perplexity", names, 5));
    assert_null(qm_nearest("", names, 5));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_int),
        cmocka_unit_test(test_real),
        cmocka_unit_test(test_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
