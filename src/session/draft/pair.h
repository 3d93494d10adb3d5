/* Two drafters as one: what the first is sure enough of, else what the second says; else what the first has. The first
 * takes no time (lookup), the second may compute (a model). */
#ifndef QM_SESSION_DRAFT_PAIR_H
#define QM_SESSION_DRAFT_PAIR_H

#include "session/draft/draft.h"

struct qm_draft_pair {
    struct qm_drafter first, second; /* borrowed */
};

/* What it is as a drafter; the pair is borrowed. */
struct qm_drafter qm_draft_pair_drafter(struct qm_draft_pair *p);

#endif
