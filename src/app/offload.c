/* From wishes to a placement that the engine executes. */
#include "app/offload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/beside.h"
#include "app/machine/model.h"
#include "base/file.h"
#include "base/size.h"
#include "engine/plan_file.h"
#include "engine/report.h"

enum { PLAN_LIMIT = 64 << 20 };

struct qm_offload {
    const struct qm_offload_options *wanted;
    struct qm_machine_model speed;
    struct qm_plan_ask ask;
    struct qm_plan_answer answer;
    struct qm_placement given;
    struct qm_device_setup devices[QM_MAX_DEVICES];
    struct qm_emulated_config config[QM_MAX_DEVICES];
    bool kept; /* the placement is one that was begun with: no other can take its place */
};

static int read_device_file(const char *path, struct qm_machine_model *s, struct qm_error *err) {
    struct qm_buf text = {0};
    int rc = qm_description_read("--device", path, &text, err);
    if (!rc)
        rc = qm_machine_model_add_device(text.data ? text.data : "", text.len, path, s, err);
    qm_buf_free(&text);
    return rc;
}

int qm_offload_devices(const struct qm_offload_options *o, struct qm_machine_model *s, struct qm_error *err) {
    const struct qm_texts *list = &o->devices;
    int rc = QM_OK;
    for (size_t i = 0; i < list->n && !rc; i++) {
        if (s->devices == QM_MAX_DEVICES - 1)
            rc = qm_fail(err, QM_USAGE, "--device: more than %d devices", QM_MAX_DEVICES - 1);
        else if (!strchr(list->text[i], ':'))
            rc = read_device_file(list->text[i], s, err);
        else
            rc = qm_device_model_parse("--device", list->text[i], &s->device[s->devices++], err);
    }
    return rc;
}

static int check_devices(const struct qm_offload_options *o, bool predicts, struct qm_error *err) {
    struct qm_machine_model *scratch = calloc(1, sizeof *scratch);
    int rc = scratch ? qm_offload_devices(o, scratch, err) : qm_fail_memory(err, sizeof *scratch, "the devices");
    for (int d = 0; !rc && !predicts && d < scratch->devices; d++)
        if (!scratch->device[d].emulated)
            rc = qm_fail(err, QM_USAGE,
                         "--device %s: this build computes on no GPU; quietmind plan predicts what one would do, and "
                         "--device emulated:90GiB emulates one",
                         scratch->device[d].name);
    free(scratch);
    return rc;
}

int qm_offload_check_devices(const struct qm_offload_options *o, struct qm_error *err) {
    return check_devices(o, true, err);
}

int qm_offload_refuse_cards(const struct qm_offload_options *o, struct qm_error *err) {
    if (o->wish == QM_OFFLOAD_REQUIRE && !o->devices.n)
        return qm_fail(err, QM_USAGE,
                       "--offload require: there is no device, and this build computes on no GPU; --device "
                       "emulated:90GiB emulates one");
    return check_devices(o, false, err);
}

static int read_plan_file(const char *path, const struct qm_model *m, const struct qm_machine_model *s,
                          struct qm_placement *given, struct qm_error *err) {
    const char *names[QM_MAX_DEVICES];
    struct qm_buf text = {0};
    for (int d = 0; d <= s->devices; d++)
        names[d] = qm_plan_device_name(s, d);
    int rc = qm_read_given(path, PLAN_LIMIT, &text, err);
    if (!rc)
        rc = qm_plan_parse(text.data ? text.data : "", text.len, path, m, names, 1 + s->devices, given, err);
    qm_buf_free(&text);
    return rc;
}

