/* Limits around a measurement. */
#include "planner/limits.h"

#include <stdlib.h>

#include "base/stats.h"

struct qm_limits_probe {
    struct qm_team *team;
    const struct qm_kernels *kernels;
    struct qm_probe *probe;
};

int qm_limits_open(struct qm_team *team, const struct qm_kernels *kernels, struct qm_limits_probe **out,
                   struct qm_error *err) {
    struct qm_limits_probe *p = calloc(1, sizeof *p);
    *out = NULL;
    if (!p)
        return qm_fail_memory(err, sizeof *p, "measuring limits");
    qm_team_use(team, qm_team_threads(team));
    *p = (struct qm_limits_probe){.team = team, .kernels = kernels};
    int rc = qm_probe_open(team, NULL, 1, QM_LIMITS_BYTES, kernels->read_lanes, kernels->flush_lines, &p->probe, err);
    if (rc) {
        free(p);
        return rc;
    }
    *out = p;
    return QM_OK;
}

void qm_limits_close(struct qm_limits_probe *p) {
    if (!p)
        return;
    qm_probe_close(p->probe);
    free(p);
}

struct qm_limits qm_limits_measure(struct qm_limits_probe *p) {
    int threads = qm_team_threads(p->team);
    qm_team_use(p->team, threads);
    struct qm_probe_rate read = qm_probe_read(p->probe);
    struct qm_probe_rate bf16 = qm_probe_flops(p->team, p->kernels->peak_bf16, threads);
    struct qm_probe_rate f32 = qm_probe_flops(p->team, p->kernels->peak_f32, threads);
    return (struct qm_limits){.peak = {read.best, bf16.best, f32.best},
                              .median = {read.median, bf16.median, f32.median}};
}

struct qm_limits qm_limits_median(const struct qm_limits *list, int n) {
    double read[2][QM_LIMITS_LIST], bf16[2][QM_LIMITS_LIST], f32[2][QM_LIMITS_LIST];
    struct qm_rates out[2];
    n = n < QM_LIMITS_LIST ? n : QM_LIMITS_LIST;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < 2; k++) {
            const struct qm_rates *r = k ? &list[i].median : &list[i].peak;
            read[k][i] = r->read;
            bf16[k][i] = r->bf16;
            f32[k][i] = r->f32;
        }
    for (int k = 0; k < 2; k++)
        out[k] = (struct qm_rates){qm_figure_of(read[k], n).median, qm_figure_of(bf16[k], n).median,
                                   qm_figure_of(f32[k], n).median};
    return (struct qm_limits){.peak = out[0], .median = out[1]};
}
