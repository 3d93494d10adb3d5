/* The model of time for a job on the CPU of a machine as it is known, without measuring anything: by how its numbers
 * are marked, how far an estimate may be wrong. For whoever estimates a job (planner/estimate.h). */
#ifndef QM_PLANNER_JOB_MODEL_H
#define QM_PLANNER_JOB_MODEL_H

#include <stdbool.h>

#include "planner/estimate.h"

struct qm_job_model {
    struct qm_machine_model speed;
    struct qm_placement placement; /* everything on the CPU: devices are not looked at */
    struct qm_time_setup setup;    /* points to the two */
    bool measured;                 /* the machine's rates and the kernels' efficiency */
    double off;                    /* by how much it may be wrong, for qm_estimate_get */
    char basis[800];               /* "measured on this machine", or what is not, and what noise there was */
};

/* speed: copied. w: context, chunk, kv_type, threads (0: one a core). The model must outlive it. */
int qm_job_model_open(const struct qm_machine_model *speed, const struct qm_model *m, const struct qm_workload *w,
                      struct qm_job_model **out, struct qm_error *err);
void qm_job_model_close(struct qm_job_model *j);

#endif
