/* The search for the fewest threads, as a small machine of states that is fed one step's time after another. */
#include "engine/quiet.h"

#include <math.h>
#include <stdlib.h>

enum {
    SETTLE = 1,          /* steps of a block that do not count: threads wake, caches fill */
    COUNTED = 2,         /* that do */
    PAIRS = 5,           /* the first judgement */
    PAIRS_MAX = 15,      /* the last one */
    AGAIN = 1024,        /* steps between two looks at what was chosen */
    SEQUENCES_FACTOR = 2 /* so many times more or fewer sequences are other work */
};

/* A median nearer to the wanted share than that needs more pairs; a choice found missed by more is given up. */
static const double MARGIN = 0.01;

enum phase { SEARCH, SLEEP, CHOSEN, CHECK };

struct qm_quiet {
    int threads, unit; /* candidates are multiples of unit, and all */
    double wanted;
    int64_t sequences; /* of the steps that count now */
    enum phase phase;
    /* [low, high]: numbers of units among which the answer is; high keeps the share, or is all */
    int low, high;
    double high_kept;
    struct qm_quiet_use use; /* chosen, or the candidate */
    double kept;             /* of what is chosen */
    bool candidate;          /* the block runs the candidate, else all threads */
    int step;                /* of the block */
    double block[2];         /* seconds counted: all threads, the candidate */
    double share[PAIRS_MAX];
    int pairs;
    int64_t measured, chosen_for; /* steps */
};

int qm_quiet_new(int threads, int nodes, double share, struct qm_quiet **out, struct qm_error *err) {
    *out = NULL;
    if (threads < 1 || nodes < 1 || !(share > 0 && share <= 1))
        return qm_fail(err, QM_USAGE, "quiet: %d threads on %d nodes for %.3g of the speed", threads, nodes, share);
    struct qm_quiet *q = calloc(1, sizeof *q);
    if (!q)
        return qm_fail_memory(err, sizeof *q, "the search for the fewest threads");
    q->threads = threads;
    q->unit = nodes <= threads ? nodes : 1;
    q->wanted = share;
    *out = q;
    return QM_OK;
}

void qm_quiet_free(struct qm_quiet *q) {
    free(q);
}

static int units(const struct qm_quiet *q) {
    return (q->threads + q->unit - 1) / q->unit;
}

static int threads_of(const struct qm_quiet *q, int n) {
    return n * q->unit < q->threads ? n * q->unit : q->threads;
}

static void begin_pairs(struct qm_quiet *q) {
    q->candidate = false;
    q->step = 0;
    q->block[0] = q->block[1] = 0;
    q->pairs = 0;
}

static void choose(struct qm_quiet *q, bool spin, double kept) {
    q->use.spin = spin;
    q->kept = kept;
    q->phase = CHOSEN;
    q->chosen_for = 0;
}

/* The next candidate, or the question whether waiting threads may sleep; a thread alone waits for nobody. */
static void narrow(struct qm_quiet *q) {
    bool more = q->low < q->high;
    q->phase = more ? SEARCH : SLEEP;
    q->use = (struct qm_quiet_use){threads_of(q, more ? q->low + (q->high - q->low) / 2 : q->high), more};
    begin_pairs(q);
    if (!more && q->use.threads == 1)
        choose(q, true, q->high_kept);
}

static void begin(struct qm_quiet *q, int64_t sequences) {
    q->sequences = sequences;
    q->low = 1;
    q->high = units(q);
    q->high_kept = 1;
    q->kept = 0;
    narrow(q);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const struct qm_quiet *q) {
    double sorted[PAIRS_MAX];
    for (int i = 0; i < q->pairs; i++)
        sorted[i] = q->share[i];
    qsort(sorted, (size_t)q->pairs, sizeof *sorted, ascending);
    return sorted[q->pairs / 2];
}

/* After a pair: enough of them, and what follows from their median. */
static void judge(struct qm_quiet *q) {
    if (q->pairs < PAIRS)
        return;
    double share = median(q);
    if (fabs(share - q->wanted) < MARGIN && q->pairs < PAIRS_MAX)
        return;
    bool keeps = share >= q->wanted;
    switch (q->phase) {
    case SEARCH:
        if (keeps) {
            q->high = q->low + (q->high - q->low) / 2;
            q->high_kept = share;
        } else {
            q->low += (q->high - q->low) / 2 + 1;
        }
        narrow(q);
        break;
    case SLEEP: choose(q, !keeps, keeps ? share : q->high_kept); break;
    case CHECK:
        if (share < q->wanted - MARGIN)
            begin(q, q->sequences);
        else
            choose(q, q->use.spin, share);
        break;
    case CHOSEN: break;
    }
}

struct qm_quiet_use qm_quiet_next(struct qm_quiet *q, int64_t sequences) {
    int64_t n = sequences < 1 ? 1 : sequences, had = q->sequences;
    if (had == 0 || (q->phase == CHOSEN ? n >= SEQUENCES_FACTOR * had || had >= SEQUENCES_FACTOR * n : n != had))
        begin(q, n);
    if (q->phase == CHOSEN || q->candidate)
        return q->use;
    return (struct qm_quiet_use){q->threads, true};
}

void qm_quiet_took(struct qm_quiet *q, double seconds) {
    if (q->phase == CHOSEN) {
        /* all threads, and spinning: nothing to look at again */
        bool all = q->use.threads == q->threads && q->use.spin;
        if (++q->chosen_for >= AGAIN && !all) {
            q->phase = CHECK;
            begin_pairs(q);
        }
        return;
    }
    q->measured++;
    if (q->step++ >= SETTLE)
        q->block[q->candidate] += seconds;
    if (q->step < SETTLE + COUNTED)
        return;
    q->step = 0;
    q->candidate = !q->candidate;
    if (q->candidate)
        return;
    if (q->block[1] > 0 && isfinite(q->block[0]))
        q->share[q->pairs++] = q->block[0] / q->block[1];
    q->block[0] = q->block[1] = 0;
    judge(q);
}

void qm_quiet_look(const struct qm_quiet *q, struct qm_quiet_state *out) {
    bool found = q->phase == CHOSEN || q->phase == CHECK;
    *out = (struct qm_quiet_state){.found = found, .wanted = q->wanted, .steps = q->measured};
    out->kept = found ? q->kept : 0;
    out->use = found ? q->use : (struct qm_quiet_use){q->threads, true};
}
