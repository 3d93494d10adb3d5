/* Time that only goes forward, for durations. */
#ifndef QM_BASE_CLOCK_H
#define QM_BASE_CLOCK_H

#include <time.h>

/* Seconds since some instant before the process began (CLOCK_MONOTONIC). Any thread. */
static inline double qm_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#endif
