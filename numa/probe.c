/* Timing of reads, multiply-adds, regions and barriers on a team. */
#include "numa/probe.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "numa/memory.h"

/* A pass is short, so that some go undisturbed by whatever else runs. */
enum { LINE = 64, LANES = 4, MAX_PASSES = 256, MIN_PASSES = 8, ROUNDS = 500, STATE = 16 };
static const double READ_SECONDS = 0.1, FLOPS_SECONDS = 0.06, FLOPS_PASS = 0.002;

/* A thread's part of a measurement: the index-th of `count` that read a node's memory; count 0: idle. */
struct part {
    int memory, index, count;
};

struct qm_probe {
    struct qm_team *team;
    qm_probe_read_fn *read;
    qm_probe_flush_fn *flush;
    int threads, nodes;
    size_t part; /* bytes a thread */
    struct qm_memory *memory;
    int *node, *index; /* [threads]: its node, its number there */
    int *count;        /* [nodes] */
    struct part *parts;
    uint64_t *sink; /* [threads][8]: a cache line each */
    _Atomic bool short_of_pages;
};

struct pass {
    struct qm_probe *probe;
    bool streams; /* four at once, far apart; else one */
};

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static struct qm_probe_rate rate_of(double *passes, int n) {
    qsort(passes, (size_t)n, sizeof *passes, ascending);
    return (struct qm_probe_rate){.best = passes[n - 1], .median = passes[n / 2]};
}

static void touch(void *arg, int thread, int threads) {
    struct qm_probe *p = arg;
    const struct qm_memory *m = &p->memory[p->node[thread]];
    int64_t begin, end; /* parts that are others' to read too, where nodes differ in threads */
    (void)threads;
    qm_team_range((int64_t)(m->bytes / p->part), p->index[thread], p->count[p->node[thread]], &begin, &end);
    size_t first = (size_t)begin * p->part, last = (size_t)end * p->part;
    if (!qm_memory_take(m, first, last))
        atomic_store(&p->short_of_pages, true);
    qm_team_barrier(p->team, thread);
    if (!atomic_load(&p->short_of_pages))
        memset((char *)m->data + first, thread + 1, last - first);
}

static int open_lists(struct qm_probe *p, struct qm_error *err) {
    size_t threads = (size_t)p->threads, nodes = (size_t)p->nodes;
    p->memory = calloc(nodes, sizeof *p->memory);
    p->count = calloc(nodes, sizeof *p->count);
    p->node = calloc(threads, sizeof *p->node);
    p->index = calloc(threads, sizeof *p->index);
    p->parts = calloc(threads, sizeof *p->parts);
    p->sink = calloc(threads, 8 * sizeof *p->sink);
    if (p->memory && p->count && p->node && p->index && p->parts && p->sink)
        return QM_OK;
    return qm_fail_memory(err, threads * 128, "measuring the machine");
}

int qm_probe_open(struct qm_team *team, const int *thread_node, int nodes, size_t bytes, qm_probe_read_fn *read,
                  qm_probe_flush_fn *flush, struct qm_probe **out, struct qm_error *err) {
    const size_t unit = 2 << 20; /* a huge page */
    *out = NULL;
    struct qm_probe *p = calloc(1, sizeof *p);
    if (!p)
        return qm_fail_memory(err, sizeof *p, "measuring the machine");
    p->team = team;
    p->threads = qm_team_threads(team);
    p->nodes = thread_node ? nodes : 1;
    p->read = read;
    p->flush = flush;
    p->part = (bytes + unit - 1) / unit * unit;
    int rc = open_lists(p, err);
    for (int t = 0; !rc && t < p->threads; t++) {
        p->node[t] = thread_node ? thread_node[t] : 0;
        p->index[t] = p->count[p->node[t]]++;
    }
    int most = 0;
    for (int n = 0; !rc && n < p->nodes; n++)
        most = p->count[n] > most ? p->count[n] : most;
    for (int n = 0; !rc && n < p->nodes; n++)
        rc = qm_memory_alloc(p->part * (size_t)most, "measuring the read bandwidth", &p->memory[n], err);
    if (rc) {
        qm_probe_close(p);
        return rc;
    }
    qm_team_run(team, touch, p);
    bool again = atomic_exchange(&p->short_of_pages, false); /* a limit keeps reserved huge pages from this process */
    for (int n = 0; again && !rc && n < p->nodes; n++)
        if (p->memory[n].pages == QM_PAGES_2M || p->memory[n].pages == QM_PAGES_1G)
            rc = qm_memory_use_small(&p->memory[n], (struct qm_binding){.node = -1}, err);
    if (rc) {
        qm_probe_close(p);
        return rc;
    }
    if (again)
        qm_team_run(team, touch, p);
    *out = p;
    return QM_OK;
}

void qm_probe_close(struct qm_probe *p) {
    if (!p)
        return;
    for (int n = 0; p->memory && n < p->nodes; n++)
        qm_memory_free(&p->memory[n]);
    free(p->memory);
    free(p->count);
    free(p->node);
    free(p->index);
    free(p->parts);
    free(p->sink);
    free(p);
}

