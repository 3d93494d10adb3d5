/* This machine: measured where that is due, kept, assumed; and described ones. */
#include "app/machine/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/beside.h"
#include "app/cache.h"
#include "app/machine/measuring.h"
#include "base/buf.h"
#include "numa/memory.h"
#include "numa/topology.h"
#include "planner/calibrate.h"
#include "planner/find.h"

int qm_app_machine_described(const char *name, struct qm_machine_model *out, struct qm_error *err) {
    struct qm_buf text = {0};
    int rc = qm_description_read("--machine", name, &text, err);
    if (!rc)
        rc = qm_machine_model_parse(text.data ? text.data : "", text.len, name, out, err);
    qm_buf_free(&text);
    return rc;
}

/* Efficiencies to predict with, and what is to be noted of them. */
static void take_shares(const struct qm_calibration *kept, bool any, unsigned needed, struct qm_machine_model *out) {
    char noise[300];
    qm_calibration_efficiency(kept, needed, &out->efficiency, out->missing);
    out->efficiency_mark = any ? QM_MARK_MEASURED : QM_MARK_DEFAULT;
    if (!any)
        out->missing[0] = 0;
    size_t n = strlen(out->noise);
    if (qm_noise_text(&kept->noise, noise, sizeof noise))
        snprintf(out->noise + n, sizeof out->noise - n, "%skernels: %s", n ? "; " : "", noise);
}

static int measure_machine(const struct qm_model *m, enum qm_isa isa, const struct qm_machine *machine,
                           struct qm_machine_found *found, struct qm_progress *progress, struct qm_machine_model *out,
                           struct qm_error *err) {
    struct qm_noise now = qm_noise_now();
    struct qm_calibration kept;
    struct qm_app_measuring measuring;
    unsigned needed = qm_calibration_needs(m);
    qm_app_measuring_begin(&measuring, progress);
    const struct qm_measuring *with = &measuring.with;
    int rc = qm_machine_find(machine, isa, false, NULL, with, found, err);
    if (!rc)
        rc = qm_machine_check(machine, isa, &now, with, found, out, err);
    measuring.kept = "no efficiencies are kept; measuring starts over next time";
    struct qm_calibration_wish wish = {machine, &found->profile, isa, needed, qm_noise_level(&now) <= 1};
    if (!rc)
        rc = qm_calibration_measure(&wish, with, &kept, err);
    qm_app_measuring_end(&measuring);
    if (!rc)
        take_shares(&kept, true, needed, out);
    return rc;
}

int qm_app_machine_measure(enum qm_isa isa, const struct qm_model *m, struct qm_progress *progress,
                           struct qm_machine_model *out, struct qm_error *err) {
    struct qm_machine *machine = malloc(sizeof *machine);
    struct qm_machine_found *found = malloc(sizeof *found);
    int rc = machine && found ? QM_OK : qm_fail_memory(err, sizeof *machine + sizeof *found, "the machine");
    if (!rc && !(rc = qm_machine_describe(machine, err))) {
        rc = measure_machine(m, isa, machine, found, progress, out, err);
        qm_machine_free(machine);
    }
    free(machine);
    free(found);
    return rc;
}

int qm_app_machine_kept(enum qm_isa isa, const struct qm_model *m, struct qm_machine_model *out, bool *due,
                        struct qm_error *err) {
    struct qm_machine *machine = malloc(sizeof *machine);
    struct qm_machine_profile *profile = malloc(sizeof *profile);
    int rc = machine && profile ? QM_OK : qm_fail_memory(err, sizeof *machine + sizeof *profile, "the machine");
    if (!rc && !(rc = qm_machine_describe(machine, err))) {
        struct qm_calibration kept;
        struct qm_error why;
        char folder[4096], path[4200];
        const char *cache = qm_app_cache_directory(folder, sizeof folder, NULL) ? NULL : folder;
        unsigned needed = qm_calibration_needs(m);
        bool limits = qm_machine_kept(machine, isa, cache, profile);
        bool kernels = qm_calibration_load(machine->identity, isa, cache, &kept, path, &why);
        if (limits)
            qm_machine_speed(machine, profile, out);
        else
            qm_machine_assume(machine, isa, out);
        take_shares(&kept, kernels, needed, out);
        bool complete = limits && kernels && !out->missing[0];
        if (due && complete && !out->noise[0])
            *due = false;
        else if (due) {
            struct qm_noise now = qm_noise_now();
            bool quiet = qm_noise_level(&now) <= 1;
            *due = !limits || qm_calibration_due(kernels ? &kept : NULL, needed, quiet) || (quiet && out->noise[0]);
        }
        qm_machine_free(machine);
    }
    free(machine);
    free(profile);
    return rc;
}

int qm_app_machine_unmeasured(struct qm_machine_model *out, struct qm_error *err) {
    struct qm_topology topology;
    int rc = qm_topology_load(NULL, &topology, err);
    if (rc)
        return rc;
    *out = (struct qm_machine_model){.name = "this machine",
                                     .nodes = 1,
                                     .cores = topology.cores,
                                     .read = 1e11,
                                     .bf16 = 1e12,
                                     .f32 = 5e11,
                                     .region_us = 5,
                                     .barrier_us = 2};
    qm_topology_free(&topology);
    qm_efficiency_default(&out->efficiency);
    return qm_memory_available(&out->memory, err);
}

uint64_t qm_app_machine_ram(const struct qm_machine_model *s) {
    uint64_t available;
    if (qm_memory_available(&available, NULL))
        return s->memory;
    available += qm_memory_reserved();
    return available < s->memory ? available : s->memory;
}
