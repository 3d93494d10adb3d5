/* A job's state, shared by job.c and settle.c. */
#ifndef QM_BATCH_JOB_PRIVATE_H
#define QM_BATCH_JOB_PRIVATE_H

#include "batch/crash.h"
#include "batch/fit.h"
#include "batch/forecast.h"
#include "batch/job.h"
#include "batch/output.h"
#include "batch/rows.h"
#include "batch/store.h"
#include "batch/work.h"
#include "model/weights_known.h"

struct qm_batch_job {
    const struct qm_batch_options *options;
    const struct qm_batch_ui *ui;
    struct qm_batch_model model;
    struct qm_batch_rows rows;
    struct qm_batch_paths paths;
    int lock;
    struct qm_journal *journal;
    bool created, log, touched; /* it is new; it had a log; the input may be another than when the job ran last */
    int64_t complete;
    struct qm_files_known weights_known;
    char weights[QM_HASH_TEXT]; /* the hash of their files */
    struct qm_buf plan;         /* the placement it began with, where that splits sums */
    char job[QM_HASH_TEXT];
    int64_t begun;            /* seconds since 1970, of the first run; */
    struct qm_buf began_with; /* its version */
    struct qm_buf model_name; /* as the first run was given it: lines must not depend on where another stands */
    int64_t context;
    struct qm_batch_fit fit;
    struct qm_batch_prediction predicted; /* of this run */
    struct qm_batch_flight flight;
    struct qm_batch_store store;
    struct qm_engine *engine; /* borrowed from the caller */
    struct qm_scheduler *scheduler;
    struct qm_batch_output *output;
    struct qm_batch_work *work;
};

/* --- settle.c: whose job it is, and as what it goes on --- */

/* What is there is opened as this job's, or refused; nothing of it is changed before that is known. */
int qm_batch_settle_files(struct qm_batch_job *j, struct qm_error *err);
/* Compares what the job is with what it began as, or keeps it as that. */
int qm_batch_settle_identity(struct qm_batch_job *j, struct qm_error *err);
/* The same for the engine, loaded; *f: its fingerprint. plan: as in qm_batch_job_run. */
int qm_batch_settle_engine(struct qm_batch_job *j, const char *plan, struct qm_fingerprint *f, struct qm_error *err);
/* Refused unless every row of the input as it is now is the one that was answered. */
int qm_batch_settle_input(struct qm_batch_job *j, struct qm_error *err);

#endif
