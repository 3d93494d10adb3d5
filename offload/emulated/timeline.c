/* The clock of an emulated device: each lane's next free moment, moved on by what is put on it. */
#include "offload/emulated/timeline.h"

static double later(double a, double b) {
    return a > b ? a : b;
}

/* When bytes that begin to cross have done so: at one rate while the CPU computes, at another afterwards. */
static double crossed(const struct qm_timeline *t, double begin, double bytes, double rate, double busy_rate) {
    double left = bytes;
    if (begin < t->waits) {
        if (begin + bytes / busy_rate <= t->waits)
            return begin + bytes / busy_rate;
        left -= (t->waits - begin) * busy_rate;
        begin = t->waits;
    }
    return begin + left / rate;
}

static double go_up(struct qm_timeline *t, double begin, double bytes) {
    begin = later(begin, t->up_free);
    t->up_free = crossed(t, begin, bytes, t->device->up, t->device->up_busy);
    t->up_busy += t->up_free - begin;
    return t->up_free;
}

static double go_down(struct qm_timeline *t, double begin, double bytes) {
    begin = later(begin, t->down_free);
    t->down_free = crossed(t, begin, bytes, t->device->down, t->device->down_busy);
    t->down_busy += t->down_free - begin;
    return t->down_free;
}

double qm_timeline_send(struct qm_timeline *t, double asked, double bytes) {
    double there = go_up(t, asked, bytes) + 1e-6 * t->device->transfer_us;
    t->given = later(t->given, there);
    return there;
}

int qm_timeline_stream(struct qm_timeline *t, double asked, double bytes) {
    int place = t->filled_next;
    t->filled_next ^= 1;
    t->place_filled[place] = go_up(t, later(asked, t->place_free[place]), bytes);
    return place;
}

double qm_timeline_work(struct qm_timeline *t, double asked, double seconds, int place) {
    double begin = later(later(asked, t->work_free), t->given);
    if (place >= 0)
        begin = later(begin, t->place_filled[place]);
    t->work_free = begin + seconds;
    t->work_busy += seconds;
    if (place >= 0)
        t->place_free[place] = t->work_free;
    return t->work_free;
}

double qm_timeline_receive(struct qm_timeline *t, double asked, double bytes) {
    return go_down(t, later(later(asked, t->work_free), t->given), bytes) + 1e-6 * t->device->transfer_us;
}

void qm_timeline_down(struct qm_timeline *t, double bytes) {
    go_down(t, t->work_free, bytes);
}

double qm_timeline_end(const struct qm_timeline *t) {
    return later(later(t->up_free, t->down_free), later(t->work_free, t->given));
}
