/* Drafts: from the options to a speculation for whoever generates, and what came of it for people
 * and as JSON. */
#ifndef QM_APP_DRAFTS_H
#define QM_APP_DRAFTS_H

#include <jansson.h>
#include <stdint.h>

#include "app/open_model.h"
#include "app/progress.h"
#include "session/draft/lookup.h"
#include "session/draft/model.h"
#include "session/draft/pair.h"
#include "session/draft/speculation.h"

/* Zero-initialise, then qm_drafts_close. */
struct qm_drafts {
    struct qm_lookup *lookup;
    struct qm_app_model small; /* the draft model; zero where there is none */
    struct qm_draft_model *model;
    struct qm_draft_pair pair;
    struct qm_speculation *speculation; /* NULL: no drafts */
    struct qm_draft_memory memory;      /* what all this takes, for the target's engine to leave free */
};

struct qm_draft_options {
    bool off;
    const char *model; /* a draft model beside lookup, as named; NULL: none. Borrowed */
    int most;          /* tokens of one sequence a step */
};

/* Before weights are read: the draft model is there, and has the target's vocabulary. texts: of the context's length,
 * that lookup may come to have; 0: many. */
int qm_drafts_describe(const struct qm_draft_options *o, const struct qm_app_model *target, int64_t texts,
                       struct qm_progress *progress, struct qm_drafts *out, struct qm_error *err);
/* Then its weights, beside the target's engine, which has left room for *out's memory. */
int qm_drafts_open(const struct qm_draft_options *o, const struct qm_app_model *target, struct qm_progress *progress,
                   struct qm_drafts *out, struct qm_error *err);
/* Before the target's engine is closed. */
void qm_drafts_close(struct qm_drafts *d);

/* "drafts: 80 of 120 drafted tokens were right (67 %), which saved about 1.9 s"; "" where none were checked. */
void qm_drafts_text(const struct qm_drafts *d, char *out, size_t size);
/* The same as a note, and one if the draft model failed. */
void qm_drafts_report(const struct qm_drafts *d, struct qm_progress *progress);
/* {steps, drafted, accepted, saved_seconds}, or null where drafts are off. */
json_t *qm_drafts_json(const struct qm_drafts *d);

#endif
