/* What a finished batch job was: totals, failures by reason, tokens/s, joules, the slowest rows; as text on standard
 * error, and as one self-contained HTML page with throughput over time and a lane a sequence. Everything comes from the
 * journal, so that it covers all runs of the job. */
#ifndef QM_APP_BATCH_REPORT_H
#define QM_APP_BATCH_REPORT_H

#include "app/progress.h"
#include "batch/journal.h"

int qm_batch_report(struct qm_journal *j, const char *output, struct qm_progress *progress, struct qm_error *err);
/* Written by rename. */
int qm_batch_report_html(struct qm_journal *j, const char *output, const char *path, struct qm_error *err);

#endif
