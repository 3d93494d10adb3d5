/* A step of one sequence that a failing device does not end: whatever computes tokens of one sequence steps by this.
 * (The scheduler, which has many, does the same with all of theirs: scheduler.h.) Where a device fails, what was on it
 * goes to the CPU, what the sequence held is computed again, and the step too: the same bits come out. Who wants to
 * know is told by the engine (qm_engine_on_fall_back). */
#ifndef QM_SESSION_FEED_H
#define QM_SESSION_FEED_H

#include "base/error.h"
#include "engine/engine.h"

/* Consecutive tokens of a sequence. */
struct qm_known_tokens {
    const int32_t *ids;
    int64_t n;
};

/* known: what the sequence holds, in `parts` pieces, of which the first that make up its length count; ids NULL where
 * they are not known any more: then a failure is the step's. QM_SYSTEM where the devices are required. */
int qm_step_surely(struct qm_engine *e, const struct qm_step *step, const struct qm_known_tokens *known, int parts,
                   struct qm_error *err);

#endif
