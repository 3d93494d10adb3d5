/* The time that a job will still take. */
#include "batch/left.h"

#include <math.h>
#include <stdlib.h>

/* Until a step has generated without prompts beside it, it is taken to cost as much as so many tokens of a prompt:
 * where computing a chunk begins to take longer than reading the weights. */
static const double STEP_TOKENS = 32;
/* The length assumed of an answer while nothing is known. */
static const double FIRST_GUESS = 64;

enum { EXACT = 64, PARTS = 8 };

static int bucket(int64_t tokens) {
    if (tokens < EXACT)
        return (int)(tokens > 0 ? tokens : 0);
    int exponent = 63 - __builtin_clzll((unsigned long long)tokens),
        part = (int)(tokens >> (exponent - 3) & (PARTS - 1));
    int b = EXACT + (exponent - 6) * PARTS + part;
    return b < QM_BATCH_LENGTHS ? b : QM_BATCH_LENGTHS - 1;
}

/* The first length of a bucket. */
static double first_of(int b) {
    return b < EXACT ? b : ldexp(1 + (b - EXACT) % PARTS / (double)PARTS, 6 + (b - EXACT) / PARTS);
}

void qm_batch_left_ended(struct qm_batch_left *l, int64_t tokens) {
    l->ended[bucket(tokens)]++;
}

void qm_batch_left_begin(struct qm_batch_left *l) {
    for (int b = 0; b < QM_BATCH_LENGTHS; b++)
        l->running[b] = 0;
    l->n = 0;
}

void qm_batch_left_running(struct qm_batch_left *l, int64_t tokens, int64_t most) {
    l->running[bucket(tokens)]++;
    if (l->n < QM_BATCH_RUNNING)
        l->answer[l->n++] = (struct qm_batch_answer){.tokens = tokens, .most = most};
}

static int by_more(const void *a, const void *b) {
    double x = ((const struct qm_batch_answer *)a)->more, y = ((const struct qm_batch_answer *)b)->more;
    return (x > y) - (x < y);
}

void qm_batch_left_fit(struct qm_batch_left *l) {
    double at_risk = 0, ended = 0, tokens = 0, share = 1;
    l->last = 0;
    for (int b = 0; b < QM_BATCH_LENGTHS; b++) {
        double n = (double)(l->ended[b] + l->running[b]);
        at_risk += n;
        ended += (double)l->ended[b];
        tokens += n * first_of(b);
        l->last = n > 0 ? b : l->last;
    }
    for (int b = 0; b < QM_BATCH_LENGTHS; b++) {
        if (at_risk > 0 && b <= l->last)
            share *= 1 - (double)l->ended[b] / at_risk;
        l->survival[b] = b > l->last ? 0 : share;
        at_risk -= (double)(l->ended[b] + l->running[b]);
    }
    /* those that outlive all that were seen: as if answers ended by chance, or live as long again */
    l->tail = ended > 0 ? tokens / ended : fmax(first_of(l->last), FIRST_GUESS);
    for (int i = 0; i < l->n; i++)
        l->answer[i].more = qm_batch_left_more(l, l->answer[i].tokens, l->answer[i].most);
    qsort(l->answer, (size_t)l->n, sizeof *l->answer, by_more);
}

/* The share of answers that have more tokens; of a bucket that holds several lengths, in proportion. */
static double alive_at(const struct qm_batch_left *l, int64_t tokens) {
    int b = bucket(tokens);
    if (b < EXACT || b + 1 == QM_BATCH_LENGTHS)
        return l->survival[b];
    double in = ((double)tokens - first_of(b)) / (first_of(b + 1) - first_of(b));
    return l->survival[b - 1] + in * (l->survival[b] - l->survival[b - 1]);
}

double qm_batch_left_more(const struct qm_batch_left *l, int64_t tokens, int64_t most) {
    int b = bucket(tokens);
    double limit = most < 0 ? INFINITY : (double)(most - tokens), alive = alive_at(l, tokens), more = 0;
    if (limit <= 0)
        return 0;
    if (alive <= 0 || b > l->last)
        return fmax(1, fmin(l->tail, limit));
    /* of the first bucket the part that is still to come; then each by the share that gets through it, halfway in those
     * that hold several lengths */
    double at = (double)tokens, before = alive;
    for (; b <= l->last; b++) {
        double next = first_of(b + 1 < QM_BATCH_LENGTHS ? b + 1 : b), end = fmin(next, (double)tokens + limit);
        double through = b < EXACT ? l->survival[b] : (before + l->survival[b]) / 2;
        if (end > at)
            more += (end - at) * through / alive;
        at = fmax(at, end);
        before = l->survival[b];
    }
    more += fmin(l->tail, fmax(limit - (at - (double)tokens), 0)) * l->survival[l->last] / alive;
    return fmax(1, fmin(more, limit));
}

