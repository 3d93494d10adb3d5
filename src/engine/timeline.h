/* When things happen on machines that are not all there: a clock for one step in which the CPU's work takes the time
 * that it was measured to take, and that of emulated devices and their links the time that they are said to take. In
 * the engine beside placed.h, which says what happens; pure arithmetic, nothing is computed or copied here.
 *
 * The residual is in one place at a time, and whatever works on it begins when it is ready there. Each device does one
 * thing at a time, and so does each direction of its link. Weights that are streamed go up through two slots: a
 * transfer begins as soon as the link is free and the work before last on its device has left the slot, whether or not
 * the residual is there. Where CPU and devices work on parts of one layer, all begin together and the last one to have
 * its sum where the residual is ends it. Seconds since the beginning of the step. */
#ifndef QM_ENGINE_TIMELINE_H
#define QM_ENGINE_TIMELINE_H

#include <stdbool.h>

#include "plan/machine.h"

struct qm_lane {
    double up_free, down_free, work_free; /* when each is free again */
    double slot_free[2];                  /* of streamed weights */
    int slot;                             /* the next one's */
    double up_busy, down_busy, work_busy; /* seconds of this step */
};

struct qm_timeline {
    const struct qm_speed_device *device; /* [devices]; number d of a placement is device[d - 1] */
    struct qm_lane lane[QM_MAX_DEVICES];
    double ready; /* of the residual */
    int where;    /* the device that has it; QM_DEVICE_CPU */
    double cpu_busy;
    bool parted; /* several work at once: links are as fast as they are while the CPU reads its memory */
};

/* A step begins, with the residual on the CPU. */
void qm_timeline_begin(struct qm_timeline *t, const struct qm_speed_device *devices);

/* The residual goes to a device, or to the CPU. */
void qm_timeline_move(struct qm_timeline *t, int to, double bytes);
/* Work on the residual where it is. streamed: bytes of weights that must be there first, 0: none. */
void qm_timeline_work(struct qm_timeline *t, double seconds, double streamed);
/* Bytes that come down after the work, which nobody waits for but the end of the step (new keys and values). */
void qm_timeline_down(struct qm_timeline *t, int device, double bytes);

/* Parts of one piece of work: begin, then each part with the bytes that go there and its sum's that come back (none of
 * either where the part is where the residual is), then end. */
struct qm_parts {
    double begin, end;
};
void qm_timeline_part_begin(struct qm_timeline *t, struct qm_parts *p);
void qm_timeline_part(struct qm_timeline *t, struct qm_parts *p, int device, double seconds, double streamed,
                      double bytes_there, double bytes_back);
void qm_timeline_part_end(struct qm_timeline *t, const struct qm_parts *p);

/* The residual is back on the CPU and all links are still: the seconds that the step took. */
double qm_timeline_end(struct qm_timeline *t);

#endif
