/* What is compared, and measuring it: the same prompts under each configuration, in alternating rounds, by the
 * engine's clock. Below cmd_compare.c, beside compare.h, which is what comes out. */
#ifndef QM_APP_COMPARE_RUN_H
#define QM_APP_COMPARE_RUN_H

#include <signal.h>

#include "app/compare/compare.h"
#include "app/meter.h"
#include "app/open_model.h"
#include "app/plan/plan.h"
#include "app/progress.h"
#include "engine/engine.h"
#include "session/sampler.h"
#include "text/tokenizer/tokenizer.h"

enum qm_compare_kind {
    QM_COMPARE_CPU,
    QM_COMPARE_DRAFTS,  /* the CPU with drafts by lookup, in this round's prompts and answers */
    QM_COMPARE_QUIET,   /* decodes with the fewest threads that keep a share of the speed */
    QM_COMPARE_AUTO,    /* the planner's placement on the devices of --device */
    QM_COMPARE_GPU,     /* a card of this machine */
    QM_COMPARE_EMULATED /* the planner's placement on a device of its own */
};

struct qm_compare_spec {
    char name[128];
    enum qm_compare_kind kind;
    double share;                   /* of QUIET */
    struct qm_machine_model *speed; /* the machine with this configuration's devices; owned */
    struct qm_plan_ask ask;         /* points to speed */
    struct qm_plan_answer plan;     /* where it fits */
};

struct qm_compare_task {
    const struct qm_model *model;
    const char *model_name;
    struct qm_ids prompt[QM_COMPARE_PROMPTS];
    int prompts;
    int64_t generate, chunk, context; /* context: of the longest prompt and its answer */
    int rounds, threads, kv_type;
    enum qm_isa isa;
    struct qm_numa numa;
    struct qm_sampling sampling;
    struct qm_machine_model speed; /* of this machine, with --device's devices */
    uint64_t ram;                  /* to plan with; 0: what the machine described has */
    struct qm_compare_spec spec[QM_COMPARE_CONFIGS];
    int specs;
    struct qm_progress *progress;
    struct qm_meter *meter;
    const volatile sig_atomic_t *stop;
};
void qm_compare_task_free(struct qm_compare_task *t);

/* "cpu,quiet:95,auto,gpu,emulated:90GiB,bandwidth=1792,pcie=55,emulated:auto": what has "=" goes on with the device
 * before it. QM_USAGE. */
int qm_compare_specs_parse(const char *text, struct qm_compare_task *t, struct qm_error *err);

/* Plans each configuration and fills what is predicted; what can't be run here gets its reason. */
int qm_compare_plan(struct qm_compare_task *t, struct qm_compare_report *r, struct qm_error *err);
/* The prediction of one configuration anew, with so many threads decoding, at the depths that were measured. */
void qm_compare_predict(const struct qm_compare_task *t, int config, int decode_threads, struct qm_compare_config *c);
/* Seconds and joules of a job, by the model of time alone. */
void qm_compare_predict_scenario(const struct qm_compare_task *t, int config, int decode_threads,
                                 const struct qm_scenario *job, struct qm_scenario_time *out);

/* What the model of time knows of a configuration that is planned (its plan has a model). Points into *t. */
struct qm_time_setup qm_compare_setup(const struct qm_compare_task *t, int config);

/* Runs every configuration that can be run. Where *task->stop ends it, report->rounds are those that were complete; in
 * the first one QM_INTERRUPTED. */
int qm_compare_run(struct qm_compare_task *t, struct qm_compare_report *r, struct qm_error *err);

/* A batch file to predict for. */
struct qm_compare_job_of {
    const char *file;
    int64_t sequences;         /* at once */
    const char *model_name;    /* as the rows' requests are read with; NULL: the demonstration model */
    const char *chat_template; /* a file in place of the model's own; NULL */
};
/* --job: what the rows of a batch file would take under each configuration: the model's prediction, corrected by what
 * was measured beside its prediction here. */
int qm_compare_job_rows(const struct qm_compare_job_of *of, const struct qm_app_model *m,
                        const struct qm_compare_task *t, struct qm_compare_report *r, struct qm_error *err);

#endif
