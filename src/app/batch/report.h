/* What a finished batch job was: totals, failures by reason, tokens/s, joules, the slowest rows; as text on standard
 * error, and as one self-contained HTML page with throughput over time and a lane a sequence. Everything comes from the
 * journal, so that it covers all runs of the job. */
#ifndef QM_APP_BATCH_REPORT_H
#define QM_APP_BATCH_REPORT_H

#include "batch/journal.h"
#include "app/progress.h"

int qm_batch_report(struct qm_journal *j, const char *output, struct qm_progress *progress, struct qm_error *err);
/* Written by rename. */
int qm_batch_report_html(struct qm_journal *j, const char *output, const char *path, struct qm_error *err);

enum { QM_BATCH_SLOWEST = 5 };
struct qm_batch_slow {
    int64_t number, prompt, generated;
    double seconds;
    char custom_id[64]; /* cut */
};
/* The rows that took longest, pauses left out, longest first; *n at most QM_BATCH_SLOWEST. */
int qm_batch_slowest(struct qm_journal *j, struct qm_batch_slow out[QM_BATCH_SLOWEST], int *n, struct qm_error *err);

#endif
