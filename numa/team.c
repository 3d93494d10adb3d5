/* The thread team: every matrix product, attention and normalisation of the engine runs as a region of
 * it. A region is: thread 0 opens each node's start gate, every thread runs the function, the last to
 * arrive opens the done gate on which thread 0 waits. Barriers inside a region share the arrival
 * counters and have a release gate a node, so that threads wait on a cache line of their own node.
 * It does not decide how work is divided, and it knows nothing of what the regions do. */
#include "numa/team.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "numa/internal.h"

enum {
    THREADS_MAX = 1024,
    /* Two cache lines: the neighbour line is fetched along with the one that is missed. */
    LINE = 128,
    STACK_BYTES = 2 << 20,
    /* Longer than the serial work between two regions of a token, shorter than is felt as heat. */
    SPIN_NS = 50000,
    PAUSES_A_CLOCK = 32,
    /* Linux is built for at most 8192 CPUs: eight of libc's sets of 1024. */
    CPU_SETS = 8
};

struct cpu_mask {
    cpu_set_t set[CPU_SETS];
};

/* Threads wait at a gate until its epoch moves on. */
struct gate {
    alignas(LINE) _Atomic uint32_t epoch;
    _Atomic uint32_t sleepers;
};

/* Threads that take no part in regions wait at `parked`, which opens only when that changes. */
struct node {
    struct gate start, release, parked;
    alignas(LINE) _Atomic uint32_t arrived;
    uint32_t threads, first; /* how many; the first one's number */
    uint32_t expected;       /* that have to arrive */
    int number;              /* the system's, or -1 */
};

struct worker {
    struct qm_team *team;
    int thread;
    pthread_t id;
};

struct qm_team {
    /* Read by all, written by thread 0 between regions only; the start gates order it. */
    qm_region_fn *fn; /* NULL: the thread ends */
    void *arg;
    int threads, used;
    uint32_t nodes, nodes_expected;
    _Atomic int64_t spin_ns; /* read by threads that wait already */
    int64_t may_spin_ns;     /* where threads have cores of their own */
    bool pinned;
    struct node *node;
    uint16_t *thread_node;       /* [threads] */
    int16_t *rank;               /* [threads]: the number that regions know it by, -1: it takes no part */
    uint16_t *rank_node;         /* [used] */
    struct qm_team_place *place; /* [used] */
    struct worker *worker;       /* [threads], 0 is the caller and has no id */
    int started;                 /* workers that run: 1..started-1 */
    pid_t caller;                /* whose affinity to restore */
    struct cpu_mask caller_mask;
    _Atomic uint64_t regions, inner_barriers;
    alignas(LINE) _Atomic uint32_t nodes_arrived;
    struct gate done;
};

static inline void cpu_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static bool spin_for(struct gate *g, uint32_t old, int64_t spin_ns) {
    int64_t end = 0;
    for (;;) {
        for (int i = 0; i < PAUSES_A_CLOCK; i++) {
            if (atomic_load_explicit(&g->epoch, memory_order_acquire) != old)
                return true;
            cpu_pause();
        }
        int64_t now = now_ns();
        if (end == 0)
            end = now + spin_ns;
        else if (now >= end)
            return false;
    }
}

/* Returns once the epoch is no longer old; what was written before gate_open is then visible.
 * No wake-up is lost: a sleeper counts itself before it looks at the epoch again, the opener moves the
 * epoch before it looks at the count, all four in one sequentially consistent order, so at least one of
 * them sees the other; and the kernel compares the epoch once more before it lets the thread sleep. */
