/* Rows that end the program: which rows were at work when a signal that nothing can be done about (SIGSEGV, SIGBUS,
 * SIGFPE, SIGILL, SIGABRT) ended it is written into the job's lock, which such an end leaves behind, and read when the
 * job goes on. A kill -9 or the OOM killer leaves nothing: those say nothing about a row.
 *
 * A row that was at work at one such end runs alone from then on; one that was at two, the second time alone (or its
 * own reading or writing was what ended), is set aside as failed. */
#ifndef QM_BATCH_CRASH_H
#define QM_BATCH_CRASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "batch/journal.h"

enum { QM_BATCH_FLIGHT = 1024 };

/* Rows at work, by number, 0: free. More than these are not recorded. */
struct qm_batch_flight {
    volatile int64_t row[QM_BATCH_FLIGHT];
    volatile int64_t current; /* whose own text is being worked on: read, sampled, written; 0: none's */
};
void qm_batch_flight_add(struct qm_batch_flight *f, int64_t row);
void qm_batch_flight_remove(struct qm_batch_flight *f, int64_t row);

/* From now on such a signal writes what is in flight to fd, then ends the program as it would have. Both must live
 * until qm_batch_crash_end. Main thread; one at a time. */
void qm_batch_crash_watch(int fd, const struct qm_batch_flight *flight);
void qm_batch_crash_end(void);

/* What the last run has left in the lock, to be read before it is taken; nothing where it ended otherwise. */
struct qm_batch_crash {
    int signal; /* 0: none */
    int n;
    int64_t row[QM_BATCH_FLIGHT]; /* those that may be why */
};
void qm_batch_crash_read(const char *lock, struct qm_batch_crash *out);
/* Counts it for each of its rows, with the next commit. */
int qm_batch_crash_note(struct qm_journal *j, const struct qm_batch_crash *c, struct qm_error *err);
/* What the journal has of a row. */
enum qm_batch_suspicion { QM_ROW_TRUSTED, QM_ROW_ALONE, QM_ROW_SET_ASIDE };
int qm_batch_crash_of(struct qm_journal *j, int64_t row, enum qm_batch_suspicion *out, struct qm_error *err);

#endif
