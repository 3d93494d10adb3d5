/* Exit codes: each that help lists is itself, and those that only libraries have become one of them. */
#include "app/help.h"

#include "tests/support/support.h"

static void exit_codes(void **state) {
    (void)state;
    static const int listed[] = {QM_OK, QM_DISAGREE, QM_USAGE, QM_INPUT, QM_FIT, QM_SYSTEM, QM_STOPPED, QM_INTERRUPTED};
    for (size_t i = 0; i < sizeof listed / sizeof *listed; i++)
        assert_int_equal(qm_exit_code(listed[i]), listed[i]);
    assert_int_equal(qm_exit_code(QM_BUSY), QM_FIT);
    assert_int_equal(qm_exit_code(QM_GONE), QM_INPUT);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(exit_codes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
