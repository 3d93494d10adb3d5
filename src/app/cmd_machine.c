/* quietmind machine: what this machine is, and what it can do at most. */
#include <stdlib.h>
#include <string.h>

#include "app/command_list.h"
#include "app/decode.h"
#include "app/machine/measuring.h"
#include "app/machine/picture.h"
#include "app/open_model.h"
#include "app/out.h"
#include "planner/find.h"
#include "simd/kernels.h"

struct job {
    struct qm_machine machine;
    struct qm_machine_found found;
    struct qm_progress progress;
    struct qm_app_measuring measuring;
    enum qm_isa isa;
};

static json_t *text_or_null(const char *s) {
    return s[0] ? json_string(s) : json_null();
}

static json_t *nodes_json(const struct qm_machine *m) {
    json_t *list = json_array();
    for (int i = 0; i < m->n_nodes; i++) {
        const struct qm_machine_node *n = &m->nodes[i];
        json_array_append_new(list, json_pack("{s:i, s:i, s:I, s:I, s:{s:I, s:I}, s:{s:I, s:I}}", "node", n->number,
                                              "cores", n->cores, "memory", (json_int_t)n->memory, "free",
                                              (json_int_t)n->free, "huge_2m", "total", (json_int_t)n->huge_2m.total,
                                              "free", (json_int_t)n->huge_2m.free, "huge_1g", "total",
                                              (json_int_t)n->huge_1g.total, "free", (json_int_t)n->huge_1g.free));
    }
    return list;
}

static json_t *caches_json(const struct qm_machine *m) {
    json_t *list = json_array();
    for (int i = 0; i < m->n_caches; i++) {
        const struct qm_cache *c = &m->caches[i];
        json_array_append_new(list, json_pack("{s:i, s:s, s:I, s:i, s:i}", "level", c->level, "kind",
                                              c->kind == 'd'   ? "data"
                                              : c->kind == 'i' ? "instructions"
                                                               : "unified",
                                              "bytes", (json_int_t)c->bytes, "count", c->count, "cpus", c->cpus));
    }
    return list;
}

/* {energy: {readable, value, reason}, ...} */
static json_t *sensors_json(const struct qm_machine *m) {
    json_t *all = json_object();
    for (int k = 0; k < QM_SENSOR_COUNT; k++) {
        const char *why = m->not_readable[k];
        bool shown = !why[0] && k != QM_SENSOR_ENERGY; /* joules count from now */
        json_object_set_new(all, qm_sensor_name((enum qm_sensor)k),
                            json_pack("{s:b, s:o, s:o}", "readable", !why[0], "value",
                                      shown ? json_real(m->reading.value[k]) : json_null(), "reason",
                                      text_or_null(why)));
    }
    return all;
}

static int print_json(const struct job *j, struct qm_error *err) {
    const struct qm_machine *m = &j->machine;
    const struct qm_topology *t = &m->topology;
    json_t *disk = json_null();
    char noise[512];
    qm_machine_profile_noisy(&j->found.profile, noise, sizeof noise);
    if (j->found.disk.rate > 0)
        disk = json_pack("{s:s, s:f, s:I, s:b}", "file", j->found.disk.file, "bytes_per_second", j->found.disk.rate,
                         "bytes", (json_int_t)j->found.disk.bytes, "direct", j->found.disk.direct);
    json_t *root = json_pack(
        "{s:s, s:s, s:o, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:o, s:o, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
        "s:o, s:b, s:o, s:s}",
        "identity", m->identity, "cpu", t->cpu_model, "microcode", text_or_null(m->microcode), "isa",
        qm_isa_name(j->isa), "packages", t->packages, "nodes", t->nodes, "cores", t->cores, "allowed_cores",
        t->allowed_cores, "cpus", t->cpus, "cpus_of_machine", m->cpus_online, "cpu_quota",
        t->cpu_quota > 0 ? json_real(t->cpu_quota) : json_null(), "caches", caches_json(m), "memory",
        (json_int_t)m->memory, "available", (json_int_t)m->available, "memory_limit",
        m->memory_limit < m->memory ? json_integer((json_int_t)m->memory_limit) : json_null(), "memory_nodes",
        nodes_json(m), "transparent_huge_pages", text_or_null(m->thp), "governor", text_or_null(m->governor), "sensors",
        sensors_json(m), "limits", qm_machine_profile_json(&j->found.profile), "disk", disk, "profile",
        text_or_null(j->found.path), "measured_now", j->found.measured, "noisy", text_or_null(noise), "kernels_build",
        qm_kernels_build());
    char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    int rc = text ? qm_out_printf(err, "%s\n", text) : qm_fail(err, QM_SYSTEM, "the machine's name is not UTF-8");
    free(text);
    return rc;
}

static int print_text(const struct job *j, struct qm_error *err) {
    int rc = qm_picture_machine(&j->machine, j->isa, err);
    if (!rc)
        rc = qm_picture_profile(&j->found.profile, err);
    if (!rc && j->found.disk.rate > 0)
        rc = qm_picture_disk(&j->found.disk, err);
    if (!rc && j->found.path[0])
        rc = qm_out_printf(err, "measured       %s, kept in %s\n",
                           j->found.measured ? "now" : j->found.profile.measured, j->found.path);
    return rc;
}

static int run_machine(const struct qm_args *args, struct qm_error *err) {
    struct job *j = calloc(1, sizeof *j);
    if (!j)
        return qm_fail_memory(err, sizeof *j, "the machine");
    qm_progress_init(&j->progress, args->option[QM_OPT_SILENT].set);
    int rc = qm_decode_isa(args, &j->isa, err);
    if (!rc)
        rc = qm_machine_describe(&j->machine, err);
    if (!rc) {
        qm_app_measuring_begin(&j->measuring, &j->progress);
        rc = qm_machine_find(&j->machine, j->isa, args->option[QM_OPT_REFRESH].set,
                             qm_args_text(args, QM_OPT_DISK, NULL), &j->measuring.with, &j->found, err);
        qm_app_measuring_end(&j->measuring);
    }
    if (!rc)
        rc = args->option[QM_OPT_JSON].set ? print_json(j, err) : print_text(j, err);
    qm_machine_free(&j->machine);
    free(j);
    return rc;
}

static const unsigned char machine_options[] = {QM_OPT_REFRESH, QM_OPT_DISK,   QM_OPT_JSON,
                                                QM_OPT_ISA,     QM_OPT_SILENT, QM_OPT_END};

const struct qm_command qm_cmd_machine = {
    .name = "machine",
    .usage = "",
    .summary = "Show this machine and measure what it can do at most",
    .details = "Processors, caches, NUMA nodes, memory and huge pages as this process may use\n"
               "them, and limits: reads of memory by 1 to all threads of each node and between\n"
               "nodes, BF16 and F32 multiply-adds, what a parallel region and a barrier cost.\n"
               "Measured once (a few seconds) and kept in $XDG_CACHE_HOME/quietmind or\n"
               "~/.cache/quietmind, by the machine's identity; --refresh measures again.\n"
               "A profile that was taken while others used the processors or memory is marked\n"
               "noisy, and says how that shows.\n",
    .example = "quietmind machine\n"
               "quietmind machine --disk ~/models/Qwen3-4B --json\n",
    .options = machine_options,
    .run = run_machine,
};
