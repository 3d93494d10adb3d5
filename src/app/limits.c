/* Limits around a measurement. */
#include "app/limits.h"

#include <stdlib.h>

#include "numa/machine.h"
#include "numa/memory.h"

struct qm_limits_probe {
    struct qm_team *team;
    const struct qm_kernels *kernels;
    struct qm_probe *probe;
};

size_t qm_limits_buffer(uint64_t caches, uint64_t available, int n, int times) {
    const uint64_t least = 16u << 20, usual = 32u << 20;
    uint64_t bytes = (uint64_t)times * (caches < usual ? usual : caches), most = available / 8 / (uint64_t)n;
    bytes = bytes > most ? most : bytes;
    return (size_t)(bytes < least ? least : bytes);
}

int qm_limits_open(struct qm_team *team, const struct qm_kernels *kernels, bool quick, struct qm_limits_probe **out,
                   struct qm_error *err) {
    struct qm_machine *machine = malloc(sizeof *machine);
    struct qm_limits_probe *p = calloc(1, sizeof *p);
    *out = NULL;
    qm_team_use(team, qm_team_threads(team));
    int rc = machine && p ? QM_OK : qm_fail_memory(err, sizeof *machine, "measuring limits");
    if (!rc && !(rc = qm_machine_describe(machine, err))) {
        *p = (struct qm_limits_probe){.team = team, .kernels = kernels};
        size_t bytes = qm_limits_buffer(qm_machine_cache_bytes(machine), machine->available, 1,
                                        quick ? QM_BUFFER_QUICK : QM_BUFFER_TIMES);
        rc = qm_probe_open(team, NULL, 1, bytes, &p->probe, err);
        qm_machine_free(machine);
    }
    free(machine);
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

double qm_limits_read(struct qm_limits_probe *p) {
    qm_team_use(p->team, qm_team_threads(p->team));
    return qm_probe_read(p->probe, p->kernels->read_lanes).best;
}

struct qm_limits qm_limits_measure(struct qm_limits_probe *p) {
    int threads = qm_team_threads(p->team);
    return (struct qm_limits){
        .read = qm_limits_read(p),
        .bf16 = qm_probe_flops(p->team, p->kernels->peak_bf16, threads).best,
        .f32 = qm_probe_flops(p->team, p->kernels->peak_f32, threads).best,
    };
}

struct qm_limits qm_limits_mean(const struct qm_limits *a, const struct qm_limits *b) {
    return (struct qm_limits){(a->read + b->read) / 2, (a->bf16 + b->bf16) / 2, (a->f32 + b->f32) / 2};
}
