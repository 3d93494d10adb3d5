/* What a batch job tells people (batch/ui.h) on the terminal: notes and steps as all commands write them, and how the
 * job stands: a panel that is kept up to date, or, where standard error is no terminal, a line a minute. In the words
 * of this program's options. */
#ifndef QM_APP_BATCH_TERMINAL_H
#define QM_APP_BATCH_TERMINAL_H

#include "app/progress.h"
#include "batch/ui.h"

struct qm_batch_terminal {
    struct qm_progress *progress;
    double spoken; /* when the facts were shown last, seconds, monotonic */
    int lines;     /* of the panel that stands on the terminal */
};
/* terminal must live as long as the result is used. */
struct qm_batch_ui qm_batch_terminal_ui(struct qm_batch_terminal *terminal);
/* From now on as if facts had just been shown: the first come later. */
void qm_batch_terminal_begin(struct qm_batch_terminal *t);
/* Wipes the panel. */
void qm_batch_terminal_clear(struct qm_batch_terminal *t);

#endif
