/* What `quietmind batch` does by its options: a job, or a look at its rows. */
#ifndef QM_APP_BATCH_COMMANDS_H
#define QM_APP_BATCH_COMMANDS_H

#include "app/batch/options.h"
#include "app/batch/terminal.h"
#include "app/drafts.h"
#include "app/open_model.h"
#include "batch/job.h"
#include "planner/time.h"

/* The command's model and what drafts for it, without their weights. *machine: allocated. */
int qm_batch_open_model(const struct qm_batch_command *b, struct qm_progress *progress, struct qm_app_model *app,
                        struct qm_drafts *drafts, struct qm_machine_model **machine, struct qm_batch_model *out,
                        struct qm_error *err);

/* QM_OK, QM_DISAGREE where every row failed or, with --strict, some did, QM_STOPPED, QM_INTERRUPTED, or an error. */
int qm_batch_job_command(const struct qm_batch_command *b, struct qm_progress *progress, struct qm_error *err);
/* --check: validates every row and estimates, on standard output; --strict as above. */
int qm_batch_check_command(const struct qm_batch_command *b, struct qm_progress *progress, struct qm_error *err);

#endif
