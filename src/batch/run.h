/* A batch job's main loop: feed, step, write, commit, save; and when to do so: the hours it may work, signals, the
 * battery. Whatever ends it, what is finished is committed and what is worth it is saved. */
#ifndef QM_BATCH_RUN_H
#define QM_BATCH_RUN_H

#include <signal.h>
#include <time.h>

#include "batch/checkpoint.h"
#include "batch/clock.h"
#include "batch/facts.h"
#include "batch/forecast.h"
#include "batch/hours.h"
#include "batch/journal.h"
#include "batch/ui.h"
#include "batch/work.h"
#include "numa/energy.h"

struct qm_batch_run {
    struct qm_batch_work *work;
    struct qm_scheduler *scheduler;
    struct qm_journal *journal;
    struct qm_batch_checkpoint *checkpoint;
    struct qm_batch_times times;
    const struct qm_batch_ui *ui;
    struct qm_energy *energy; /* NULL: not readable */
    const volatile sig_atomic_t *interrupt;
    const struct qm_batch_clock *clock;
    int64_t
        rows_known; /* how many rows there are, where the source knows or an earlier run has seen the end; else -1 */
    struct qm_batch_prediction predicted; /* of this run: what is left until something is measured */

    /* the loop's own */
    struct qm_journal_run totals, earlier; /* of this run; of those before it */
    double time;                           /* the base of the job's own */
    double began, paused, looked, committed, commit_cost, status_kept, pace_kept;
};

/* QM_OK: every row is finished and committed. QM_STOPPED: by --until. QM_INTERRUPTED: by a signal. */
int qm_batch_run(struct qm_batch_run *r, struct qm_error *err);
/* For qm_engine_on_fall_back, run being a qm_batch_run: reports it, and keeps it for the report. */
void qm_batch_run_device_failed(void *run, const char *what);

#endif
