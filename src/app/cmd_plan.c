/* quietmind plan: what fits, where it goes and how fast it will be, before anything is loaded. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/app.h"
#include "app/decode.h"
#include "app/offload.h"
#include "app/open_model.h"
#include "app/out.h"
#include "app/plan/plan.h"
#include "app/routing_file.h"
#include "app/shapes.h"
#include "base/file.h"
#include "engine/plan_file.h"

enum { MAX_PINS = 64 };

struct job {
    struct qm_plan_ask ask;
    struct qm_speed speed;
    struct qm_progress progress;
    struct qm_app_model opened; /* with a model's directory */
    struct qm_model *shape;     /* with --random, or a config.json */
    const struct qm_model *model;
    const char *name;
    bool due; /* there is something to measure */
    struct qm_pin pins[MAX_PINS];
    struct qm_placement given; /* --offload FILE */
    struct qm_routing_profile routing;
};

/* Several models, or all shapes. */
static bool tables(const struct qm_args *args) {
    return args->option[QM_OPT_TABLE].set || args->n_positional > 0;
}

static int read_ask(const struct qm_args *args, struct qm_plan_ask *ask, struct qm_error *err) {
    *ask = (struct qm_plan_ask){.context = qm_args_int(args, QM_OPT_CONTEXT, 0),
                                .chunk = qm_args_int(args, QM_OPT_CHUNK, QM_DEFAULT_CHUNK),
                                .threads = (int)qm_args_int(args, QM_OPT_THREADS, 0),
                                .maps = args->option[QM_OPT_ATTENTION_MAPS].set,
                                .last_layers = -1};
    ask->job = (struct qm_job){.sequences = qm_args_int(args, QM_OPT_PLAN_BATCH, 1),
                               .depth = qm_args_int(args, QM_OPT_PLAN_DEPTH, 0),
                               .prompt = qm_args_int(args, QM_OPT_PLAN_PROMPT, 512),
                               .generate = qm_args_int(args, QM_OPT_GENERATE, 32)};
    const char *ram = tables(args) ? NULL : qm_args_text(args, QM_OPT_RAM, NULL),
               *vram = qm_args_text(args, QM_OPT_VRAM, NULL);
    int rc = ram ? qm_size_parse("--ram", ram, &ask->ram, err) : QM_OK;
    if (!rc && vram)
        rc = qm_size_parse("--vram", vram, &ask->vram, err);
    if (!rc && ask->job.prompt + ask->job.generate == 0)
        rc = qm_fail(err, QM_USAGE, "plan: nothing to do: --prompt and --generate are 0");
    return rc ? rc : qm_decode_kv_type(args, &ask->kv_type, err);
}

static void device_names(const struct job *j, const char *names[QM_MAX_DEVICES]) {
    for (int d = 0; d <= j->speed.devices; d++)
        names[d] = qm_plan_device_name(&j->speed, d);
}

static int write_plan_file(const struct job *j, const struct qm_plan_answer *a, const char *path,
                           struct qm_error *err) {
    const char *names[QM_MAX_DEVICES];
    char *text = NULL;
    device_names(j, names);
    int rc = qm_plan_write(&a->placement, j->model, names, &text, err);
    if (!rc)
        rc = qm_write_file(path, text, strlen(text), err);
    free(text);
    return rc;
}

static int read_pins(const struct qm_args *args, struct job *j, struct qm_error *err) {
    const struct qm_arg *pins = &args->option[QM_OPT_PIN];
    int rc = QM_OK;
    if (pins->n_list > MAX_PINS)
        return qm_fail(err, QM_USAGE, "--pin: more than %d", MAX_PINS);
    for (size_t i = 0; i < pins->n_list && !rc; i++)
        rc = qm_pin_parse("--pin", pins->list[i], j->model, &j->speed, &j->pins[j->ask.n_pins++], err);
    j->ask.pins = j->pins;
    return rc;
}

static int read_routing(const struct qm_args *args, struct job *j, struct qm_error *err) {
    const char *path = qm_args_text(args, QM_OPT_PROFILE_EXPERTS, NULL);
    if (!path)
        return QM_OK;
    if (access(path, R_OK) != 0)
        return qm_fail_errno(err, "%s", path);
    j->ask.routing = &j->routing;
    return qm_routing_file_open(path, &j->model->config, &j->routing, err);
}

/* A shape, or a config.json alone. */
static int open_shape(const struct qm_args *args, const char *shape, struct qm_model **out, struct qm_error *err) {
    struct qm_overrides overrides = qm_decode_model(args).overrides;
    return qm_shape_open(shape, qm_args_int(args, QM_OPT_LAYERS, 0), qm_args_text(args, QM_OPT_DTYPE, NULL), &overrides,
                         out, err);
}

