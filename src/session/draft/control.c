/* Costs, confidence and credit: see the header. */
#include "session/draft/control.h"

#include <math.h>

enum {
    PROBE = 16,     /* steps between drafts that are made to see whether they would pay again */
    FRESH = 64,     /* steps: how old a measurement without drafts may be while drafts are checked */
    FEW = 4,        /* measurements are no mean yet */
    NEAR = 8,       /* sequences are as good as measured where one eighth more or fewer were */
    LOOKS = 16,     /* that the credit must pay, where looking for drafts is not known to gain */
    ANSWER = 512,   /* tokens that an answer is expected to have left, at most */
    OWN_WEIGHT = 8, /* drafts that a sequence's record counts before it weighs as much as all others' */
};
static const double slope = 0.03;  /* of as many rows again, beyond what was measured: low, so that it is tried */
static const double margin = 1.01; /* of tokens a second, that drafts must win at least */
static const double first_credit = 5, most_credit = 11; /* steps without drafts */
static const double growth = 0.005;                     /* of the credit, in the time of undrafted steps */
static const double fade_own = 31.0 / 32, fade_all = 511.0 / 512;
static const double scale_weight = 1.0 / 8, shape_weight = 1.0 / 16;
static const double most_off = 0.5; /* of what was expected, that one measurement counts for */
static const double first_right[QM_DRAFT_CLASSES] = {0.15, 0.3,  0.4, 0.5, 0.6, 0.7, 0.8, 0.9,
                                                     0.15, 0.35, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95};
static const double looking_share = 0.0025; /* of a step without drafts, that looking for them may take at any time */
static const double gained_weight = 1.0 / 8;
static const double probe_credit = 0.3; /* of the most: what must be there for a draft that is only compared */

void qm_draft_control_init(struct qm_draft_control *c) {
    *c = (struct qm_draft_control){.scale = 1};
    for (int i = 0; i < QM_DRAFT_CLASSES; i++) {
        c->record.right[i] = first_right[i] * OWN_WEIGHT;
        c->record.all[i] = OWN_WEIGHT;
    }
}

/* ---- what steps cost ---- */

static int measured_below(const struct qm_draft_control *c, int rows) {
    while (rows > 0 && !c->cost[rows].times)
        rows--;
    return rows;
}

static int measured_above(const struct qm_draft_control *c, int rows) {
    while (rows <= QM_DRAFT_ROWS && !c->cost[rows].times)
        rows++;
    return rows <= QM_DRAFT_ROWS ? rows : 0;
}

/* More rows never cost less: what was measured for fewer is the least. */
static double highest_up_to(const struct qm_draft_control *c, int rows) {
    double highest = 0;
    for (int i = 1; i <= rows; i++)
        if (c->cost[i].times && c->cost[i].shape > highest)
            highest = c->cost[i].shape;
    return highest;
}

double qm_draft_seconds(const struct qm_draft_control *c, int rows) {
    if (rows < 1 || rows > QM_DRAFT_ROWS)
        return 0;
    int below = measured_below(c, rows), above = measured_above(c, rows);
    if (!below)
        return above ? c->scale * c->cost[above].shape : 0;
    double low = highest_up_to(c, below);
    if (below == rows)
        return c->scale * low;
    if (above) {
        double high = c->cost[above].shape > low ? c->cost[above].shape : low;
        return c->scale * (low + (high - low) * (rows - below) / (above - below));
    }
    return c->scale * low * (1 + slope * (rows - below) / below);
}

/* The least that so many rows may take: what was never tried is tried once where that would pay. */
static double least_seconds(const struct qm_draft_control *c, int rows) {
    int below = measured_below(c, rows);
    double between = qm_draft_seconds(c, rows),
           least = qm_draft_seconds(c, below) * (1 + slope * (rows - below) / below);
    return below == rows || between < least ? between : least;
}

/* The most that so many rows may take: as measured, and each row beyond that as long as one of the n alone. */
static double most_seconds(const struct qm_draft_control *c, int n, int rows) {
    int below = measured_below(c, rows);
    return qm_draft_seconds(c, below) + qm_draft_seconds(c, n) * (rows - below) / n;
}

