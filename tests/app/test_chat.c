/* Words of answers on a terminal's lines: the same text whatever the pieces it comes in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "app/chat/answer.h"

static struct qm_buf written;

static int take(const void *bytes, size_t n, struct qm_error *err) {
    return qm_buf_add(&written, bytes, n, err);
}

/* In pieces of so many bytes, characters not cut. */
static void wrapped(const char *text, int columns, const char *expected) {
    struct qm_error err;
    size_t len = strlen(text);
    for (size_t piece = 1; piece <= len + 1; piece += piece < 4 ? 1 : len) {
        struct qm_wrap w = {.columns = columns};
        written.len = 0;
        for (size_t at = 0, n; at < len; at += n) {
            n = piece < len - at ? piece : len - at;
            while (at + n < len && ((unsigned char)text[at + n] & 0xC0) == 0x80)
                n++;
            assert_int_equal(qm_wrap_text(&w, text + at, n, take, &err), QM_OK);
        }
        assert_int_equal(qm_wrap_flush(&w, take, &err), QM_OK);
        assert_int_equal(qm_buf_add(&written, "", 1, &err), QM_OK);
        assert_string_equal(written.data, expected);
        qm_buf_free(&w.word);
    }
}

static void words(void **state) {
    (void)state;
    wrapped("", 10, "");
    wrapped("one two three", 0, "one two three");
    wrapped("one two three", 20, "one two three");
    wrapped("one two three", 7, "one two\nthree");
    wrapped("one two three", 8, "one two\nthree");
    wrapped("one two three", 3, "one\ntwo\nthree"); /* too long for any line: the terminal breaks it */
    wrapped("one  two", 9, "one  two");
    wrapped("one  two", 7, "one\ntwo");
    wrapped("a b\n\n  - c d e f", 7, "a b\n\n  - c d\ne f");
    wrapped("a\tb", 20, "a       b");
    wrapped("end ", 20, "end ");
}

/* Widths are columns: two for Chinese, which may be broken anywhere, none for a combining accent. */
static void widths(void **state) {
    (void)state;
    wrapped("漢字漢字", 5, "漢字\n漢字");
    wrapped("ab 漢字", 6, "ab 漢\n字");
    wrapped("e\xCC\x81 e\xCC\x81 x", 3, "e\xCC\x81 e\xCC\x81\nx");
    wrapped("\xC3\xA4\xC3\xA4 \xC3\xB6\xC3\xB6", 4, "\xC3\xA4\xC3\xA4\n\xC3\xB6\xC3\xB6");
}

/* Code is written as it is, so that it can be copied. */
static void code(void **state) {
    (void)state;
    wrapped("one two\n```c\nint a = 1 + 2 + 3;\n```\nthree four", 7,
            "one two\n```c\nint a = 1 + 2 + 3;\n```\nthree\nfour");
    wrapped("a ```b``` c d", 8, "a\n```b```\nc d"); /* in a line it is a word */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(words), cmocka_unit_test(widths), cmocka_unit_test(code)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    qm_buf_free(&written);
    return failed;
}
