/* The pictures of a job's report, as HTML and SVG that fill the width there is, from a phone's to a desk's: tokens/s
 * over the clock, and a bar for each row. Labels are text beside the picture, so that they keep their size. */
#ifndef QM_APP_BATCH_CHARTS_H
#define QM_APP_BATCH_CHARTS_H

#include "batch/journal.h"
#include "base/buf.h"

/* The rules of CSS that they need. */
extern const char qm_batch_charts_style[];

/* Appends the pictures, or nothing where no work is known. A bar of a row that failed links to "#row-N". */
int qm_batch_charts(struct qm_journal *j, struct qm_buf *out, struct qm_error *err);

#endif
