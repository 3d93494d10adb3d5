/* Paper, not measurement: how decoding should scale from one NUMA node to several, from a model's shape alone.
 * Each node owns a range of panels of every matrix and expert and the keys and values of its heads, so weights and KV
 * are read from the node's own memory; what crosses is activations, and the barriers. It prints the formula, what
 * each term is for the shape, and the cost of a barrier up to which the goal holds.
 *
 *   bench_two_nodes [--nodes 2] [--read 400] [--link 100] [--core 8] [--caches 8] [--region 2] [--hop 0.25] [SHAPE...]
 *
 * read: GB/s of a node's threads from its own memory. link: GB/s between two nodes, one way. core: GB/s that one core
 * reads from another node. caches: last-level caches a node, each of which fetches an activation for itself.
 * region, hop: microseconds that a barrier of one node's threads costs (region measure: a team here), and that a
 * line of memory takes from node to node. The defaults are of the order of a socket with twelve channels of DDR5 and
 * 64 cores; none of them has been measured on one.
 *
 * Not in it: threads of one node that have a panel more than others (the node's memory is busy nevertheless), and
 * pages in the wrong place. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "app/shapes.h"
#include "engine/forward.h"
#include "engine/memory.h"
#include "numa/team.h"

enum { RUNS = 11, ROUNDS = 2000, PANEL_ROWS = 16, MEASURE = -1 };

static const int64_t DEPTHS[] = {0, 16384, 131072};
static const double GOAL_OF_TWO = 1.9;

struct machine {
    double nodes, read, link, core, caches, region, hop; /* as given: GB/s and microseconds */
};

/* One token's work on that many nodes. */
struct token {
    double bytes;   /* that the busiest node reads from its memory */
    double waits;   /* barriers */
    double crossed; /* bytes from node to node, all nodes together */
    double stalled; /* seconds in which threads wait for them */
};

static const struct {
    const char *name, *what;
    size_t at;
} options[] = {{"--nodes", "nodes", offsetof(struct machine, nodes)},
               {"--read", "GB/s of a node from its own memory", offsetof(struct machine, read)},
               {"--link", "GB/s between two nodes, one way", offsetof(struct machine, link)},
               {"--core", "GB/s of one core from another node", offsetof(struct machine, core)},
               {"--caches", "last-level caches a node", offsetof(struct machine, caches)},
               {"--region", "us a barrier within a node", offsetof(struct machine, region)},
               {"--hop", "us for a line of memory from node to node", offsetof(struct machine, hop)}};
enum { N_OPTIONS = sizeof options / sizeof *options };

static double *field(struct machine *m, int option) {
    return (double *)(void *)((char *)m + options[option].at);
}

/* Panels are dealt out whole, so one node may have one more. */
static double busiest_share(int64_t n, double nodes) {
    int64_t panels = (n + PANEL_ROWS - 1) / PANEL_ROWS, most = (panels + (int64_t)nodes - 1) / (int64_t)nodes;
    return (double)most / (double)panels;
}

/* So many bytes are read that another node wrote, all threads together; the busiest core fetches `by_one`. */
static void cross(const struct machine *m, double bytes, double by_one, struct token *t) {
    if (m->nodes < 2)
        return;
    double core = by_one / (m->core * 1e9), link = bytes / m->nodes / (m->link * 1e9);
    t->crossed += bytes;
    t->stalled += m->hop * 1e-6 + (core > link ? core : link);
}

/* All threads read an activation whose parts the nodes wrote: each cache fetches the others' parts. */
static void cross_to_all(const struct machine *m, double bytes, struct token *t) {
    double remote = bytes * (m->nodes - 1) / m->nodes;
    cross(m, remote * m->caches * m->nodes, remote, t);
}

/* Each part is read by one thread, wherever it is. */
static void cross_once(const struct machine *m, double bytes, double part, struct token *t) {
    cross(m, bytes * (m->nodes - 1) / m->nodes, part, t);
}

/* Keys and values by head where heads divide, else by pages. A KV head's splits are merged by one thread, of its node
 * if it has one. */