int qm_offload_what(const struct qm_offload_options *o, const struct qm_model *m, struct qm_plan_ask *ask,
                    struct qm_placement *given, struct qm_error *err) {
    ask->last_layers = -1;
    ask->on_cpu = o->wish == QM_OFFLOAD_NONE;
    if (o->wish == QM_OFFLOAD_FILE) {
        ask->given = given;
        return read_plan_file(o->text, m, ask->speed, given, err);
    }
    if (o->wish != QM_OFFLOAD_LAYERS)
        return QM_OK;
    ask->last_layers = o->layers;
    if (ask->last_layers < 0 || ask->last_layers > m->config.layers)
        return qm_fail(err, QM_USAGE,
                       "--offload: expected auto, require, none, a number of layers up to %lld, or a plan's file",
                       (long long)m->config.layers);
    return QM_OK;
}

/* No placement is to be searched for. */
static bool is_given(enum qm_offload_wish wish) {
    return wish == QM_OFFLOAD_NONE || wish == QM_OFFLOAD_LAYERS || wish == QM_OFFLOAD_FILE;
}

void qm_offload_drive(const struct qm_machine_model *s, struct qm_emulated_config *config,
                      struct qm_device_setup *out) {
    for (int d = 0; d < s->devices; d++) {
        const struct qm_device_model *spec = &s->device[d];
        struct qm_emulated_config *c = &config[d];
        *c = (struct qm_emulated_config){.memory = spec->memory,
                                         .read = spec->read,
                                         .bf16 = spec->bf16,
                                         .f32 = spec->f32,
                                         .read_efficiency = spec->read_efficiency,
                                         .flops_efficiency = spec->flops_efficiency,
                                         .attention_efficiency = spec->attention_efficiency,
                                         .up = spec->up,
                                         .down = spec->down,
                                         .up_busy = spec->up_busy,
                                         .down_busy = spec->down_busy,
                                         .launch_us = spec->launch_us,
                                         .transfer_us = spec->transfer_us,
                                         .fail_after = spec->fail_at - 1};
        snprintf(c->name, sizeof c->name, "%s", spec->name);
        out[d] = (struct qm_device_setup){.name = c->name, .driver = &qm_emulated_driver, .config = c};
    }
}

static uint64_t needed_on(const struct qm_plan_answer *a, int device) {
    return a->memory[device].total + a->slack[device];
}

static bool short_of(const struct qm_machine_model *s, const struct qm_plan_answer *a, int device) {
    uint64_t free_bytes = s->device[device - 1].free; /* 0: not known */
    return free_bytes && needed_on(a, device) > free_bytes;
}

bool qm_offload_is_short(const struct qm_machine_model *s, const struct qm_plan_answer *a) {
    for (int d = 1; d < a->placement.devices; d++)
        if (short_of(s, a, d))
            return true;
    return false;
}

void qm_offload_note_short(const struct qm_machine_model *s, const struct qm_plan_answer *a,
                           struct qm_progress *progress) {
    for (int d = 1; d < a->placement.devices; d++)
        if (short_of(s, a, d))
            qm_note(progress, "%s has %.2f GiB free, %.2f were planned: planned again with what is free",
                    s->device[d - 1].name, qm_gib(s->device[d - 1].free), qm_gib(needed_on(a, d)));
}

void qm_offload_take_free(struct qm_machine_model *s) {
    for (int d = 0; d < s->devices; d++)
        if (s->device[d].free && s->device[d].free < s->device[d].memory)
            s->device[d].memory = s->device[d].free;
}

/* As --offload FILE, with a plan that was kept. */
static int take_kept(struct qm_offload *f, const struct qm_model *m, const char *kept, struct qm_error *err) {
    const char *names[QM_MAX_DEVICES];
    for (int d = 0; d <= f->speed.devices; d++)
        names[d] = qm_plan_device_name(&f->speed, d);
    f->ask.on_cpu = false;
    f->ask.last_layers = -1;
    f->ask.given = &f->given;
    f->ask.given_alone = true;
    int rc = qm_plan_parse(kept, strlen(kept), "the placement it began with", m, names, 1 + f->speed.devices, &f->given,
                           err);
    return rc ? qm_fail_context(err, "the devices are not those (--device)") : QM_OK;
}

