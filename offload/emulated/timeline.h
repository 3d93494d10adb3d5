/* When things happen on a device that is not there: its link up, its link down, its work and the two places of streamed
 * weights, each free from some moment of the host's clock on. Inside an emulated device, which says what happens, in
 * the order in which it was asked for; pure arithmetic, nothing is computed or copied here.
 *
 * A device does one thing at a time, and so does each direction of its link. Nothing begins before it was asked for.
 * Work begins when all that was transferred before it is there, and the weights that were streamed for it; what is
 * transferred back begins when the work before it is done. Streamed weights go up through two slots alternately: as
 * soon as the link is free and the work that used the place is done, beside other work. Links are slower as long as the
 * CPU computes, and the CPU computes until the moment (waits) from which the host is known to wait. Seconds. */
#ifndef QM_OFFLOAD_EMULATED_TIMELINE_H
#define QM_OFFLOAD_EMULATED_TIMELINE_H

#include "offload/emulated/emulated.h"

struct qm_timeline {
    const struct qm_emulated_config *device;
    double waits;                         /* the host computes until then */
    double up_free, down_free, work_free; /* when each is free again */
    double given;                         /* when all that was transferred is there */
    double place_free[2], place_filled[2];
    int filled_next;                      /* the place that the next streamed weights take */
    double up_busy, down_busy, work_busy; /* seconds since the beginning */
};

/* Bytes to the device: when they are there. */
double qm_timeline_send(struct qm_timeline *t, double asked, double bytes);
/* Weights that go up beside the work: the place that they take. */
int qm_timeline_stream(struct qm_timeline *t, double asked, double bytes);
/* Work of so many seconds, with the weights of a place or with none that were streamed (-1): when it is done. */
double qm_timeline_work(struct qm_timeline *t, double asked, double seconds, int place);
/* Bytes back after the work: when the host has them. */
double qm_timeline_receive(struct qm_timeline *t, double asked, double bytes);
/* Bytes that come down after the work, which nobody waits for but qm_timeline_end. */
void qm_timeline_down(struct qm_timeline *t, double bytes);
/* When everything is done and the links are still. */
double qm_timeline_end(const struct qm_timeline *t);

#endif
