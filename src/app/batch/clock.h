/* The clocks of a batch job: the local time decides when it works, the steady one measures. A test gives its own, so
 * that midnight, and clocks that are put forward or back while a job is paused, take no time to try. */
#ifndef QM_APP_BATCH_CLOCK_H
#define QM_APP_BATCH_CLOCK_H

#include <stddef.h>
#include <stdint.h>

struct qm_batch_clock {
    double (*real)(void *arg);   /* seconds since 1970 */
    double (*steady)(void *arg); /* seconds; never goes back */
    void (*rest)(void *arg);     /* sleeps about a second, less where a signal comes */
    void *arg;
};

/* The system's. */
extern const struct qm_batch_clock qm_batch_system_clock;

double qm_batch_real(const struct qm_batch_clock *c);
double qm_batch_steady(const struct qm_batch_clock *c);

/* "2026-11-21 11:08:21", the local time so many seconds after 1970. */
const char *qm_batch_time_text(int64_t seconds, char *out, size_t size);

#endif