/* A plan that was given needed no rates; another in its place does. */
static int measure_after_all(struct qm_offload *f, enum qm_isa isa, const struct qm_model *m,
                             struct qm_progress *progress, struct qm_error *err) {
    struct qm_machine_model *measured = malloc(sizeof *measured);
    int rc = measured ? qm_app_machine_measure(isa, m, progress, measured, err)
                      : qm_fail_memory(err, sizeof *measured, "the machine");
    if (!rc) {
        measured->devices = f->speed.devices;
        memcpy(measured->device, f->speed.device, sizeof measured->device);
        f->speed = *measured;
    }
    free(measured);
    return rc;
}

static int plan_with_free(struct qm_offload *f, enum qm_isa isa, const struct qm_model *m, struct qm_progress *progress,
                          struct qm_error *err) {
    bool again = qm_offload_is_short(&f->speed, &f->answer);
    qm_offload_note_short(&f->speed, &f->answer, progress);
    qm_offload_take_free(&f->speed);
    for (int d = 0; d < f->speed.devices; d++)
        f->config[d].memory = f->speed.device[d].memory;
    if (!again)
        return QM_OK;
    if (f->kept)
        return qm_fail(err, QM_FIT, "a device has less memory free than the placement needs that this began with");
    int rc = is_given(f->wanted->wish) ? measure_after_all(f, isa, m, progress, err) : QM_OK;
    if (rc)
        return rc;
    qm_plan_answer_free(&f->answer);
    f->ask.given = NULL;
    f->ask.last_layers = -1;
    return qm_plan_answer(&f->ask, m, "the model", &f->answer, err);
}

static int find_placement(struct qm_offload *f, const struct qm_model *m, struct qm_engine_options *o, const char *kept,
                          struct qm_progress *progress, struct qm_error *err) {
    int rc = f->kept ? take_kept(f, m, kept, err) : qm_offload_what(f->wanted, m, &f->ask, &f->given, err);
    if (!rc && (rc = qm_plan_answer(&f->ask, m, "the model", &f->answer, err)) && f->kept)
        qm_fail_context(err, "the placement that this began with");
    if (!rc)
        rc = plan_with_free(f, o->isa, m, progress, err);
    if (rc)
        return rc;
    o->context = o->context ? o->context : f->answer.workload.context;
    o->placement = &f->answer.placement;
    o->devices = f->devices;
    o->devices_required = f->wanted->wish == QM_OFFLOAD_REQUIRE;
    return QM_OK;
}

int qm_offload_open(const struct qm_offload_options *wanted, const struct qm_model *m, const struct qm_scenario *job,
                    struct qm_engine_options *o, const char *kept, struct qm_progress *progress,
                    struct qm_offload **out, struct qm_error *err) {
    *out = NULL;
    kept = is_given(wanted->wish) ? NULL : kept;
    if (!wanted->devices.n) {
        if (kept)
            return qm_fail(err, QM_INPUT,
                           "sums are split among the CPU and a device in this, and there is no device: name the one "
                           "that it began with (--device)");
        if (wanted->wish == QM_OFFLOAD_AUTO)
            qm_note(progress, "no device: everything is on the CPU (--device emulated:90GiB shows what one would do)");
        else if (wanted->wish != QM_OFFLOAD_UNSAID && wanted->wish != QM_OFFLOAD_NONE)
            return qm_fail(err, QM_USAGE, "--offload %s: there is no device; --device names one", wanted->text);
        return QM_OK;
    }
    struct qm_offload *f = calloc(1, sizeof *f);
    if (!f)
        return qm_fail_memory(err, sizeof *f, "the placement");
    f->ask = (struct qm_plan_ask){.context = o->context,
                                  .chunk = o->chunk ? o->chunk : QM_DEFAULT_CHUNK,
                                  .scenario = *job,
                                  .kv_type = o->kv_type,
                                  .kv_memory = o->kv_memory,
                                  .drafts = o->drafts,
                                  .threads = o->threads,
                                  .vram = wanted->vram,
                                  .speed = &f->speed};
    f->ask.scenario.sequences = o->sequences ? o->sequences : 1;
    int64_t room = o->context ? o->context : m->config.default_positions;
    if (job->prompt + job->generate > room)
        f->ask.scenario = (struct qm_scenario){
            .sequences = f->ask.scenario.sequences, .prompt = room - room / 4, .generate = room / 4};
    f->wanted = wanted;
    f->kept = kept != NULL;
    int rc = qm_offload_check_devices(wanted, err);
    if (!rc)
        rc = kept || is_given(wanted->wish) /* nothing need be measured */
                 ? qm_app_machine_unmeasured(&f->speed, err)
                 : qm_app_machine_measure(o->isa, m, progress, &f->speed, err);
    if (!rc)
        f->ask.ram = qm_app_machine_ram(&f->speed);
    if (!rc)
        rc = qm_offload_devices(wanted, &f->speed, err);
    if (!rc) {
        qm_offload_drive(&f->speed, f->config, f->devices);
        rc = find_placement(f, m, o, kept, progress, err);
    }
    if (rc) {
        qm_offload_free(f);
        return rc;
    }
    *out = f;
    return QM_OK;
}

