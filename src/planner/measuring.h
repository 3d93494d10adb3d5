/* What measurements of a machine are given beside the machine: where to keep what they find, and whom to notify. */
#ifndef QM_PLANNER_MEASURING_H
#define QM_PLANNER_MEASURING_H

#include "base/error.h"
#include "base/progress.h"

/* A line for whoever waits, without its newline. */
typedef void qm_note_fn(void *arg, const char *line);

/* All of it may be NULL. Both functions are called on the calling thread, between measurements. A step begins with 0 of
 * total and ends with all of it done; one that was interrupted, by nonzero, ends there: QM_INTERRUPTED. */
struct qm_measuring {
    const char *cache; /* the folder where profiles and efficiencies are kept (base/cache.h); NULL: nothing is kept */
    qm_progress_fn *progress;
    qm_note_fn *note;
    void *arg; /* of both */
};

int qm_measuring_progress(const struct qm_measuring *with, const char *what, int done, int total, struct qm_error *err);
void qm_measuring_note(const struct qm_measuring *with, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
