/* The processors' times, from files that say them and from files that don't, and the shares between two moments. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "numa/cpu_time.h"
#include "tests/support/support.h"

static int read_text(const char *text, struct qm_cpu_time *out, struct qm_error *err) {
    char root[TEST_PATH], path[2 * TEST_PATH];
    test_temp_dir(root);
    snprintf(path, sizeof path, "%s/proc", root);
    assert_int_equal(mkdir(path, 0755), 0);
    snprintf(path, sizeof path, "%s/proc/stat", root);
    if (text)
        test_write_file(path, text, strlen(text));
    int rc = qm_cpu_time_read(root, out, err);
    test_remove_tree(root);
    return rc;
}

static void test_columns(void **state) {
    (void)state;
    double tick = 1.0 / (double)sysconf(_SC_CLK_TCK);
    struct qm_cpu_time t;
    struct qm_error err;
    assert_int_equal(read_text("cpu  100 20 30 4000 500 6 7 80 0 0\ncpu0 1 2 3\n", &t, &err), QM_OK);
    assert_float_equal(t.busy / tick, 163, 1e-6);
    assert_float_equal(t.stolen / tick, 80, 1e-6);
    assert_float_equal(t.total / tick, 4743, 1e-6);
    assert_true(t.own > 0);
}

static void test_not_so(void **state) {
    (void)state;
    struct qm_cpu_time t;
    struct qm_error err;
    assert_int_equal(read_text(NULL, &t, &err), QM_INPUT);
    assert_int_equal(read_text("", &t, &err), QM_SYSTEM);
    assert_int_equal(read_text("cpu 1 2 3\n", &t, &err), QM_SYSTEM); /* a kernel older than steal time */
    assert_int_equal(read_text("cpus 1 2 3 4 5 6 7 8\n", &t, &err), QM_SYSTEM);
    assert_non_null(strstr(err.message, "found \"cpus"));
}

static void test_shares(void **state) {
    (void)state;
    const struct qm_cpu_time a = {.busy = 100, .stolen = 5, .total = 1000, .own = 10};
    struct qm_cpu_time b = {.busy = 106, .stolen = 6, .total = 1010, .own = 14};
    double others, stolen;
    qm_cpu_time_shares(&a, &b, &others, &stolen);
    assert_float_equal(others, 0.2, 1e-9);
    assert_float_equal(stolen, 0.1, 1e-9);
    b.own = 17; /* more than the ticks say: they are coarse */
    qm_cpu_time_shares(&a, &b, &others, &stolen);
    assert_float_equal(others, 0, 0);
    qm_cpu_time_shares(&a, &a, &others, &stolen); /* counters that stand still */
    assert_true(others == -1 && stolen == -1);
}

/* On this machine, where it shows them: what this process does is not others'. */
static void test_here(void **state) {
    (void)state;
    struct qm_cpu_time t;
    struct qm_error err;
    if (qm_cpu_time_read("", &t, &err)) {
        printf("skipped: %s\n", err.message);
        skip();
    }
    assert_true(t.total >= t.busy && t.total >= t.stolen && t.busy >= 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_not_so),
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
