/* The order of the measurements, and which threads take part in each. */
#include "planner/measure.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "planner/limits.h"
#include "simd/kernels.h"

struct measuring {
    const struct qm_machine *machine;
    const struct qm_kernels *kernels;
    struct qm_team *team;
    struct qm_probe *probe;
    const struct qm_measuring *with;
    struct qm_machine_profile *out;
    struct qm_error *err;
    int done, steps, rc; /* rc: QM_INTERRUPTED once it is */
};

static void report_token(struct measuring *m) {
    if (!m->rc)
        m->rc = qm_measuring_progress(m->with, "measuring this machine", m->done, m->steps, m->err);
}

static void tick(struct measuring *m) {
    m->done++;
    report_token(m);
}

/* 1, 2, 3, 4, 6, 8, 12, 16, ... and all. */
static int choose_threads(int all, int out[QM_SCALING_POINTS]) {
    int n = 0;
    for (int t = 1; t < all && n < QM_SCALING_POINTS - 1; t = t < 2 ? t + 1 : t % 3 == 0 ? t / 3 * 4 : t / 2 * 3)
        out[n++] = t;
    out[n++] = all;
    return n;
}

static void measure_reads(struct measuring *m) {
    struct qm_machine_profile *p = m->out;
    int threads[QM_SCALING_POINTS];
    for (int node = 0; node < p->nodes && !m->rc; node++) {
        int all = qm_probe_threads(m->probe, node);
        p->scaling[node].n = choose_threads(all, threads);
        for (int i = 0; i < p->scaling[node].n && !m->rc; i++) {
            p->scaling[node].point[i].threads = threads[i];
            p->scaling[node].point[i].rate = qm_probe_read_node(m->probe, node, node, threads[i]).best;
            tick(m);
        }
        for (int memory = 0; memory < p->nodes && !m->rc; memory++) {
            p->between[node][memory] = memory == node ? p->scaling[node].point[p->scaling[node].n - 1].rate
                                                      : qm_probe_read_node(m->probe, node, memory, all).best;
            tick(m);
        }
    }
    if (m->rc)
        return;
    struct qm_probe_rate all = qm_probe_read(m->probe);
    p->read = all.best;
    p->median_read = all.median;
    tick(m);
}

static void measure_rest(struct measuring *m) {
    struct qm_machine_profile *p = m->out;
    int threads = qm_team_threads(m->team);
    p->bf16_core = qm_probe_flops(m->team, m->kernels->peak_bf16, 1).best;
    tick(m);
    struct qm_probe_rate all = qm_probe_flops(m->team, m->kernels->peak_bf16, threads);
    p->bf16 = all.best;
    p->median_bf16 = all.median;
    tick(m);
    p->f32_core = qm_probe_flops(m->team, m->kernels->peak_f32, 1).best;
    tick(m);
    all = qm_probe_flops(m->team, m->kernels->peak_f32, threads);
    p->f32 = all.best;
    p->median_f32 = all.median;
    tick(m);
    qm_probe_regions(m->team, &p->region_us, &p->barrier_us);
    tick(m);
}

static int measure_profile(struct measuring *m, struct qm_error *err) {
    const struct qm_topology *t = &m->machine->topology;
    struct qm_machine_profile *p = m->out;
    time_t now = time(NULL);
    struct tm utc;
    *p = (struct qm_machine_profile){.nodes = t->nodes};
    if (t->nodes > QM_MAX_NODES)
        return qm_fail(err, QM_FIT, "%d NUMA nodes: at most %d can be measured", t->nodes, QM_MAX_NODES);
    snprintf(p->identity, sizeof p->identity, "%s", m->machine->identity);
    snprintf(p->isa, sizeof p->isa, "%s", qm_isa_name(m->kernels->isa));
    strftime(p->measured, sizeof p->measured, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    int rc = qm_probe_open(m->team, t->core_node, t->nodes, QM_LIMITS_BYTES, m->kernels->read_lanes,
                           m->kernels->flush_lines, &m->probe, err);
    if (rc)
        return rc;
    int threads[QM_SCALING_POINTS];
    m->steps = 6 + t->nodes * t->nodes;
    for (int n = 0; n < t->nodes; n++)
        m->steps += choose_threads(qm_probe_threads(m->probe, n), threads);
    struct qm_noise_watch watch;
    qm_noise_begin(&watch);
    report_token(m);
    measure_reads(m);
    if (!m->rc)
        measure_rest(m);
    struct qm_noise noise = qm_noise_end(&watch);
    p->others = noise.others;
    p->stolen = noise.stolen;
    qm_probe_close(m->probe);
    return m->rc;
}

int qm_machine_measure(const struct qm_machine *machine, enum qm_isa isa, const char *disk_path,
                       const struct qm_measuring *with, struct qm_machine_profile *profile, struct qm_probe_disk *disk,
                       struct qm_error *err) {
    struct measuring m = {.machine = machine, .with = with, .out = profile, .err = err};
    *disk = (struct qm_probe_disk){0};
    int rc = qm_kernels_get(isa, &m.kernels, err);
    if (!rc) /* thread t is on core t of the topology */
        rc = qm_team_create(machine->topology.cores, &m.team, err);
    if (!rc && disk_path)
        rc = qm_probe_disk_read(m.team, disk_path, disk, err);
    if (!rc && profile)
        rc = measure_profile(&m, err);
    qm_team_destroy(m.team);
    return rc;
}
