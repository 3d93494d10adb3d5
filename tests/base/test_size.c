/* Sizes as messages print them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/size.h"

static void texts(void **state) {
    (void)state;
    char out[32];
    assert_string_equal(qm_size_text(0, out, sizeof out), "0 bytes");
    assert_string_equal(qm_size_text(1023, out, sizeof out), "1023 bytes");
    assert_string_equal(qm_size_text(735744, out, sizeof out), "718.5 KiB");
    assert_string_equal(qm_size_text(1 << 20, out, sizeof out), "1.0 MiB");
    assert_string_equal(qm_size_text(3 << 29, out, sizeof out), "1.50 GiB");
    assert_string_equal(qm_size_text(UINT64_MAX, out, sizeof out), "17179869184.00 GiB");
    char narrow[6];
    assert_string_equal(qm_size_text(1 << 30, narrow, sizeof narrow), "1.00 ");
    assert_true(qm_gib(1ull << 40) == 1024);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(texts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
