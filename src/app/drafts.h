/* Drafts: from the options to a speculation for whoever generates, and what came of it for people
 * and as JSON. */
#ifndef QM_APP_DRAFTS_H
#define QM_APP_DRAFTS_H

#include <jansson.h>
#include <stdint.h>

#include "app/progress.h"
#include "session/draft/lookup.h"
#include "session/draft/speculation.h"

/* Zero-initialise, then qm_drafts_close. */
struct qm_drafts {
    struct qm_lookup *lookup;
    struct qm_speculation *speculation; /* NULL: no drafts */
};

struct qm_draft_options {
    bool off;
    int most; /* tokens of one sequence a step */
};

/* tokens: that texts may come to have, as far as is known; 0: many. */
int qm_drafts_open(const struct qm_draft_options *o, int64_t tokens, struct qm_drafts *out, struct qm_error *err);
void qm_drafts_close(struct qm_drafts *d);

/* "drafts: 80 of 120 drafted tokens were right (67 %), which saved about 1.9 s"; "" where none were checked. */
void qm_drafts_text(const struct qm_drafts *d, char *out, size_t size);
/* The same as a note. */
void qm_drafts_report(const struct qm_drafts *d, struct qm_progress *progress);
/* {steps, drafted, accepted, saved_seconds}, or null where drafts are off. */
json_t *qm_drafts_json(const struct qm_drafts *d);

#endif
