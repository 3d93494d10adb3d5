/* Limits around a measurement. */
#include "app/limits.h"

#include <stdlib.h>

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
    return (struct qm_limits){.most = {read.best, bf16.best, f32.best},
                              .usual = {read.median, bf16.median, f32.median}};
}

static void add(struct qm_rates *sum, const struct qm_rates *one, double share) {
    sum->read += one->read * share;
    sum->bf16 += one->bf16 * share;
    sum->f32 += one->f32 * share;
}

struct qm_limits qm_limits_mean(const struct qm_limits *list, int n) {
    struct qm_limits mean = {0};
    for (int i = 0; i < n; i++) {
        add(&mean.most, &list[i].most, 1.0 / n);
        add(&mean.usual, &list[i].usual, 1.0 / n);
    }
    return mean;
}
