/* How many drafted tokens a step checks: as many as make the most tokens a second, by what steps of so many rows cost
 * here and how often drafts of each confidence turn out right; none where none pay.
 *
 * Costs are learned from the steps themselves: seconds by rows, one shape that is scaled by what steps take now (depth,
 * clock, neighbours). Rows never tried are taken to cost little, so that they are tried once.
 *
 * The promise. A draft may be wrong for once, so each check is paid from a credit: what the step costs beyond one
 * without drafts is taken from it, and what accepted tokens would have cost is given to it. It begins with a few steps'
 * time, grows by one part in two hundred of the time that undrafted steps would take, and holds at most a few steps'
 * time, so a thousand tokens take at most 2 % longer than without drafts, whatever the text does, as long as the costs
 * are as measured. Looking for drafts takes time as well, a lookup for each sequence; where that shows beside a step,
 * and what is found does not repay it, drafts are looked for in one step of several. (A budget for exploring as in
 * conservative bandits, Wu et al. 2016; the choice of the length by expected tokens a second as in speculative
 * decoding, Leviathan et al. 2023.)
 *
 * Nothing here reads a clock or runs a thread. Not thread-safe. */
#ifndef QM_SESSION_DRAFT_CONTROL_H
#define QM_SESSION_DRAFT_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "session/draft/draft.h"

enum { QM_DRAFT_ROWS = 96 }; /* of a step that checks drafts, at most */

/* How often drafts were right, by confidence: counts that fade, so that what a text does now counts most. */
struct qm_draft_record {
    double right[QM_DRAFT_CLASSES], all[QM_DRAFT_CLASSES];
};

/* What is known of steps of so many rows. */
struct qm_draft_cost {
    double shape;  /* seconds at scale 1 */
    int64_t times; /* that it was measured */
    int64_t step;  /* when last */
};

struct qm_draft_control {
    struct qm_draft_record record;                /* of all sequences */
    struct qm_draft_cost cost[QM_DRAFT_ROWS + 1]; /* by rows */
    double scale, credit;
    double planned; /* seconds of drafting, in the step that is being composed */
    bool begun;
    int64_t steps;
    /* Looking for drafts: seconds a sequence, as measured so many times; what was gained where it was done, a mean that
     * fades, in steps without drafts. */
    double looking, gained;
    int64_t looked;
    bool looks; /* in the step that is reported next */
};

/* What a sequence offers for the step. */
struct qm_draft_offer {
    const struct qm_draft *drafts; /* [n] */
    int n;
    const struct qm_draft_record *record; /* the sequence's own */
    int chosen;                           /* qm_draft_choose: of the first n */
};

void qm_draft_control_init(struct qm_draft_control *c);
/* Whether drafts are looked for at all, for a step of one token of each of n sequences and nothing else. */
bool qm_draft_looks(const struct qm_draft_control *c, int n);
/* They were, which took that long beside what the drafter says it spent. Before qm_draft_took of that step. */
void qm_draft_looked(struct qm_draft_control *c, int n, double seconds);
/* For such a step: sets `chosen` of all n offers, whose sum is at most
 * `most`. */
void qm_draft_choose(struct qm_draft_control *c, struct qm_draft_offer *offers, int n, int most);
/* What drafting takes for one that takes time, and how many tokens may still be drafted for. */
struct qm_draft_price {
    double seconds;  /* a token */
    bool behind;     /* it has to compute much of the text first, which takes */
    double catch_up; /* so many seconds */
    int64_t left;    /* tokens */
};
/* For such a drafter, before such a step: how much one of the n sequences should draft, `computed` and `least` for at
 * most limit->most. 0 where it would not pay, and while it is behind, unless that is repaid by what is left. But one
 * token now and then, to notice when it would pay: then the result is true, and catching up counts as drafting. */
bool qm_draft_afford(struct qm_draft_control *c, int n, const struct qm_draft_record *own,
                     const struct qm_draft_price *price, struct qm_draft_limit *limit);
/* [QM_DRAFT_CLASSES] how often each class is right, of this sequence's and of all drafts. */
void qm_draft_chances(const struct qm_draft_control *c, const struct qm_draft_record *own, double *right);
/* Such a step of n sequences checked so many drafts, of which so many were right, in so many seconds, after so many
 * seconds of drafting. Every step of that kind is to be reported, also without drafts. */
void qm_draft_took(struct qm_draft_control *c, int n, int drafts, int right, double seconds, double drafting);
/* A draft of that confidence was followed by what it should say: whether it was checked by the model or only compared
 * with what was generated without it. */
void qm_draft_seen(struct qm_draft_control *c, struct qm_draft_record *record, int confidence, bool right);
/* The seconds that a step of so many rows is expected to take; 0: nothing is known. */
double qm_draft_seconds(const struct qm_draft_control *c, int rows);

#endif
