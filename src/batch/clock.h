/* The clocks of a batch job: the local time decides when it works, the steady one measures. What is kept for the report
 * has the job's own time: the local time when a run began and what has passed since, so that a clock which is put
 * forward or back makes no row longer or shorter, and nothing is earlier than what the run before has kept. A test
 * gives its own, so that midnight, and clocks that are put forward or back while a job is paused, take no time to try.
 */
#ifndef QM_BATCH_CLOCK_H
#define QM_BATCH_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "batch/journal.h"

struct qm_batch_clock {
    double (*real)(void *arg);   /* seconds since 1970 */
    double (*steady)(void *arg); /* seconds; never goes back */
    double (*passed)(void *arg); /* the same, where the machine is suspended too */
    void (*rest)(void *arg);     /* sleeps about a second, less where a signal comes */
    void *arg;
};

/* The system's. */
extern const struct qm_batch_clock qm_batch_system_clock;

double qm_batch_real(const struct qm_batch_clock *c);
double qm_batch_steady(const struct qm_batch_clock *c);
double qm_batch_passed(const struct qm_batch_clock *c);

/* The job's own time, seconds since 1970: *base is chosen when a run begins. */
int qm_batch_time_begin(const struct qm_batch_clock *c, struct qm_journal *j, double *base, struct qm_error *err);
double qm_batch_time(const struct qm_batch_clock *c, double base);

/* "2026-11-21 11:08:21", the local time so many seconds after 1970. */
const char *qm_batch_time_text(int64_t seconds, char *out, size_t size);

#endif
