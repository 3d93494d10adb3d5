/* What is said on standard error besides errors: notes, and how far a long step has come. On a terminal that is one
 * live line, no wider than the terminal, from the first moment on; elsewhere a plain line after a second, one every
 * ten seconds, and one at the end of a step that took long enough to be worth it. A thread of its own goes on saying it
 * each second while the step itself has nothing new to tell. With --silent nothing.
 *
 *     prompt: 512 of 8192 tokens (6 %), 123.4 tokens/s, 1 min 2 s left
 *
 * The rate is what was done since the step began by the time since then, and what is left follows from it. */
#ifndef QM_APP_PROGRESS_H
#define QM_APP_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

enum qm_progress_unit { QM_PROGRESS_BYTES, QM_PROGRESS_TOKENS, QM_PROGRESS_STEPS };

struct qm_progress_ticker;

struct qm_progress {
    bool quiet, live;
    struct qm_progress_ticker *ticker; /* of the step that is open, NULL between steps */
};

/* silent: nothing is said. */
void qm_progress_init(struct qm_progress *p, bool silent);
/* Step `what` has come from 0 to done of total (0: not known). A new name begins a new step: call it before the first
 * part is done, with what is done already, so that the rate is the true one. One thread at a time. */
void qm_progress_update(struct qm_progress *p, const char *what, uint64_t done, uint64_t total,
                        enum qm_progress_unit unit);
/* Ends the step; the live line is wiped. Every step that was begun must be ended. */
void qm_progress_end(struct qm_progress *p);
/* A line of its own. */
void qm_note(struct qm_progress *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* How far a step is, `seconds` after it began with `from` done. */
struct qm_progress_state {
    const char *what;
    uint64_t from, done, total;
    enum qm_progress_unit unit;
    double seconds;
};
/* The line in at most `width` columns: where it is too long, the rate is left out, then what is left. */
const char *qm_progress_text(const struct qm_progress_state *s, int width, char *out, int size);

/* Whether a file descriptor is a terminal that knows escape sequences: not TERM=dumb. */
bool qm_terminal_escapes(int fd);
/* Columns of the terminal behind a file descriptor; 80 where it does not say, or is none. */
int qm_terminal_columns(int fd);

#endif
