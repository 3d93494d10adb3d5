/* The system's clocks. */
#include "batch/clock.h"

#include <time.h>

#include "base/clock.h"

static double real(void *arg) {
    struct timespec t;
    (void)arg;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double steady(void *arg) {
    (void)arg;
    return qm_now();
}

static double passed(void *arg) {
    struct timespec t;
    (void)arg;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void rest(void *arg) {
    const struct timespec second = {.tv_sec = 1};
    (void)arg;
    nanosleep(&second, NULL);
}

const struct qm_batch_clock qm_batch_system_clock = {.real = real, .steady = steady, .passed = passed, .rest = rest};

double qm_batch_real(const struct qm_batch_clock *c) {
    return c->real(c->arg);
}

double qm_batch_steady(const struct qm_batch_clock *c) {
    return c->steady(c->arg);
}

double qm_batch_passed(const struct qm_batch_clock *c) {
    return c->passed(c->arg);
}

int qm_batch_time_begin(const struct qm_batch_clock *c, struct qm_journal *j, double *base, struct qm_error *err) {
    double now = qm_batch_real(c), last;
    int rc = qm_journal_last_pace(j, &last, err);
    *base = (rc || now > last ? now : last) - qm_batch_passed(c);
    return rc;
}

double qm_batch_time(const struct qm_batch_clock *c, double base) {
    return base + qm_batch_passed(c);
}

const char *qm_batch_time_text(int64_t seconds, char *out, size_t size) {
    time_t t = (time_t)seconds;
    struct tm local;
    *out = 0;
    strftime(out, size, "%Y-%m-%d %H:%M:%S", localtime_r(&t, &local));
    return out;
}
