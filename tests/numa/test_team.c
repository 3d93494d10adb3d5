/* The thread team: every thread runs every region once, barriers hold, results are visible, and teams
 * come and go. Run under ThreadSanitizer too: the orders of the atomics are what it checks. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "numa/internal.h"
#include "numa/team.h"
#include "tests/support/support.h"

enum { MOST = 16, ROUNDS = 300, REGIONS = 3000 };

static const int SIZES[] = {1, 2, 4, 7, 16};
enum { SIZE_COUNT = sizeof SIZES / sizeof SIZES[0] };

/* Two nodes, uneven, that claim more cores than a small machine has: the hierarchy of the barrier is
 * tested on any machine, and threads spin while others want their core. */
static int two_node_cpu[] = {0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1};
static int two_node_of[] = {0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1};
static int two_node_number[] = {-1, -1};
static const struct qm_topology two_nodes = {.packages = 1,
                                             .nodes = 2,
                                             .cores = MOST,
                                             .cpus = MOST,
                                             .core_cpu = two_node_cpu,
                                             .core_node = two_node_of,
                                             .node_number = two_node_number};

static struct qm_team *make(int threads, bool nodes) {
    struct qm_team *team;
    struct qm_error err = {0};
    int rc = nodes ? qm_team_create_on(&two_nodes, threads, &team, &err) : qm_team_create(threads, &team, &err);
    if (rc != QM_OK)
        fail_msg("%s", err.message);
    assert_int_equal(qm_team_threads(team), threads);
    return team;
}

struct job {
    struct qm_team *team;
    int threads, rounds;
    int64_t slot[MOST * 16]; /* plain memory: the team must order it */
    int64_t wrong[MOST];
    int64_t total;
};

static void add_own(void *arg, int thread, int threads) {
    struct job *j = arg;
    j->wrong[thread] += threads != j->threads;
    j->slot[thread * 16] += thread + 1;
}

/* Each round every thread writes its slot, and after the barrier reads all the others'. */
static void rounds(void *arg, int thread, int threads) {
    struct job *j = arg;
    for (int r = 1; r <= j->rounds; r++) {
        j->slot[thread * 16] = r;
        qm_team_barrier(j->team, thread);
        for (int t = 0; t < threads; t++)
            j->wrong[thread] += j->slot[t * 16] != r;
        qm_team_barrier(j->team, thread);
    }
}

/* Only one thread works between two barriers: the others wait longer than they spin, and sleep. */
static void uneven(void *arg, int thread, int threads) {
    struct job *j = arg;
    for (int r = 0; r < 2 * threads; r++) {
        if (r % threads == thread) {
            for (volatile int i = 0; i < 200000; i++) {
            }
            j->total++;
        }
        qm_team_barrier(j->team, thread);
        j->wrong[thread] += j->total != r + 1;
        qm_team_barrier(j->team, thread);
    }
}

static void check_none_wrong(const struct job *j) {
    for (int t = 0; t < j->threads; t++)
        assert_int_equal(j->wrong[t], 0);
}

static void exercise(int threads, bool nodes) {
    int regions = test_slow() ? REGIONS : REGIONS / 10;
    struct job j = {.team = make(threads, nodes), .threads = threads, .rounds = test_slow() ? ROUNDS : ROUNDS / 10};
    for (int r = 1; r <= regions; r++) {
        qm_team_run(j.team, add_own, &j);
        for (int t = 0; t < threads; t++)
            assert_int_equal(j.slot[t * 16], (int64_t)r * (t + 1));
    }
    assert_int_equal(qm_team_regions(j.team), regions);
    assert_int_equal(qm_team_barriers(j.team), regions);
    for (int i = 0; i < 3; i++) {
        qm_team_run(j.team, rounds, &j);
        qm_team_run(j.team, add_own, &j);
    }
    qm_team_run(j.team, uneven, &j);
    assert_int_equal(j.total, 2 * threads);
    check_none_wrong(&j);
    qm_team_destroy(j.team);
}

static void test_regions_and_barriers(void **state) {
    (void)state;
    for (int i = 0; i < SIZE_COUNT; i++)
        exercise(SIZES[i], false);
}

