/* From the cache, or from measuring, to the profile of this machine. */
#include "planner/find.h"

#include <stdio.h>
#include <stdlib.h>

#include "planner/limits.h"
#include "planner/measure.h"

static const double CLEARLY = 1.25;
_Static_assert((int)QM_MODEL_NODES == (int)QM_MAX_NODES && (int)QM_MODEL_POINTS == (int)QM_SCALING_POINTS,
               "what is measured of a machine is planned with");

int qm_machine_find(const struct qm_machine *m, enum qm_isa isa, bool refresh, const char *disk,
                    const struct qm_measuring *with, struct qm_machine_found *out, struct qm_error *err) {
    const char *name = qm_isa_name(isa);
    struct qm_error why = {0};
    bool found = false;
    *out = (struct qm_machine_found){0};
    if (with->cache && qm_machine_profile_path(m->identity, name, with->cache, out->path, sizeof out->path, &why)) {
        out->path[0] = 0;
        qm_measuring_note(with, "the profile is not kept: %s", why.message);
    }
    if (out->path[0] && !refresh &&
        qm_machine_profile_load(out->path, m->identity, name, &out->profile, &found, &why)) {
        qm_measuring_note(with, "measuring again: %s", why.message);
        found = false;
    }
    if (found && !disk)
        return QM_OK;
    if (!found)
        qm_measuring_note(with, "measuring this machine: a few seconds");
    int rc = qm_machine_measure(m, isa, disk, with, found ? NULL : &out->profile, &out->disk, err);
    out->measured = !found;
    if (!rc && !found && out->path[0] && qm_machine_profile_save(out->path, &out->profile, &why)) {
        qm_measuring_note(with, "the profile is not kept: %s", why.message);
        out->path[0] = 0;
    }
    return rc;
}

bool qm_machine_kept(const struct qm_machine *m, enum qm_isa isa, const char *cache, struct qm_machine_profile *out) {
    const char *name = qm_isa_name(isa);
    char path[4200];
    bool found = false;
    return cache && !qm_machine_profile_path(m->identity, name, cache, path, sizeof path, NULL) &&
           !qm_machine_profile_load(path, m->identity, name, out, &found, NULL) && found;
}

/* Memory of the nodes in the topology's order is not known where some have no core: then all share it. */
static void take_nodes(const struct qm_machine *m, const struct qm_machine_profile *p, struct qm_machine_model *out) {
    const struct qm_topology *t = &m->topology;
    out->nodes = p->nodes < QM_MODEL_NODES ? p->nodes : QM_MODEL_NODES;
    for (int i = 0; i < out->nodes; i++) {
        struct qm_node_model *node = &out->node[i];
        const struct qm_scaling *s = &p->scaling[i];
        for (int c = 0; c < t->cores; c++)
            node->cores += t->core_node[c] == i;
        node->memory = m->n_nodes == p->nodes ? m->nodes[i].memory : m->memory / (uint64_t)p->nodes;
        for (node->n = 0; node->n < s->n && node->n < QM_MODEL_POINTS; node->n++) {
            node->read[node->n].threads = s->point[node->n].threads;
            node->read[node->n].rate = s->point[node->n].rate;
        }
    }
}

void qm_machine_speed(const struct qm_machine *m, const struct qm_machine_profile *p, struct qm_machine_model *out) {
    *out = (struct qm_machine_model){.memory = m->available,
                                     .cores = m->topology.cores,
                                     .read = p->median_read,
                                     .bf16 = p->median_bf16,
                                     .f32 = p->median_f32,
                                     .region_us = p->region_us,
                                     .barrier_us = p->barrier_us};
    snprintf(out->name, sizeof out->name, "%s", m->topology.cpu_model);
    snprintf(out->isa, sizeof out->isa, "%s", p->isa);
    char noise[300];
    if (qm_machine_profile_noisy(p, noise, sizeof noise))
        snprintf(out->noise, sizeof out->noise, "machine: %s", noise);
    take_nodes(m, p, out);
    qm_efficiency_default(&out->efficiency);
    out->efficiency_mark = QM_MARK_DEFAULT;
}

void qm_machine_assume(const struct qm_machine *m, enum qm_isa isa, struct qm_machine_model *out) {
    /* of one core: a channel of DDR5 is shared by a few, and a core multiplies at 2.5 GHz or more */
    static const double READ = 8e9, MAX_READ = 100e9, F32 = 40e9;
    double wide = isa == QM_ISA_SCALAR ? 0.1 : isa == QM_ISA_AVX2 ? 1 : 2;
    struct qm_machine_profile p = {.others = -1, .stolen = -1, .nodes = 1, .region_us = 5, .barrier_us = 2};
    double read = READ * m->topology.cores;
    p.median_read = read < MAX_READ * m->topology.nodes ? read : MAX_READ * m->topology.nodes;
    p.median_f32 = F32 * wide * m->topology.cores;
    p.read = p.median_read;
    p.median_bf16 = p.median_f32 * (isa >= QM_ISA_AVX512BF16 ? 2 : 1);
    snprintf(p.isa, sizeof p.isa, "%s", qm_isa_name(isa));
    p.scaling[0].n = 1;
    p.scaling[0].point[0].threads = m->topology.cores;
    p.scaling[0].point[0].rate = p.median_read;
    qm_machine_speed(m, &p, out);
    out->read_mark = out->bf16_mark = QM_MARK_DEFAULT;
}

