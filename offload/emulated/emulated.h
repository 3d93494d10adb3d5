/* An emulated device: the interface of device.h without one. It computes by the CPU's kernels, on the CPU, and its time
 * is simulated: so results are the CPU's to the last bit, where whole layers are placed and where a layer is split,
 * and what it would have taken is on the clock instead of what it took.
 *
 * It is a strict one. Weights that are placed there, activations, the pages of its layers and of streamed ones are its
 * own memory, activations NaN at the beginning of a step: what was not transferred is missed. Calls are executed when
 * the host waits and not before: what the host changes or reads too early is wrong. It takes no more than its budget,
 * and computes only with weights that were put there. A transfer from or to memory that it was not given, and a step
 * that is not what one with the same shape was, end the program. It fails where it is asked to, after so many ops and
 * transfers, or does not answer any more. */
#ifndef QM_OFFLOAD_EMULATED_EMULATED_H
#define QM_OFFLOAD_EMULATED_EMULATED_H

#include "engine/cpu/cpu.h"
#include "engine/device.h"

/* What the driver is opened with (qm_device_setup.config). Rates are a second: bytes, or floating-point operations. */
struct qm_emulated_config {
    char name[QM_DEVICE_NAME];
    uint64_t memory; /* a limit */
    double read, bf16, f32;
    double read_efficiency, flops_efficiency, attention_efficiency; /* that its kernels reach */
    double up, down;               /* of the link, to the device and back, nothing else running */
    double up_busy, down_busy;     /* while the CPU reads its memory */
    double launch_us, transfer_us; /* of an op; of transferring the residual, besides the bytes */
    int64_t fail_after;            /* ops and transfers until it fails; -1: never */
    bool hangs;                    /* it does not fail there, but is never done */
};

/* It needs the CPU's kernels (qm_device_load.cpu). QM_FIT where its memory is not enough, by part. */
extern const struct qm_device_driver qm_emulated_driver;

#endif
