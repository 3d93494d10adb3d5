/* The clock's axis of a report: work to scale, pauses cut short, labels where clocks are read. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "report/clock_axis.h"
#include "tests/support/support.h"

enum { MANY = 4096 };

static double at(int month, int day, int hour, int minute, double second) {
    struct tm t = {
        .tm_year = 126, .tm_mon = month - 1, .tm_mday = day, .tm_hour = hour, .tm_min = minute, .tm_isdst = -1};
    return (double)mktime(&t) + second;
}

static struct qm_clock_point points[MANY];

/* A point a minute of work from `from` to `to`. */
static int64_t work(int64_t n, double from, double to, int64_t run) {
    double worked = n ? points[n - 1].worked : 0;
    for (double t = from; t <= to && n < MANY; t += 60)
        points[n++] = (struct qm_clock_point){.time = t, .worked = worked + t - from, .run = run};
    return n;
}

/* 50 min before midnight, hours until 07:00 paused, an hour, killed; half an hour at noon. */
static int64_t night(void) {
    int64_t n = work(0, at(12, 1, 22, 10, 0), at(12, 1, 23, 0, 0), 1);
    n = work(n, at(12, 2, 7, 0, 0), at(12, 2, 8, 0, 0), 1);
    n = work(n, at(12, 2, 12, 0, 0), at(12, 2, 12, 30, 0), 2);
    return n;
}

static void test_pauses(void **state) {
    (void)state;
    struct qm_clock_axis a;
    struct qm_error err;
    int64_t n_points = night();
    assert_int_equal(qm_clock_axis_make(points, n_points, &a, &err), QM_OK);
    assert_int_equal(a.n_pauses, 2);
    assert_true(a.pause[0].from == at(12, 1, 23, 0, 0) && a.pause[0].to == at(12, 2, 7, 0, 0) && !a.pause[0].resumed);
    assert_true(a.pause[1].from == at(12, 2, 8, 0, 0) && a.pause[1].to == at(12, 2, 12, 0, 0) && a.pause[1].resumed);
    /* 140 minutes of work and two pauses of a twentieth of that, each whatever its length */
    assert_float_equal(a.shown, 140 * 60 * 1.1, 1e-6);
    assert_float_equal(qm_clock_axis_at(&a, at(12, 1, 22, 35, 0)), 25 / 154.0, 1e-9);
    assert_float_equal(qm_clock_axis_at(&a, at(12, 1, 23, 0, 0)), 50 / 154.0, 1e-9);
    assert_float_equal(qm_clock_axis_at(&a, at(12, 2, 3, 0, 0)), 53.5 / 154.0, 1e-9);
    assert_float_equal(qm_clock_axis_at(&a, at(12, 2, 7, 0, 0)), 57 / 154.0, 1e-9);
    assert_float_equal(qm_clock_axis_at(&a, at(12, 2, 12, 15, 0)), (57 + 60 + 7 + 15) / 154.0, 1e-9);
    assert_true(qm_clock_axis_at(&a, 0) == 0 && qm_clock_axis_at(&a, 1e12) == 1);
    double before = 0;
    for (double t = points[0].time; t < points[n_points - 1].time; t += 17) {
        double now = qm_clock_axis_at(&a, t);
        assert_true(now >= before && now <= 1);
        before = now;
    }
    qm_clock_axis_free(&a);
}

static void test_labels(void **state) {
    (void)state;
    struct qm_clock_axis a;
    struct qm_error err;
    struct qm_clock_tick tick[QM_CLOCK_TICKS];
    int64_t n_points = night();
    assert_int_equal(qm_clock_axis_make(points, n_points, &a, &err), QM_OK);
    int n = qm_clock_axis_ticks(&a, 0.12, tick);
    static const char *const wanted[] = {"22:30", "23:00", "12-02 07:30", "08:00", "12:30"};
    assert_int_equal(n, (int)(sizeof wanted / sizeof *wanted));
    for (int i = 0; i < n; i++) {
        assert_string_equal(tick[i].label, wanted[i]);
        assert_true(i == 0 || tick[i].at - tick[i - 1].at >= 0.12);
    }
    qm_clock_axis_free(&a);
    /* a job of a second */
    points[0] = (struct qm_clock_point){.time = at(12, 1, 22, 10, 3.05), .run = 1};
    points[1] = (struct qm_clock_point){.time = at(12, 1, 22, 10, 4.05), .worked = 1, .run = 1};
    n_points = 2;
    assert_int_equal(qm_clock_axis_make(points, n_points, &a, &err), QM_OK);
    n = qm_clock_axis_ticks(&a, 0.12, tick);
    assert_int_equal(n, 5);
    assert_string_equal(tick[0].label, "22:10:03.2");
    assert_string_equal(tick[4].label, "22:10:04.0");
    qm_clock_axis_free(&a);
}

/* Whatever a journal holds: an answer, and soon. */
static void test_odd(void **state) {
    (void)state;
    struct qm_error err;
    struct qm_clock_tick tick[QM_CLOCK_TICKS];
    const double times[] = {0, 1, 1e9, 1e18, -5, 3e9};
    const int n = sizeof times / sizeof *times;
    unsigned seed = 1;
    for (int round = 0; round < 3000; round++) {
        int64_t n_points = 2 + round % 7;
        double time = 0, worked = 0;
        for (int64_t i = 0; i < n_points; i++) {
            seed = seed * 1664525u + 1013904223u;
            time = fmax(time, times[(seed >> 16) % (unsigned)n] + (seed >> 28));
            worked += (seed >> 20) % 3 ? (double)((seed >> 12) % 1000) / 7 : 0;
            points[i] = (struct qm_clock_point){.time = time, .worked = worked, .run = (seed >> 25) & 1};
        }
        struct qm_clock_axis a;
        assert_int_equal(qm_clock_axis_make(points, n_points, &a, &err), QM_OK);
        for (int i = 0; i < n; i++) {
            double x = qm_clock_axis_at(&a, times[i]);
            assert_true(x >= 0 && x <= 1.000001);
        }
        assert_in_range(qm_clock_axis_ticks(&a, 0.12, tick), 0, QM_CLOCK_TICKS);
        qm_clock_axis_free(&a);
    }
}

int main(void) {
    setenv("TZ", "UTC-1", 1);
    tzset();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pauses),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_odd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
