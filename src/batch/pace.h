/* What the journal says of a job's pace, in memory: tokens over time, and how much of a time was work. For the report.
 * Not thread-safe. */
#ifndef QM_BATCH_PACE_H
#define QM_BATCH_PACE_H

#include "batch/journal.h"

/* Points of which no field is below that of the point before. */
struct qm_batch_pace {
    struct qm_journal_pace *point;
    int64_t n, cap;
};
/* Into *out, which is to be freed whatever the result is. */
int qm_batch_pace_load(struct qm_journal *j, struct qm_batch_pace *out, struct qm_error *err);
void qm_batch_pace_free(struct qm_batch_pace *p);
/* The seconds of work that had passed at a time (seconds since 1970); 0 where there are no points. */
double qm_batch_pace_worked(const struct qm_batch_pace *p, double time);

enum { QM_BATCH_SLOWEST = 5 };
struct qm_batch_slow {
    int64_t number, prompt, generated;
    double seconds;
    char custom_id[64]; /* cut */
};
/* The rows that took longest, pauses left out, longest first; *n at most QM_BATCH_SLOWEST. */
int qm_batch_slowest(struct qm_journal *j, struct qm_batch_slow out[QM_BATCH_SLOWEST], int *n, struct qm_error *err);

#endif
