/* The search for the fewest threads, fed with the step times of machines made up here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdint.h>

#include "engine/quiet.h"

/* A step reads at the rate that so many threads reach, up to the memory's; sleeping costs a share of the time. */
struct machine {
    double thread_rate, memory_rate, sleep_cost, noise, drift;
    uint32_t random;
    int64_t steps;
};

static double between(struct machine *m, double most) {
    m->random = m->random * 1664525u + 1013904223u;
    return most * ((double)(m->random >> 8) / (1 << 24) * 2 - 1);
}

static double step_seconds(struct machine *m, struct qm_quiet_use use) {
    double rate = m->thread_rate * use.threads;
    rate = rate < m->memory_rate ? rate : m->memory_rate;
    double seconds = 1 / rate * (use.spin ? 1 : 1 + m->sleep_cost);
    seconds *= 1 + m->drift * (double)m->steps++ + between(m, m->noise);
    /* now and then a neighbour takes the machine for one step */
    return m->noise > 0 && m->steps % 23 == 0 ? 3 * seconds : seconds;
}

/* Steps until it is found: their number. */
static int run(struct qm_quiet *q, struct machine *m, int64_t sequences, int most, struct qm_quiet_state *out) {
    int n = 0;
    for (qm_quiet_look(q, out); !out->found && n < most; n++) {
        qm_quiet_took(q, step_seconds(m, qm_quiet_next(q, sequences)));
        qm_quiet_look(q, out);
    }
    return n;
}

static struct qm_quiet *make(int threads, int nodes, double share) {
    struct qm_quiet *q;
    struct qm_error err = {0};
    assert_int_equal(qm_quiet_new(threads, nodes, share, &q, &err), QM_OK);
    return q;
}

static void test_saturation(void **state) {
    (void)state;
    static const struct {
        int threads, nodes, expected;
        double share;
    } cases[] = {{16, 1, 6, 0.97}, {16, 1, 5, 0.8}, {64, 2, 6, 0.97}, {64, 8, 8, 0.97}, {4, 1, 4, 0.97},
                 {12, 4, 8, 0.97}, {1, 1, 1, 0.97}, {7, 2, 6, 0.97},  {2, 1, 1, 0.3},   {1024, 8, 8, 0.97}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int noise = 0; noise < 2; noise++) {
            struct machine m = {10, 60, 0.2, 0.01 * noise, 0.0001, 7, 0};
            struct qm_quiet_state s;
            struct qm_quiet *q = make(cases[i].threads, cases[i].nodes, cases[i].share);
            int n = run(q, &m, 1, 3000, &s);
            assert_true(s.found);
            assert_int_equal(s.use.threads, cases[i].expected);
            assert_true(s.use.spin);
            assert_true(s.kept > cases[i].share - 0.011 && s.kept < 1.05);
            assert_int_equal(s.steps, cases[i].threads == 1 ? 0 : n);
            qm_quiet_free(q);
        }
}

static void test_all_threads_before(void **state) {
    (void)state;
    struct machine m = {10, 60, 0, 0, 0, 1, 0};
    struct qm_quiet_state s;
    struct qm_quiet *q = make(16, 1, 0.97);
    qm_quiet_look(q, &s);
    assert_false(s.found);
    assert_int_equal(s.use.threads, 16);
    assert_int_equal(qm_quiet_next(q, 1).threads, 16); /* the first block is all threads' */
    run(q, &m, 1, 3000, &s);
    assert_false(s.use.spin); /* sleeping costs nothing here */
    assert_int_equal(qm_quiet_next(q, 1).threads, 6);
    qm_quiet_free(q);
}

/* Near the share noise must not make it drop a thread too many: 0.97 is asked for, 5 threads give 0.965. */
static void test_near_the_share(void **state) {
    (void)state;
    for (uint32_t seed = 1; seed <= 20; seed++) {
        struct machine m = {9.65, 50, 0.2, 0.003, 0, seed, 0};
        struct qm_quiet_state s;
        struct qm_quiet *q = make(8, 1, 0.97);
        run(q, &m, 1, 5000, &s);
        assert_true(s.found);
        assert_in_range(s.use.threads, 5, 6);
        assert_true(s.kept >= 0.96);
        qm_quiet_free(q);
    }
}

static int threads_after(struct qm_quiet *q, struct machine *m, int64_t sequences, int steps) {
    struct qm_quiet_state s;
    for (int i = 0; i < steps; i++)
        qm_quiet_took(q, step_seconds(m, qm_quiet_next(q, sequences)));
    qm_quiet_look(q, &s);
    return s.found ? s.use.threads : -1;
}

/* A choice stays while its share holds, within the margin, and is made anew where it no longer does. */
static void test_hysteresis(void **state) {
    (void)state;
    struct machine m = {10, 60, 0.2, 0, 0, 1, 0};
    struct qm_quiet_state s;
    struct qm_quiet *q = make(16, 1, 0.97);
    run(q, &m, 1, 3000, &s);
    m.memory_rate = 62; /* 0.968: under the share, within the margin */
    for (int i = 0; i < 100; i++)
        assert_int_equal(threads_after(q, &m, 1, 50), 6);
    m.memory_rate = 100;
    threads_after(q, &m, 1, 3000);
    assert_int_equal(threads_after(q, &m, 1, 400), 10);
    qm_quiet_free(q);
}

/* Other numbers of sequences at once are other work; a little more or less is not. */
static void test_sequences(void **state) {
    (void)state;
    struct machine m = {10, 60, 0.2, 0, 0, 1, 0};
    struct qm_quiet_state s;
    struct qm_quiet *q = make(16, 1, 0.97);
    run(q, &m, 4, 3000, &s);
    assert_int_equal(threads_after(q, &m, 5, 1), 6);
    assert_int_equal(threads_after(q, &m, 3, 1), 6);
    m.memory_rate = 120;
    assert_int_equal(threads_after(q, &m, 8, 1), -1);
    assert_int_equal(threads_after(q, &m, 8, 600), 12);
    qm_quiet_free(q);
}

/* Times that mean nothing end nothing, and do not divide by zero. */
static void test_odd_times(void **state) {
    (void)state;
    struct qm_quiet_state s;
    struct qm_quiet *q = make(16, 1, 0.97);
    for (int i = 0; i < 10000; i++) {
        struct qm_quiet_use use = qm_quiet_next(q, 0);
        assert_in_range(use.threads, 1, 16);
        qm_quiet_took(q, 0);
    }
    qm_quiet_look(q, &s);
    assert_false(s.found);
    qm_quiet_free(q);
    qm_quiet_free(NULL);
}

static void test_bad(void **state) {
    (void)state;
    struct qm_quiet *q;
    struct qm_error err = {0};
    assert_int_equal(qm_quiet_new(0, 1, 0.97, &q, &err), QM_USAGE);
    assert_int_equal(qm_quiet_new(4, 0, 0.97, &q, &err), QM_USAGE);
    assert_int_equal(qm_quiet_new(4, 1, 0, &q, &err), QM_USAGE);
    assert_int_equal(qm_quiet_new(4, 1, 1.01, &q, &err), QM_USAGE);
    assert_null(q);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_saturation),
        cmocka_unit_test(test_all_threads_before),
        cmocka_unit_test(test_near_the_share),
        cmocka_unit_test(test_hysteresis),
        cmocka_unit_test(test_sequences),
        cmocka_unit_test(test_odd_times),
        cmocka_unit_test(test_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
