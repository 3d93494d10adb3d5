/* Quiet work: from wishes to the engine, and what came of it for people and as JSON. */
#ifndef QM_APP_QUIET_H
#define QM_APP_QUIET_H

#include <jansson.h>

#include "app/progress.h"
#include "engine/engine.h"

struct qm_quiet_options {
    double share; /* of the decode speed; 0: not asked for */
    bool prefill; /* on the same few threads */
    bool priority, idle;
    int nice;
    double watts; /* of the power cap; 0: not asked for */
};

/* What the system refuses is reported, and it goes on. */
int qm_quiet_apply(const struct qm_quiet_options *o, struct qm_progress *progress, struct qm_engine *engine,
                   struct qm_error *err);

/* ", 6 of 16 threads keep 98 %, capped at 60 W: 59.7 W, 30 % paused" and the like; "" where nothing was asked for. */
void qm_quiet_text(const struct qm_engine *engine, char *out, size_t size);
/* {wanted, found, threads, threads_all, kept, spin, steps}, or null. */
json_t *qm_quiet_json(const struct qm_engine *engine);
/* {limit, watts, paused}, or null where there is none. */
json_t *qm_power_cap_json(const struct qm_engine *engine);

#endif
