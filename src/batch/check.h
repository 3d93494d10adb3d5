/* Looking at every row of a job as far as the scheduler's door, and what the job will take: the model's weights are not
 * read. Lengths are counted, shared prefixes are found by comparing each prompt with the last ones before it, and
 * time is the planner's estimate of these rows (planner/estimate.h). Not thread-safe. */
#ifndef QM_BATCH_CHECK_H
#define QM_BATCH_CHECK_H

#include "batch/forecast.h"
#include "batch/job.h"
#include "batch/rows.h"

/* A row that can't be answered: "row 3", its custom_id (NULL: it has none) and why. */
typedef int qm_batch_bad_row_fn(void *arg, const char *title, const char *custom_id, const char *why,
                                struct qm_error *err);

/* Zero-initialise, then qm_batch_checked_free. Tokens. */
struct qm_batch_checked {
    int64_t rows, bad;
    int64_t longest, longest_row, longest_all; /* prompt, and whose; prompt and answer */
    int64_t prompt, shared, answer, open;      /* as in struct qm_batch_expect */
    struct qm_journal *seen;                   /* for qm_journal_reasons: why rows are bad */
    struct qm_batch_prediction prediction;
};
/* rows: open, at the beginning; at their end afterwards. bad: the first ten are reported. */
int qm_batch_check(const struct qm_batch_options *o, const struct qm_batch_ui *ui, struct qm_batch_rows *rows,
                   const struct qm_batch_model *m, qm_batch_bad_row_fn *bad, void *arg, struct qm_batch_checked *out,
                   struct qm_error *err);
void qm_batch_checked_free(struct qm_batch_checked *c);

#endif
