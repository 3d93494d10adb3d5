/* The measured read bandwidth is a figure a machine can have, by one thread and by several. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "numa/bandwidth.h"

static void test_plausible(void **state) {
    (void)state;
    for (int threads = 0; threads <= 3; threads++) {
        struct qm_error err;
        double rate = 0;
        if (qm_read_bandwidth(threads, &rate, &err))
            fail_msg("%s", err.message);
        assert_true(rate > 1e7 && rate < 1e14);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_plausible)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
