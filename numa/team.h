/* The thread team: threads that start once and run parallel regions, with a barrier inside them.
 * The calling thread is thread 0. Threads are pinned one a physical core while they do not exceed the
 * cores allowed (then they spin a bounded time before they sleep on a futex); beyond that there is no
 * pinning and no spinning. A region started while another runs is a programming error: one team has one
 * caller at a time. */
#ifndef QM_NUMA_TEAM_H
#define QM_NUMA_TEAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct qm_team;

typedef void qm_region_fn(void *arg, int thread, int threads);

/* threads: how many (1..1024), or 0 for one a physical core allowed. Failing to pin is no error. */
int qm_team_create(int threads, struct qm_team **out, struct qm_error *err);
void qm_team_destroy(struct qm_team *team);

int qm_team_threads(const struct qm_team *team);
bool qm_team_pinned(const struct qm_team *team);

/* Runs fn(arg, thread, threads) on every thread and returns when all are done. */
void qm_team_run(struct qm_team *team, qm_region_fn *fn, void *arg);
/* Inside a region, called by every thread: returns when all have called it. */
void qm_team_barrier(struct qm_team *team, int thread);
/* Regions run so far (for the profile of regions a token). */
uint64_t qm_team_regions(const struct qm_team *team);

/* The part [*begin, *end) of n items that is thread's: contiguous, the same every time, sizes differing
 * by at most one. */
static inline void qm_team_share(int64_t n, int thread, int threads, int64_t *begin, int64_t *end) {
    *begin = n * thread / threads;
    *end = n * (thread + 1) / threads;
}

#endif
