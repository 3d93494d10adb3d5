/* A plain read by every thread of its own part of a buffer larger than caches. */
#include "numa/bandwidth.h"

#include <stdint.h>
#include <string.h>
#include <time.h>

#include "numa/memory.h"
#include "numa/team.h"

enum { BUFFER_BYTES = 256 << 20, MIN_PASSES = 3, MAX_PASSES = 100 };
static const double SECONDS = 0.2;

typedef uint64_t vector __attribute__((vector_size(16)));

struct reading {
    unsigned char *data;
    _Atomic uint64_t sink; /* keeps the loads from being left out */
};

static void touch(void *arg, int thread, int threads) {
    struct reading *r = arg;
    int64_t begin, end;
    qm_team_share(BUFFER_BYTES / (int64_t)sizeof(vector), thread, threads, &begin, &end);
    memset(r->data + begin * (int64_t)sizeof(vector), 1, (size_t)(end - begin) * sizeof(vector));
}

static void pass(void *arg, int thread, int threads) {
    struct reading *r = arg;
    const vector *v = (const vector *)(const void *)r->data;
    int64_t begin, end;
    qm_team_share(BUFFER_BYTES / (int64_t)sizeof(vector), thread, threads, &begin, &end);
    vector sum0 = {0}, sum1 = {0}, sum2 = {0}, sum3 = {0};
    int64_t i = begin;
    for (; i + 4 <= end; i += 4) {
        sum0 ^= v[i];
        sum1 ^= v[i + 1];
        sum2 ^= v[i + 2];
        sum3 ^= v[i + 3];
    }
    for (; i < end; i++)
        sum0 ^= v[i];
    sum0 ^= sum1 ^ sum2 ^ sum3;
    uint64_t folded = 0;
    for (int l = 0; l < 2; l++)
        folded ^= sum0[l];
    r->sink += folded;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int qm_read_bandwidth(int threads, double *bytes_per_second, struct qm_error *err) {
    struct qm_memory memory;
    struct qm_team *team;
    int rc = qm_memory_alloc(BUFFER_BYTES, "measuring the read bandwidth", &memory, err);
    if (rc)
        return rc;
    if ((rc = qm_team_create(threads, &team, err))) {
        qm_memory_free(&memory);
        return rc;
    }
    struct reading reading = {.data = memory.data};
    qm_team_run(team, touch, &reading);
    double begin = now(), best = 0;
    for (int i = 0; i < MAX_PASSES && (i < MIN_PASSES || now() - begin < SECONDS); i++) {
        double start = now();
        qm_team_run(team, pass, &reading);
        double rate = BUFFER_BYTES / (now() - start);
        best = rate > best ? rate : best;
    }
    qm_team_destroy(team);
    qm_memory_free(&memory);
    *bytes_per_second = best;
    return QM_OK;
}
