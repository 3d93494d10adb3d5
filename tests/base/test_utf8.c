/* UTF-8 against RFC 3629: every scalar value, and every wrong sequence of up to three bytes. */
#include "base/utf8.h"

#include <string.h>

#include "tests/support/support.h"

static void every_scalar_value_goes_there_and_back(void **state) {
    (void)state;
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        if (c >= 0xD800 && c < 0xE000)
            continue;
        char s[4];
        uint32_t back = ~0u;
        size_t n = qm_utf8_encode(c, s);
        assert_int_equal(n, c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4);
        assert_int_equal(qm_utf8_decode(s, n, &back), n);
        assert_int_equal(back, c);
        for (size_t cut = 0; cut < n; cut++)
            assert_int_equal(qm_utf8_decode(s, cut, &back), 0);
    }
}

/* What is accepted is exactly what an encoder can write: no overlong form, no surrogate. */
static void nothing_else_of_up_to_three_bytes_is_accepted(void **state) {
    (void)state;
    unsigned accepted[4] = {0};
    for (uint32_t i = 0; i < 1u << 24; i++) {
        char s[3] = {(char)(i >> 16), (char)(i >> 8), (char)i}, again[4];
        uint32_t c;
        size_t n = qm_utf8_decode(s, 3, &c);
        if (!n)
            continue;
        assert_true(n <= 3);
        accepted[n]++;
        assert_int_equal(qm_utf8_encode(c, again), n);
        assert_memory_equal(s, again, n);
    }
    assert_int_equal(accepted[1], 0x80u << 16);
    assert_int_equal(accepted[2], (0x800u - 0x80u) << 8);
    assert_int_equal(accepted[3], 0x10000u - 0x800u - 0x800u);
}

static void wrong_sequences_of_four(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "\xf0\x8f\xbf\xbf", /* overlong U+FFFF */
        "\xf4\x90\x80\x80", /* U+110000 */
        "\xf5\x80\x80\x80", "\xff\xbf\xbf\xbf", "\xf0\x9f\x98\x28", "\xf0\x9f\x28\x80", "\xf0\x28\x98\x80",
    };
    uint32_t c;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(qm_utf8_decode(wrong[i], 4, &c), 0);
}

static void check_finds_the_first_wrong_byte(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t len, good;
    } cases[] = {
        {"", 0, 0},
        {"plain", 5, 5},
        {"a\0b", 3, 3},
        {"h\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 10, 10},
        {"ab\xc3", 3, 2},
        {"ab\xe2\x82", 4, 2},
        {"\x80", 1, 0},
        {"ok\xed\xa0\x80", 5, 2}, /* a surrogate */
        {"ok\xc0\xaf", 4, 2},     /* overlong '/' */
        {"ok\xff then", 8, 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(qm_utf8_check(cases[i].text, cases[i].len), cases[i].good);
}

static void a_byte_order_mark_is_three_bytes_at_the_beginning(void **state) {
    (void)state;
    assert_int_equal(qm_utf8_bom("\xEF\xBB\xBFtext", 7), 3);
    assert_int_equal(qm_utf8_bom("\xEF\xBB\xBF", 3), 3);
    assert_int_equal(qm_utf8_bom("\xEF\xBB", 2), 0);
    assert_int_equal(qm_utf8_bom("text\xEF\xBB\xBF", 7), 0);
    assert_int_equal(qm_utf8_bom("", 0), 0);
}

static void controls_are_replaced_for_a_terminal(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t len;
        const char *want;
    } cases[] = {
        {"plain\ttext\n", 11, "plain\ttext\n"},
        {"\x1b[2J\x1b]0;title\x07", 14, "?[2J?]0;title?"},
        {"a\rb\bc\x7f", 6, "a?b?c?"},
        {"\xc2\x9b"
         "31m",
         5, "?31m"}, /* CSI as U+009B */
        {"\x9b"
         "31m \x90",
         6, "?31m ?"}, /* and as a byte of its own */
        {"\xc3\x80 \xe2\x82\xac \xf0\x9f\x98\x80", 11,
         "\xc3\x80 \xe2\x82\xac \xf0\x9f\x98\x80"}, /* parts of characters */
        {"\xc2\xa0\xff", 3, "\xc2\xa0\xff"},
        {"a\0b", 3, "a?b"},
        {"", 0, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64];
        memcpy(text, cases[i].text, cases[i].len);
        size_t n = qm_utf8_printable(text, cases[i].len);
        assert_int_equal(n, strlen(cases[i].want));
        assert_memory_equal(text, cases[i].want, n);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_scalar_value_goes_there_and_back),
        cmocka_unit_test(nothing_else_of_up_to_three_bytes_is_accepted),
        cmocka_unit_test(wrong_sequences_of_four),
        cmocka_unit_test(check_finds_the_first_wrong_byte),
        cmocka_unit_test(controls_are_replaced_for_a_terminal),
        cmocka_unit_test(a_byte_order_mark_is_three_bytes_at_the_beginning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
