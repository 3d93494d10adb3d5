/* Which driver a device has. */
#include "engine/device.h"

#include "engine/emulated/emulated.h"
#include "engine/engine.h"

int qm_device_open(const struct qm_device_setup *setup, const struct qm_device_load *load, const struct qm_cpu *cpu,
                   struct qm_device **out, struct qm_error *err) {
    *out = NULL;
    if (setup->spec.emulated)
        return qm_emulated_open(setup, load, cpu, out, err);
    return qm_fail(err, QM_FIT, "%s: there is no driver for it; emulated devices can be computed on", setup->spec.name);
}