static void add_attention(const struct qm_config *c, const struct qm_op *op, int64_t depth, const struct machine *m,
                          struct token *t) {
    int64_t seen = op->window && op->window < depth ? op->window : depth;
    double token =
        (double)(qm_kv_key_bytes(QM_BF16, c->head_dim) + qm_kv_value_bytes(QM_BF16, c->head_dim)) / QM_KV_PAGE_TOKENS;
    double rows = 4 * (double)((c->heads + 2 * c->kv_heads) * c->head_dim);
    t->bytes += token * (double)(seen * c->kv_heads) / m->nodes;
    cross_once(m, rows, rows / (double)c->kv_heads, t);
    if (seen > QM_ATTENTION_SPLIT) {
        double partial = 4 * (double)(c->heads * c->head_dim) * (double)(seen / QM_ATTENTION_SPLIT + 1);
        t->waits++;
        if (c->kv_heads % (int64_t)m->nodes)
            cross_once(m, partial, partial / (double)c->kv_heads, t);
    }
}

/* Barriers: the end of each op, and where splits are merged. Activations are F32. */
static void add_op(const struct qm_model *model, const struct qm_op *op, int64_t depth, const struct machine *m,
                   struct token *t) {
    const struct qm_config *c = &model->config;
    const struct qm_weight *w = op->matrix >= 0 ? &model->weights[op->matrix] : NULL;
    double hidden = 4 * (double)c->hidden, attended = 4 * (double)(c->heads * c->head_dim);
    double chosen = (double)c->experts_per_token;
    t->waits++;
    if (w && op->kind != QM_OP_EMBED) {
        double experts = w->experts > 1 ? chosen / (double)w->experts : 1;
        t->bytes += (double)qm_weight_bytes(w) * experts * busiest_share(w->n, m->nodes);
    }
    switch (op->kind) {
    case QM_OP_EMBED: break;
    case QM_OP_QKV:
    case QM_OP_FFN_UP:
    case QM_OP_ROUTE:
    case QM_OP_SHARED_UP:
    case QM_OP_MOE_UP: cross_to_all(m, hidden, t); break;
    case QM_OP_SHARED_DOWN: cross_to_all(m, 4 * (double)c->shared_ffn, t); break;
    case QM_OP_ATTENTION: add_attention(c, op, depth, m, t); break;
    case QM_OP_ATTENTION_OUT: cross_to_all(m, attended, t); break;
    case QM_OP_FFN_DOWN: cross_to_all(m, 4 * (double)c->ffn, t); break;
    case QM_OP_MOE_DOWN: cross_to_all(m, 4 * chosen * (double)c->moe_ffn, t); break;
    default: /* HEAD, whose logits one thread reads */
        cross_to_all(m, hidden, t);
        cross_once(m, 4 * (double)c->vocab, 4 * (double)c->vocab * (m->nodes - 1) / m->nodes, t);
        break;
    }
}

static struct token count(const struct qm_model *model, const struct qm_forward *f, int64_t depth, struct machine m,
                          double nodes) {
    struct token t = {0};
    m.nodes = nodes;
    for (int i = 0; i < f->n_ops; i++)
        add_op(model, &f->ops[i], depth, &m, &t);
    return t;
}

/* Seconds a token, for a barrier of so many microseconds within a node. */
static double seconds(const struct token *t, const struct machine *m, double nodes, double region) {
    double barrier = region + (nodes > 1 ? 2 * m->hop : 0);
    return t->bytes / (m->read * 1e9) + t->waits * barrier * 1e-6 + t->stalled;
}

static int show(const char *shape, const struct machine *m) {
    struct qm_model *model;
    struct qm_forward f;
    struct qm_error err;
    int rc = qm_shape_open(shape, 0, NULL, &(struct qm_overrides){0}, &model, &err);
    if (rc) {
        fprintf(stderr, "bench_two_nodes: %s\n", err.message);
        return rc;
    }
    rc = qm_forward_build(model, &f, &err);
    if (rc) {
        fprintf(stderr, "bench_two_nodes: %s\n", err.message);
        qm_model_close(model);
        return rc;
    }
    double goal = GOAL_OF_TWO / 2 * m->nodes;
    printf("\n%s: decode, one sequence\n", shape);
    printf("%8s %9s %9s %7s %10s %9s %9s %9s %8s %14s\n", "depth", "GB, 1", "GB, each", "waits", "KiB cross",
           "stall us", "ms, 1", "ms", "scaling", "goal: us <=");
    for (size_t i = 0; i < sizeof DEPTHS / sizeof *DEPTHS; i++) {
        struct token one = count(model, &f, DEPTHS[i], *m, 1), all = count(model, &f, DEPTHS[i], *m, m->nodes);
        double t1 = seconds(&one, m, 1, m->region), tn = seconds(&all, m, m->nodes, m->region);
        /* The region r at which seconds(one, r) = goal * seconds(all, r), both being linear in it. */
        double most =
            (seconds(&one, m, 1, 0) - goal * seconds(&all, m, m->nodes, 0)) / ((goal * all.waits - one.waits) * 1e-6);
        char enough[32] = "not by that";
        if (most > 0)
            snprintf(enough, sizeof enough, "%.2f", most);
        printf("%8lld %9.3f %9.3f %7.0f %10.0f %9.0f %9.2f %9.2f %8.2f %14s\n", (long long)DEPTHS[i], one.bytes / 1e9,
               all.bytes / 1e9, all.waits, all.crossed / 1024, all.stalled * 1e6, t1 * 1e3, tn * 1e3, t1 / tn, enough);
    }
    qm_forward_free(&f);
    qm_model_close(model);
    return 0;
}

