/* A machine, as a setup of the model of time. */
#include "planner/job_model.h"

#include <stdio.h>
#include <stdlib.h>

/* Held against runs, predictions by measured rates are within a fifth; those by default ones give the magnitude. */
static const double MEASURED = 0.2, NOISY = 0.35, ASSUMED = 2;

int qm_job_model_open(const struct qm_machine_model *speed, const struct qm_model *model, const struct qm_workload *w,
                      struct qm_job_model **out, struct qm_error *err) {
    struct qm_job_model *j = calloc(1, sizeof *j);
    *out = NULL;
    if (!j)
        return qm_fail_memory(err, sizeof *j, "the estimate");
    const struct qm_machine_model *s = &j->speed;
    j->speed = *speed;
    int rc = qm_placement_open(model, 1, &j->placement, err);
    if (rc) {
        free(j);
        return rc;
    }
    bool limits = s->read_mark == QM_MARK_MEASURED, kernels = s->efficiency_mark == QM_MARK_MEASURED;
    j->measured = limits && kernels && !s->missing[0];
    j->off = !j->measured ? ASSUMED : s->noise[0] ? NOISY : MEASURED;
    snprintf(j->basis, sizeof j->basis, "%s%s%s",
             !limits        ? "default rates and efficiencies: quietmind plan measures this machine"
             : !j->measured ? "default efficiencies: quietmind plan measures them"
                            : "measured on this machine",
             s->noise[0] ? ", beside noise: " : "", s->noise);
    j->setup = (struct qm_time_setup){.model = model, .speed = &j->speed, .placement = &j->placement, .workload = *w};
    if (!w->threads)
        j->setup.workload.threads = j->speed.cores;
    *out = j;
    return QM_OK;
}

void qm_job_model_close(struct qm_job_model *j) {
    if (j)
        qm_placement_free(&j->placement);
    free(j);
}
