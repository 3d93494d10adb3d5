/* Paths and names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/path.h"

static void joined(void **state) {
    (void)state;
    static const char *const cases[][3] = {{"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"/", "b", "/b"}, {"", "b", "/b"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = qm_path_join(cases[i][0], cases[i][1]);
        assert_string_equal(path, cases[i][2]);
        free(path);
    }
}

static void last(void **state) {
    (void)state;
    assert_string_equal(qm_path_last("dir/model"), "model");
    assert_string_equal(qm_path_last("model"), "model");
    assert_string_equal(qm_path_last("/a/b/c.json"), "c.json");
    assert_string_equal(qm_path_last("dir/"), "dir/");
    assert_string_equal(qm_path_last("/"), "/");
    assert_string_equal(qm_path_last(""), "");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(joined), cmocka_unit_test(last)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
