/* Executes a step where a placement says (engine/placement.h): each op on the CPU or on a device, the residual
 * transferred between them. Between the engine, which has the placement, and those who compute: the CPU's kernels
 * (cpu/cpu.h) and devices (device.h), whatever they are.
 *
 * Where CPU and devices work on parts of one layer, devices have theirs enqueued before the CPU computes its own. Each
 * part is one sum, also where one of them computes several, and they are added to the residual in ascending order of
 * the parts' devices. So results are the same bits whoever computes a part.
 *
 * A device that fails is left: what was on it is read again, and computed on the CPU from then on. Its keys and values
 * are gone (NaN). One thread. */
#ifndef QM_ENGINE_PLACED_H
#define QM_ENGINE_PLACED_H

#include "engine/cpu/cpu.h"
#include "engine/device.h"
#include "engine/placement.h"
#include "engine/profile.h"

struct qm_placed;

struct qm_placed_setup {
    const struct qm_model *model;
    const struct qm_forward *forward;
    struct qm_workload workload;
    struct qm_cpu *cpu;
    struct qm_kv *kv;
    struct qm_host_clock *clock;
    const struct qm_placement *placement;
    const struct qm_device_setup *devices; /* [placement->devices - 1] */
};

/* Seconds without progress after which a device has failed. */
enum { QM_DEVICE_PATIENCE = 30 };

/* Opens the devices and says what is placed on them, before weights are loaded. Copies what it is given but for the
 * pointers to engine parts. QM_FIT where a device's part is more than its memory. */
int qm_placed_open(const struct qm_placed_setup *s, struct qm_placed **out, struct qm_error *err);
void qm_placed_close(struct qm_placed *p);

/* Executes all ops of the forward pass. profile may be NULL; ops of devices count by the devices' own clocks. QM_SYSTEM
 * where a device fails: the batch's results are then not to be used. */
int qm_placed_execute(struct qm_placed *p, const struct qm_batch *batch, struct qm_engine_profile *profile,
                      struct qm_error *err);

/* The device that failed, or 0. */
int qm_placed_failed(const struct qm_placed *p);
/* What was on the failed device is on the CPU from now on: read again from the files, keys and values NaN. Where that
 * fails (QM_FIT: no room for it) the device stays failed. */
int qm_placed_fall_back(struct qm_placed *p, const struct qm_binding *bindings, struct qm_error *err);
/* The devices [placement->devices], NULL: the CPU, or lost. */
struct qm_device *const *qm_placed_devices(const struct qm_placed *p);

void qm_placed_report(const struct qm_placed *p, int device, struct qm_device_report *out);
const struct qm_placement *qm_placed_placement(const struct qm_placed *p);

#endif
