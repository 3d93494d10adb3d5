/* quietmind plan: what fits, where it goes and how fast it will be, before anything is loaded. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/command_list.h"
#include "app/decode.h"
#include "app/machine/model.h"
#include "app/offload.h"
#include "app/open_model.h"
#include "app/out.h"
#include "app/plan/plan.h"
#include "app/shapes.h"
#include "base/file.h"
#include "engine/plan_file.h"
#include "engine/routing_file.h"

enum { MAX_PINS = 64 };

struct plan_options {
    struct qm_model_options model;
    struct qm_offload_options offload;
    enum qm_isa isa;
    struct qm_plan_ask ask;       /* what is asked for in numbers */
    const char *machine;          /* a described one; NULL: this one */
    const char *shape;            /* in place of a model; NULL */
    const char *ram;              /* sizes, one a row, of a table; NULL: what the machine has */
    const char *output;           /* of the plan's file; NULL */
    const char *routing;          /* counts of experts; NULL */
    struct qm_texts pins, others; /* others: models beside the first */
    bool accuracy, table, json, html, no_measure, silent;
};

struct planning {
    const struct plan_options *options;
    struct qm_plan_ask ask;
    struct qm_machine_model speed;
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

static int decode(const struct qm_args *args, struct plan_options *o, struct qm_error *err) {
    const char *ram = qm_args_text(args, QM_OPT_RAM, NULL), *vram = qm_args_text(args, QM_OPT_VRAM, NULL);
    const char *default_model = getenv("QUIETMIND_MODEL");
    const struct qm_arg *acceptance = &args->option[QM_OPT_ACCEPTANCE];
    *o = (struct plan_options){.model = qm_decode_model(args),
                               .machine = qm_args_text(args, QM_OPT_MACHINE, NULL),
                               .shape = qm_args_text(args, QM_OPT_RANDOM, NULL),
                               .output = qm_args_text(args, QM_OPT_OUTPUT, NULL),
                               .routing = qm_args_text(args, QM_OPT_PROFILE_EXPERTS, NULL),
                               .pins = qm_decode_texts(args, QM_OPT_PIN),
                               .others = {args->positional, (size_t)args->n_positional},
                               .accuracy = args->option[QM_OPT_ACCURACY].set,
                               .table = args->option[QM_OPT_TABLE].set || args->n_positional > 0,
                               .json = args->option[QM_OPT_JSON].set,
                               .html = args->option[QM_OPT_HTML].set,
                               .no_measure = args->option[QM_OPT_NO_MEASURE].set,
                               .silent = args->option[QM_OPT_SILENT].set};
    o->ask = (struct qm_plan_ask){.context = o->model.context,
                                  .chunk = qm_args_int(args, QM_OPT_CHUNK, QM_DEFAULT_CHUNK),
                                  .threads = (int)qm_args_int(args, QM_OPT_THREADS, 0),
                                  .maps = args->option[QM_OPT_ATTENTION_MAPS].set,
                                  .last_layers = -1,
                                  .acceptance = acceptance->set ? acceptance->real : -1};
    o->ask.scenario = (struct qm_scenario){.sequences = qm_args_int(args, QM_OPT_PLAN_BATCH, 1),
                                           .depth = qm_args_int(args, QM_OPT_PLAN_DEPTH, 0),
                                           .prompt = qm_args_int(args, QM_OPT_PLAN_PROMPT, 512),
                                           .generate = qm_args_int(args, QM_OPT_GENERATE, 32)};
    o->ram = o->table ? ram : NULL;
    if (o->accuracy) /* asks nothing else */
        return QM_OK;
    int rc = ram && !o->table ? qm_size_parse("--ram", ram, &o->ask.ram, err) : QM_OK;
    if (!rc && vram)
        rc = qm_size_parse("--vram", vram, &o->ask.vram, err);
    if (!rc && o->ask.scenario.prompt + o->ask.scenario.generate == 0)
        rc = qm_fail(err, QM_USAGE, "plan: nothing to do: --prompt and --generate are 0");
    if (!rc)
        rc = qm_decode_kv_type(args, &o->ask.kv_type, err);
    if (!rc)
        rc = qm_decode_isa(args, &o->isa, err);
    if (!rc && o->shape && !o->table && o->model.name && !(default_model && !strcmp(o->model.name, default_model)))
        rc = qm_fail(err, QM_USAGE, "plan: either a model (%s) or --random %s", o->model.name, o->shape);
    return rc ? rc : qm_decode_offload(args, &o->offload, err);
}

static void device_names(const struct planning *j, const char *names[QM_MAX_DEVICES]) {
    for (int d = 0; d <= j->speed.devices; d++)
        names[d] = qm_plan_device_name(&j->speed, d);
}

static int write_plan_file(const struct planning *j, const struct qm_plan_answer *a, const char *path,
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

static int read_pins(struct planning *j, struct qm_error *err) {
    const struct qm_texts *pins = &j->options->pins;
    int rc = QM_OK;
    if (pins->n > MAX_PINS)
        return qm_fail(err, QM_USAGE, "--pin: more than %d", MAX_PINS);
    for (size_t i = 0; i < pins->n && !rc; i++)
        rc = qm_pin_parse("--pin", pins->text[i], j->model, &j->speed, &j->pins[j->ask.n_pins++], err);
    j->ask.pins = j->pins;
    return rc;
}

static int read_routing(struct planning *j, struct qm_error *err) {
    const char *path = j->options->routing;
    if (!path)
        return QM_OK;
    if (access(path, R_OK) != 0)
        return qm_fail_errno(err, "%s", path);
    j->ask.routing = &j->routing;
    return qm_routing_file_open(path, &j->model->config, &j->routing, err);
}

/* Beyond the model's own context, as run says it. */
static void warn_context(struct planning *j) {
    const struct qm_scenario *scenario = &j->ask.scenario;
    int64_t wanted = scenario->depth + scenario->prompt + scenario->generate;
    char note[300];
    qm_app_context_note(j->model, wanted > j->ask.context ? wanted : j->ask.context, note, sizeof note);
    if (note[0])
        qm_note(&j->progress, "%.*s", (int)strlen(note) - 1, note);
}

/* A directory with weights, what config.json alone says, or a shape. */
static int open_model(struct planning *j, struct qm_error *err) {
    struct qm_model_options named = j->options->model;
    const char *shape = j->options->shape;
    named.context = 0; /* the context's warning counts the job's tokens too */
    int rc = shape ? qm_shape_open(shape, named.layers, named.dtype, &named.overrides, &j->shape, err)
                   : qm_app_describe(&named, QM_TOKENIZER_NO, &j->progress, &j->opened, err);
    j->model = shape ? j->shape : j->opened.model;
    j->name = shape ? shape : j->opened.dir;
    if (!rc)
        warn_context(j);
    return rc;
}

/* Rows of one model: for each size of --ram, or what the machine has. */
static int add_rows(struct planning *j, const struct qm_model *m, const char *name, json_t *rows,
                    struct qm_error *err) {
    const char *at = j->options->ram ? j->options->ram : "";
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
static int add_model(struct planning *j, const char *name, json_t *rows, struct qm_error *err) {
    struct qm_model_options one = j->options->model;
    struct qm_app_model opened = {0};
    one.name = name;
    int rc = qm_app_describe(&one, QM_TOKENIZER_NO, &j->progress, &opened, err);
    if (!rc)
        rc = add_rows(j, opened.model, name, rows, err);
    qm_app_close(&opened);
    return rc;
}

static int print_table(struct planning *j, struct qm_error *err) {
    const struct plan_options *o = j->options;
    json_t *rows = json_array();
    int rc = rows ? QM_OK : qm_fail_memory(err, 64, "the table");
    if (o->model.name && !rc)
        rc = add_model(j, o->model.name, rows, err);
    for (size_t i = 0; i < o->others.n && !rc; i++)
        rc = add_model(j, o->others.text[i], rows, err);
    for (int i = 0; qm_shape_name(i) && !o->model.name && !rc; i++)
        rc = add_model(j, qm_shape_name(i), rows, err);
    char *text = !rc && o->json ? json_dumps(rows, JSON_INDENT(1)) : NULL;
    if (!rc)
        rc = text ? qm_out_printf(err, "%s\n", text) : qm_plan_table_print(rows, j->ask.speed, err);
    free(text);
    json_decref(rows);
    return rc;
}

static int print(const struct planning *j, const struct qm_plan_answer *a, struct qm_error *err) {
    if (j->options->html)
        return qm_plan_html(&j->ask, a, err);
    if (!j->options->json)
        return qm_plan_text(&j->ask, a, err);
    json_t *root = qm_plan_json(&j->ask, a);
    char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    int rc = text ? qm_out_printf(err, "%s\n", text) : qm_fail(err, QM_INPUT, "%s: a name is not UTF-8", j->name);
    free(text);
    return rc;
}

/* What is wrong about the wishes is reported before anything is measured, which takes a while. */
static int read_wishes(struct planning *j, struct qm_error *err) {
    int rc = read_pins(j, err);
    if (!rc)
        rc = qm_offload_what(&j->options->offload, j->model, &j->ask, &j->given, err);
    if (!rc)
        rc = read_routing(j, err);
    return rc ? rc : qm_plan_check(&j->ask, j->model, err);
}

/* A described machine, or what is kept of this one, and defaults; and its devices. Measures nothing. */
static int look_at_machine(struct planning *j, struct qm_error *err) {
    const struct plan_options *o = j->options;
    int rc = o->machine ? qm_app_machine_described(o->machine, &j->speed, err)
                        : qm_app_machine_kept(o->isa, j->model, &j->speed, o->no_measure ? NULL : &j->due, err);
    return rc ? rc : qm_offload_devices(&o->offload, &j->speed, err);
}

static int measure_machine(struct planning *j, struct qm_error *err) {
    const struct plan_options *o = j->options;
    if (o->machine || o->no_measure)
        return QM_OK;
    int rc = qm_app_machine_measure(o->isa, j->model, &j->progress, &j->speed, err);
    return rc ? rc : qm_offload_devices(&o->offload, &j->speed, err);
}

/* Measuring takes up to two minutes: what is known before it is shown at once, where people read it. */
static bool shown_before(const struct planning *j) {
    return j->due && !j->options->json && !j->options->html;
}

static int say_measuring(struct qm_error *err) {
    int rc = qm_out_text("\nMeasuring goes on: a few seconds for the machine, a minute or two for the kernels, once.\n"
                         "The same with measured rates follows; Ctrl-C leaves it at this (--no-measure: always).\n\n",
                         err);
    return rc ? rc : qm_out_flush(err);
}

static int plan_one(struct planning *j, struct qm_error *err) {
    const char *to = j->options->output;
    struct qm_plan_answer answer = {0};
    int rc = to ? qm_out_try(to, err) : QM_OK;
    if (!rc)
        rc = open_model(j, err);
    if (!rc)
        rc = look_at_machine(j, err);
    if (!rc)
        rc = read_wishes(j, err);
    if (!rc && shown_before(j)) {
        rc = qm_plan_answer(&j->ask, j->model, j->name, &answer, err);
        if (!rc)
            rc = print(j, &answer, err);
        if (!rc)
            rc = say_measuring(err);
        qm_plan_answer_free(&answer);
        answer = (struct qm_plan_answer){0};
    }
    if (!rc)
        rc = measure_machine(j, err);
    if (!rc)
        rc = qm_plan_answer(&j->ask, j->model, j->name, &answer, err);
    if (!rc && to)
        rc = write_plan_file(j, &answer, to, err);
    if (!rc)
        rc = print(j, &answer, err);
    qm_plan_answer_free(&answer);
    return rc;
}

static int plan_table(struct planning *j, struct qm_error *err) {
    int rc = look_at_machine(j, err);
    if (!rc && shown_before(j)) {
        rc = print_table(j, err);
        if (!rc)
            rc = say_measuring(err);
    }
    if (!rc)
        rc = measure_machine(j, err);
    return rc ? rc : print_table(j, err);
}

static int run_plan(const struct qm_args *args, struct qm_error *err) {
    struct plan_options o;
    struct planning *j;
    int rc = decode(args, &o, err);
    if (rc || o.accuracy)
        return rc ? rc : qm_plan_accuracy(o.json, err);
    if (!(j = calloc(1, sizeof *j)))
        return qm_fail_memory(err, sizeof *j, "the plan");
    qm_progress_init(&j->progress, o.silent);
    j->options = &o;
    j->ask = o.ask;
    j->ask.speed = &j->speed;
    rc = o.table ? plan_table(j, err) : plan_one(j, err);
    qm_placement_free(&j->given);
    qm_routing_profile_free(&j->routing);
    qm_model_close(j->shape);
    qm_app_close(&j->opened);
    free(j);
    return rc;
}

static const unsigned char plan_options[] = {QM_OPT_CONTEXT,
                                             QM_OPT_PLAN_BATCH,
                                             QM_OPT_PLAN_PROMPT,
                                             QM_OPT_GENERATE,
                                             QM_OPT_ACCEPTANCE,
                                             QM_OPT_PLAN_DEPTH,
                                             QM_OPT_OUTPUT,
                                             QM_OPT_OFFLOAD,
                                             QM_OPT_PIN,
                                             QM_OPT_DEVICE,
                                             QM_OPT_PROFILE_EXPERTS,
                                             QM_OPT_ACCURACY,
                                             QM_OPT_TABLE,
                                             QM_OPT_HTML,
                                             QM_OPT_VRAM,
                                             QM_OPT_RAM,
                                             QM_OPT_MACHINE,
                                             QM_OPT_NO_MEASURE,
                                             QM_OPT_RANDOM,
                                             QM_OPT_LAYERS,
                                             QM_OPT_JSON,
                                             QM_OPT_CHUNK,
                                             QM_OPT_THREADS,
                                             QM_OPT_ISA,
                                             QM_OPT_KV_TYPE,
                                             QM_OPT_ROPE_THETA,
                                             QM_OPT_EXPERTS_PER_TOKEN,
                                             QM_OPT_ROPE_SCALING,
                                             QM_OPT_SILENT,
                                             QM_OPT_DTYPE,
                                             QM_OPT_ATTENTION_MAPS,
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