/* Whether it is known what n rows take now. */
static bool fresh(const struct qm_draft_control *c, int n) {
    for (int i = n - n / NEAR; i <= n + n / NEAR && i <= QM_DRAFT_ROWS; i++)
        if (c->cost[i].times && c->steps - c->cost[i].step < FRESH)
            return true;
    return false;
}

static double within(double x, double most) {
    return x < -most ? -most : x > most ? most : x;
}

/* A disturbed step is not what steps take: of the first few measurements the least counts, later each moves the mean by
 * a little only. */
static void measure(struct qm_draft_control *c, int rows, double seconds) {
    struct qm_draft_cost *x = &c->cost[rows];
    if (x->times) {
        double off = within(seconds / (c->scale * x->shape) - 1, most_off);
        c->scale *= 1 + scale_weight * off;
        if (x->times >= FEW)
            x->shape *= 1 + shape_weight * off;
    }
    if (!x->times || (x->times < FEW && seconds < c->scale * x->shape))
        x->shape = seconds / c->scale;
    x->times++;
    x->step = c->steps;
}

/* ---- what drafts are worth ---- */

static double chance(const struct qm_draft_control *c, const struct qm_draft_record *own, int confidence) {
    double all = c->record.right[confidence] / c->record.all[confidence];
    return (own->right[confidence] + OWN_WEIGHT * all) / (own->all[confidence] + OWN_WEIGHT);
}

static void count(double *right, double *all, bool was, double fade) {
    *right = *right * fade + was;
    *all = *all * fade + 1;
}

void qm_draft_seen(struct qm_draft_control *c, struct qm_draft_record *record, int confidence, bool right) {
    count(&c->record.right[confidence], &c->record.all[confidence], right, fade_all);
    count(&record->right[confidence], &record->all[confidence], right, fade_own);
}

void qm_draft_chances(const struct qm_draft_control *c, const struct qm_draft_record *own, double *right) {
    for (int i = 0; i < QM_DRAFT_CLASSES; i++)
        right[i] = chance(c, own, i);
}

/* ---- how much to draft ---- */

/* How often drafts of these classes were right, as often as each came; what is assumed at first counts little. */
static double mean_chance(const struct qm_draft_control *c, const struct qm_draft_record *own, int first, int classes) {
    double right = 0, all = 0;
    for (int i = first; i < first + classes; i++) {
        double seen = own->all[i] + fmax(c->record.all[i] - OWN_WEIGHT, 1) / OWN_WEIGHT;
        right += seen * chance(c, own, i);
        all += seen;
    }
    return right / all;
}

bool qm_draft_afford(struct qm_draft_control *c, int n, const struct qm_draft_record *own,
                     const struct qm_draft_price *price, struct qm_draft_limit *limit) {
    int most = limit->most;
    double seconds = price->seconds, gain = 0; /* a token */
    double credit = c->credit - c->planned;
    limit->computed = 0;
    if (n < 1 || n >= QM_DRAFT_ROWS || !fresh(c, n))
        return false;
    double without = qm_draft_seconds(c, n), p = mean_chance(c, own, QM_DRAFT_LOOKUP_CLASSES, QM_DRAFT_MODEL_CLASSES);
    double tokens = 0, so_far = 1, best = 0;
    int rows = QM_DRAFT_ROWS - n < most ? QM_DRAFT_ROWS - n : most;
    for (int k = 1; k <= rows; k++) {
        double more = k * seconds + most_seconds(c, n, n + k) - without;
        so_far *= p;
        tokens += so_far;
        double worth = tokens * without / n - k * seconds - (least_seconds(c, n + k) - without);
        if (more > credit)
            break;
        if (worth > best * margin) {
            best = worth;
            gain = worth / (1 + tokens);
            limit->computed = k;
        }
    }
    /* beyond this the next token's chance is not worth its time */
    limit->least = seconds * n / (without * p);
    if (price->behind && gain * (double)(price->left < ANSWER ? price->left : ANSWER) <= price->catch_up)
        limit->computed = 0;
    bool probes = !limit->computed && c->steps % PROBE == 0 &&
                  price->catch_up + seconds < credit - (1 - probe_credit) * most_credit * without;
    limit->computed = probes ? 1 : limit->computed;
    c->planned += limit->computed * seconds + (probes ? price->catch_up : 0);
    return probes;
}