/* Beyond the model's own context, as run says it. */
static void warn_context(struct job *j) {
    const struct qm_job *job = &j->ask.job;
    int64_t wanted = job->depth + job->prompt + job->generate;
    char note[300];
    qm_app_context_note(j->model, wanted > j->ask.context ? wanted : j->ask.context, note, sizeof note);
    if (note[0])
        qm_note(&j->progress, "%.*s", (int)strlen(note) - 1, note);
}

/* A directory with weights, or what config.json alone says. */
static int open_model(const struct qm_args *args, struct job *j, struct qm_error *err) {
    const char *shape = qm_args_text(args, QM_OPT_RANDOM, NULL);
    if (shape && args->model && !(getenv("QUIETMIND_MODEL") && !strcmp(args->model, getenv("QUIETMIND_MODEL"))))
        return qm_fail(err, QM_USAGE, "plan: either a model (%s) or --random %s", args->model, shape);
    int rc;
    if (shape) {
        rc = open_shape(args, shape, &j->shape, err);
        j->model = j->shape;
        j->name = shape;
    } else {
        struct qm_model_options named = qm_decode_model(args);
        named.context = 0; /* the context's warning counts the job's tokens too */
        rc = qm_app_describe(&named, QM_TOKENIZER_NO, &j->progress, &j->opened, err);
        j->model = j->opened.model;
        j->name = j->opened.dir;
    }
    if (!rc)
        warn_context(j);
    return rc;
}

/* Rows of one model: for each size of --ram, or what the machine has. */
static int add_rows(const struct qm_args *args, struct job *j, const struct qm_model *m, const char *name, json_t *rows,
                    struct qm_error *err) {
    const char *at = qm_args_text(args, QM_OPT_RAM, "");
    int rc = QM_OK;
    do {
        char size[32];
        int n = (int)strcspn(at, ",");
        snprintf(size, sizeof size, "%.*s", n, at);
        j->ask.ram = 0;
        if (n)
            rc = qm_size_parse("--ram", size, &j->ask.ram, err);
        if (!rc && json_array_append_new(rows, qm_plan_table_row(&j->ask, m, name)))
            rc = qm_fail_memory(err, 256, "the table");
        at += n + (at[n] == ',');
    } while (*at && !rc);
    return rc;
}

/* A model by its directory, a config.json, or a shape's name. */
static int add_model(const struct qm_args *args, struct job *j, const char *name, json_t *rows, struct qm_error *err) {
    struct qm_model_options one = qm_decode_model(args);
    struct qm_app_model opened = {0};
    one.name = name;
    int rc = qm_app_describe(&one, QM_TOKENIZER_NO, &j->progress, &opened, err);
    if (!rc)
        rc = add_rows(args, j, opened.model, name, rows, err);
    qm_app_close(&opened);
    return rc;
}

static int print_table(const struct qm_args *args, struct job *j, struct qm_error *err) {
    json_t *rows = json_array();
    int rc = rows ? QM_OK : qm_fail_memory(err, 64, "the table");
    if (args->model && !rc)
        rc = add_model(args, j, args->model, rows, err);
    for (int i = 0; i < args->n_positional && !rc; i++)
        rc = add_model(args, j, args->positional[i], rows, err);
    for (int i = 0; qm_shape_name(i) && !args->model && !rc; i++)
        rc = add_model(args, j, qm_shape_name(i), rows, err);
    char *text = !rc && args->option[QM_OPT_JSON].set ? json_dumps(rows, JSON_INDENT(1)) : NULL;
    if (!rc)
        rc = text ? qm_out_printf(err, "%s\n", text) : qm_plan_table_print(rows, j->ask.speed, err);
    free(text);
    json_decref(rows);
    return rc;
}

static int print(const struct qm_args *args, const struct job *j, const struct qm_plan_answer *a,
                 struct qm_error *err) {
    if (args->option[QM_OPT_HTML].set)
        return qm_plan_html(&j->ask, a, err);
    if (!args->option[QM_OPT_JSON].set)
        return qm_plan_text(&j->ask, a, err);
    json_t *root = qm_plan_json(&j->ask, a);
    char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    int rc = text ? qm_out_printf(err, "%s\n", text) : qm_fail(err, QM_INPUT, "%s: a name is not UTF-8", j->name);
    free(text);
    return rc;
}

