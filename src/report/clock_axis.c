/* The clock's axis of a report. */
#include "report/clock_axis.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Steps looked at for labels: more are only in a journal of no job's. */
enum { TRIES = 10000 };
/* A pause takes at most this share of the work's width, and all of them together this one. What is shorter than so many
 * seconds and than a thousandth of the work is the clock's inexactness. */
static const double PAUSE_SHARE = 0.05, PAUSES_SHARE = 0.4, PAUSE_SECONDS = 0.5;

static double gap(const struct qm_clock_axis *p, int64_t i) {
    const struct qm_clock_point *a = &p->point[i];
    double pause = a[1].time - a[0].time - (a[1].worked - a[0].worked);
    double least = fmax(PAUSE_SECONDS, 0.001 * (p->point[p->n - 1].worked - p->point[0].worked));
    return pause > least || a[1].run != a[0].run ? fmax(pause, 0) : 0;
}

bool qm_clock_axis_paused(const struct qm_clock_axis *a, int64_t point) {
    return gap(a, point) > 0 || a->point[point + 1].run != a->point[point].run;
}

int qm_clock_axis_make(const struct qm_clock_point *point, int64_t n_points, struct qm_clock_axis *out,
                       struct qm_error *err) {
    size_t n = (size_t)n_points;
    double work = point[n - 1].worked - point[0].worked;
    *out = (struct qm_clock_axis){.point = point, .n = n_points};
    out->at = calloc(n, sizeof *out->at);
    out->worked = calloc(n, sizeof *out->worked);
    for (int64_t i = 0; i < n_points - 1; i++)
        out->n_pauses += qm_clock_axis_paused(out, i);
    out->pause = calloc((size_t)out->n_pauses + 1, sizeof *out->pause);
    if (!out->at || !out->worked || !out->pause)
        return qm_fail_memory(err, 3 * n * sizeof *out->at, "the report");
    double longest = work * fmin(PAUSE_SHARE, out->n_pauses ? PAUSES_SHARE / (double)out->n_pauses : 0);
    out->n_pauses = 0;
    for (int64_t i = 0; i < n_points - 1; i++) {
        const struct qm_clock_point *a = &point[i];
        bool paused = qm_clock_axis_paused(out, i);
        out->worked[i] = paused ? fmin(a[1].worked - a[0].worked, a[1].time - a[0].time) : a[1].time - a[0].time;
        if (paused)
            out->pause[out->n_pauses++] =
                (struct qm_clock_pause){a[0].time + out->worked[i], a[1].time, a[1].run != a[0].run};
        out->at[i + 1] = out->at[i] + a[1].worked - a[0].worked + fmin(gap(out, i), longest);
    }
    out->shown = out->at[n - 1] > 0 ? out->at[n - 1] : 1;
    return QM_OK;
}

void qm_clock_axis_free(struct qm_clock_axis *a) {
    free(a->at);
    free(a->worked);
    free(a->pause);
    *a = (struct qm_clock_axis){0};
}

double qm_clock_axis_at(const struct qm_clock_axis *a, double time) {
    const struct qm_clock_point *p = a->point;
    int64_t low = 0, high = a->n - 1;
    if (!(time > p[0].time))
        return 0;
    if (time >= p[high].time)
        return 1;
    while (high - low > 1) { /* p[low].time <= time < p[high].time */
        int64_t middle = low + (high - low) / 2;
        if (p[middle].time <= time)
            low = middle;
        else
            high = middle;
    }
    double work = a->worked[low], since = time - p[low].time, shown = p[high].worked - p[low].worked;
    if (since <= work)
        return (a->at[low] + (work > 0 ? shown * since / work : 0)) / a->shown;
    double pause = p[high].time - p[low].time - work, room = a->at[high] - a->at[low] - shown;
    return (a->at[low] + shown + room * (since - work) / pause) / a->shown;
}

/* Steps that clocks are read by. */
static double step_of(double seconds) {
    static const double steps[] = {.1,  .2,  .5,  1,    2,    5,    10,    15,    30,    60,    120,
                                   300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (steps[i] >= seconds)
            return steps[i];
    return 7 * 86400;
}

/* The next full step of the local time from `time` on. Offsets are whole minutes; by them hours are full where people
 * see them full. */
static double next_step(double time, double step) {
    time_t seconds = (time_t)floor(time);
    struct tm local;
    double offset = localtime_r(&seconds, &local) ? (double)local.tm_gmtoff : 0;
    return ceil((time + offset) / step - 1e-6) * step - offset;
}

static void write_label(double time, double step, int *day, char out[32]) {
    time_t seconds = (time_t)floor(time + 0.005);
    struct tm local;
    char date[16] = "", rest[8] = "";
    if (!localtime_r(&seconds, &local)) {
        snprintf(out, 32, "?");
        return;
    }
    int today = local.tm_year * 366 + local.tm_yday;
    if (*day != today && *day >= 0)
        strftime(date, sizeof date, "%m-%d ", &local);
    *day = today;
    if (step < 1)
        snprintf(rest, sizeof rest, ".%d", (int)((time - floor(time)) * 10 + 0.5) % 10);
    if (step < 60)
        snprintf(out, 32, "%s%02d:%02d:%02d%s", date, local.tm_hour % 24, local.tm_min % 60, local.tm_sec % 61, rest);
    else
        snprintf(out, 32, "%s%02d:%02d", date, local.tm_hour % 24, local.tm_min % 60);
}

int qm_clock_axis_ticks(const struct qm_clock_axis *a, double apart, struct qm_clock_tick out[QM_CLOCK_TICKS]) {
    const struct qm_clock_point *p = a->point;
    double step = step_of(a->shown * apart), end = p[a->n - 1].time;
    int n = 0, day = -1;
    int64_t pause = 0;
    double t = next_step(p[0].time, step);
    for (int tries = 0; t <= end && n < QM_CLOCK_TICKS && tries < TRIES; tries++) {
        while (pause < a->n_pauses && a->pause[pause].to <= t)
            pause++;
        if (pause < a->n_pauses && t > a->pause[pause].from) {
            double on = next_step(a->pause[pause].to, step);
            t = on > t ? on : t + step;
            continue;
        }
        double at = qm_clock_axis_at(a, t);
        if (n == 0 || at - out[n - 1].at >= apart) {
            out[n].at = at;
            write_label(t, step, &day, out[n++].label);
        }
        double next = next_step(t + step / 2, step);
        t = next > t ? next : t + step;
    }
    if (n)
        return n;
    /* too short a job: when it began */
    out[0].at = 0;
    write_label(p[0].time, step < 1 ? 1 : step, &day, out[0].label);
    return 1;
}
