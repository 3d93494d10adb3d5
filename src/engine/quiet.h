/* How few threads keep a share of the decode speed, found from the times of the decode steps themselves: memory's
 * bandwidth saturates before the cores do, and threads that only wait for memory make heat and noise.
 *
 * Blocks of a few steps alternate between all threads and a candidate, so that what changes slowly (depth, clock,
 * neighbours) meets both; the shares of several such pairs give a median. Candidates are halved until one is the
 * fewest that keeps the share; a median too near to it for the noise asks for more pairs, and what stays in doubt
 * keeps the speed. Then it is tried whether waiting threads may sleep at once instead of spinning first. The choice
 * is looked at again now and then, and the search begins anew only where the share is missed by more than a margin:
 * that is the hysteresis.
 *
 * Nothing here reads a clock or runs a thread. Not thread-safe. */
#ifndef QM_ENGINE_QUIET_H
#define QM_ENGINE_QUIET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct qm_quiet;

struct qm_quiet_use {
    int threads;
    bool spin; /* waiting threads spin a while before they sleep */
};

struct qm_quiet_state {
    bool found;
    struct qm_quiet_use use; /* all threads until it is found */
    double wanted, kept;     /* shares of the speed of all threads; kept: as measured, 0 until it is found */
    int64_t steps;           /* decode steps measured for it so far */
};

/* threads: of the team, on so many nodes; candidates keep the nodes balanced. share: in (0, 1]. QM_USAGE otherwise. */
int qm_quiet_new(int threads, int nodes, double share, struct qm_quiet **out, struct qm_error *err);
void qm_quiet_free(struct qm_quiet *q);

/* What the next decode step of so many sequences should use. */
struct qm_quiet_use qm_quiet_next(struct qm_quiet *q, int64_t sequences);
/* That step took so long. Call it after each qm_quiet_next. */
void qm_quiet_took(struct qm_quiet *q, double seconds);

void qm_quiet_look(const struct qm_quiet *q, struct qm_quiet_state *out);

#endif
