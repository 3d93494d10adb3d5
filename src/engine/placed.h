/* Executes a step where a placement says (plan/placement.h): each op on the CPU or on a device, the residual handed
 * over between them. Between the engine, which has the placement, and the backends.
 *
 * A device is emulated so far: its ops are computed by the CPU backend, on the CPU's panels, and the time that they
 * would take is simulated, op by op, from what the device is said to be: bytes, multiply-adds, launches, transfers.
 * So results are the CPU's to the last bit, where whole layers are placed and where a layer's experts or the columns of
 * its FFN are parted: each device's share is one sum, on the CPU too when it is told to part them so. What the CPU
 * computes takes the time that it took; what a device computes takes none of the engine's clock but what was simulated.
 * The simulation knows nothing of plan/time.h, so that a prediction can be wrong.
 *
 * An emulated device fails where it is told to, and from then on at once. What was on it is then to be computed on the
 * CPU: its keys and values are gone (overwritten by NaN). One thread. */
#ifndef QM_ENGINE_PLACED_H
#define QM_ENGINE_PLACED_H

#include "engine/backend.h"
#include "engine/timeline.h"
#include "plan/placement.h"

struct qm_placed;

struct qm_placed_setup {
    const struct qm_model *model;
    const struct qm_forward *forward;
    struct qm_workload workload;
    struct qm_backend *cpu;
    struct qm_kv *kv;
    const struct qm_placement *placement;
    const struct qm_device_setup *devices; /* [placement->devices - 1] */
};

/* Copies what it is given but for the pointers to engine parts. QM_FIT where a device's part is more than its memory.
 */
int qm_placed_open(const struct qm_placed_setup *s, struct qm_placed **out, struct qm_error *err);
void qm_placed_close(struct qm_placed *p);

/* Executes all ops of the forward pass. *elsewhere: the seconds of this step by the devices' clocks less those that it
 * took here. profile may be NULL. QM_SYSTEM where a device fails: the batch's results are then not to be used. */
int qm_placed_execute(struct qm_placed *p, const struct qm_batch *batch, struct qm_engine_profile *profile,
                      double *elsewhere, struct qm_error *err);

/* The device that failed, or 0. */
int qm_placed_failed(const struct qm_placed *p);
/* What was on the failed device is on the CPU from now on. */
void qm_placed_fall_back(struct qm_placed *p);

void qm_placed_report(const struct qm_placed *p, int device, struct qm_device_report *out);
const struct qm_placement *qm_placed_placement(const struct qm_placed *p);

#endif
