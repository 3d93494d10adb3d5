/* The clock of a step: each lane's next free moment, moved on by what is put on it. */
#include "engine/timeline.h"

#include <string.h>

static double later(double a, double b) {
    return a > b ? a : b;
}

void qm_timeline_begin(struct qm_timeline *t, const struct qm_speed_device *devices) {
    memset(t, 0, sizeof *t);
    t->device = devices;
}

static const struct qm_speed_device *device_of(const struct qm_timeline *t, int d) {
    return &t->device[d - 1];
}

/* When bytes that are ready at `from` have gone up. */
static double go_up(struct qm_timeline *t, int d, double from, double bytes) {
    const struct qm_speed_device *spec = device_of(t, d);
    struct qm_lane *lane = &t->lane[d];
    double seconds = bytes / (t->parted ? spec->up_busy : spec->up), begin = later(from, lane->up_free);
    lane->up_busy += seconds;
    return lane->up_free = begin + seconds;
}

static double go_down(struct qm_timeline *t, int d, double from, double bytes) {
    const struct qm_speed_device *spec = device_of(t, d);
    struct qm_lane *lane = &t->lane[d];
    double seconds = bytes / (t->parted ? spec->down_busy : spec->down), begin = later(from, lane->down_free);
    lane->down_busy += seconds;
    return lane->down_free = begin + seconds;
}

/* From one place to another, by way of the CPU's memory. */
static double cross(struct qm_timeline *t, int from, int to, double at, double bytes) {
    if (from == to)
        return at;
    if (from != QM_DEVICE_CPU)
        at = go_down(t, from, at, bytes) + 1e-6 * device_of(t, from)->handover_us;
    if (to != QM_DEVICE_CPU)
        at = go_up(t, to, at, bytes) + 1e-6 * device_of(t, to)->handover_us;
    return at;
}

void qm_timeline_move(struct qm_timeline *t, int to, double bytes) {
    t->ready = cross(t, t->where, to, t->ready, bytes);
    t->where = to;
}

/* When work that could begin at `from` is done. */
static double work(struct qm_timeline *t, int d, double from, double seconds, double streamed) {
    if (d == QM_DEVICE_CPU) {
        t->cpu_busy += seconds;
        return from + seconds;
    }
    struct qm_lane *lane = &t->lane[d];
    double begin = later(from, lane->work_free);
    if (streamed > 0)
        begin = later(begin, go_up(t, d, lane->slot_free[lane->slot], streamed));
    lane->work_free = begin + seconds;
    lane->work_busy += seconds;
    if (streamed > 0) {
        lane->slot_free[lane->slot] = lane->work_free;
        lane->slot ^= 1;
    }
    return lane->work_free;
}

void qm_timeline_work(struct qm_timeline *t, double seconds, double streamed) {
    t->ready = work(t, t->where, t->ready, seconds, streamed);
}

void qm_timeline_down(struct qm_timeline *t, int device, double bytes) {
    go_down(t, device, t->ready, bytes);
}

void qm_timeline_part_begin(struct qm_timeline *t, struct qm_parts *p) {
    *p = (struct qm_parts){t->ready, t->ready};
    t->parted = true;
}

void qm_timeline_part(struct qm_timeline *t, struct qm_parts *p, int device, double seconds, double streamed,
                      double bytes_there, double bytes_back) {
    double at = cross(t, t->where, device, p->begin, bytes_there);
    at = work(t, device, at, seconds, streamed);
    p->end = later(p->end, cross(t, device, t->where, at, bytes_back));
}

void qm_timeline_part_end(struct qm_timeline *t, const struct qm_parts *p) {
    t->ready = p->end;
    t->parted = false;
}

double qm_timeline_end(struct qm_timeline *t) {
    double end = t->ready;
    for (int d = 1; d < QM_MAX_DEVICES; d++)
        end = later(end, t->lane[d].down_free);
    return end;
}