int qm_probe_threads(const struct qm_probe *p, int node) {
    return p->count[node];
}

static const char *own_part(const struct qm_probe *p, const struct part *part) {
    return (const char *)p->memory[part->memory].data + (size_t)part->index * p->part;
}

static void flush_pass(void *arg, int thread, int threads) {
    const struct qm_probe *p = arg;
    (void)threads;
    if (p->parts[thread].count)
        p->flush(own_part(p, &p->parts[thread]), p->part / LINE);
}

static void read_pass(void *arg, int thread, int threads) {
    const struct pass *pass = arg;
    struct qm_probe *p = pass->probe;
    const struct part *part = &p->parts[thread];
    (void)threads;
    if (part->count == 0)
        return;
    const char *at = own_part(p, part);
    size_t n = p->part / (LINE * LANES);
    p->sink[(size_t)thread * 8] ^=
        pass->streams ? p->read(at, n * LINE, LINE, n) : p->read(at, LINE, (size_t)LINE * LANES, n);
}

/* Both orders of reading, alternately: machines differ in which is the faster. */
static struct qm_probe_rate timed_reads(struct qm_probe *p) {
    double rates[2][MAX_PASSES], begin = qm_now(), bytes = 0;
    int n = 0;
    for (int t = 0; t < p->threads; t++)
        bytes += p->parts[t].count ? (double)p->part : 0;
    for (; n < MAX_PASSES && (n < MIN_PASSES || qm_now() - begin < READ_SECONDS); n++)
        for (int streams = 0; streams < 2; streams++) {
            struct pass pass = {p, streams};
            qm_team_run(p->team, flush_pass, p);
            double start = qm_now();
            qm_team_run(p->team, read_pass, &pass);
            rates[streams][n] = bytes / (qm_now() - start);
        }
    struct qm_probe_rate one = rate_of(rates[0], n), four = rate_of(rates[1], n);
    return four.best > one.best ? four : one;
}

struct qm_probe_rate qm_probe_read(struct qm_probe *p) {
    for (int t = 0; t < p->threads; t++)
        p->parts[t] = (struct part){p->node[t], p->index[t], p->count[p->node[t]]};
    return timed_reads(p);
}

struct qm_probe_rate qm_probe_read_node(struct qm_probe *p, int from, int memory, int threads) {
    for (int t = 0; t < p->threads; t++) {
        bool reads = p->node[t] == from && p->index[t] < threads;
        p->parts[t] = (struct part){memory, p->index[t], reads ? threads : 0};
    }
    return timed_reads(p);
}

struct flops {
    qm_probe_flops_fn *fn;
    int64_t rounds;
    int threads;
    double each; /* of one thread; written by thread 0 */
};

static void flops_pass(void *arg, int thread, int threads) {
    struct flops *f = arg;
    float state[STATE];
    (void)threads;
    for (int i = 0; i < STATE; i++)
        state[i] = 1.0f + 0.1f * (float)i;
    if (thread >= f->threads)
        return;
    double done = f->fn(f->rounds, state);
    if (thread == 0)
        f->each = done + (double)state[0] * 0;
}

struct qm_probe_rate qm_probe_flops(struct qm_team *team, qm_probe_flops_fn *fn, int threads) {
    struct flops f = {.fn = fn, .rounds = 1000, .threads = threads};
    double rates[MAX_PASSES], seconds = 0;
    while (seconds < FLOPS_PASS) {
        double start = qm_now();
        f.rounds *= 2;
        qm_team_run(team, flops_pass, &f);
        seconds = qm_now() - start;
    }
    double begin = qm_now();
    int n = 0;
    for (; n < MAX_PASSES && (n < MIN_PASSES || qm_now() - begin < FLOPS_SECONDS); n++) {
        double start = qm_now();
        qm_team_run(team, flops_pass, &f);
        rates[n] = f.each * threads / (qm_now() - start);
    }
    return rate_of(rates, n);
}

static void nothing(void *arg, int thread, int threads) {
    (void)arg, (void)thread, (void)threads;
}

static void barriers(void *arg, int thread, int threads) {
    (void)threads;
    for (int i = 0; i < ROUNDS; i++)
        qm_team_barrier(arg, thread);
}

void qm_probe_regions(struct qm_team *team, double *region_us, double *barrier_us) {
    enum { RUNS = 9 };
    double region[RUNS], barrier[RUNS];
    for (int r = 0; r < RUNS; r++) {
        double begin = qm_now();
        for (int i = 0; i < ROUNDS; i++)
            qm_team_run(team, nothing, NULL);
        double middle = qm_now();
        qm_team_run(team, barriers, team);
        region[r] = (middle - begin) * 1e6 / ROUNDS;
        barrier[r] = (qm_now() - middle) * 1e6 / ROUNDS;
    }
    *region_us = rate_of(region, RUNS).median;
    *barrier_us = rate_of(barrier, RUNS).median;
}
