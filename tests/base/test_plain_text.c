/* Texts from files: UTF-8, without a byte order mark, no PDF. */
#include <stdlib.h>
#include <string.h>

#include "base/plain_text.h"
#include "tests/support/support.h"

static void texts_are_read(void **state) {
    (void)state;
    static const struct {
        const char *bytes, *text; /* NULL: refused */
        enum qm_remedy remedy;
    } cases[] = {{"one\n", "one\n", QM_REMEDY_NONE},
                 {"", "", QM_REMEDY_NONE},
                 {"\xEF\xBB\xBFmarked", "marked", QM_REMEDY_NONE},
                 {"gr\xC3\xBC\xC3\x9F", "gr\xC3\xBC\xC3\x9F", QM_REMEDY_NONE},
                 {"a\xFF", NULL, QM_REMEDY_NONE},
                 {"%PDF-1.7 ...", NULL, QM_REMEDY_AS_DOCUMENT}};
    char dir[TEST_PATH], path[TEST_PATH];
    test_temp_dir(dir);
    test_path(path, dir, "text");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct qm_buf all = {0};
        struct qm_error err = {0};
        assert_int_equal(qm_buf_str(&all, "before ", &err), 0);
        test_write_file(path, cases[i].bytes, strlen(cases[i].bytes));
        assert_int_equal(qm_read_text(path, &all, &err), cases[i].text ? QM_OK : QM_INPUT);
        assert_int_equal(err.remedy, cases[i].remedy);
        if (cases[i].text) {
            assert_memory_equal(all.data, "before ", 7); /* appended */
            assert_string_equal(all.data + 7, cases[i].text);
        }
        qm_buf_free(&all);
    }
    test_remove_tree(dir);
}

static void the_first_bad_byte_is_named(void **state) {
    (void)state;
    struct qm_error err;
    assert_int_equal(qm_check_text("gut", 3, "X", &err), 0);
    assert_int_equal(qm_check_text("ab\xFE!", 4, "X", &err), QM_INPUT);
    assert_string_equal(err.message, "X: not valid UTF-8: byte 0xfe at offset 2");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(texts_are_read), cmocka_unit_test(the_first_bad_byte_is_named)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