/* What is wrong about the wishes is said before anything is measured, which takes a while. */
static int read_wishes(const struct qm_args *args, struct job *j, struct qm_error *err) {
    struct qm_offload_options away;
    int rc = read_pins(args, j, err);
    if (!rc)
        rc = qm_decode_offload(args, &away, err);
    if (!rc)
        rc = qm_offload_what(&away, j->model, &j->ask, &j->given, err);
    if (!rc)
        rc = read_routing(args, j, err);
    return rc ? rc : qm_plan_check(&j->ask, j->model, err);
}

/* A described machine, or what is kept of this one, and defaults; and its devices. Measures nothing. */
static int look_at_machine(const struct qm_args *args, struct job *j, struct qm_error *err) {
    const char *file = qm_args_text(args, QM_OPT_MACHINE, NULL);
    bool may = !args->option[QM_OPT_NO_MEASURE].set;
    struct qm_offload_options away;
    enum qm_isa isa;
    int rc = qm_decode_offload(args, &away, err);
    rc = rc ? rc : qm_decode_isa(args, &isa, err);
    if (!rc)
        rc = file ? qm_offload_described(file, &j->speed, err)
                  : qm_offload_kept(isa, j->model, &j->speed, may ? &j->due : NULL, err);
    return rc ? rc : qm_offload_devices(&away, &j->speed, err);
}

static int measure_machine(const struct qm_args *args, struct job *j, struct qm_error *err) {
    if (args->option[QM_OPT_MACHINE].set || args->option[QM_OPT_NO_MEASURE].set)
        return QM_OK;
    struct qm_offload_options away;
    enum qm_isa isa;
    int rc = qm_decode_offload(args, &away, err);
    rc = rc ? rc : qm_decode_isa(args, &isa, err);
    if (!rc)
        rc = qm_offload_machine(isa, j->model, &j->progress, &j->speed, err);
    return rc ? rc : qm_offload_devices(&away, &j->speed, err);
}

/* Measuring takes up to two minutes: what is known before it is shown at once, where people read it. */
static bool shown_before(const struct qm_args *args, const struct job *j) {
    return j->due && !args->option[QM_OPT_JSON].set && !args->option[QM_OPT_HTML].set;
}

static int say_measuring(struct qm_error *err) {
    int rc = qm_out_text("\nMeasuring goes on: a few seconds for the machine, a minute or two for the kernels, once.\n"
                         "The same with measured rates follows; Ctrl-C leaves it at this (--no-measure: always).\n\n",
                         err);
    return rc ? rc : qm_out_flush(err);
}

static int plan_one(const struct qm_args *args, struct job *j, struct qm_error *err) {
    const char *to = qm_args_text(args, QM_OPT_OUTPUT, NULL);
    struct qm_plan_answer answer = {0};
    int rc = to ? qm_out_try(to, err) : QM_OK;
    if (!rc)
        rc = open_model(args, j, err);
    if (!rc)
        rc = look_at_machine(args, j, err);
    if (!rc)
        rc = read_wishes(args, j, err);
    if (!rc && shown_before(args, j)) {
        rc = qm_plan_answer(&j->ask, j->model, j->name, &answer, err);
        rc = rc ? rc : print(args, j, &answer, err);
        rc = rc ? rc : say_measuring(err);
        qm_plan_answer_free(&answer);
        answer = (struct qm_plan_answer){0};
    }
    if (!rc)
        rc = measure_machine(args, j, err);
    if (!rc)
        rc = qm_plan_answer(&j->ask, j->model, j->name, &answer, err);
    if (!rc && to)
        rc = write_plan_file(j, &answer, to, err);
    if (!rc)
        rc = print(args, j, &answer, err);
    qm_plan_answer_free(&answer);
    return rc;
}

static int plan_table(const struct qm_args *args, struct job *j, struct qm_error *err) {
    int rc = look_at_machine(args, j, err);
    if (!rc && shown_before(args, j)) {
        rc = print_table(args, j, err);
        rc = rc ? rc : say_measuring(err);
    }
    if (!rc)
        rc = measure_machine(args, j, err);
    return rc ? rc : print_table(args, j, err);
}

static int run_plan(const struct qm_args *args, struct qm_error *err) {
    if (args->option[QM_OPT_ACCURACY].set)
        return qm_plan_accuracy(args->option[QM_OPT_JSON].set, err);
    struct job *j = calloc(1, sizeof *j);
    if (!j)
        return qm_fail_memory(err, sizeof *j, "the plan");
    qm_progress_init(&j->progress, args->option[QM_OPT_SILENT].set);
    int rc = read_ask(args, &j->ask, err);
    j->ask.speed = &j->speed;
    if (!rc)
        rc = tables(args) ? plan_table(args, j, err) : plan_one(args, j, err);
    qm_placement_free(&j->given);
    qm_routing_profile_free(&j->routing);
    qm_model_close(j->shape);
    qm_app_close(&j->opened);
    free(j);
    return rc;
}

