/* What a request is expected to take, for the estimate of a job: its prompt, how much of it was computed for a prompt
 * before it, and its answer. Shared by --check and compare --job. */
#ifndef QM_BATCH_EXPECT_H
#define QM_BATCH_EXPECT_H

#include "planner/estimate.h"
#include "session/scheduler.h"

/* Tokens of an answer that may be as long as it likes; and least and most of a range for one. An answer with a
 * max_tokens is expected to be that long, and may end after an eighth, unless nothing ends it. */
enum { QM_EXPECT_OPEN = 512, QM_EXPECT_OPEN_LEAST = 64, QM_EXPECT_OPEN_MAX = 2048, QM_EXPECT_RECENT = 32 };

struct qm_batch_expect {
    struct qm_ids recent[QM_EXPECT_RECENT]; /* prompts, with which the next are compared */
    int64_t n;                              /* requests so far */
    int64_t prompt, shared, answer, open;   /* sums of tokens; answers without a limit */
};

/* context: of a sequence. *row may be given to qm_estimate_add. */
int qm_batch_expect(struct qm_batch_expect *x, const struct qm_request *r, int64_t context, struct qm_estimate_row *row,
                    struct qm_error *err);
void qm_batch_expect_free(struct qm_batch_expect *x);

#endif
