/* What a device has done: reported by its driver (device.h), passed on by the engine (engine.h). */
#ifndef QM_ENGINE_DEVICE_REPORT_H
#define QM_ENGINE_DEVICE_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/forward.h"
#include "engine/placement.h"

/* Bytes of a device's name, with its final NUL. */
enum { QM_DEVICE_NAME = 64 };

/* Since it was opened. */
struct qm_device_report {
    const char *name; /* lives as long as the device; from the engine, as long as that */
    struct qm_device_memory memory;
    uint64_t ops;                                  /* ops and transfers begun */
    double work_seconds, up_seconds, down_seconds; /* computing; each way of its link */
    double seconds[QM_OP_COUNT];                   /* computing, by kind of op */
    bool failed;
};

#endif
