/* What is said on standard error besides errors: notes, and how far a long step has come. On a terminal that is
 * one live line, no wider than the terminal; elsewhere a plain line every ten seconds and at the end of a step
 * that took long enough to be worth a line. With --quiet-output nothing. */
#ifndef QM_APP_PROGRESS_H
#define QM_APP_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "app/options.h"
#include "base/clock.h"

enum qm_unit { QM_UNIT_BYTES, QM_UNIT_TOKENS, QM_UNIT_STEPS };

struct qm_progress {
    bool quiet, live;
    bool line_open;         /* the live line shows something */
    char what[64];          /* the step, "" between steps */
    double started, spoken; /* seconds, monotonic */
};

void qm_progress_init(struct qm_progress *p, const struct qm_args *args);
/* Step `what` has come from 0 to done of total. A new name begins a new step. */
void qm_progress_update(struct qm_progress *p, const char *what, uint64_t done, uint64_t total, enum qm_unit unit);
/* Ends the step; the live line is wiped. */
void qm_progress_end(struct qm_progress *p);
/* A line of its own. */
void qm_note(struct qm_progress *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "1.5 GB" and the like, in decimal units. */
const char *qm_bytes_text(double bytes, char *out, int size);

#endif
