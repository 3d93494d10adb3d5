/* Which kernels' efficiency a model's times depend on. */
#include "app/shapes.h"
#include "base/json.h"
#include "planner/calibration.h"
#include "planner/find.h"
#include "tests/support/support.h"

enum {
    BIT_DENSE = 1 << QM_KERNELS_DENSE_BF16,
    BIT_F16 = 1 << QM_KERNELS_DENSE_F16,
    BIT_128 = 1 << QM_KERNELS_ATTENTION_128
};
enum { BIT_64 = 1 << QM_KERNELS_ATTENTION_64, BIT_EXPERTS = 1 << QM_KERNELS_EXPERTS_BF16 };
enum { BIT_MXFP4 = 1 << QM_KERNELS_EXPERTS_MXFP4 };

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
    assert_int_equal(qm_calibration_needs(NULL), (1 << QM_CALIBRATION_KERNELS) - 1);
}

/* One point of one kernel, timed so often. */
static double concluded(const double *efficiency, int n, bool settled) {
    struct qm_calibration_samples s = {.points = 1, .point = {{.rows = 4, .n = n}}};
    struct qm_efficiency e = {0};
    memcpy(s.point[0].efficiency, efficiency, (size_t)n * sizeof *efficiency);
    if (qm_calibration_settled(&s.point[0]) != settled)
        fail_msg("%d rounds, the last %g: settled or not", n, efficiency[n - 1]);
    qm_calibration_conclude(QM_KERNELS_DENSE_BF16, &s, &e);
    const struct qm_efficiency_curve *to = &e.kernel[QM_KERNEL_DENSE][QM_BF16];
    assert_true(to->n == 1 && to->rows[0] == 4.0);
    return to->efficiency[0];
}

/* Disturbed rounds, below or above what the others agree on, do not count. */
static void test_turns(void **state) {
    (void)state;
    assert_true(concluded((double[]){0.9, 0.9}, 2, false) == 0.9);
    assert_true(concluded((double[]){0.5, 0.9, 0.9}, 3, true) == 0.9);
    assert_true(concluded((double[]){0.5, 0.9, 0.5}, 3, false) == 0.5);
    assert_true(concluded((double[]){0.5, 0.9, 0.5, 0.9}, 4, true) == 0.9);
    assert_true(concluded((double[]){1.2, 0.5, 0.9, 0.8, 0.9}, 5, true) == 0.9);
    assert_true(concluded((double[]){1.2, 1.0, 0.9, 0.8, 0.7}, 5, true) == 1.0);
}

static struct qm_calibration kept_parts(unsigned tried, double others) {
    struct qm_calibration c = {.tried = tried, .noise = {others, 0, 0, NULL}};
    c.efficiency.kernel[QM_KERNEL_DENSE][QM_BF16] =
        (struct qm_efficiency_curve){.n = 1, .rows = {1}, .efficiency = {0.5}};
    return c;
}

/* What is measured when: nothing again and again on a busy machine, all again where it was busy then and is quiet now.
 */
static void test_due(void **state) {
    (void)state;
    const unsigned needed = BIT_DENSE | BIT_128;
    assert_int_equal(qm_calibration_due(NULL, needed, false), needed);
    struct qm_calibration c = kept_parts(BIT_DENSE, 0.4);
    assert_int_equal(qm_calibration_due(&c, needed, false), BIT_128);
    assert_int_equal(qm_calibration_due(&c, BIT_DENSE, false), 0);
    assert_int_equal(qm_calibration_due(&c, needed, true), needed);
    c = kept_parts(needed, 0.4); /* attention took too long on the busy machine */
    assert_int_equal(qm_calibration_due(&c, needed, false), 0);
    assert_int_equal(qm_calibration_due(&c, needed, true), needed);
    c = kept_parts(needed, 0.01);
    assert_int_equal(qm_calibration_due(&c, needed, true), BIT_128);
    assert_int_equal(qm_calibration_due(&c, BIT_DENSE, true), 0);
}

