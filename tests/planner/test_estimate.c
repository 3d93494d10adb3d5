/* The estimate of a job against the times of its steps, and what must hold whatever the numbers. */
#include <math.h>

#include "planner/estimate.h"
#include "tests/planner/plan_models.h"

struct fixture {
    struct qm_model *model;
    struct qm_machine_model speed;
    struct qm_placement placement;
    struct qm_time_setup setup;
};

static void open_fixture(struct fixture *f, int experts) {
    struct qm_error err;
    f->model = plan_model(3, 1024, experts);
    f->speed = plan_machine();
    assert_int_equal(qm_placement_open(f->model, 1, &f->placement, &err), QM_OK);
    f->setup = (struct qm_time_setup){
        .model = f->model,
        .speed = &f->speed,
        .placement = &f->placement,
        .workload = {.context = 16384, .sequences = 1, .chunk = 512, .kv_type = QM_BF16, .threads = 4}};
}

static void close_fixture(struct fixture *f) {
    qm_placement_free(&f->placement);
    qm_model_close(f->model);
}

/* n rows like this one. */
static struct qm_estimate_time estimate(const struct fixture *f, int64_t at_once, int64_t n, struct qm_estimate_row r) {
    struct qm_estimate *e;
    struct qm_estimate_time t;
    struct qm_error err;
    assert_int_equal(qm_estimate_open(&f->setup, at_once, 0, &e, &err), QM_OK);
    for (int64_t i = 0; i < n; i++)
        qm_estimate_add(e, &r);
    qm_estimate_get(e, 0.2, 1, 1, &t);
    qm_estimate_close(e);
    return t;
}

static struct qm_estimate_row row(int64_t prompt, int64_t shared, int64_t answer) {
    return (struct qm_estimate_row){prompt, shared, answer, answer, answer};
}

static void near(double found, double expected, double share) {
    if (!(fabs(found / expected - 1) <= share))
        fail_msg("found %.9g, expected %.9g", found, expected);
}

/* One row is a job of the planner's; rows alike are as many of its jobs. */
static void test_like_a_job(void **state) {
    (void)state;
    static const struct {
        int experts;
        int64_t rows, at_once, prompt, answer;
    } cases[] = {{0, 1, 1, 4096, 64}, {0, 1, 32, 512, 200},  {8, 1, 1, 2048, 100}, {0, 64, 1, 1024, 50},
                 {0, 64, 8, 64, 500}, {8, 32, 16, 128, 400}, {0, 16, 16, 4096, 8}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        struct qm_scenario_time t;
        open_fixture(&f, cases[i].experts);
        int64_t together = cases[i].at_once < cases[i].rows ? cases[i].at_once : cases[i].rows;
        struct qm_scenario scenario = {.sequences = together, .prompt = cases[i].prompt, .generate = cases[i].answer};
        qm_time_scenario(&f.setup, &scenario, &t);
        double times = (double)cases[i].rows / (double)together;
        struct qm_estimate_time e =
            estimate(&f, cases[i].at_once, cases[i].rows, row(cases[i].prompt, 0, cases[i].answer));
        near(e.prefill, times * t.prefill.seconds, 0.05);
        near(e.seconds, times * (t.prefill.seconds + t.decode.seconds), 0.1);
        near(e.prefill + e.decode, e.seconds, 1e-9);
        near(e.low, e.seconds / 1.2, 1e-9);
        near(e.high, 1.2 * e.seconds, 1e-9);
        close_fixture(&f);
    }
}

/* What is there already costs nothing, and where it is counts: what is left is deeper. */
static void test_prefixes(void **state) {
    (void)state;
    struct fixture f;
    open_fixture(&f, 0);
    double whole = estimate(&f, 4, 10, row(8192, 0, 0)).seconds, half = estimate(&f, 4, 10, row(8192, 4096, 0)).seconds,
           first = estimate(&f, 4, 10, row(4096, 0, 0)).seconds;
    near(half + first, whole, 0.02);
    assert_true(half > first);
    assert_true(estimate(&f, 4, 10, row(8192, 8191, 0)).seconds < 0.02 * whole);
    close_fixture(&f);
}

/* Answers are dealt out: a long one is waited for, others fill the places meanwhile. */
static void test_places(void **state) {
    (void)state;
    struct fixture f;
    struct qm_estimate *e;
    struct qm_estimate_time t, more;
    struct qm_error err;
    open_fixture(&f, 0);
    double alone = estimate(&f, 1, 1, row(1, 0, 3000)).decode;
    assert_int_equal(qm_estimate_open(&f.setup, 4, 0, &e, &err), QM_OK);
    struct qm_estimate_row r = row(1, 0, 3000);
    qm_estimate_add(e, &r);
    r = row(1, 0, 100);
    for (int i = 0; i < 90; i++)
        qm_estimate_add(e, &r);
    qm_estimate_get(e, 0, 1, 1, &t);
    assert_true(t.seconds >= 0.99 * alone && t.seconds < 1.6 * alone); /* 90 of 100 on three places: beside it */
    qm_estimate_get(e, 0, 2, 3, &more);
    near(more.prefill, 2 * t.prefill, 1e-9);
    near(more.decode, 3 * t.decode, 1e-9);
    qm_estimate_close(e);
    assert_int_equal(qm_estimate_open(&f.setup, 1, 1, &e, &err), QM_OK);
    r = row(512, 0, 3000);
    qm_estimate_add(e, &r);
    qm_estimate_get(e, 0, 1, 1, &t); /* one thread reads half as fast, and prompts are as they were */
    near(t.prefill, estimate(&f, 1, 1, r).prefill, 1e-9);
    near(t.decode, 2 * alone, 0.05);
    qm_estimate_close(e);
    /* shorter and longer answers than expected */
    r = (struct qm_estimate_row){1000, 0, 400, 100, 800};
    t = estimate(&f, 4, 40, r);
    assert_true(t.low < 0.8 * t.seconds && t.high > 1.2 * t.seconds);
    near(t.low, 1 / 1.2 * estimate(&f, 4, 40, row(1000, 0, 100)).seconds, 1e-6);
    near(t.high, 1.2 * estimate(&f, 4, 40, row(1000, 0, 800)).seconds, 1e-6);
    close_fixture(&f);
}

/* More work never takes less, more places never take more; nothing takes nothing. */
static void test_monotone(void **state) {
    (void)state;
    struct fixture f;
    open_fixture(&f, 8);
    double before = 0;
    for (int64_t n = 0; n <= 64; n += 8) {
        struct qm_estimate_time t = estimate(&f, 8, n, row(300, 100, 40));
        assert_true(t.seconds >= before && (n == 0 ? t.seconds == 0 && t.high == 0 : t.seconds > before));
        before = t.seconds;
    }
    double one = estimate(&f, 1, 64, row(300, 0, 40)).seconds, many = estimate(&f, 32, 64, row(300, 0, 40)).seconds;
    assert_true(many < one);
    assert_true(estimate(&f, 8, 5, row(20000, 0, 1)).seconds > 0); /* beyond the context: counted all the same */
    close_fixture(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_like_a_job),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_monotone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
