/* Where the time of steps goes, by kind of op: counted by the engine (report.h) and by a placement's execution. */
#ifndef QM_ENGINE_PROFILE_H
#define QM_ENGINE_PROFILE_H

#include <stdint.h>

#include "engine/forward.h"

struct qm_engine_profile {
    double seconds[QM_OP_COUNT];
    uint64_t calls[QM_OP_COUNT];
    uint64_t barriers[QM_OP_COUNT]; /* times that all threads waited for each other: ends of regions, and inside them */
    uint64_t regions, steps;
};
/* The barriers of one layer in one step, counted over the ops of layers alone; 0 where nothing was counted. */
double qm_profile_layer_barriers(const struct qm_engine_profile *p);

#endif