static void test_two_nodes(void **state) {
    (void)state;
    for (int i = 0; i < SIZE_COUNT; i++)
        exercise(SIZES[i], true);
}

/* Threads by rank, and the system's number of each. */
struct places {
    int ran[MOST];
    pid_t id[MOST];
};

static void take_place(void *arg, int thread, int threads) {
    struct places *p = arg;
    (void)threads;
    p->ran[thread]++;
    p->id[thread] = gettid();
}

/* Every change between 1, some and all: exactly those in use run, on both nodes, and barriers hold. */
static void change_use(bool nodes) {
    static const int used[] = {1, 4, 3, 16, 2, 7, 6, 1, 16, 5};
    struct job j = {.team = make(MOST, nodes)};
    struct places all = {0};
    qm_team_run(j.team, take_place, &all);
    for (size_t i = 0; i < 3 * sizeof used / sizeof *used; i++) {
        j.threads = used[i % (sizeof used / sizeof *used)];
        qm_team_spin(j.team, i % 4 < 2);
        qm_team_use(j.team, j.threads);
        assert_int_equal(qm_team_used(j.team), j.threads);
        assert_int_equal(qm_team_threads(j.team), MOST);
        for (int r = 0; r < 20; r++) {
            struct places p = {0};
            qm_team_run(j.team, take_place, &p);
            for (int t = 0; t < MOST; t++) {
                assert_int_equal(p.ran[t], t < j.threads);
                assert_true(t >= j.threads || p.id[t] == all.id[t * MOST / j.threads]);
            }
        }
        memset(j.slot, 0, sizeof j.slot);
        qm_team_run(j.team, add_own, &j);
        qm_team_run(j.team, rounds, &j);
        check_none_wrong(&j);
    }
    qm_team_use(j.team, 0); /* brought inside */
    assert_int_equal(qm_team_used(j.team), 1);
    qm_team_destroy(j.team); /* with threads that take no part */
}

static void test_fewer_threads(void **state) {
    (void)state;
    change_use(false);
    change_use(true);
    struct qm_team *team = make(MOST, true);
    assert_int_equal(qm_team_nodes(team), 2);
    qm_team_use(team, 1000);
    assert_int_equal(qm_team_used(team), MOST);
    qm_team_destroy(team);
}

static void test_come_and_go(void **state) {
    (void)state;
    for (int i = 0; i < 60; i++) {
        struct job j = {.threads = SIZES[i % SIZE_COUNT]};
        j.team = make(j.threads, i % 2 == 0);
        if (i % 3 > 0)
            qm_team_run(j.team, add_own, &j);
        check_none_wrong(&j);
        qm_team_destroy(j.team);
    }
    qm_team_destroy(NULL);
}

static void test_affinity_is_restored(void **state) {
    (void)state;
    cpu_set_t before, after;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    struct qm_team *team = NULL;
    struct qm_error err = {0};
    assert_int_equal(qm_team_create(0, &team, &err), QM_OK);
    if (qm_team_pinned(team)) {
        assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
        assert_int_equal(CPU_COUNT(&after), 1);
    }
    qm_team_destroy(team);
    assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
    assert_true(CPU_EQUAL(&before, &after));
}

static void test_more_threads_than_cores(void **state) {
    (void)state;
    struct qm_topology topo;
    struct qm_error err = {0};
    assert_int_equal(qm_topology_load(NULL, &topo, &err), QM_OK);
    struct qm_team *team = make(topo.cores + 1, false);
    assert_false(qm_team_pinned(team));
    qm_team_destroy(team);
    qm_topology_free(&topo);
}

static void signal_masks(void *arg, int thread, int threads) {
    int *blocked = arg;
    sigset_t set;
    (void)threads;
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    blocked[thread] = sigismember(&set, SIGINT) + 2 * sigismember(&set, SIGTERM) + 4 * sigismember(&set, SIGBUS);
}

