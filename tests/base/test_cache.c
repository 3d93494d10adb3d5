/* The cache directory's name. */
#include "base/cache.h"
#include "tests/support/support.h"

static void test_directory(void **state) {
    (void)state;
    static const struct {
        const char *cache, *home, *expected; /* NULL: QM_INPUT */
    } cases[] = {
        {"/cache", "/home/u", "/cache/quietmind"},
        {"/cache", NULL, "/cache/quietmind"},
        {NULL, "/home/u", "/home/u/.cache/quietmind"},
        {"", "/home/u", "/home/u/.cache/quietmind"},
        {"relative", "/home/u", "/home/u/.cache/quietmind"},
        {NULL, NULL, NULL},
        {"relative", "", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[64];
        struct qm_error err;
        int rc = qm_cache_directory(cases[i].cache, cases[i].home, out, sizeof out, &err);
        assert_int_equal(rc, cases[i].expected ? QM_OK : QM_INPUT);
        assert_string_equal(out, cases[i].expected ? cases[i].expected : "");
        if (rc)
            assert_string_equal(err.message, "no cache directory: neither XDG_CACHE_HOME nor HOME is set");
    }
}

static void test_too_long(void **state) {
    (void)state;
    char out[17];
    struct qm_error err;
    assert_int_equal(qm_cache_directory("/cache", NULL, out, sizeof out, &err), QM_OK);
    assert_int_equal(qm_cache_directory("/cache", NULL, out, sizeof out - 1, &err), QM_INPUT);
    assert_string_equal(out, "");
    assert_string_equal(err.message, "the path of the cache directory is too long");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_directory), cmocka_unit_test(test_too_long)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
