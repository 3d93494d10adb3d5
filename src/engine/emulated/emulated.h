/* An emulated device: the interface of device.h without one. It computes by the CPU's kernels, on the CPU's panels, and
 * its time is simulated: so results are the CPU's to the last bit, where whole layers are placed and where a layer is
 * parted, and what it would have taken is on the clock instead of what it took.
 *
 * It is a strict one. Activations, the pages of its layers and of streamed ones are its own memory, activations NaN at
 * the beginning of a step: what was not handed over is missed. What it is told is done when the host waits and not
 * before: what the host changes or reads too early is wrong. It takes no more than its budget, and computes only with
 * weights that were put there. It fails where it is told to, after so many ops and hand-overs. */
#ifndef QM_ENGINE_EMULATED_EMULATED_H
#define QM_ENGINE_EMULATED_EMULATED_H

#include "engine/cpu/cpu.h"
#include "engine/device.h"
#include "engine/engine.h"

/* As qm_device_open. */
int qm_emulated_open(const struct qm_device_setup *setup, const struct qm_device_load *load, const struct qm_cpu *cpu,
                     struct qm_device **out, struct qm_error *err);

#endif
