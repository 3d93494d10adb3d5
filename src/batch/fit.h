/* How long a row of a job may be. What memory holds differs from night to night; which rows are too long, and where an
 * answer without a limit of its own is cut, must not. So the journal keeps the longest row that memory held when the
 * job began: longer ones are reported only where this machine could never hold them; others wait, and so does the job
 * where today's memory holds much less. */
#ifndef QM_BATCH_FIT_H
#define QM_BATCH_FIT_H

#include "batch/journal.h"
#include "batch/options.h"
#include "batch/ui.h"
#include "engine/engine.h"

struct qm_batch_fit {
    int64_t today;    /* tokens of one sequence, in today's memory; */
    int64_t longest;  /* that every run of this job has: an answer without a limit of its own is cut there; */
    int64_t possible; /* that this machine's memory holds when nothing else is in it, and the context: a longer prompt
                         is an error */
};

/* Bytes for keys and values: those given, or what every sequence could need, or what is free beside the weights and
 * drafts, less a reserve, where that is less. 0: what every sequence could need. */
int qm_batch_kv_memory(const struct qm_batch_options *o, const struct qm_model *m, const struct qm_draft_memory *drafts,
                       uint64_t *out, struct qm_error *err);
/* The type of keys and values. */
enum qm_dtype qm_batch_kv_type(const struct qm_batch_options *o, const struct qm_config *config);
/* With the next commit. QM_FIT where today's memory holds less than it did, naming what; a little less is no reason. */
int qm_batch_fit_settle(struct qm_journal *j, const struct qm_batch_options *o, const struct qm_batch_words *words,
                        const struct qm_engine *e, struct qm_batch_fit *out, struct qm_error *err);
/* The job has ended but for so many rows (the first of them: number) that have to wait: kept, QM_FIT. */
int qm_batch_fit_waiting(struct qm_journal *j, const struct qm_batch_options *o, const struct qm_batch_words *words,
                         const struct qm_engine *e, const struct qm_batch_fit *f, int64_t rows, int64_t number,
                         struct qm_error *err);

#endif
