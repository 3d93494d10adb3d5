/* The clock's axis of a job's report: when the job worked, to scale, and its pauses, which are cut short so that one
 * night's work is not lost beside the day. Positions are shares of the axis, 0 to 1. Not thread-safe. */
#ifndef QM_REPORT_CLOCK_AXIS_H
#define QM_REPORT_CLOCK_AXIS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* How far a job was at some moment: neither number is below that of the point before. */
struct qm_clock_point {
    double time, worked; /* seconds since 1970; of work, pauses left out */
    int64_t run;         /* the program was started anew where it changes */
};

struct qm_clock_pause {
    double from, to;
    bool resumed; /* the program was started anew after it */
};

struct qm_clock_axis {
    const struct qm_clock_point *point; /* n of them, borrowed */
    double *at;                         /* of each point: its position, in seconds shown */
    double *worked;                     /* of what follows each point: the seconds of it that were work */
    struct qm_clock_pause *pause;
    int64_t n, n_pauses;
    double shown; /* the seconds that the whole axis shows, above 0 */
};

/* From at least two points, between which there was work. They must outlive the axis; free *out whatever the result
 * is. */
int qm_clock_axis_make(const struct qm_clock_point *point, int64_t n, struct qm_clock_axis *out, struct qm_error *err);
void qm_clock_axis_free(struct qm_clock_axis *a);
/* Where a time is; times before the first point and after the last are at the ends. */
double qm_clock_axis_at(const struct qm_clock_axis *a, double time);
/* Whether the job paused between two points that follow each other. */
bool qm_clock_axis_paused(const struct qm_clock_axis *a, int64_t point);

/* Labels: full hours, minutes, ... of the local time while the job worked, none nearer to another than `apart`; where
 * there is none, the beginning. */
enum { QM_CLOCK_TICKS = 16 };
struct qm_clock_tick {
    double at;
    char label[32]; /* "22:10", "22:10:03", "22:10:03.4"; with its day before it where that changes: "12-01 02:00" */
};
int qm_clock_axis_ticks(const struct qm_clock_axis *a, double apart, struct qm_clock_tick out[QM_CLOCK_TICKS]);

#endif
