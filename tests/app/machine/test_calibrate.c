/* Which kernels' shares a model's times depend on. */
#include "app/machine/calibrate.h"
#include "app/shapes.h"
#include "tests/support/support.h"

enum { BIT_DENSE = 1 << QM_PART_DENSE_BF16, BIT_F16 = 1 << QM_PART_DENSE_F16, BIT_128 = 1 << QM_PART_ATTENTION_128 };
enum { BIT_64 = 1 << QM_PART_ATTENTION_64, BIT_EXPERTS = 1 << QM_PART_EXPERTS_BF16 };
enum { BIT_MXFP4 = 1 << QM_PART_EXPERTS_MXFP4 };

static void test_needs(void **state) {
    (void)state;
    static const struct {
        const char *shape, *dtype;
        unsigned needed;
    } cases[] = {
        {"qwen3-4b", NULL, BIT_DENSE | BIT_128},
        {"qwen3-4b", "f16", BIT_F16 | BIT_128},
        {"qwen3-30b-a3b", NULL, BIT_DENSE | BIT_EXPERTS | BIT_128},
        {"gpt-oss-20b", NULL, BIT_DENSE | BIT_EXPERTS | BIT_MXFP4 | BIT_64},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct qm_model *m;
        struct qm_error err;
        if (qm_shape_open(cases[i].shape, 1, cases[i].dtype, NULL, &m, &err))
            fail_msg("%s", err.message);
        if (qm_calibration_needs(m) != cases[i].needed)
            fail_msg("%s: %#x, expected %#x", cases[i].shape, qm_calibration_needs(m), cases[i].needed);
        qm_model_close(m);
    }
    assert_int_equal(qm_calibration_needs(NULL), (1 << QM_PARTS) - 1);
}

/* One point of one kernel, timed so often. */
static double concluded(const double *shares, int n, bool settled) {
    struct qm_calibration_samples s = {.points = 1, .point = {{.rows = 4, .n = n}}};
    struct qm_efficiency e = {0};
    memcpy(s.point[0].share, shares, (size_t)n * sizeof *shares);
    if (qm_calibration_settled(&s.point[0]) != settled)
        fail_msg("%d turns, the last %g: settled or not", n, shares[n - 1]);
    qm_calibration_conclude(QM_PART_DENSE_BF16, &s, &e);
    const struct qm_shares *to = &e.kernel[QM_KERNEL_DENSE][QM_BF16];
    assert_true(to->n == 1 && to->rows[0] == 4.0);
    return to->share[0];
}

/* Disturbed turns, below or above what the others agree on, do not count. */
static void test_turns(void **state) {
    (void)state;
    assert_true(concluded((double[]){0.9, 0.9}, 2, false) == 0.9);
    assert_true(concluded((double[]){0.5, 0.9, 0.9}, 3, true) == 0.9);
    assert_true(concluded((double[]){0.5, 0.9, 0.5}, 3, false) == 0.5);
    assert_true(concluded((double[]){0.5, 0.9, 0.5, 0.9}, 4, true) == 0.9);
    assert_true(concluded((double[]){1.2, 0.5, 0.9, 0.8, 0.9}, 5, true) == 0.9);
    assert_true(concluded((double[]){1.2, 1.0, 0.9, 0.8, 0.7}, 5, true) == 1.0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_needs), cmocka_unit_test(test_turns)};
    return cmocka_run_group_tests_name("calibration", tests, NULL, NULL);
}