static void test_signals_are_the_callers(void **state) {
    (void)state;
    int blocked[4];
    struct qm_team *team = make(4, false);
    qm_team_run(team, signal_masks, blocked);
    qm_team_destroy(team);
    assert_int_equal(blocked[0], 0);
    for (int t = 1; t < 4; t++)
        assert_int_equal(blocked[t], 3);
}

/* Nodes of 7 and 9 cores: their parts of anything follow each other, and so do their threads' within them, of all
 * threads or only some in use. */
static void test_parts(void **state) {
    (void)state;
    static const int64_t counts[] = {0, 1, 2, 5, 16, 100, 12345};
    for (int threads = 1; threads <= MOST; threads++) {
        struct qm_team *team = make(threads, true);
        int nodes = qm_team_nodes(team);
        assert_int_equal(nodes, threads == 1 ? 1 : 2);
        for (int used = 1; used <= threads; used++) {
            qm_team_use(team, used);
            for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
                int64_t next = 0, owned = 0, begin, end, first, last;
                for (int node = 0; node < nodes; node++) {
                    qm_team_node_part(team, counts[i], node, &first, &last);
                    assert_int_equal(first, owned);
                    owned = last;
                }
                assert_int_equal(owned, counts[i]);
                for (int t = 0; t < used; t++) {
                    struct qm_team_place place = qm_team_place(team, t);
                    qm_team_part(team, counts[i], t, &begin, &end);
                    assert_int_equal(begin, next);
                    next = end;
                    assert_true(place.nodes == nodes || (place.nodes == 1 && used < threads));
                    assert_in_range(place.index, 0, place.count - 1);
                    qm_team_node_part(team, counts[i], place.node, &first, &last);
                    assert_true(place.nodes != nodes || begin == end || (begin >= first && end <= last));
                }
                assert_int_equal(next, counts[i]);
            }
        }
        qm_team_destroy(team);
    }
}

static void test_bad_counts(void **state) {
    (void)state;
    static const int bad[] = {-1, 1025, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct qm_team *team = NULL;
        struct qm_error err = {0};
        assert_int_equal(qm_team_create(bad[i], &team, &err), QM_USAGE);
        assert_non_null(strstr(err.message, "1 to 1024"));
        assert_null(team);
    }
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SANITIZED 0
#endif

/* Room for the stacks of some of the threads only. */
static void test_threads_that_cannot_start(void **state) {
    (void)state;
    if (SANITIZED)
        skip(); /* a sanitizer ends the process when its own memory is refused */
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%lu", &pages), 1);
    fclose(f);
    struct rlimit before, tight;
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    tight = before;
    tight.rlim_cur = pages * (rlim_t)sysconf(_SC_PAGESIZE) + ((rlim_t)128 << 20);
    struct qm_team *team = NULL;
    struct qm_error err = {0};
    assert_int_equal(setrlimit(RLIMIT_AS, &tight), 0);
    int rc = qm_team_create_on(&two_nodes, 1000, &team, &err);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_int_equal(rc, QM_SYSTEM);
    assert_non_null(strstr(err.message, "of 1000 could be started"));
    assert_null(team);
    exercise(4, false);
}

static void test_range_covers(void **state) {
    (void)state;
    static const int64_t counts[] = {0, 1, 2, 3, 7, 16, 17, 1000, 151936, INT64_C(1) << 50};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        for (int threads = 1; threads <= 1024; threads += threads < 20 ? 1 : 251) {
            int64_t expected = 0, n = counts[i];
            for (int t = 0; t < threads; t++) {
                int64_t begin, end;
                qm_team_range(n, t, threads, &begin, &end);
                assert_true(begin == expected);
                assert_in_range(end - begin, n / threads, n / threads + (n % threads > 0));
                expected = end;
            }
            assert_true(expected == n);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_regions_and_barriers),
        cmocka_unit_test(test_two_nodes),
        cmocka_unit_test(test_fewer_threads),
        cmocka_unit_test(test_come_and_go),
        cmocka_unit_test(test_affinity_is_restored),
        cmocka_unit_test(test_more_threads_than_cores),
        cmocka_unit_test(test_signals_are_the_callers),
        cmocka_unit_test(test_threads_that_cannot_start),
        cmocka_unit_test(test_bad_counts),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_range_covers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
