/* The model of time for a job of this machine's, without measuring anything: the kept profile and shares of the
 * kernels, or what is assumed where there are none. For whoever estimates a job (planner/estimate.h): batch --check
 * before it, its panel, --status and report of what is left. */
#ifndef QM_APP_PLAN_JOB_MODEL_H
#define QM_APP_PLAN_JOB_MODEL_H

#include <stdbool.h>

#include "planner/estimate.h"

struct qm_job_model {
    struct qm_speed speed;
    struct qm_placement placement; /* everything on the CPU: devices are not looked at */
    struct qm_time_setup setup;    /* points to the two */
    bool measured;                 /* the machine's rates and the kernels' shares */
    double off;                    /* by how much it may be wrong, for qm_estimate_get */
    char basis[800];               /* "measured on this machine", or what is not, and what noise there was */
};

/* isa: of the kernels. w: context, chunk, kv_type, threads (0: one a core). The model must outlive it. The calling
 * thread must not belong to a team. */
int qm_job_model_open(enum qm_isa isa, const struct qm_model *m, const struct qm_workload *w, struct qm_job_model **out,
                      struct qm_error *err);
void qm_job_model_close(struct qm_job_model *j);

#endif
