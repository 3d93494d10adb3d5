/* What drafts are predicted to make of decode, against times of steps by hand. */
#include <math.h>

#include "planner/drafted.h"
#include "tests/planner/plan_models.h"

static double seconds(const struct plan_fixture *f, int64_t sequences, int64_t n) {
    struct qm_step_time t;
    qm_time_step(&f->setup, sequences, 1000, n, n, &t);
    return t.seconds;
}

/* 10 GB/s and 100 GFLOP/s read ten rows in the time that they compute them: until then a row more costs nothing. */
static void dense(void **state) {
    (void)state;
    struct plan_fixture f;
    struct qm_drafted d;
    plan_open(&f, plan_model(4, 1024, 0), 0);
    double one = seconds(&f, 1, 1), best = 0;
    assert_true(seconds(&f, 1, 4) < 1.05 * one);
    qm_time_drafted(&f.setup, 1, 1000, 0.6, 16, &d);
    for (int k = 0; k <= 16; k++)
        best = fmax(best, (1 - pow(0.6, k + 1)) / 0.4 / seconds(&f, 1, 1 + k));
    assert_true(fabs(d.tps / best - 1) < 1e-9);
    assert_true(fabs(d.gain - best * one) < 1e-9);
    assert_in_range(d.drafts, 3, 16);
    assert_true(d.pays > 0 && d.pays < 0.1);
    qm_time_drafted(&f.setup, 1, 1000, 0, 16, &d);
    assert_int_equal(d.drafts, 0);
    assert_true(fabs(d.tps * one - 1) < 1e-9 && d.gain == 1);
    qm_time_drafted(&f.setup, 1, 1000, 1, 7, &d);
    assert_int_equal(d.drafts, 7);
    plan_close(&f);
}

/* Each row more touches other experts: drafts pay later, and less. */
static void experts(void **state) {
    (void)state;
    struct plan_fixture f, g;
    struct qm_drafted few, many;
    plan_open(&f, plan_model(4, 512, 0), 0);
    plan_open(&g, plan_model(4, 512, 128), 0);
    qm_time_drafted(&f.setup, 1, 1000, 0.7, 16, &few);
    qm_time_drafted(&g.setup, 1, 1000, 0.7, 16, &many);
    assert_true(many.pays > 2 * few.pays);
    assert_true(many.gain < few.gain);
    plan_close(&f);
    plan_close(&g);
}

/* Where a step computes already, none pay. */
static void many_sequences(void **state) {
    (void)state;
    struct plan_fixture f;
    struct qm_drafted d;
    plan_open(&f, plan_model(4, 1024, 0), 0);
    f.setup.workload.sequences = 64;
    qm_time_drafted(&f.setup, 64, 1000, 0.7, 16, &d);
    assert_int_equal(d.drafts, 0);
    assert_true(d.pays > 0.7);
    assert_true(fabs(d.tps * seconds(&f, 64, 1) / 64 - 1) < 1e-9);
    plan_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(dense), cmocka_unit_test(experts),
                                       cmocka_unit_test(many_sequences)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
