/* How long a job will still take, from what its own steps have cost so far and how long its answers have been so far.
 *
 * A step that generates costs so many seconds whatever it does, and each token, of a prompt or of an answer, so many
 * more: both follow from what the scheduler measures while the job runs, and what they were wrong by so far corrects
 * them. Answers that
 * are being generated are longer than those that have ended at their age, so the expected length is that of the
 * Kaplan-Meier estimate (Kaplan and Meier 1958, Nonparametric Estimation from Incomplete Observations), which takes
 * both into account; a mean of the answers that have ended would begin with the short ones.
 * Nothing here asks a clock. Not thread-safe. */
#ifndef QM_BATCH_LEFT_H
#define QM_BATCH_LEFT_H

#include <stdint.h>

#include "session/scheduler.h"

/* Lengths are counted exactly below 64, then in eighths of an octave; of at most so many answers at once it is known
 * how far each is. */
enum { QM_BATCH_LENGTHS = 256, QM_BATCH_RUNNING = 1024 };
struct qm_batch_left {
    int64_t ended[QM_BATCH_LENGTHS], running[QM_BATCH_LENGTHS];
    double survival[QM_BATCH_LENGTHS]; /* the share of answers that are longer than what the bucket holds */
    int last;                          /* the bucket of the longest that was seen */
    double tail;                       /* tokens beyond it, expected */
    struct qm_batch_answer {
        int64_t tokens, most; /* generated; allowed, negative: no limit */
        double more;          /* expected */
    } answer[QM_BATCH_RUNNING];
    int n;
};

/* An answer that has ended, as long as it may be or not. */
void qm_batch_left_ended(struct qm_batch_left *l, int64_t tokens);
/* The answers that are being generated now: begin, each of them, then fit. */
void qm_batch_left_begin(struct qm_batch_left *l);
void qm_batch_left_running(struct qm_batch_left *l, int64_t tokens, int64_t most);
void qm_batch_left_fit(struct qm_batch_left *l);
/* Tokens that an answer of so many is expected to get still; 0 of an answer that is not begun. At least one where it
 * may have one. */
double qm_batch_left_more(const struct qm_batch_left *l, int64_t tokens, int64_t most);

struct qm_batch_ahead {
    double prompts; /* tokens to compute */
    double answers; /* not begun, nor among those that are being generated */
    int64_t most;   /* tokens that these may have; negative: no limit */
    double wide;    /* sequences at once */
};
/* Seconds; negative where nothing can be said yet. */
double qm_batch_left_seconds(const struct qm_batch_left *l, const struct qm_scheduler_stats *s,
                             const struct qm_batch_ahead *a);

#endif