/* ---- whether to look for any ---- */

bool qm_draft_looks(const struct qm_draft_control *c, int n) {
    if (n < 1 || n >= QM_DRAFT_ROWS)
        return false;
    double without = qm_draft_seconds(c, n), took = c->looking * n, always = looking_share * without;
    return took <= always || took < c->gained * without || took * LOOKS < c->credit;
}

void qm_draft_looked(struct qm_draft_control *c, int n, double seconds) {
    if (n < 1 || !(seconds >= 0))
        return;
    double took = seconds / n, off = took - c->looking;
    if (c->looked >= FEW)
        c->looking += shape_weight * (off < c->looking ? off : c->looking);
    else if (!c->looked || took < c->looking)
        c->looking = took;
    c->looked++;
    c->planned = 0;
    c->looks = true;
}

/* ---- the choice ---- */

struct next {
    int offer;     /* whose next draft is the likeliest; -1: there is none */
    double chance; /* that it and those before it are right */
};

static struct next likeliest(const struct qm_draft_control *c, const struct qm_draft_offer *offers,
                             const double *so_far, int n) {
    struct next best = {-1, 0};
    for (int i = 0; i < n; i++) {
        const struct qm_draft_offer *o = &offers[i];
        if (o->chosen >= o->n)
            continue;
        double p = so_far[i] * chance(c, o->record, o->drafts[o->chosen].confidence);
        if (p > best.chance)
            best = (struct next){i, p};
    }
    return best;
}

void qm_draft_choose(struct qm_draft_control *c, struct qm_draft_offer *offers, int n, int most) {
    double so_far[QM_DRAFT_ROWS];
    for (int i = 0; i < n; i++)
        offers[i].chosen = 0;
    if (n < 1 || n >= QM_DRAFT_ROWS || !fresh(c, n))
        return;
    double without = qm_draft_seconds(c, n), best = margin * n / without, tokens = n;
    int order[QM_DRAFT_ROWS], taken = 0, kept = 0;
    for (int i = 0; i < n; i++)
        so_far[i] = 1;
    most = most < QM_DRAFT_ROWS - n ? most : QM_DRAFT_ROWS - n;
    for (int m = 1; m <= most; m++) {
        struct next next = likeliest(c, offers, so_far, n);
        double seconds = least_seconds(c, n + m);
        if (next.offer < 0 || most_seconds(c, n, n + m) - without > c->credit)
            break;
        so_far[next.offer] = next.chance;
        offers[next.offer].chosen++;
        order[taken++] = next.offer;
        tokens += next.chance;
        if (tokens / seconds > best) {
            best = tokens / seconds;
            kept = taken;
        }
    }
    while (taken > kept)
        offers[order[--taken]].chosen--;
}

void qm_draft_took(struct qm_draft_control *c, int n, int drafts, int right, double seconds, double drafting) {
    if (n < 1 || n + drafts > QM_DRAFT_ROWS || !(seconds > 0))
        return;
    double most = drafts && c->begun ? most_seconds(c, n, n + drafts) : seconds;
    c->steps++;
    measure(c, n + drafts, seconds);
    double without = qm_draft_seconds(c, n), took = qm_draft_seconds(c, n + drafts);
    took = c->cost[n + drafts].times < FEW ? (seconds < most ? seconds : most)
                                           : took * (1 + within(seconds / took - 1, most_off));
    if (!c->begun) {
        c->begun = true;
        c->credit = first_credit * without;
    }
    double worth = without * (n + right) / n; /* what these tokens take without drafts */
    c->credit += growth * worth;
    double gain = drafts ? worth - took : 0;
    c->credit += gain - drafting;
    if (c->looks) {
        c->credit -= c->looking * n;
        c->gained += gained_weight * (gain / without - c->gained);
        c->looks = false;
    } else {
        c->looking *= fade_all; /* so that it is tried again, whatever it took once */
    }
    double limit = most_credit * without;
    c->credit = c->credit > limit ? limit : c->credit < -limit ? -limit : c->credit;
}
