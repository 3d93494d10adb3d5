/* Numbers, sizes, rates and durations as text. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "report/numbers.h"

static char out[32];

static void numbers(void **state) {
    (void)state;
    assert_string_equal(qm_number_text(0, 4, out, sizeof out), "0");
    assert_string_equal(qm_number_text(0.0123, 4, out, sizeof out), "0.0123");
    assert_string_equal(qm_number_text(45.674, 4, out, sizeof out), "45.67");
    assert_string_equal(qm_number_text(45.674, 3, out, sizeof out), "45.7");
    assert_string_equal(qm_number_text(21390.4, 4, out, sizeof out), "21390");
    assert_string_equal(qm_number_text(131072, 4, out, sizeof out), "131072");
    assert_string_equal(qm_number_text(21390000, 4, out, sizeof out), "21.39M");
    assert_string_equal(qm_number_text(-2, 4, out, sizeof out), "-2");
    assert_string_equal(qm_number_text(NAN, 4, out, sizeof out), "-");
    assert_string_equal(qm_number_text(-INFINITY, 4, out, sizeof out), "-");
    assert_string_equal(qm_count_text(494032768, out, sizeof out), "494.03 M");
    assert_string_equal(qm_count_text(7615616512, out, sizeof out), "7.62 B");
}

static void sizes(void **state) {
    (void)state;
    assert_string_equal(qm_bytes_text(0, out, sizeof out), "0 B");
    assert_string_equal(qm_bytes_text(999, out, sizeof out), "999 B");
    assert_string_equal(qm_bytes_text(1000, out, sizeof out), "1.0 KiB");
    assert_string_equal(qm_bytes_text(1.5 * (1 << 30), out, sizeof out), "1.5 GiB");
    assert_string_equal(qm_bytes_text(125.0 * (1 << 20), out, sizeof out), "125 MiB");
    assert_string_equal(qm_bytes_text(0x1p60, out, sizeof out), "1048576 TiB");
    assert_string_equal(qm_bytes_rate_text(1.5e9, out, sizeof out), "1.5 GB/s");
    assert_string_equal(qm_bytes_rate_text(2500, out, sizeof out), "2.5 kB/s");
    assert_string_equal(qm_rate_text(87.34e9, out, sizeof out), "87.3 G");
    assert_string_equal(qm_rate_text(819e9, out, sizeof out), "819 G");
    assert_string_equal(qm_rate_text(1792e9, out, sizeof out), "1.8 T");
    assert_string_equal(qm_rate_text(5e20, out, sizeof out), "500000 P");
}

static void durations(void **state) {
    (void)state;
    assert_string_equal(qm_duration_text(0.5, out, sizeof out), "0.5 s");
    assert_string_equal(qm_duration_text(9.96, out, sizeof out), "10 s");
    assert_string_equal(qm_duration_text(12.4, out, sizeof out), "12 s");
    assert_string_equal(qm_duration_text(59.6, out, sizeof out), "1 min 0 s");
    assert_string_equal(qm_duration_text(200, out, sizeof out), "3 min 20 s");
    assert_string_equal(qm_duration_text(19200, out, sizeof out), "5 h 20 min");
    assert_string_equal(qm_duration_text(47 * 3600, out, sizeof out), "47 h 0 min");
    assert_string_equal(qm_duration_text(76 * 3600, out, sizeof out), "3 days 4 h");
    assert_string_equal(qm_duration_text(NAN, out, sizeof out), "-");
    assert_string_equal(qm_duration_text(1e300, out, sizeof out), "-");
}

static void calculated(void **state) {
    (void)state;
    assert_string_equal(qm_calculated_duration_text(0.85, out, sizeof out), "850 ms");
    assert_string_equal(qm_calculated_duration_text(0.9996, out, sizeof out), "1.0 s");
    assert_string_equal(qm_calculated_duration_text(12.34, out, sizeof out), "12.3 s");
    assert_string_equal(qm_calculated_duration_text(99.96, out, sizeof out), "1 min 40 s");
    assert_string_equal(qm_calculated_duration_text(12345, out, sizeof out), "3 h 25 min");
    assert_string_equal(qm_calculated_duration_text(NAN, out, sizeof out), "-");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(numbers), cmocka_unit_test(sizes), cmocka_unit_test(durations),
                                       cmocka_unit_test(calculated)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
