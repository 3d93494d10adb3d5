/* The thread team: threads that start once and run parallel regions, with a barrier inside them.
 * The thread that creates a team is its thread 0 and runs its regions. Threads are pinned one a physical
 * core while they do not exceed the cores allowed, in node order and spread evenly over the cores (then
 * they spin a bounded time before they sleep on a futex); beyond that there is no pinning and no spinning.
 * The creator is pinned from qm_team_create to qm_team_destroy, which gives its affinity back. Until then
 * threads that it starts inherit its one core, and a topology that it loads shows that core alone: so
 * start other threads first, or let a thread of its own have the team.
 * A region started while another runs, or from inside one, is a programming error: one team has one caller
 * at a time. The other functions may be called from any thread; workers take no signals. */
#ifndef QM_NUMA_TEAM_H
#define QM_NUMA_TEAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "numa/topology.h"

struct qm_team;

typedef void qm_region_fn(void *arg, int thread, int threads);

/* threads: how many (1..1024, else QM_USAGE), or 0 for one a physical core allowed. Failing to pin is no
 * error. QM_SYSTEM, with nothing left behind, if not every thread could be started. */
int qm_team_create(int threads, struct qm_team **out, struct qm_error *err);
/* The same on part of this machine, or on nodes that are made up for a test (a CPU may then be there twice). The
 * topology is not kept. */
int qm_team_create_on(const struct qm_topology *topo, int threads, struct qm_team **out, struct qm_error *err);
void qm_team_destroy(struct qm_team *team);

int qm_team_threads(const struct qm_team *team);
bool qm_team_pinned(const struct qm_team *team);
/* NUMA nodes that its threads are on, those of a node being consecutive; 1 where threads exceed cores, since they are
 * then on no node. */
int qm_team_nodes(const struct qm_team *team);

/* The system's number of a node, for memory to be bound to; -1: not to be bound. */
int qm_team_node_number(const struct qm_team *team, int node);

/* A thread in use is number `index` of `count` on its node. Where so few are that some node has none, they count as
 * of one node. */
struct qm_team_place {
    int nodes, node, index, count;
};
struct qm_team_place qm_team_place(const struct qm_team *team, int thread);
/* The part of n items that a node owns, which is in proportion to its threads, and within it the part of a
 * thread: contiguous and the same every time. With one node it is qm_team_range's. */
void qm_team_node_part(const struct qm_team *team, int64_t n, int node, int64_t *begin, int64_t *end);
void qm_team_part(const struct qm_team *team, int64_t n, int thread, int64_t *begin, int64_t *end);

/* From the next region on only so many threads take part (1 to all; a number outside is brought inside),
 * spread evenly over the team's, so that nodes stay balanced where they can. Regions know them as threads 0 to
 * threads - 1, the caller is thread 0. The others sleep, at no cost, until they are used again. The change
 * costs about a region. Not from inside a region. */
void qm_team_use(struct qm_team *team, int threads);
int qm_team_used(const struct qm_team *team);
/* false: waiting threads sleep at once instead of spinning a while first, which costs tens of microseconds each
 * time; true is how a team starts. Not from inside a region. */
void qm_team_spin(struct qm_team *team, bool spin);

/* Runs fn(arg, thread, threads) on every thread in use and returns when all are done: each sees what the caller
 * wrote before, the caller sees what each wrote. Workers have 2 MiB of stack. */
void qm_team_run(struct qm_team *team, qm_region_fn *fn, void *arg);
/* Inside a region, called by every thread in use: returns when all have called it, and what any wrote before is
 * visible to all after. */
void qm_team_barrier(struct qm_team *team, int thread);
/* Regions run so far (for the profile of regions a token). */
uint64_t qm_team_regions(const struct qm_team *team);
/* Times so far that all threads waited for each other: ends of regions, and barriers inside them. */
uint64_t qm_team_barriers(const struct qm_team *team);

/* The part [*begin, *end) of n items that is thread's: contiguous, the same every time, sizes differing
 * by at most one. */
static inline void qm_team_range(int64_t n, int thread, int threads, int64_t *begin, int64_t *end) {
    *begin = n * thread / threads;
    *end = n * (thread + 1) / threads;
}

#endif
