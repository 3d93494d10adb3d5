/* Lines of at most 80 columns. */
#include "app/machine/picture.h"

#include <stdio.h>

#include "app/out.h"
#include "base/size.h"
#include "base/words.h"
#include "simd/kernels.h"

enum { BAR = 48 };

static int print_caches(const struct qm_machine *m, struct qm_error *err) {
    int rc = QM_OK;
    for (int i = 0; i < m->n_caches && !rc; i++) {
        const struct qm_cache *c = &m->caches[i];
        char size[32];
        if (c->bytes < 1 << 20)
            snprintf(size, sizeof size, "%.0f KiB", (double)c->bytes / 1024);
        else
            snprintf(size, sizeof size, "%.4g MiB", (double)c->bytes / (1 << 20));
        rc = qm_out_printf(err, "%-14s L%d%s: %d x %s, one for %d hardware thread%s\n", i ? "" : "caches", c->level,
                           c->kind == 'd'   ? " data"
                           : c->kind == 'i' ? " instructions"
                                            : "",
                           c->count, size, c->cpus, qm_s(c->cpus));
    }
    return rc;
}

static int print_node(const struct qm_machine_node *n, struct qm_error *err) {
    return qm_out_printf(err,
                         "node %-9d %d core%s; %.1f GiB, %.1f GiB free;\n"
                         "               huge pages free: 2 MiB %llu of %llu, 1 GiB %llu of %llu\n",
                         n->number, n->cores, qm_s(n->cores), qm_gib(n->memory), qm_gib(n->free),
                         (unsigned long long)n->huge_2m.free, (unsigned long long)n->huge_2m.total,
                         (unsigned long long)n->huge_1g.free, (unsigned long long)n->huge_1g.total);
}

static int print_processors(const struct qm_machine *m, struct qm_error *err) {
    const struct qm_topology *t = &m->topology;
    int rc = qm_out_printf(err,
                           "processor      %s, microcode %s\n"
                           "               %d package%s, %d NUMA node%s, %d core%s, %d hardware thread%s\n",
                           t->cpu_model, m->microcode[0] ? m->microcode : "not shown", t->packages, qm_s(t->packages),
                           t->nodes, qm_s(t->nodes), t->cores, qm_s(t->cores), t->cpus, qm_s(t->cpus));
    if (!rc && t->cpus < m->cpus_online)
        rc = qm_out_printf(err, "               of the machine's %d hardware threads (affinity or cpuset)\n",
                           m->cpus_online);
    if (!rc && t->cpu_quota > 0)
        rc = qm_out_printf(
            err, "               CPU quota of the cgroup: the time of %.2f CPUs; threads: %d (of %d core%s)\n",
            t->cpu_quota, t->cores, t->allowed_cores, qm_s(t->allowed_cores));
    return rc;
}

static int print_sensor(const struct qm_machine *m, enum qm_sensor which, struct qm_error *err) {
    const char *name = qm_sensor_name(which), *why = m->not_readable[which];
    double value = m->reading.value[which];
    if (why[0]) {
        char head[32];
        snprintf(head, sizeof head, "%-14s not readable:", name);
        return qm_out_wrapped(head, why, 15, err);
    }
    if (which == QM_SENSOR_TEMPERATURE)
        return qm_out_printf(err, "%-14s %.0f °C\n", name, value);
    if (which == QM_SENSOR_FAN)
        return qm_out_printf(err, "%-14s %.0f rpm\n", name, value);
    return qm_out_printf(err, "%-14s readable\n", name);
}

static int print_instructions(enum qm_isa isa, struct qm_error *err) {
    enum qm_isa best = qm_isa_best();
    if (isa == qm_isa_auto() && isa != best)
        return qm_out_printf(err, "instructions   %s, which multiply and add faster here than %s\n", qm_isa_name(isa),
                             qm_isa_name(best));
    return qm_out_printf(err, "instructions   %s\n", qm_isa_name(isa));
}

static int print_memory(const struct qm_machine *m, struct qm_error *err) {
    int rc =
        qm_out_printf(err, "memory         %.1f GiB, %.1f GiB available\n", qm_gib(m->memory), qm_gib(m->available));
    if (rc || m->memory_limit >= m->memory)
        return rc;
    return qm_out_printf(err, "               memory limit of the cgroup: %.1f GiB\n", qm_gib(m->memory_limit));
}

