/* The system's clocks. */
#include "app/batch/clock.h"

#include <time.h>

#include "app/progress.h"

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

static void rest(void *arg) {
    const struct timespec second = {.tv_sec = 1};
    (void)arg;
    nanosleep(&second, NULL);
}

const struct qm_batch_clock qm_batch_system_clock = {.real = real, .steady = steady, .rest = rest};

double qm_batch_real(const struct qm_batch_clock *c) {
    return c->real(c->arg);
}

double qm_batch_steady(const struct qm_batch_clock *c) {
    return c->steady(c->arg);
}

const char *qm_batch_time_text(int64_t seconds, char *out, size_t size) {
    time_t t = (time_t)seconds;
    struct tm local;
    *out = 0;
    strftime(out, size, "%Y-%m-%d %H:%M:%S", localtime_r(&t, &local));
    return out;
}
