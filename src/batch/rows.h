/* Where the rows of a job come from: a batch file, or every question about every document. */
#ifndef QM_BATCH_ROWS_H
#define QM_BATCH_ROWS_H

#include "batch/document.h"
#include "batch/input.h"
#include "batch/journal.h"
#include "batch/options.h"
#include "batch/source.h"

/* Rows of one kind or the other. Zero-initialise, then qm_batch_rows_close. */
struct qm_batch_rows {
    struct qm_batch_input *input;
    struct qm_batch_documents *documents;
    struct qm_batch_source source;
};
/* With documents, says what is none. QM_INPUT where the file's first line is no row. */
int qm_batch_rows_open(const struct qm_batch_options *o, const struct qm_batch_ui *ui, struct qm_batch_rows *out,
                       struct qm_error *err);
/* "12 documents, 3 questions: 36 rows"; exact false: "about"; left: they are what is left of them. Appends. */
int qm_batch_rows_text(const struct qm_batch_rows *r, double rows, bool exact, bool left, struct qm_buf *out,
                       struct qm_error *err);
void qm_batch_rows_close(struct qm_batch_rows *r);
/* Reads all of them: QM_INPUT unless each is the one that the journal has an answer of, and there are no others. */
int qm_batch_rows_compare(const struct qm_batch_rows *r, struct qm_journal *j, struct qm_error *err);

#endif
