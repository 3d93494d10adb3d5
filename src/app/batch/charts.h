/* The pictures of a job's report: tokens/s over the clock, and a bar for each row. From the journal's numbers to
 * shapes; report/plot.h draws them. */
#ifndef QM_APP_BATCH_CHARTS_H
#define QM_APP_BATCH_CHARTS_H

#include "batch/journal.h"
#include "report/page.h"

/* Adds the pictures, or nothing where no work is known. A bar of a row that failed links to "#row-N". */
void qm_batch_charts(struct qm_journal *j, struct qm_page *page);

#endif