void qm_offload_free(struct qm_offload *f) {
    if (!f)
        return;
    qm_plan_answer_free(&f->answer);
    qm_placement_free(&f->given);
    free(f);
}

int qm_offload_plan(const struct qm_offload *f, const struct qm_model *m, char **out, struct qm_error *err) {
    const char *names[QM_MAX_DEVICES];
    *out = NULL;
    for (int d = 0; f && d <= f->speed.devices; d++)
        names[d] = qm_plan_device_name(&f->speed, d);
    return f ? qm_plan_write(&f->answer.placement, m, names, out, err) : QM_OK;
}

void qm_offload_note(const struct qm_offload *f, struct qm_progress *progress) {
    struct qm_buf text = {0};
    if (f && !qm_plan_placement_text(&f->ask, &f->answer, &text, NULL))
        for (char *save, *line = strtok_r(text.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
            qm_note(progress, "%s", line);
    qm_buf_free(&text);
}

void qm_offload_note_failure(void *progress, const char *what) {
    struct qm_progress *p = progress;
    qm_progress_end(p);                                              /* of reading what was there */
    if (!p->quiet && isatty(STDOUT_FILENO) && isatty(STDERR_FILENO)) /* an answer may be half written there */
        fputc('\n', stderr);
    qm_note(p, "%s; the CPU goes on, nothing is lost", what);
}

void qm_offload_report(const struct qm_engine *e, struct qm_progress *progress) {
    for (int d = 1; d <= qm_engine_devices(e); d++) {
        struct qm_device_report r;
        qm_engine_device_report(e, d, &r);
        qm_note(progress,
                "%s: emulated device: times are simulated; %.2f GiB, computed %.3g s, link %.3g s up and %.3g s down%s",
                r.name, qm_gib(r.memory.total), r.work_seconds, r.up_seconds, r.down_seconds,
                r.failed ? "; failed" : "");
    }
}

json_t *qm_offload_json(const struct qm_engine *e) {
    int n = qm_engine_devices(e);
    json_t *list = n ? json_array() : json_null();
    for (int d = 1; d <= n; d++) {
        struct qm_device_report r;
        qm_engine_device_report(e, d, &r);
        json_t *one = json_pack("{s:s, s:b, s:I, s:I, s:I, s:f, s:f, s:f, s:b}", "name", r.name, "emulated", true,
                                "bytes", (json_int_t)r.memory.total, "weight_bytes", (json_int_t)r.memory.weights,
                                "kv_bytes", (json_int_t)r.memory.kv, "seconds", r.work_seconds, "up_seconds",
                                r.up_seconds, "down_seconds", r.down_seconds, "failed", r.failed);
        if (!one || json_array_append_new(list, one)) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}
