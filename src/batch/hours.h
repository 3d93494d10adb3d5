/* When a batch job may work: --until 07:00, --hours 22:00-07:00, in local time. Pure functions of the time given, so
 * that midnight, and clocks that are put forward or back, can be tested. */
#ifndef QM_BATCH_HOURS_H
#define QM_BATCH_HOURS_H

#include <stdbool.h>
#include <time.h>

#include "base/error.h"

enum { QM_DAY_SECONDS = 24 * 60 * 60 };

/* "7:00", "07:00" or "07:00:30" as seconds after midnight. option: for the message (QM_USAGE). */
int qm_day_time_parse(const char *text, const char *option, int *seconds, struct qm_error *err);

/* Working hours of every day: from..to, over midnight where to is less than from. */
struct qm_hours {
    int from, to; /* seconds after midnight by the local clock */
};
/* "22:00-07:00". Equal times are QM_USAGE. */
int qm_hours_parse(const char *text, const char *option, struct qm_hours *out, struct qm_error *err);
/* Whether the local clock shows a time in them at `now`. An hour that the clock shows twice counts twice, one that it
 * leaves out not at all. */
bool qm_hours_contain(const struct qm_hours *h, time_t now);
/* The first moment after `now` at which the local clock shows `seconds` after midnight, or has just passed it where it
 * leaves that time out; of two such moments the first. */
time_t qm_day_time_next(int seconds, time_t now);
/* Whole seconds from now to the next beginning or end of the hours. */
time_t qm_hours_next_change(const struct qm_hours *h, time_t now);

/* All that decides whether a job works at a moment. */
struct qm_batch_times {
    bool has_until, has_hours, pause_on_battery;
    time_t until;
    struct qm_hours hours;
};
enum qm_batch_gate { QM_GATE_WORK, QM_GATE_PAUSE_HOURS, QM_GATE_PAUSE_BATTERY, QM_GATE_STOP };
/* saving: seconds that saving everything takes, which must be over at `until`. */
enum qm_batch_gate qm_batch_gate(const struct qm_batch_times *t, time_t now, double saving, bool on_battery);
/* When so many seconds of work are done that begin at `now`: work rests outside of the hours. Batteries and `until` are
 * not looked at. */
time_t qm_batch_done_by(const struct qm_batch_times *t, time_t now, double seconds);
/* "03:40" within a day of `now`, "Wed 03:40" within a week, else "2026-12-08 03:40"; local time. */
const char *qm_batch_soon_text(time_t when, time_t now, char *out, size_t size);

#endif
