/* A batch job from beginning to end: the input, the journal, the scheduler, the rows, the output. The caller opens the
 * model and its engine, and calls in this order, each once:
 *
 *     qm_batch_job_open       the rows: nothing of the model is needed to see that they are there
 *     qm_batch_job_prepare    the journal: whose job it is, what is finished, how long the rest may take
 *     qm_batch_job_wants      what the engine must be, for the caller to load it (not where the job is complete)
 *     qm_batch_job_run        the rows that are not finished
 *     qm_batch_job_finish     the output
 *
 * The first that fails, or stops, is the last but for qm_batch_job_close: the same calls by a later process go on with
 * what is left. What the options, the model and the ui point to must outlive the job. Not thread-safe; while rows are
 * at work, signals that end a program are caught (batch/crash.h), so one job of a process runs at a time. */
#ifndef QM_BATCH_JOB_H
#define QM_BATCH_JOB_H

#include <signal.h>

#include "batch/journal.h"
#include "batch/options.h"
#include "batch/ui.h"
#include "engine/engine.h"
#include "planner/time.h"
#include "session/generation_config.h"
#include "text/tokenizer/tokenizer.h"

struct qm_batch_job;
struct qm_speculation;
struct qm_chat;

/* The caller's, opened: no weights are needed. */
struct qm_batch_model {
    const char *dir; /* of its files */
    const struct qm_model *model;
    const struct qm_tokenizer *tokenizer;
    const struct qm_chat *chat;                  /* NULL where none can be read, */
    const struct qm_error *chat_error;           /* and then why */
    const struct qm_generation_config *defaults; /* the publisher's */
    const struct qm_machine_model *machine;      /* by which the time is predicted */
    struct qm_draft_memory drafts;               /* taken beside */
};

int qm_batch_job_open(const struct qm_batch_options *o, const struct qm_batch_ui *ui, struct qm_batch_job **out,
                      struct qm_error *err);
/* *complete: it was so before; only what is missing of its output is written, by qm_batch_job_finish. QM_INPUT where
 * what is there is not of this job. */
int qm_batch_job_prepare(struct qm_batch_job *j, const struct qm_batch_model *m, bool *complete, struct qm_error *err);

/* What the engine must be, as it was when the job began. */
struct qm_batch_engine {
    int64_t context;    /* where none is given; 0: the engine's own choice */
    uint64_t kv_memory; /* bytes; 0: the same */
    const char *plan;   /* the placement it must have, borrowed from the job; NULL: any */
};
int qm_batch_job_wants(struct qm_batch_job *j, struct qm_batch_engine *out, struct qm_error *err);
/* For qm_app_load_engine and the like, job being the qm_batch_job: whether such an engine would compute what the job
 * began with. Before weights are read. */
int qm_batch_job_check(void *job, const struct qm_engine_options *o, struct qm_error *err);

/* engine: loaded, with no sequences. speculation: drafts, which change no result; NULL: none; it must outlive the job.
 * plan: its placement as text, kept where the job's bits depend on it; NULL: none.
 * machine: what computes, for the report. interrupt: not 0 ends the run. QM_OK: every row is finished. QM_STOPPED: by
 * the options' time; QM_INTERRUPTED. */
int qm_batch_job_run(struct qm_batch_job *j, struct qm_engine *engine, struct qm_speculation *speculation,
                     const char *plan, const char *machine, const volatile sig_atomic_t *interrupt,
                     struct qm_error *err);
/* The output appears. *t: what the job has come to. */
int qm_batch_job_finish(struct qm_batch_job *j, struct qm_journal_totals *t, struct qm_error *err);
/* Borrowed from qm_batch_job_prepare on. */
struct qm_journal *qm_batch_job_journal(const struct qm_batch_job *j);
/* Before the engine is closed. */
void qm_batch_job_close(struct qm_batch_job *j);

#endif
