/* Rows are counted as they come: tokens of prompts by depth, and answers on places. */
#include "planner/estimate.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BINS = 64, CASES = 3 };

/* Answers of one length each: as expected, the least, the most. */
struct places {
    int64_t *busy;        /* [at_once] steps until each is free; a heap, the least first */
    double steps, tokens; /* until all are; answered */
    double depth;         /* sum over the tokens of how many were before them */
};

struct qm_estimate {
    struct qm_time_setup prefill, decode;
    int64_t at_once, rows;
    double bin_tokens;   /* the width of a bin */
    double tokens[BINS]; /* of prompts that are to be computed, by depth */
    struct places places[CASES];
};

int qm_estimate_open(const struct qm_time_setup *setup, int64_t at_once, int decode_threads, struct qm_estimate **out,
                     struct qm_error *err) {
    struct qm_estimate *e = calloc(1, sizeof *e);
    *out = NULL;
    assert(at_once >= 1 && at_once <= QM_ESTIMATE_AT_ONCE);
    if (!e)
        return qm_fail_memory(err, sizeof *e, "the estimate");
    e->prefill = e->decode = *setup;
    if (decode_threads)
        e->decode.workload.threads = decode_threads;
    e->at_once = at_once;
    e->bin_tokens = fmax(1, (double)setup->workload.context / BINS);
    for (int i = 0; i < CASES; i++)
        if (!(e->places[i].busy = calloc((size_t)at_once, sizeof *e->places[i].busy))) {
            qm_estimate_close(e);
            return qm_fail_memory(err, (uint64_t)at_once * sizeof(int64_t), "the estimate");
        }
    *out = e;
    return QM_OK;
}

void qm_estimate_close(struct qm_estimate *e) {
    for (int i = 0; e && i < CASES; i++)
        free(e->places[i].busy);
    free(e);
}

/* The place that is free first takes so many steps more. */
static void answer(struct places *p, int64_t n, int64_t tokens, int64_t prompt) {
    int64_t *heap = p->busy, until = heap[0] + tokens, at = 0;
    for (int64_t child; (child = 2 * at + 1) < n; at = child) {
        child += child + 1 < n && heap[child + 1] < heap[child];
        if (heap[child] >= until)
            break;
        heap[at] = heap[child];
    }
    heap[at] = until;
    p->steps = fmax(p->steps, (double)until);
    p->tokens += (double)tokens;
    p->depth += (double)tokens * ((double)prompt + (double)tokens / 2);
}

void qm_estimate_add(struct qm_estimate *e, const struct qm_estimate_row *row) {
    const int64_t answers[CASES] = {row->answer, row->least, row->most};
    double from = (double)row->shared, to = (double)row->prompt;
    while (from < to) {
        int bin = (int)fmin(from / e->bin_tokens, BINS - 1);
        double end = bin == BINS - 1 ? to : fmin(to, (bin + 1) * e->bin_tokens);
        end = end > from ? end : to; /* rounding */
        e->tokens[bin] += end - from;
        from = end;
    }
    for (int i = 0; i < CASES; i++)
        answer(&e->places[i], e->at_once, answers[i], row->prompt);
    e->rows++;
}

static double step(const struct qm_time_setup *setup, int64_t sequences, double depth, int64_t n, int64_t logits) {
    struct qm_step_time t;
    qm_time_step(setup, sequences, (int64_t)depth, n, logits, &t);
    return t.seconds;
}

/* Seconds of all prompts; *steps: how many chunks they take, *token: seconds of a token in one, on average. */
static double prefill(const struct qm_estimate *e, double *steps, double *token) {
    double all = 0, seconds = 0;
    for (int i = 0; i < BINS; i++)
        all += e->tokens[i];
    *steps = *token = 0;
    if (all <= 0)
        return 0;
    int64_t chunk = e->prefill.workload.chunk;
    chunk = all < (double)chunk ? (int64_t)ceil(all) : chunk;
    for (int i = 0; i < BINS; i++)
        if (e->tokens[i] > 0) /* a chunk around the middle of the bin */
            seconds += e->tokens[i] / (double)chunk *
                       step(&e->prefill, 1, fmax(0, ((double)i + 0.5) * e->bin_tokens - (double)chunk / 2), chunk, 0);
    seconds += (double)e->rows * (step(&e->prefill, 1, 0, chunk, 1) - step(&e->prefill, 1, 0, chunk, 0));
    *steps = all / (double)chunk;
    *token = seconds / all;
    return seconds;
}

static double decode(const struct qm_estimate *e, const struct places *p, double prompt_steps, double prompt_token) {
    if (p->tokens <= 0)
        return 0;
    double together = p->tokens / p->steps, depth = p->depth / p->tokens;
    int64_t low = together < 1 ? 1 : (int64_t)together;
    double part = together - (double)low;
    double one = step(&e->decode, low, depth, 1, 1);
    if (part > 1e-9)
        one += part * (step(&e->decode, low + 1, depth, 1, 1) - one);
    /* what goes along with chunks of prompts: all but those of the first rows, which nothing runs beside */
    double rows = (double)e->rows, first = (fmin((double)e->at_once, rows) + 1) / (2 * rows);
    double along = fmin(p->steps, prompt_steps * (1 - first));
    return (p->steps - along) * one + along * fmin(one, together * prompt_token);
}

void qm_estimate_get(const struct qm_estimate *e, double off, double prefill_by, double decode_by,
                     struct qm_estimate_time *out) {
    double steps, token, seconds[CASES], read = prefill(e, &steps, &token);
    for (int i = 0; i < CASES; i++)
        seconds[i] = read * prefill_by + decode(e, &e->places[i], steps, token) * decode_by;
    *out = (struct qm_estimate_time){.seconds = seconds[0],
                                     .low = seconds[1] / (1 + off),
                                     .high = seconds[2] * (1 + off),
                                     .prefill = read * prefill_by,
                                     .decode = seconds[0] - read * prefill_by};
}
