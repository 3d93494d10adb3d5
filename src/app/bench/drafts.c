/* Generating with drafts that are right with a given chance, whatever the tokens are: what drafts of that acceptance
 * give on this machine, chosen and checked as any others (session/draft), beside the most that the cost of checking
 * allows. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "app/bench/bench.h"
#include "base/stats.h"
#include "engine/sequence.h"

enum { CLASS = 4, WRONG = -1, TIMES = 5 };

struct qm_bench_drafts {
    double acceptance;
    uint64_t state; /* of what is right */
    struct qm_speculation *speculation;
    struct qm_speculated **of; /* [sequences], open while it generates */
    struct qm_speculated **generating;
    struct qm_step_rows *steps;
    int64_t *left; /* [sequences] tokens */
    int64_t sequences;
    bool looked; /* for drafts, for the step that is composed */
};

/* The drafter: as many tokens as it may, all alike. */
static int open_text(void *self, void **text, struct qm_error *err) {
    (void)err;
    *text = self;
    return QM_OK;
}

static void close_text(void *self, void *text) {
    (void)self, (void)text;
}

static void append(void *self, void *text, const int32_t *ids, int64_t n) {
    (void)self, (void)text, (void)ids, (void)n;
}

static int propose(void *self, void *text, const struct qm_draft_limit *limit, struct qm_draft *out) {
    (void)self, (void)text;
    for (int i = 0; i < limit->most; i++)
        out[i] = (struct qm_draft){.id = i, .confidence = CLASS};
    return limit->most;
}

int qm_bench_drafts_open(double acceptance, int64_t sequences, struct qm_bench_drafts **out, struct qm_error *err) {
    *out = NULL;
    struct qm_bench_drafts *d = calloc(1, sizeof *d);
    size_t n = (size_t)sequences;
    if (!d)
        return qm_fail_memory(err, sizeof *d, "drafts");
    *d = (struct qm_bench_drafts){.acceptance = acceptance, .state = 1, .sequences = sequences};
    d->of = calloc(n, sizeof *d->of);
    d->generating = calloc(n, sizeof(struct qm_speculated *));
    d->steps = calloc(n, sizeof *d->steps);
    d->left = calloc(n, sizeof *d->left);
    const struct qm_speculation_options o = {
        .drafter = {.self = d, .open = open_text, .close = close_text, .append = append, .propose = propose},
        .most = QM_DRAFT_MAX};
    int rc = d->of && d->generating && d->steps && d->left ? qm_speculation_new(&o, &d->speculation, err)
                                                           : qm_fail_memory(err, n * sizeof *d->steps, "drafts");
    if (rc)
        qm_bench_drafts_close(d);
    else
        *out = d;
    return rc;
}

void qm_bench_drafts_close(struct qm_bench_drafts *d) {
    if (!d)
        return;
    qm_speculation_free(d->speculation);
    free(d->of);
    free(d->generating);
    free(d->steps);
    free(d->left);
    free(d);
}

static bool right(struct qm_bench_drafts *d) {
    d->state = d->state * 6364136223846793005u + 1442695040888963407u;
    return (double)(d->state >> 11) / 9007199254740992.0 < d->acceptance;
}

/* What is sampled of a sequence whose step checked `chosen` of `offered` drafts; how many tokens. */
static int sample(struct qm_bench_drafts *d, int chosen, int offered, int32_t *out) {
    int n = 0;
    while (n < chosen && right(d)) {
        out[n] = n;
        n++;
    }
    out[n] = n == chosen && n < offered && right(d) ? n : WRONG;
    return n + 1;
}

/* The parts of a step: the last token of each that is still generating, and the drafts chosen for it. */
static int64_t compose(struct qm_bench_drafts *d, const struct qm_bench_drafting *r, int64_t *rows) {
    int64_t n = 0, steps = 0;
    for (int64_t i = 0; i < d->sequences; i++)
        n += d->left[i] > 0;
    d->looked = qm_speculation_looks(d->speculation, n);
    for (int64_t i = 0, k = 0; i < d->sequences; i++)
        if (d->left[i] > 0) {
            d->generating[k++] = d->of[i];
            qm_speculated_offer(d->of[i], n, d->looked ? d->left[i] - 1 : 0);
        }
    if (d->looked)
        qm_speculation_choose(d->speculation, d->generating, n, r->most_rows - n);
    *rows = 0;
    for (int64_t i = 0; i < d->sequences; i++)
        if (d->left[i] > 0) {
            int64_t part = 1 + qm_speculated_chosen(d->of[i]);
            d->steps[steps++] = (struct qm_step_rows){.sequence = r->sequences[i],
                                                      .tokens = r->tokens + *rows,
                                                      .n = part,
                                                      .n_logits = part,
                                                      .logits = r->logits + *rows * r->vocab};
            *rows += part;
        }
    return steps;
}

