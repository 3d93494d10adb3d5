/* A batch job from beginning to end: opens the input, the journal, the model and the scheduler, runs the rows, and
 * writes the output. Everything that needs no model is looked at before one is loaded. */
#ifndef QM_APP_BATCH_JOB_H
#define QM_APP_BATCH_JOB_H

#include "app/batch/document.h"
#include "batch/input.h"
#include "app/batch/settings.h"
#include "app/open_model.h"

/* Where the rows come from, of one kind or the other. Zero-initialise, then qm_batch_rows_close. */
struct qm_batch_rows {
    struct qm_batch_input *input;
    struct qm_batch_documents *documents;
    struct qm_batch_source source;
};
/* With documents, says what is none. */
int qm_batch_rows_open(const struct qm_args *args, const struct qm_batch_settings *s, struct qm_progress *progress,
                       struct qm_batch_rows *out, struct qm_error *err);
/* "12 documents, 3 questions: 36 rows"; exact false: "about"; left: they are what is left of them. Appends. */
int qm_batch_rows_text(const struct qm_batch_rows *r, double rows, bool exact, bool left, struct qm_buf *out,
                       struct qm_error *err);
void qm_batch_rows_close(struct qm_batch_rows *r);
/* Reads all of them: QM_INPUT unless each is the one that the journal has an answer of, and there are no others. */
int qm_batch_rows_compare(const struct qm_batch_rows *r, struct qm_journal *j, struct qm_error *err);

/* QM_OK, QM_DISAGREE where every row failed or, with --strict, some did, QM_STOPPED, QM_INTERRUPTED, or an error. */
int qm_batch_job(const struct qm_args *args, const struct qm_batch_settings *s, struct qm_progress *progress,
                 struct qm_error *err);
/* --check: validates every row and estimates, on standard output; --strict as above. */
int qm_batch_check(const struct qm_args *args, const struct qm_batch_settings *s, struct qm_progress *progress,
                   struct qm_error *err);

#endif