/* The share of the answers of `tokens` tokens that get `more` and do not end. */
static double share_after(const struct qm_batch_left *l, int64_t tokens, int64_t most, double more) {
    double alive = alive_at(l, tokens), end = first_of(l->last);
    int64_t then = tokens + (int64_t)more;
    if (most >= 0 && then >= most)
        return 0;
    double share = (double)then <= end
                       ? alive_at(l, then)
                       : l->survival[l->last] * exp(-((double)then - fmax(end, (double)tokens)) / l->tail);
    return alive > 0 ? fmin(share / alive, 1) : exp(-more / l->tail);
}

/* The places in which answers are generated: that of an answer that runs, or, the first ones, free. Those that wait
 * take them one after another as they become free, by expected lengths; so each has a last answer, begun at some step.
 */
struct places {
    const struct qm_batch_left *left;
    int64_t most;         /* of answers that wait, */
    double length;        /* and what is expected of one */
    int64_t free, wide;   /* places */
    int64_t rounds, rest; /* answers that each place takes, and how many take one more */
};

/* How many of the last answers are still being generated after so many steps. */
static double alive_after(const struct places *p, double steps) {
    double alive = 0;
    for (int64_t i = 0; i < p->wide; i++) {
        int64_t takes = p->rounds + (i < p->rest);
        const struct qm_batch_answer *a = i < p->free ? NULL : &p->left->answer[i - p->free];
        double begins = (a ? a->more : 0) + (double)(takes - 1) * p->length;
        if (takes > 0)
            alive += steps <= begins ? 1 : share_after(p->left, 0, p->most, steps - begins);
        else if (a)
            alive += share_after(p->left, a->tokens, a->most, steps);
    }
    return alive;
}

/* Steps that generate, until the last answer ends: when as many are left as chance leaves of the longest of many (the
 * median of a Gumbel distribution). */
static double steps_ahead(const struct qm_batch_left *l, const struct qm_batch_ahead *a) {
    static const double LEFT = 0.6931;
    struct places p = {.left = l, .most = a->most, .length = qm_batch_left_more(l, 0, a->most)};
    int64_t wide = (int64_t)fmin(fmax(a->wide, 1), QM_BATCH_RUNNING), waiting = (int64_t)ceil(a->answers);
    p.wide = wide > l->n ? wide : l->n;
    p.free = p.wide - l->n;
    p.rounds = waiting / p.wide;
    p.rest = waiting % p.wide;
    double low = 0, high = 1;
    while (high < 1e12 && alive_after(&p, high) > LEFT)
        high = 2 * (low = high);
    while (high - low > fmax(0.5, high * 0.001)) {
        double middle = (low + high) / 2;
        *(alive_after(&p, middle) > LEFT ? &low : &high) = middle;
    }
    return l->n + waiting ? high : 0;
}

double qm_batch_left_seconds(const struct qm_batch_left *l, const struct qm_scheduler_stats *s,
                             const struct qm_batch_ahead *a) {
    double seconds = s->prefill_seconds + s->mixed_seconds + s->decode_seconds + s->schedule_seconds + s->token_seconds;
    double with_prompts = (double)(s->steps - s->decode_steps);
    if (s->steps == 0 || !(seconds > 0))
        return -1;
    double token = s->prompt_token, step = s->decode_step, at_once = fmax(s->decode_tokens, 1);
    if (!(token > 0))
        token =
            step > 0 ? step / STEP_TOKENS : (s->prefill_seconds + s->mixed_seconds) / fmax((double)s->prompt_tokens, 1);
    if (!(step > 0))
        step = token * STEP_TOKENS;
    /* of a step what does not depend on how many sequences it serves */
    double base = fmax(step - token * at_once, 0), other = (step - base) / at_once;
    double explained = token * (double)s->prompt_tokens + other * (double)s->generated_tokens + base * (double)s->steps;
    double answers = a->answers * qm_batch_left_more(l, 0, a->most);
    for (int i = 0; i < l->n; i++)
        answers += l->answer[i].more;
    /* answers go on beside prompts: whichever takes more steps; but the last prompt's follows it */
    double steps = s->prompt_tokens > 0 ? a->prompts * with_prompts / (double)s->prompt_tokens : 0;
    steps += steps > 0 ? qm_batch_left_more(l, 0, a->most) : 0;
    steps = fmax(steps, steps_ahead(l, a));
    return (token * a->prompts + other * answers + base * steps) * (explained > 0 ? seconds / explained : 1);
}
