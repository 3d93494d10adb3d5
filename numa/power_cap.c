/* The controller of duty and its pauses. */
#include "numa/power_cap.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "numa/energy.h"

/* Seconds: of work between two pauses at least; between two readings. */
static const double SLICE = 0.02, PERIOD = 0.5;
static const double LEAST_DUTY = 0.05;

struct qm_power_cap {
    struct qm_energy *energy;
    struct qm_clock clock;
    double limit, duty;
    double unpaid;           /* seconds worked since the last pause */
    double last_call;        /* when work was last reported */
    double read_at, joules;  /* of the last reading; NaN: none to go on from */
    double seconds, counted; /* while working: time between readings, joules */
    double worked, slept;    /* in all */
};

static double system_now(void *arg) {
    struct timespec t;
    (void)arg;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void system_sleep(void *arg, double seconds) {
    struct timespec t = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - floor(seconds)) * 1e9)};
    (void)arg;
    nanosleep(&t, NULL);
}

int qm_power_cap_open(const char *root, double watts, const struct qm_clock *clock, struct qm_power_cap **out,
                      struct qm_error *err) {
    *out = NULL;
    if (!(watts > 0) || !isfinite(watts))
        return qm_fail(err, QM_USAGE, "a power cap of %g W: expected a number above 0", watts);
    struct qm_power_cap *c = calloc(1, sizeof *c);
    if (!c)
        return qm_fail_memory(err, sizeof *c, "the power cap");
    int rc = qm_energy_open(root, &c->energy, err);
    if (rc) {
        free(c);
        return rc;
    }
    c->clock = clock ? *clock : (struct qm_clock){system_now, system_sleep, NULL};
    c->limit = watts;
    c->duty = 1;
    c->joules = NAN;
    c->last_call = c->clock.now(c->clock.arg);
    *out = c;
    return QM_OK;
}

void qm_power_cap_close(struct qm_power_cap *c) {
    if (!c)
        return;
    qm_energy_close(c->energy);
    free(c);
}

/* After a rest, such as between two questions, what was measured last says nothing of work. */
static void measure(struct qm_power_cap *c, double now, bool rested) {
    double joules, seconds = now - c->read_at;
    if (!rested && !isnan(c->joules) && seconds < PERIOD)
        return;
    if (qm_energy_joules(c->energy, &joules, NULL)) {
        c->joules = NAN;
        return;
    }
    if (!rested && !isnan(c->joules)) {
        double watts = (joules - c->joules) / seconds;
        c->seconds += seconds;
        c->counted += joules - c->joules;
        c->duty *= watts > 0 ? sqrt(c->limit / watts) : 2;
        c->duty = c->duty > 1 ? 1 : c->duty < LEAST_DUTY ? LEAST_DUTY : c->duty;
    }
    c->joules = joules;
    c->read_at = now;
}

double qm_power_cap_worked(struct qm_power_cap *c, double seconds) {
    double now = c->clock.now(c->clock.arg), pause = 0;
    measure(c, now, now - seconds - c->last_call > PERIOD);
    c->worked += seconds;
    c->unpaid += seconds;
    if (c->unpaid >= SLICE) {
        pause = c->unpaid * (1 / c->duty - 1);
        c->unpaid = 0;
    }
    if (pause > 0) {
        c->clock.sleep(c->clock.arg, pause);
        c->slept += pause;
    }
    c->last_call = pause > 0 ? c->clock.now(c->clock.arg) : now;
    return pause;
}

void qm_power_cap_look(const struct qm_power_cap *c, struct qm_power_cap_state *out) {
    out->limit = c->limit;
    out->watts = c->seconds > 0 ? c->counted / c->seconds : NAN;
    out->paused = c->slept > 0 ? c->slept / (c->slept + c->worked) : 0;
}
