/* The cache directory's name. */
#include "base/cache.h"

#include <string.h>
#include <sys/stat.h>

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

/* Folders are made; what is no regular file is refused and not waited for. */
static void test_place(void **state) {
    (void)state;
    char dir[TEST_PATH], path[TEST_PATH];
    struct qm_error err;
    test_temp_dir(dir);
    test_path(path, dir, "a/b/kept.json");
    assert_int_equal(qm_cache_place(path, &err), QM_OK);
    assert_false(test_exists(path));
    test_write_file(path, "{}", 2); /* its folders are there */
    assert_int_equal(qm_cache_place(path, &err), QM_OK);
    test_path(path, dir, "a/pipe");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(qm_cache_place(path, &err), QM_INPUT);
    assert_non_null(strstr(err.message, "a/pipe: expected a regular file, found a named pipe"));
    test_remove_tree(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_directory), cmocka_unit_test(test_too_long),
                                       cmocka_unit_test(test_place)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