static int rates_now(enum qm_isa isa, int cores, struct qm_rates *out, struct qm_error *err) {
    const struct qm_kernels *kernels;
    struct qm_team *team = NULL;
    struct qm_limits_probe *probe = NULL;
    int rc = qm_kernels_get(isa, &kernels, err);
    if (!rc)
        rc = qm_team_create(cores, &team, err);
    if (!rc)
        rc = qm_limits_open(team, kernels, &probe, err);
    if (!rc)
        *out = qm_limits_measure(probe).median;
    qm_limits_close(probe);
    qm_team_destroy(team);
    return rc;
}

enum qm_profile_use qm_machine_profile_use(double kept, double now) {
    if (now > 1)
        return QM_PROFILE_KEEP;
    return kept > 1 ? QM_PROFILE_AGAIN : QM_PROFILE_CHECK;
}

/* The quieter of the kept one and one that is measured now. */
static int measure_again(const struct qm_machine *m, enum qm_isa isa, const struct qm_measuring *with,
                         struct qm_machine_found *found, struct qm_error *err) {
    struct qm_machine_found *fresh = calloc(1, sizeof *fresh);
    struct qm_error why;
    if (!fresh)
        return qm_fail_memory(err, sizeof *fresh, "the machine's profile");
    int rc = qm_machine_measure(m, isa, NULL, with, &fresh->profile, &fresh->disk, err);
    struct qm_noise kept = qm_machine_profile_noise(&found->profile), now = qm_machine_profile_noise(&fresh->profile);
    if (!rc && qm_noise_level(&now) <= qm_noise_level(&kept)) {
        found->profile = fresh->profile;
        found->measured = true;
        if (found->path[0] && qm_machine_profile_save(found->path, &found->profile, &why))
            qm_measuring_note(with, "the profile is not kept: %s", why.message);
    }
    free(fresh);
    return rc;
}

/* *slower: the machine gives clearly less now, *now. */
static int check(const struct qm_machine *m, enum qm_isa isa, const struct qm_measuring *with,
                 struct qm_machine_found *found, struct qm_rates *now, bool *slower, struct qm_error *err) {
    const struct qm_machine_profile *p = &found->profile;
    *slower = false;
    int rc = rates_now(isa, m->topology.cores, now, err);
    if (rc)
        return rc;
    double read = now->read / p->median_read, bf16 = now->bf16 / p->median_bf16, f32 = now->f32 / p->median_f32;
    bool more = read > CLEARLY || bf16 > CLEARLY || f32 > CLEARLY;
    if (!more && read * CLEARLY > 1 && bf16 * CLEARLY > 1 && f32 * CLEARLY > 1)
        return QM_OK;
    qm_measuring_note(
        with,
        "profile of %s: %.1f GB/s, BF16 %.0f, F32 %.0f GFLOP/s (typical); now: %.1f GB/s, BF16 %.0f, F32 %.0f: %s",
        p->measured, p->median_read * 1e-9, p->median_bf16 * 1e-9, p->median_f32 * 1e-9, now->read * 1e-9,
        now->bf16 * 1e-9, now->f32 * 1e-9, more ? "measuring again" : "predictions are for now");
    *slower = !more;
    return more ? qm_machine_find(m, isa, true, NULL, with, found, err) : QM_OK;
}

int qm_machine_check(const struct qm_machine *m, enum qm_isa isa, const struct qm_noise *now,
                     const struct qm_measuring *with, struct qm_machine_found *found, struct qm_machine_model *speed,
                     struct qm_error *err) {
    struct qm_noise kept = qm_machine_profile_noise(&found->profile);
    struct qm_rates rates;
    char noise[300];
    bool slower = false;
    int rc = QM_OK;
    if (!found->measured)
        switch (qm_machine_profile_use(qm_noise_level(&kept), qm_noise_level(now))) {
        case QM_PROFILE_KEEP:
            qm_noise_text(now, noise, sizeof noise);
            qm_measuring_note(with, "the machine is busy (%s): the profile of %s is used as it is", noise,
                              found->profile.measured);
            break;
        case QM_PROFILE_CHECK: rc = check(m, isa, with, found, &rates, &slower, err); break;
        case QM_PROFILE_AGAIN:
            qm_measuring_note(with, "the profile of %s was taken beside noise; it is quiet now: measuring again",
                              found->profile.measured);
            rc = measure_again(m, isa, with, found, err);
            break;
        }
    if (rc)
        return rc;
    qm_machine_speed(m, &found->profile, speed);
    if (slower) {
        speed->read = rates.read;
        speed->bf16 = rates.bf16;
        speed->f32 = rates.f32;
    }
    return QM_OK;
}