int qm_picture_machine(const struct qm_machine *m, enum qm_isa isa, struct qm_error *err) {
    int rc = print_processors(m, err);
    if (!rc)
        rc = print_instructions(isa, err);
    if (!rc)
        rc = print_caches(m, err);
    if (!rc)
        rc = print_memory(m, err);
    for (int i = 0; i < m->n_nodes && !rc; i++)
        rc = print_node(&m->nodes[i], err);
    if (!rc)
        rc = qm_out_printf(err, "huge pages     transparent: %s\ngovernor       %s\n", m->thp[0] ? m->thp : "not shown",
                           m->governor[0] ? m->governor : "not shown");
    for (int k = 0; k < QM_SENSOR_COUNT && !rc; k++)
        rc = print_sensor(m, (enum qm_sensor)k, err);
    return rc;
}

static int print_bar(const char *head, double rate, double most, struct qm_error *err) {
    static const char hashes[] = "################################################";
    int n = (int)(BAR * rate / most + 0.5);
    n = n < 1 ? 1 : n > BAR ? BAR : n;
    return qm_out_printf(err, "%14s %-*.*s %8.1f GB/s\n", head, BAR, n, hashes, rate * 1e-9);
}

static int print_scaling(const struct qm_machine_profile *p, struct qm_error *err) {
    double most = 0;
    int rc = QM_OK;
    for (int n = 0; n < p->nodes; n++)
        for (int i = 0; i < p->scaling[n].n; i++)
            most = p->scaling[n].point[i].rate > most ? p->scaling[n].point[i].rate : most;
    for (int n = 0; n < p->nodes && !rc; n++) {
        rc = p->nodes > 1 ? qm_out_printf(err, "\nnode %d's memory read by its threads\n", n)
                          : qm_out_text("\nmemory read by threads\n", err);
        for (int i = 0; i < p->scaling[n].n && !rc; i++) {
            char head[32];
            snprintf(head, sizeof head, "%d", p->scaling[n].point[i].threads);
            rc = print_bar(head, p->scaling[n].point[i].rate, most, err);
        }
    }
    return rc;
}

static int print_matrix(const struct qm_machine_profile *p, struct qm_error *err) {
    int rc = qm_out_text("\nGB/s from node to node: rows read, columns are read from\n      ", err);
    for (int n = 0; n < p->nodes && !rc; n++)
        rc = qm_out_printf(err, " %8d", n);
    for (int n = 0; n < p->nodes && !rc; n++) {
        rc = qm_out_printf(err, "\n%6d", n);
        for (int m = 0; m < p->nodes && !rc; m++)
            rc = qm_out_printf(err, " %8.1f", p->between[n][m] * 1e-9);
    }
    return rc ? rc : qm_out_text("\n", err);
}

int qm_picture_profile(const struct qm_machine_profile *p, struct qm_error *err) {
    int rc = print_scaling(p, err);
    if (!rc && p->nodes > 1)
        rc = print_matrix(p, err);
    if (!rc)
        rc = qm_out_printf(err,
                           "\nreads          best %.1f GB/s, typical %.1f GB/s, by all threads\n"
                           "BF16           best %.1f GFLOP/s, typical %.1f GFLOP/s; one core %.1f GFLOP/s\n"
                           "F32            best %.1f GFLOP/s, typical %.1f GFLOP/s; one core %.1f GFLOP/s\n"
                           "regions        %.2f us each; barriers %.2f us each\n",
                           p->read * 1e-9, p->median_read * 1e-9, p->bf16 * 1e-9, p->median_bf16 * 1e-9,
                           p->bf16_core * 1e-9, p->f32 * 1e-9, p->median_f32 * 1e-9, p->f32_core * 1e-9, p->region_us,
                           p->barrier_us);
    char noise[512];
    if (!rc && qm_machine_profile_noisy(p, noise, sizeof noise))
        rc = qm_out_wrapped("noisy         ", noise, 15, err);
    if (!rc && noise[0])
        rc = qm_out_text("               The machine gives more than this: --refresh when it is quiet.\n", err);
    return rc;
}

int qm_picture_disk(const struct qm_probe_disk *d, struct qm_error *err) {
    return qm_out_printf(err, "disk           %.2f GB/s%s, %s\n", d->rate * 1e-9,
                         d->direct ? "" : " (through the page cache: not past it on this file system)", d->file);
}
