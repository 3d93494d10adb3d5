/* The kept profile as a machine to predict for, and the history's rows. */
#include "app/predictor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/cache.h"
#include "app/history.h"
#include "base/path.h"
#include "planner/calibration.h"
#include "planner/find.h"

struct qm_predictor {
    struct qm_machine_model speed;
    bool reported; /* that nothing can be kept */
};

struct qm_predictor *qm_predictor_open(enum qm_isa isa) {
    struct qm_machine *m = malloc(sizeof *m);
    struct qm_machine_profile *profile = malloc(sizeof *profile);
    struct qm_predictor *p = calloc(1, sizeof *p);
    bool found = false;
    if (m && profile && p && !qm_machine_describe(m, NULL)) {
        struct qm_calibration kept;
        struct qm_error why;
        char cache[4096], path[4200], noise[300];
        if (!qm_app_cache_directory(cache, sizeof cache, NULL) && qm_machine_kept(m, isa, cache, profile)) {
            qm_machine_speed(m, profile, &p->speed);
            found = qm_calibration_load(m->identity, isa, cache, &kept, path, &why);
            qm_calibration_efficiency(&kept, 0, &p->speed.efficiency, NULL);
            size_t n = strlen(p->speed.noise);
            if (qm_noise_text(&kept.noise, noise, sizeof noise))
                snprintf(p->speed.noise + n, sizeof p->speed.noise - n, "%skernels: %s", n ? "; " : "", noise);
        }
        qm_machine_free(m);
    }
    free(m);
    free(profile);
    if (found)
        return p;
    free(p);
    return NULL;
}

const char *qm_predictor_noise(const struct qm_predictor *p) {
    return p->speed.noise;
}

void qm_predictor_close(struct qm_predictor *p) {
    free(p);
}

double qm_predictor_tps(const struct qm_predictor *p, const struct qm_engine *e, const struct qm_scenario *job,
                        const struct qm_rates *around) {
    struct qm_machine_model *speed = malloc(sizeof *speed);
    struct qm_placement cpu;
    struct qm_scenario_time time = {0};
    struct qm_time_setup t = {.model = qm_engine_model(e),
                              .speed = speed,
                              .placement = &cpu,
                              .workload = {.context = qm_engine_context(e),
                                           .sequences = job->sequences,
                                           .chunk = qm_engine_chunk(e),
                                           .kv_type = qm_engine_kv_type(e),
                                           .threads = qm_engine_threads(e)}};
    if (job->prompt + job->generate < QM_PREDICTED_TOKENS || !speed || qm_placement_open(t.model, 1, &cpu, NULL)) {
        free(speed);
        return 0;
    }
    *speed = p->speed;
    /* rates are those of the threads that ran */
    speed->read *= around->read / qm_machine_model_read(&p->speed, t.workload.threads);
    speed->bf16 *= around->bf16 / qm_machine_model_flops(&p->speed, QM_BF16, t.workload.threads);
    speed->f32 *= around->f32 / qm_machine_model_flops(&p->speed, QM_F32, t.workload.threads);
    qm_time_scenario(&t, job, &time);
    qm_placement_free(&cpu);
    free(speed);
    return job->prompt ? time.prefill_tps : time.decode_tps;
}

bool qm_predictor_differs(const struct qm_predictor *p, const struct qm_engine *e, const struct qm_rates *around,
                          struct qm_rates *profile) {
    const double clearly = 1.25;
    int threads = qm_engine_threads(e);
    *profile = (struct qm_rates){qm_machine_model_read(&p->speed, threads),
                                 qm_machine_model_flops(&p->speed, QM_BF16, threads),
                                 qm_machine_model_flops(&p->speed, QM_F32, threads)};
    double read = around->read / profile->read, bf16 = around->bf16 / profile->bf16;
    return read > clearly || bf16 > clearly || read * clearly < 1 || bf16 * clearly < 1;
}

void qm_predictor_keep(struct qm_predictor *p, struct qm_progress *progress, const struct qm_engine *e,
                       const char *command, const char *model, const struct qm_scenario *job, double predicted,
                       double measured) {
    char path[4200];
    struct qm_error aside, err;
    struct qm_history_row row = {.sequences = job->sequences,
                                 .depth = job->depth,
                                 .tokens = job->prompt + job->generate,
                                 .threads = qm_engine_threads(e),
                                 .predicted = predicted,
                                 .measured = measured};
    snprintf(row.machine, sizeof row.machine, "%s", p->speed.name);
    snprintf(row.model, sizeof row.model, "%s", qm_path_last(model));
    snprintf(row.command, sizeof row.command, "%s", command);
    snprintf(row.what, sizeof row.what, "%s", job->prompt ? "prompt" : "writing");
    qm_history_path(path, sizeof path);
    if (!path[0] || !(predicted > 0) || !(measured > 0))
        return;
    int rc = qm_history_add(path, &row, &aside, &err);
    if (aside.code)
        qm_note(progress, "%s", aside.message);
    if (rc && !p->reported)
        qm_note(progress, "%s", err.message);
    p->reported = p->reported || rc;
}