static const unsigned char plan_options[] = {QM_OPT_CONTEXT,      QM_OPT_PLAN_BATCH,
                                             QM_OPT_PLAN_PROMPT,  QM_OPT_GENERATE,
                                             QM_OPT_PLAN_DEPTH,   QM_OPT_OUTPUT,
                                             QM_OPT_OFFLOAD,      QM_OPT_PIN,
                                             QM_OPT_DEVICE,       QM_OPT_PROFILE_EXPERTS,
                                             QM_OPT_ACCURACY,     QM_OPT_TABLE,
                                             QM_OPT_HTML,         QM_OPT_VRAM,
                                             QM_OPT_RAM,          QM_OPT_MACHINE,
                                             QM_OPT_NO_MEASURE,   QM_OPT_RANDOM,
                                             QM_OPT_LAYERS,       QM_OPT_JSON,
                                             QM_OPT_CHUNK,        QM_OPT_THREADS,
                                             QM_OPT_ISA,          QM_OPT_KV_TYPE,
                                             QM_OPT_ROPE_THETA,   QM_OPT_EXPERTS_PER_TOKEN,
                                             QM_OPT_ROPE_SCALING, QM_OPT_SILENT,
                                             QM_OPT_DTYPE,        QM_OPT_ATTENTION_MAPS,
                                             QM_OPT_END};

static const unsigned char table_uses[] = {QM_OPT_NO_MEASURE,
                                           QM_OPT_JSON,
                                           QM_OPT_PLAN_BATCH,
                                           QM_OPT_RAM,
                                           QM_OPT_VRAM,
                                           QM_OPT_MACHINE,
                                           QM_OPT_DEVICE,
                                           QM_OPT_OFFLOAD,
                                           QM_OPT_CHUNK,
                                           QM_OPT_THREADS,
                                           QM_OPT_ISA,
                                           QM_OPT_KV_TYPE,
                                           QM_OPT_LAYERS,
                                           QM_OPT_DTYPE,
                                           QM_OPT_ROPE_THETA,
                                           QM_OPT_ROPE_SCALING,
                                           QM_OPT_EXPERTS_PER_TOKEN,
                                           QM_OPT_ATTENTION_MAPS,
                                           QM_OPT_END};
static const unsigned char accuracy_uses[] = {QM_OPT_JSON, QM_OPT_END};
static const unsigned char page_refuses[] = {QM_OPT_JSON, QM_OPT_END};
static const unsigned char described_refuses[] = {QM_OPT_NO_MEASURE, QM_OPT_ISA, QM_OPT_END};
static const struct qm_mode plan_modes[] = {{.by = QM_OPT_ACCURACY, .alone = true, .uses = accuracy_uses},
                                            {.by = QM_OPT_TABLE, .or_several = true, .uses = table_uses},
                                            {.by = QM_OPT_HTML, .refuses = page_refuses},
                                            {.by = QM_OPT_MACHINE, .refuses = described_refuses},
                                            {.by = QM_OPT_END}};

static const struct qm_option_words plan_words[] = {
    {QM_OPT_PROFILE_EXPERTS, "expert usage counts that run, chat or perplexity wrote to FILE", "every expert equally"},
    {QM_OPT_OUTPUT, "also write the plan to OUT, for --offload", NULL},
    {QM_OPT_END, NULL, NULL}};

const struct qm_command qm_cmd_plan = {
    .name = "plan",
    .usage = "[MODEL... | --random SHAPE | --table]",
    .summary = "Predict memory, placement and speed before loading",
    .details = "Bytes by part, exact; tokens/s at several depths, predicted from this machine's\n"
               "limits or those of a described one; the time of a job; what bounds it, and what\n"
               "would help most. No weights are needed: MODEL may have config.json alone (hf\n"
               "download NAME config.json), be the path of one, or a shape's name (--random).\n"
               "Where this machine was not measured yet, all is shown at once by default rates\n"
               "and efficiencies, marked so, and again when it is measured.\n",
    .example = "quietmind plan Qwen/Qwen3-30B-A3B --context 131072 --prompt 100000\n"
               "quietmind plan --random llama-3-70b --machine epyc-9575f-2s\n",
    .options = plan_options,
    .modes = plan_modes,
    .words = plan_words,
    .max_positional = -1,
    .takes_model = true,
    .demo_without_model = true,
    .run = run_plan,
};