static void nothing(void *arg, int thread, int threads) {
    (void)arg, (void)thread, (void)threads;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* What an empty region costs on this machine, in microseconds; 0 where there is no team. */
static double measure_region(void) {
    struct qm_team *team;
    struct qm_error err;
    double cost[RUNS];
    if (qm_team_create(0, &team, &err) != QM_OK) {
        fprintf(stderr, "bench_two_nodes: %s\n", err.message);
        return 0;
    }
    for (int r = 0; r < RUNS; r++) {
        struct timespec a, b;
        clock_gettime(CLOCK_MONOTONIC, &a);
        for (int i = 0; i < ROUNDS; i++)
            qm_team_run(team, nothing, NULL);
        clock_gettime(CLOCK_MONOTONIC, &b);
        cost[r] = ((double)(b.tv_sec - a.tv_sec) * 1e6 + (double)(b.tv_nsec - a.tv_nsec) / 1e3) / ROUNDS;
    }
    qsort(cost, RUNS, sizeof *cost, by_size);
    printf("region measured here with %d threads: %.3f us\n", qm_team_threads(team), cost[RUNS / 2]);
    qm_team_destroy(team);
    return cost[RUNS / 2];
}

static int parse(int argc, char **argv, struct machine *m, int *first_shape) {
    int i = 1;
    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
        int o = 0;
        char *end;
        while (o < N_OPTIONS && strcmp(argv[i], options[o].name) != 0)
            o++;
        if (o == N_OPTIONS || i + 1 == argc)
            return 2;
        if (strcmp(argv[i], "--region") == 0 && strcmp(argv[i + 1], "measure") == 0) {
            m->region = MEASURE;
            continue;
        }
        *field(m, o) = strtod(argv[i + 1], &end);
        if (*end || !(*field(m, o) > 0) || *field(m, o) > 1e6)
            return 2;
    }
    *first_shape = i;
    return m->nodes == (double)(int)m->nodes ? 0 : 2;
}

int main(int argc, char **argv) {
    static const char *const shapes[] = {"qwen3-30b-a3b", "llama-3-70b"};
    struct machine m = {.nodes = 2, .read = 400, .link = 100, .core = 8, .caches = 8, .region = 2, .hop = 0.25};
    int first = 1, rc = 0;
    if (parse(argc, argv, &m, &first)) {
        fprintf(stderr, "bench_two_nodes: options, each with a number, then shapes (%s):\n", qm_shape_names());
        for (int o = 0; o < N_OPTIONS; o++)
            fprintf(stderr, "  %-10s %s\n", options[o].name, options[o].what);
        return 2;
    }
    printf("On paper: decoding on N nodes, a token at a time. Assumed, not measured:\n");
    if (m.region == MEASURE)
        m.region = measure_region();
    for (int o = 0; o < N_OPTIONS; o++)
        printf("  %-10s %8.2f %s\n", options[o].name, *field((struct machine *)&m, o), options[o].what);
    printf(
        "seconds(N) = bytes of the busiest node / read + waits x (region + 2 hop if N > 1) + stalls\n"
        "stall      = hop + the longer of: remote bytes / core, remote bytes x readers a node / link\n"
        "scaling    = seconds(1) / seconds(N); goal %.2f of %d: the barrier within a node costs at most so many us\n",
        GOAL_OF_TWO / 2 * m.nodes, (int)m.nodes);
    for (int i = first; i < argc && !rc; i++)
        rc = show(argv[i], &m);
    for (int i = 0; first == argc && i < 2 && !rc; i++)
        rc = show(shapes[i], &m);
    return rc;
}
