/* What a region and a barrier cost, by the number of threads: one line of JSON each on standard output.
 * The median of several runs, so that one interruption does not count. Usage: bench_team [threads...] */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "numa/team.h"
#include "numa/topology.h"

enum { RUNS = 11, ROUNDS = 2000 };

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void nothing(void *arg, int thread, int threads) {
    (void)arg, (void)thread, (void)threads;
}

static void barriers(void *arg, int thread, int threads) {
    (void)threads;
    for (int i = 0; i < ROUNDS; i++)
        qm_team_barrier(arg, thread);
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v) {
    qsort(v, RUNS, sizeof *v, by_size);
    return v[RUNS / 2];
}

static int measure(const struct qm_topology *topo, int threads) {
    struct qm_team *team;
    struct qm_error err;
    double region[RUNS], barrier[RUNS];
    if (qm_team_create(threads, &team, &err) != QM_OK) {
        fprintf(stderr, "bench_team: %s\n", err.message);
        return err.code;
    }
    for (int r = 0; r < RUNS; r++) {
        double t0 = now_us();
        for (int i = 0; i < ROUNDS; i++)
            qm_team_run(team, nothing, NULL);
        double t1 = now_us();
        qm_team_run(team, barriers, team);
        region[r] = (t1 - t0) / ROUNDS;
        barrier[r] = (now_us() - t1) / ROUNDS;
    }
    printf("{\"bench\":\"team\",\"cpu\":\"%s\",\"cores\":%d,\"nodes\":%d,\"threads\":%d,\"pinned\":%s,"
           "\"region_us\":%.3f,\"barrier_us\":%.3f}\n",
           topo->cpu_model, topo->cores, topo->nodes, qm_team_threads(team), qm_team_pinned(team) ? "true" : "false",
           median(region), median(barrier));
    qm_team_destroy(team);
    return 0;
}

int main(int argc, char **argv) {
    struct qm_topology topo;
    struct qm_error err;
    if (qm_topology_load(NULL, &topo, &err) != QM_OK) {
        fprintf(stderr, "bench_team: %s\n", err.message);
        return err.code;
    }
    int rc = 0;
    if (argc > 1) {
        for (int i = 1; i < argc && rc == 0; i++)
            rc = measure(&topo, atoi(argv[i]));
    } else {
        for (int threads = 1; threads <= 2 * topo.cores && rc == 0; threads *= 2)
            rc = measure(&topo, threads);
    }
    qm_topology_free(&topo);
    return rc;
}