static void gate_wait(struct gate *g, uint32_t old, int64_t spin_ns) {
    if (spin_ns > 0 ? spin_for(g, old, spin_ns) : atomic_load_explicit(&g->epoch, memory_order_acquire) != old)
        return;
    atomic_fetch_add_explicit(&g->sleepers, 1, memory_order_seq_cst);
    while (atomic_load_explicit(&g->epoch, memory_order_seq_cst) == old)
        syscall(SYS_futex, &g->epoch, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
    atomic_fetch_sub_explicit(&g->sleepers, 1, memory_order_relaxed);
}

static void gate_open(struct gate *g) {
    atomic_fetch_add_explicit(&g->epoch, 1, memory_order_seq_cst);
    if (atomic_load_explicit(&g->sleepers, memory_order_seq_cst) > 0)
        syscall(SYS_futex, &g->epoch, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* Counts a thread in, first on its node and then, for a whole node, on the machine. True for the last
 * of all threads, who then sees what every other wrote. The counters are back at zero by then, and
 * nobody touches them before a gate has been opened. What is expected may change as soon as the last has
 * arrived, so it is read before. */
static bool arrive(struct qm_team *team, struct node *n) {
    uint32_t threads = n->expected, nodes = team->nodes_expected;
    if (atomic_fetch_add_explicit(&n->arrived, 1, memory_order_acq_rel) + 1 != threads)
        return false;
    atomic_store_explicit(&n->arrived, 0, memory_order_relaxed);
    if (nodes == 1)
        return true;
    if (atomic_fetch_add_explicit(&team->nodes_arrived, 1, memory_order_acq_rel) + 1 != nodes)
        return false;
    atomic_store_explicit(&team->nodes_arrived, 0, memory_order_relaxed);
    return true;
}

static void meet(struct qm_team *team, struct node *n) {
    /* The epoch cannot move before this thread has arrived. */
    uint32_t old = atomic_load_explicit(&n->release.epoch, memory_order_relaxed);
    if (!arrive(team, n)) {
        gate_wait(&n->release, old, team->spin_ns);
        return;
    }
    for (uint32_t i = 0; i < team->nodes; i++)
        gate_open(&team->node[i].release);
}

void qm_team_barrier(struct qm_team *team, int thread) {
    if (thread == 0)
        atomic_fetch_add_explicit(&team->inner_barriers, 1, memory_order_relaxed);
    if (team->used > 1)
        meet(team, &team->node[team->rank_node[thread]]);
}

static void start(struct qm_team *team, qm_region_fn *fn, void *arg, bool parked) {
    team->fn = fn;
    team->arg = arg;
    for (uint32_t i = 0; i < team->nodes; i++) {
        gate_open(&team->node[i].start);
        if (parked)
            gate_open(&team->node[i].parked);
    }
}

/* A region without work, of all threads, after which each waits where its new rank belongs. They meet in it, so
 * that thread 0 has opened all gates before anyone looks at the epoch of another. */
static void change_places(void *arg, int thread, int threads) {
    (void)arg, (void)thread, (void)threads;
}

static void *worker_main(void *p) {
    struct worker *w = p;
    struct qm_team *team = w->team;
    struct node *n = &team->node[team->thread_node[w->thread]];
    struct gate *gate = &n->start;
    for (uint32_t seen = 0;;) {
        gate_wait(gate, seen, gate == &n->start ? team->spin_ns : 0);
        if (!team->fn)
            return NULL;
        team->fn(team->arg, team->rank[w->thread], team->used);
        if (team->fn == change_places) {
            meet(team, n);
            gate = team->rank[w->thread] >= 0 ? &n->start : &n->parked;
        }
        seen = atomic_load_explicit(&gate->epoch, memory_order_relaxed);
        if (arrive(team, n))
            gate_open(&team->done);
    }
}

static void run(struct qm_team *team, qm_region_fn *fn, void *arg) {
    struct node *n = &team->node[team->thread_node[0]];
    uint32_t old = atomic_load_explicit(&team->done.epoch, memory_order_relaxed);
    start(team, fn, arg, fn == change_places);
    fn(arg, 0, team->used);
    if (fn == change_places)
        meet(team, n);
    if (!arrive(team, n))
        gate_wait(&team->done, old, team->spin_ns);
}

void qm_team_run(struct qm_team *team, qm_region_fn *fn, void *arg) {
    atomic_fetch_add_explicit(&team->regions, 1, memory_order_relaxed);
    if (team->used == 1)
        fn(arg, 0, 1);
    else
        run(team, fn, arg);
}

/* How many have to arrive on each node: those with a rank, or everyone. */
static void expect(struct qm_team *team, bool everyone) {
    for (uint32_t i = 0; i < team->nodes; i++)
        team->node[i].expected = 0;
    for (int t = 0; t < team->threads; t++)
        team->node[team->thread_node[t]].expected += everyone || team->rank[t] >= 0;
    team->nodes_expected = 0;
    for (uint32_t i = 0; i < team->nodes; i++)
        team->nodes_expected += team->node[i].expected > 0;
}

/* The places of threads in use, on one node where some node has none of them: its items then are the others'. */
static void assign_places(struct qm_team *team) {
    uint32_t nodes = 0;
    for (int r = 0; r < team->used; r++)
        nodes += r == 0 || team->rank_node[r] != team->rank_node[r - 1];
    bool all = nodes == team->nodes;
    for (int r = 0, first = 0; r < team->used; r = first) {
        while (first < team->used && (!all || team->rank_node[first] == team->rank_node[r]))
            first++;
        for (int t = r; t < first; t++)
            team->place[t] = (struct qm_team_place){.nodes = all ? (int)team->nodes : 1,
                                                    .node = all ? team->rank_node[r] : 0,
                                                    .index = t - r,
                                                    .count = first - r};
    }
}

/* Ranks are spread evenly over the threads, and so over cores and nodes. Thread 0 keeps rank 0. */
static void assign_ranks(struct qm_team *team, int used) {
    team->used = used;
    for (int t = 0; t < team->threads; t++)
        team->rank[t] = -1;
    for (int r = 0; r < used; r++) {
        int t = (int)((int64_t)r * team->threads / used);
        team->rank[t] = (int16_t)r;
        team->rank_node[r] = team->thread_node[t];
    }
    assign_places(team);
}

void qm_team_use(struct qm_team *team, int threads) {
    int used = threads < 1 ? 1 : threads > team->threads ? team->threads : threads;
    if (used == team->used)
        return;
    expect(team, true);
    assign_ranks(team, used);
    run(team, change_places, NULL);
    expect(team, false);
}

int qm_team_used(const struct qm_team *team) {
    return team->used;
}

void qm_team_spin(struct qm_team *team, bool spin) {
    atomic_store_explicit(&team->spin_ns, spin ? team->may_spin_ns : 0, memory_order_relaxed);
}

static void pin_mask(struct cpu_mask *mask, int cpu) {
    CPU_ZERO_S(sizeof mask->set, mask->set);
    CPU_SET_S((size_t)cpu, sizeof mask->set, mask->set);
}

/* The core of a thread: spread evenly over the cores in node order, so that a team smaller than the
 * machine still has the memory channels of every node. */
static int core_of(const struct qm_topology *topo, int thread, int threads) {
    return (int)((int64_t)thread * topo->cores / threads);
}

/* Pins every thread, or none. */
static void pin_all(struct qm_team *team, const struct qm_topology *topo) {
    struct cpu_mask mask;
    memset(&team->caller_mask, 0, sizeof team->caller_mask);
    team->caller = gettid();
    bool ok = sched_getaffinity(0, sizeof team->caller_mask.set, team->caller_mask.set) == 0;
    for (int t = 1; ok && t < team->threads; t++) {
        pin_mask(&mask, topo->core_cpu[core_of(topo, t, team->threads)]);
        ok = pthread_setaffinity_np(team->worker[t].id, sizeof mask.set, mask.set) == 0;
    }
    if (ok) {
        pin_mask(&mask, topo->core_cpu[0]);
        ok = sched_setaffinity(0, sizeof mask.set, mask.set) == 0;
    }
    team->pinned = ok;
    for (int t = 1; !ok && t < team->threads; t++)
        pthread_setaffinity_np(team->worker[t].id, sizeof team->caller_mask.set, team->caller_mask.set);
}

/* Maps threads to nodes. A team that is larger than the machine is not pinned, so its threads have no
 * node and share one counter. */
static void map_nodes(struct qm_team *team, const struct qm_topology *topo) {
    int last = -1;
    bool fits = team->threads <= topo->cores;
    for (int t = 0; t < team->threads; t++) {
        int node = fits ? topo->core_node[core_of(topo, t, team->threads)] : 0;
        if (node != last) {
            struct node *n = &team->node[team->nodes++];
            n->first = (uint32_t)t;
            n->number = fits || topo->nodes == 1 ? topo->node_number[node] : -1;
        }
        last = node;
        team->thread_node[t] = (uint16_t)(team->nodes - 1);
        team->node[team->nodes - 1].threads++;
    }
}

static void release(struct qm_team *team) {
    free(team->node);
    free(team->thread_node);
    free(team->place);
    free(team->rank);
    free(team->rank_node);
    free(team->worker);
    free(team);
}

/* Zeroed, on lines of its own: sharing a line with the heap's other users would slow every barrier. */
static void *alloc_lines(size_t bytes) {
    size_t rounded = (bytes + LINE - 1) / LINE * LINE;
    void *p = aligned_alloc(LINE, rounded);
    if (p)
        memset(p, 0, rounded);
    return p;
}

static struct qm_team *team_alloc(const struct qm_topology *topo, int threads) {
    struct qm_team *team = alloc_lines(sizeof *team);
    if (!team)
        return NULL;
    team->threads = threads;
    team->node = alloc_lines((size_t)topo->nodes * sizeof *team->node);
    team->thread_node = calloc((size_t)threads, sizeof *team->thread_node);
    team->rank = calloc((size_t)threads, sizeof *team->rank);
    team->rank_node = calloc((size_t)threads, sizeof *team->rank_node);
    team->worker = calloc((size_t)threads, sizeof *team->worker);
    team->place = calloc((size_t)threads, sizeof *team->place);
    if (!team->node || !team->thread_node || !team->rank || !team->rank_node || !team->worker || !team->place) {
        release(team);
        return NULL;
    }
    map_nodes(team, topo);
    assign_ranks(team, threads);
    expect(team, false);
    return team;
}

/* Workers take no signal but those of their own faults, so that Ctrl-C and the like reach the main
 * thread. Their mask is the one of their creator at the time. */
static int start_workers(struct qm_team *team) {
    pthread_attr_t attr;
    int rc = pthread_attr_init(&attr);
    if (rc != 0)
        return rc;
    sigset_t blocked, before;
    sigfillset(&blocked);
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        sigdelset(&blocked, faults[i]);
    rc = pthread_attr_setstacksize(&attr, STACK_BYTES);
    if (rc == 0)
        rc = pthread_sigmask(SIG_SETMASK, &blocked, &before);
    if (rc == 0) {
        for (team->started = 1; team->started < team->threads; team->started++) {
            struct worker *w = &team->worker[team->started];
            *w = (struct worker){.team = team, .thread = team->started};
            rc = pthread_create(&w->id, &attr, worker_main, w);
            if (rc != 0)
                break;
        }
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    pthread_attr_destroy(&attr);
    return rc;
}

int qm_team_create_on(const struct qm_topology *topo, int threads, struct qm_team **out, struct qm_error *err) {
    *out = NULL;
    if (threads < 0 || threads > THREADS_MAX)
        return qm_fail(err, QM_USAGE, "threads: %d, expected 1 to %d, or 0 for one a core", threads, THREADS_MAX);
    if (threads == 0)
        threads = topo->cores < THREADS_MAX ? topo->cores : THREADS_MAX;
    struct qm_team *team = team_alloc(topo, threads);
    if (!team)
        return qm_fail_memory(err, sizeof *team + (size_t)threads * sizeof *team->worker, "the thread team");
    /* Spinning in the place of a thread that has work and no core would only delay it. */
    bool fits = threads <= topo->cores;
    team->may_spin_ns = fits ? SPIN_NS : 0;
    qm_team_spin(team, true);
    int rc = start_workers(team);
    if (rc != 0) {
        int started = team->started;
        qm_team_destroy(team);
        return qm_fail(err, QM_SYSTEM,
                       "threads: %d of %d could be started: %s; use fewer, or raise the limit on "
                       "processes (ulimit -u, or the cgroup's pids.max)",
                       started, threads, strerror(rc));
    }
    if (fits)
        pin_all(team, topo);
    *out = team;
    return QM_OK;
}

int qm_team_create(int threads, struct qm_team **out, struct qm_error *err) {
    *out = NULL;
    struct qm_topology topo;
    int rc = qm_topology_load(NULL, &topo, err);
    if (rc != QM_OK)
        return rc;
    rc = qm_team_create_on(&topo, threads, out, err);
    qm_topology_free(&topo);
    return rc;
}

void qm_team_destroy(struct qm_team *team) {
    if (!team)
        return;
    start(team, NULL, NULL, true);
    for (int t = 1; t < team->started; t++)
        pthread_join(team->worker[t].id, NULL);
    /* Fails only where the caller's thread has ended: then there is nothing to restore. */
    if (team->pinned)
        sched_setaffinity(team->caller, sizeof team->caller_mask.set, team->caller_mask.set);
    release(team);
}

int qm_team_threads(const struct qm_team *team) {
    return team->threads;
}

int qm_team_nodes(const struct qm_team *team) {
    return (int)team->nodes;
}

bool qm_team_pinned(const struct qm_team *team) {
    return team->pinned;
}

int qm_team_node_number(const struct qm_team *team, int node) {
    return team->node[node].number;
}

struct qm_team_place qm_team_place(const struct qm_team *team, int thread) {
    return team->place[thread];
}

void qm_team_node_part(const struct qm_team *team, int64_t n, int node, int64_t *begin, int64_t *end) {
    int64_t first = team->node[node].first, threads = team->node[node].threads;
    *begin = n * first / team->threads;
    *end = n * (first + threads) / team->threads;
}

void qm_team_part(const struct qm_team *team, int64_t n, int thread, int64_t *begin, int64_t *end) {
    const struct qm_team_place *p = &team->place[thread];
    int64_t first = 0, last = n;
    if (p->nodes > 1)
        qm_team_node_part(team, n, p->node, &first, &last);
    qm_team_range(last - first, p->index, p->count, begin, end);
    *begin += first;
    *end += first;
}

uint64_t qm_team_regions(const struct qm_team *team) {
    return atomic_load_explicit(&team->regions, memory_order_relaxed);
}

uint64_t qm_team_barriers(const struct qm_team *team) {
    return qm_team_regions(team) + atomic_load_explicit(&team->inner_barriers, memory_order_relaxed);
}