/* Takes what was right, and cuts back the rest. */
static void take(struct qm_bench_drafts *d, const struct qm_bench_drafting *r) {
    for (int64_t i = 0; i < d->sequences; i++) {
        int32_t sampled[QM_DRAFT_MAX + 1];
        if (d->left[i] <= 0)
            continue;
        int chosen = qm_speculated_chosen(d->of[i]);
        int64_t offered = d->left[i] - 1 < QM_DRAFT_MAX ? d->left[i] - 1 : QM_DRAFT_MAX;
        int n = sample(d, chosen, d->looked ? (int)offered : 0, sampled);
        qm_speculated_sampled(d->of[i], sampled, n);
        qm_sequence_truncate(r->sequences[i], qm_sequence_length(r->sequences[i]) - (chosen + 1 - n));
        d->left[i] -= n;
    }
}

int qm_bench_drafts_costs(struct qm_bench_drafts *d, const struct qm_bench_drafting *r,
                          double seconds[QM_BENCH_DRAFTED], struct qm_error *err) {
    int rc = QM_OK;
    for (int64_t k = 0; k < QM_BENCH_DRAFTED && !rc; k++) {
        double times[TIMES] = {0};
        seconds[k] = NAN;
        if (d->sequences * (1 + k) > r->most_rows)
            continue;
        for (int64_t i = 0; i < d->sequences; i++)
            d->steps[i] = (struct qm_step_rows){.sequence = r->sequences[i],
                                                .tokens = r->tokens + i * (1 + k),
                                                .n = 1 + k,
                                                .n_logits = 1 + k,
                                                .logits = r->logits + i * (1 + k) * r->vocab};
        for (int t = 0; t < TIMES && !rc; t++) {
            double begin = qm_engine_clock(r->engine);
            rc = r->step(r->arg, d->steps, d->sequences, d->sequences * (1 + k), err);
            times[t] = qm_engine_clock(r->engine) - begin;
            for (int64_t i = 0; i < d->sequences && !rc; i++)
                qm_sequence_truncate(r->sequences[i], qm_sequence_length(r->sequences[i]) - (1 + k));
        }
        seconds[k] = qm_figure_of(times, TIMES).median;
    }
    return rc;
}

double qm_bench_drafts_best(const struct qm_bench_drafts *d, const double seconds[QM_BENCH_DRAFTED]) {
    double best = 0, tokens = 0, p = 1;
    for (int k = 0; k < QM_BENCH_DRAFTED; k++, p *= d->acceptance) {
        tokens += p;
        best = fmax(best, (double)d->sequences * tokens / seconds[k]); /* fmax passes over NaN */
    }
    return best;
}

void qm_bench_drafts_stats(const struct qm_bench_drafts *d, struct qm_speculation_stats *out) {
    qm_speculation_stats(d->speculation, out);
}

int qm_bench_drafts_generate(struct qm_bench_drafts *d, const struct qm_bench_drafting *r, int64_t tokens,
                             struct qm_error *err) {
    int rc = QM_OK;
    for (int64_t i = 0; i < d->sequences && !rc; i++) {
        d->left[i] = tokens;
        rc = qm_speculated_open(d->speculation, &d->of[i], err);
    }
    for (int64_t n, rows; !rc && (n = compose(d, r, &rows)) > 0;) {
        double begin = qm_engine_clock(r->engine);
        rc = r->step(r->arg, d->steps, n, rows, err);
        double seconds = qm_engine_clock(r->engine) - begin;
        if (!rc) {
            take(d, r);
            qm_speculation_took(d->speculation, n, seconds);
        }
    }
    for (int64_t i = 0; i < d->sequences; i++) {
        qm_speculated_close(d->of[i]);
        d->of[i] = NULL;
    }
    return rc;
}
