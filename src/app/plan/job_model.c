/* What is kept of this machine, as a setup of the model of time. */
#include "app/plan/job_model.h"

#include <stdio.h>
#include <stdlib.h>

#include "app/machine/calibrate.h"
#include "app/machine/find.h"
#include "app/open_model.h"

/* Held against runs, predictions by measured rates are within a fifth; by default ones they can't be relied on. */
static const double MEASURED = 0.2, NOISY = 0.35, ASSUMED = 0.6;

static int look(const struct qm_args *args, struct qm_job_model *j, struct qm_machine *m,
                struct qm_machine_profile *profile, struct qm_error *err) {
    enum qm_isa isa;
    char noise[300] = "";
    int rc = qm_app_isa(args, &isa, err);
    rc = rc ? rc : qm_machine_describe(m, err);
    if (rc)
        return rc;
    bool limits = qm_machine_kept(m, isa, profile), kernels = false, noisy = false;
    if (limits)
        qm_machine_speed(m, profile, &j->speed);
    else
        qm_machine_assume(m, isa, &j->speed);
    if (limits)
        kernels = qm_calibration_kept(m->identity, isa, &j->speed.efficiency);
    if (limits)
        noisy = qm_machine_profile_noisy(profile, noise, sizeof noise);
    j->measured = limits && kernels;
    j->off = !j->measured ? ASSUMED : noisy ? NOISY : MEASURED;
    if (!limits)
        snprintf(j->basis, sizeof j->basis, "default rates and efficiencies: quietmind plan measures this machine");
    else
        snprintf(j->basis, sizeof j->basis, "%s%s%s",
                 kernels ? "measured on this machine" : "default efficiencies: quietmind plan measures them",
                 noisy ? ", beside noise: " : "", noise);
    qm_machine_free(m);
    return QM_OK;
}

int qm_job_model_open(const struct qm_args *args, const struct qm_model *model, const struct qm_workload *w,
                      struct qm_job_model **out, struct qm_error *err) {
    struct qm_job_model *j = calloc(1, sizeof *j);
    struct qm_machine *m = malloc(sizeof *m);
    struct qm_machine_profile *profile = malloc(sizeof *profile);
    *out = NULL;
    int rc = j && m && profile ? look(args, j, m, profile, err)
                               : qm_fail_memory(err, sizeof *j + sizeof *m + sizeof *profile, "the estimate");
    free(m);
    free(profile);
    rc = rc ? rc : qm_placement_open(model, 1, &j->placement, err);
    if (rc) {
        free(j);
        return rc;
    }
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