static const char FORM[] = "{\"version\": 3, \"identity\": \"m\", \"isa\": \"avx2\", \"build\": \"b\", \"measured\": "
                           "\"2026-01-01\", \"efficiency\": {\"dense\": {}, \"experts\": {}, \"attention_64\": {}, "
                           "\"attention_128\": {}, \"value_ns\": 1, \"route_ns\": 1}%s}";

/* The file says what ran beside; one from before that was recorded is taken as it is. */
static void test_file(void **state) {
    (void)state;
    static const struct {
        const char *more;
        int code;
        double others;
        unsigned tried;
    } cases[] = {{"", QM_OK, -1, 0},
                 {", \"tried\": 3, \"others\": 0.25, \"stolen\": null", QM_OK, 0.25, 3},
                 {", \"tried\": 3, \"others\": 0.25", QM_INPUT, 0, 0},
                 {", \"tried\": 1000, \"others\": 0, \"stolen\": 0", QM_INPUT, 0, 0},
                 {", \"tried\": 3, \"others\": 1.5, \"stolen\": 0", QM_INPUT, 0, 0},
                 {", \"tried\": 3, \"others\": \"x\", \"stolen\": 0", QM_INPUT, 0, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct qm_calibration c;
        struct qm_error err;
        char text[512];
        snprintf(text, sizeof text, FORM, cases[i].more);
        json_t *root = NULL;
        assert_int_equal(qm_json_parse(text, strlen(text), "f", &root, &err), QM_OK);
        int rc = qm_calibration_from_json(root, "f", "m", "avx2", "b", &c, &err);
        json_decref(root);
        assert_int_equal(rc, cases[i].code);
        assert_true(rc || (c.noise.others == cases[i].others && c.noise.stolen == -1 && c.tried == cases[i].tried));
    }
}

static void test_noise(void **state) {
    (void)state;
    static const struct {
        struct qm_noise noise;
        const char *text;
    } cases[] = {{{-1, -1, 0, NULL}, ""},
                 {{0.04, 0.01, 1.2, NULL}, ""},
                 {{0.43, 0, 1, NULL}, "other programs used 43 % of the CPUs' time"},
                 {{0, 0.1, 0, NULL}, "the hypervisor took 10 % of the CPUs' time"},
                 {{0.2, 0, 1.5, "BF16"},
                  "other programs used 20 % of the CPUs' time; BF16: the best pass is 1.50 times the median one"}};
    char text[300], small[20];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(qm_noise_text(&cases[i].noise, text, sizeof text) == (*cases[i].text != 0));
        assert_string_equal(text, cases[i].text);
        assert_true((qm_noise_level(&cases[i].noise) > 1) == (*cases[i].text != 0));
        qm_noise_text(&cases[i].noise, small, sizeof small);
        assert_true(strlen(small) < sizeof small);
    }
    assert_true(qm_noise_level(&cases[2].noise) > qm_noise_level(&cases[4].noise));
    struct qm_noise worse = qm_noise_worse(&cases[1].noise, &cases[3].noise);
    assert_true(worse.others == 0.04 && worse.stolen == 0.1 && worse.spread == 1.2);
    struct qm_noise now = qm_noise_now();
    assert_true(now.others >= -1 && now.others <= 1);
}

/* A profile taken beside noise gives way as soon as it is quiet; a busy machine is not measured. */
static void test_profile_use(void **state) {
    (void)state;
    assert_int_equal(qm_machine_profile_use(0.2, 0.2), QM_PROFILE_CHECK);
    assert_int_equal(qm_machine_profile_use(0.2, 8), QM_PROFILE_KEEP);
    assert_int_equal(qm_machine_profile_use(3, 8), QM_PROFILE_KEEP);
    assert_int_equal(qm_machine_profile_use(3, 0.2), QM_PROFILE_AGAIN);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_needs), cmocka_unit_test(test_turns),
                                       cmocka_unit_test(test_due),   cmocka_unit_test(test_file),
                                       cmocka_unit_test(test_noise), cmocka_unit_test(test_profile_use)};
    return cmocka_run_group_tests_name("calibration", tests, NULL, NULL);
}
