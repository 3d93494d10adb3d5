/* What drafts make of decode (session/draft/speculation.h), predicted from the time of steps that check some. Pure
 * functions, above time.h. */
#ifndef QM_PLANNER_DRAFTED_H
#define QM_PLANNER_DRAFTED_H

#include "planner/time.h"

struct qm_drafted {
    int drafts;  /* of each sequence a step, that give the most tokens a second; 0: none pay */
    double tps;  /* of all sequences */
    double gain; /* tps over that without drafts */
    double pays; /* the acceptance from which on drafts win 2 %; above 1: never */
};

/* Decode of `sequences` sequences that hold `position` tokens each. acceptance: the chance, 0 to 1, that a draft is
 * right where those before it in the step were. At most `most` drafts. Drafting itself is taken to cost nothing. */
void qm_time_drafted(const struct qm_time_setup *t, int64_t sequences, int64_t position, double acceptance, int most,
                     struct qm_drafted *out);

#endif
