/* Holds the power that the processors' counters show (numa/energy.h) to a limit: work is interrupted by pauses, as
 * long a share of the time as it takes. The counters count the whole package, so what others use counts too, and
 * what a package draws at rest can't be gone below: then a twentieth of the work goes on.
 *
 * The controller: every half second the duty (the share of time worked) is multiplied by the square root of limit over
 * power. Power is a constant plus something that grows with the duty, so this approaches the limit from both sides
 * without overshooting. Not thread-safe. */
#ifndef QM_NUMA_POWER_CAP_H
#define QM_NUMA_POWER_CAP_H

#include "base/error.h"

struct qm_power_cap;

/* The system's clock and sleep, or a test's. */
struct qm_clock {
    double (*now)(void *arg); /* seconds, monotonic */
    void (*sleep)(void *arg, double seconds);
    void *arg;
};

/* root: put before /sys. clock: NULL is the system's. QM_SYSTEM with the reason where there are no counters to go by,
 * QM_USAGE where watts are not above 0. */
int qm_power_cap_open(const char *root, double watts, const struct qm_clock *clock, struct qm_power_cap **out,
                      struct qm_error *err);
void qm_power_cap_close(struct qm_power_cap *c);

/* So many seconds were worked; call it often (every few milliseconds). May sleep, and returns how long. Where the
 * counters can no longer be read the duty stays as it was. */
double qm_power_cap_worked(struct qm_power_cap *c, double seconds);

struct qm_power_cap_state {
    double limit, watts; /* asked for; mean while working, NaN before the first half second */
    double paused;       /* share of the time since the first work */
};
void qm_power_cap_look(const struct qm_power_cap *c, struct qm_power_cap_state *out);

#endif
