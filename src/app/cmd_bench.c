/* quietmind bench: how fast a model runs here, and how near that is to what the machine gives. */
#include <stdlib.h>
#include <string.h>

#include "app/bench/bench.h"
#include "app/command_list.h"
#include "app/decode.h"
#include "app/open_model.h"
#include "app/out.h"
#include "app/predictor.h"
#include "app/shapes.h"
#include "app/signals.h"
#include "app/version.h"
#include "engine/report.h"
#include "numa/machine.h"
#include "planner/noise.h"

struct bench_options {
    struct qm_model_options model;
    struct qm_bench_plan plan;
    const char *shape; /* in place of a model's files; NULL */
    enum qm_row_format format;
    bool kernels; /* the products alone */
    bool silent;
};

struct bench {
    struct qm_bench_plan plan;
    struct qm_bench_subject subject;
    struct qm_app_model opened;   /* with a model's directory */
    struct qm_model *shape, *all; /* with --random */
    struct qm_meter meter;
    struct qm_progress progress;
    struct qm_rows rows;
    struct qm_column columns[QM_BENCH_COLUMNS];
    struct qm_noise_watch watch;    /* since the row before */
    struct qm_noise noise;          /* the worst beside any row */
    struct qm_predictor *predictor; /* NULL where this machine's profile is not kept */
};

static int parse_format(const char *name, enum qm_row_format *out, struct qm_error *err) {
    static const char *const names[] = {"md", "csv", "json", "jsonl", "html"};
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
        if (!strcmp(name, names[i])) {
            *out = (enum qm_row_format)i;
            return QM_OK;
        }
    return qm_fail(err, QM_USAGE, "-o: expected md, csv, json, jsonl or html, found \"%s\"", name);
}

static int read_list(const struct qm_args *args, enum qm_option option, const char *absent, int64_t min, int64_t max,
                     struct qm_bench_list *out, struct qm_error *err) {
    char name[40];
    snprintf(name, sizeof name, "--%s", qm_options[option].name);
    return qm_bench_list_parse(name, qm_args_text(args, option, absent), min, max, out, err);
}

static bool all_zero(const struct qm_bench_list *list) {
    for (int i = 0; i < list->n; i++)
        if (list->value[i] != 0)
            return false;
    return true;
}

static int decode_plan(const struct qm_args *args, struct qm_bench_plan *p, struct qm_error *err) {
    const int64_t most = 100000000;
    *p = (struct qm_bench_plan){.repetitions = (int)qm_args_int(args, QM_OPT_REPETITIONS, 5),
                                .chunk = qm_args_int(args, QM_OPT_CHUNK, QM_DEFAULT_CHUNK),
                                .drafts = args->option[QM_OPT_ACCEPTANCE].set,
                                .acceptance = args->option[QM_OPT_ACCEPTANCE].real,
                                .fill_depth = args->option[QM_OPT_FILL_DEPTH].set,
                                .profile = args->option[QM_OPT_PROFILE].set,
                                .progress_lines = args->option[QM_OPT_PROGRESS].set};
    int rc = read_list(args, QM_OPT_N_PROMPT, "512", 0, most, &p->prompt, err);
    if (!rc)
        rc = read_list(args, QM_OPT_N_GEN, "128", 0, most, &p->gen, err);
    if (!rc)
        rc = read_list(args, QM_OPT_N_DEPTH, "0", 0, most, &p->depth, err);
    if (!rc)
        rc = read_list(args, QM_OPT_BATCH, "1", 1, 65536, &p->batch, err);
    if (!rc)
        rc = read_list(args, QM_OPT_THREAD_LIST, "0", 0, 1024, &p->threads, err);
    if (!rc)
        rc = qm_decode_quiet(args, &p->quiet, err);
    if (!rc)
        rc = qm_decode_offload(args, &p->offload, err);
    if (!rc)
        rc = qm_offload_refuse_cards(&p->offload, err);
    if (!rc)
        rc = qm_decode_isa(args, &p->isa, err);
    if (!rc)
        rc = qm_decode_kv_type(args, &p->kv_type, err);
    return rc ? rc : qm_decode_numa(args, &p->numa, err);
}

static int decode(const struct qm_args *args, struct bench_options *o, struct qm_error *err) {
    *o = (struct bench_options){.model = qm_decode_model(args),
                                .shape = qm_args_text(args, QM_OPT_RANDOM, NULL),
                                .kernels = args->option[QM_OPT_KERNEL].set,
                                .silent = args->option[QM_OPT_SILENT].set};
    const char *default_model = getenv("QUIETMIND_MODEL"); /* is for when nothing else is said */
    bool named = o->model.name && !(default_model && !strcmp(o->model.name, default_model));
    int rc = decode_plan(args, &o->plan, err);
    if (!rc && all_zero(&o->plan.prompt) && all_zero(&o->plan.gen) && !o->kernels)
        rc = qm_fail(err, QM_USAGE, "bench: nothing to measure: -p and -n are 0");
    if (!rc)
        rc = parse_format(qm_args_text(args, QM_OPT_OUTPUT_FORMAT, "md"), &o->format, err);
    if (!rc && o->shape && named && !o->kernels)
        rc = qm_fail(err, QM_USAGE, "bench: either a model (%s) or --random %s", o->model.name, o->shape);
    return rc;
}

static int open_subject(const struct bench_options *o, struct bench *b, struct qm_error *err) {
    const struct qm_model_options *m = &o->model;
    struct qm_bench_subject *s = &b->subject;
    if (!o->shape) {
        int rc = qm_app_open(m, QM_TOKENIZER_NO, &b->progress, &b->opened, err);
        s->model = b->opened.model;
        s->name = b->opened.dir;
        return rc;
    }
    int rc = qm_shape_open(o->shape, m->layers, m->dtype, &m->overrides, &b->shape, err);
    if (!rc && m->layers)
        rc = qm_shape_open(o->shape, 0, m->dtype, &m->overrides, &b->all, err);
    s->model = b->shape;
    s->name = o->shape;
    s->random_weights = true;
    s->whole = !rc && m->layers && b->all->config.layers > m->layers ? b->all : NULL;
    return rc;
}

/* The machine's name, and what it shows of its effort. */
static int look_at_machine(struct bench *b, struct qm_error *err) {
    struct qm_topology topology;
    struct qm_reading now;
    int rc = qm_topology_load(NULL, &topology, err);
    if (rc)
        return rc;
    snprintf(b->subject.cpu, sizeof b->subject.cpu, "%s", topology.cpu_model);
    qm_topology_free(&topology);
    rc = qm_meter_open("", &b->meter, err);
    if (rc)
        return rc;
    qm_sensors_read(b->meter.sensors, &now);
    for (int k = 0; k < QM_SENSOR_COUNT; k++)
        snprintf(b->subject.not_readable[k], sizeof b->subject.not_readable[k], "%s",
                 qm_sensors_why(b->meter.sensors, (enum qm_sensor)k));
    return QM_OK;
}

/* The lines of one row's profile, below the row. */
static int print_profile(const json_t *profile, struct qm_error *err) {
    const char *op;
    json_t *us;
    int rc = qm_out_printf(err, "|  per step: %.1f regions, %.2f barriers a layer; microseconds:",
                           json_number_value(json_object_get(profile, "regions_per_step")),
                           json_number_value(json_object_get(profile, "barriers_per_layer")));
    json_object_foreach(json_object_get(profile, "us_per_step"), op, us) {
        if (!rc)
            rc = qm_out_printf(err, " %s %.1f", op, json_number_value(us));
    }
    return rc ? rc : qm_out_text("\n", err);
}

/* Predicted beside measured, by the limits read around the row; into the row, and into the history. */
static void predict(struct bench *b, const struct qm_engine *e, const struct qm_bench_result *r, json_t *row) {
    const struct qm_bench_case *c = &r->which;
    struct qm_scenario job = {.sequences = c->batch, .depth = c->n_depth, .prompt = c->n_prompt, .generate = c->n_gen};
    struct qm_quiet_state quiet;
    bool can = b->predictor && row && !c->drafts && !qm_engine_quiet(e, &quiet) && !qm_engine_power_cap(e);
    double tps = can ? qm_predictor_tps(b->predictor, e, &job, &r->limits.median) : 0;
    if (!row || json_object_set_new(row, "predicted_ts", tps > 0 ? json_real(tps) : json_null()) || tps <= 0)
        return;
    qm_predictor_keep(b->predictor, &b->progress, e, "bench", b->subject.name, &job, tps,
                      json_number_value(json_object_get(row, "median_ts")));
}

/* What ran beside the row's measurements, and beside those that its prediction rests on. */
static void mark(struct bench *b, json_t *row) {
    struct qm_noise now = qm_noise_end(&b->watch);
    char text[300];
    qm_noise_text(&now, text, sizeof text);
    json_object_set_new(row, "noise", text[0] ? json_string(text) : json_null());
    const char *predicted = b->predictor ? qm_predictor_noise(b->predictor) : "";
    json_object_set_new(row, "prediction_noise", predicted[0] ? json_string(predicted) : json_null());
    b->noise = qm_noise_worse(&b->noise, &now);
    qm_noise_begin(&b->watch);
}

static int take_result(void *arg, const struct qm_engine *e, const struct qm_bench_result *r, struct qm_error *err) {
    struct bench *b = arg;
    json_t *row = qm_bench_row(&b->subject, e, r);
    if (row)
        mark(b, row);
    predict(b, e, r, row);
    int rc = qm_rows_add(&b->rows, row, err);
    if (!rc && r->profiled && b->rows.format == QM_ROWS_MD)
        rc = print_profile(json_object_get(row, "profile"), err);
    return rc ? rc : qm_out_flush(err);
}

/* The lines below the table: the build, and what ran beside. */
static int print_build(struct bench *b, bool kernels, struct qm_error *err) {
    char noise[300];
    struct qm_noise rest = qm_noise_end(&b->watch);
    const char *predicted = b->predictor ? qm_predictor_noise(b->predictor) : "";
    int rc = qm_out_printf(err, "\nbuild: quietmind %s, commit %s; %s; %s\n", QM_VERSION, qm_version_commit(),
                           qm_isa_name(b->plan.isa), b->subject.cpu);
    if (!rc && qm_noise_text(kernels ? &rest : &b->noise, noise, sizeof noise))
        rc = qm_out_printf(err, "measured beside noise, so less exact: %s\n", noise);
    return rc || !predicted[0] ? rc : qm_out_printf(err, "predicted beside noise: %s\n", predicted);
}

static int measure(struct bench *b, bool kernels, struct qm_error *err) {
    qm_bench_columns_for(&b->subject, b->predictor != NULL, b->columns);
    const struct qm_column *columns = kernels ? qm_bench_kernel_columns : b->columns;
    int rc = qm_rows_open(&b->rows, b->rows.format, columns, qm_out_now, err);
    struct qm_bench_run run = {.plan = &b->plan,
                               .subject = &b->subject,
                               .progress = &b->progress,
                               .meter = &b->meter,
                               .stop = qm_signals_flag(),
                               .result = take_result,
                               .arg = b};
    b->noise = (struct qm_noise){-1, -1, 0, NULL};
    qm_noise_begin(&b->watch);
    qm_signals_hold();
    for (int i = 0; i < b->plan.threads.n && !rc; i++) {
        int threads = (int)b->plan.threads.value[i];
        rc = kernels ? qm_bench_kernels(&b->plan, threads, &b->progress, &b->rows, run.stop, err)
                     : qm_bench_run(&run, threads, err);
    }
    qm_signals_release();
    qm_progress_end(&b->progress);
    /* what was measured until an interruption stays well-formed */
    if (rc == QM_OK || rc == QM_INTERRUPTED) {
        int ended = b->rows.format == QM_ROWS_HTML ? qm_bench_html(b->rows.all, kernels, columns, err)
                                                   : qm_rows_end(&b->rows, err);
        if (!rc)
            rc = ended;
    }
    if (rc || b->rows.format != QM_ROWS_MD)
        return rc;
    if (b->subject.whole)
        rc = qm_out_printf(err, "\n%s", qm_bench_scaling);
    return rc ? rc : print_build(b, kernels, err);
}

static int run_bench(const struct qm_args *args, struct qm_error *err) {
    struct bench_options o;
    int rc = decode(args, &o, err);
    if (rc)
        return rc;
    struct bench b = {.plan = o.plan, .rows.format = o.format};
    qm_progress_init(&b.progress, o.silent);
    if (!o.kernels)
        rc = open_subject(&o, &b, err);
    if (!rc)
        rc = look_at_machine(&b, err);
    b.subject.isa = b.plan.isa;
    b.subject.fill_depth = b.plan.fill_depth;
    b.subject.drafts = b.plan.drafts;
    b.subject.acceptance = b.plan.acceptance;
    if (!rc && !o.kernels)
        b.predictor = o.plan.offload.devices.n ? NULL : qm_predictor_open(b.plan.isa);
    if (!rc)
        rc = measure(&b, o.kernels, err);
    qm_predictor_close(b.predictor);
    qm_rows_close(&b.rows);
    qm_meter_close(&b.meter);
    qm_model_close(b.all);
    qm_model_close(b.shape);
    qm_app_close(&b.opened);
    return rc;
}

static const unsigned char bench_options[] = {
    QM_OPT_N_PROMPT,   QM_OPT_N_GEN,        QM_OPT_N_DEPTH,       QM_OPT_BATCH,   QM_OPT_THREAD_LIST,
    QM_OPT_NUMA,       QM_OPT_REPETITIONS,  QM_OPT_OUTPUT_FORMAT, QM_OPT_RANDOM,  QM_OPT_LAYERS,
    QM_OPT_FILL_DEPTH, QM_OPT_QUIET,        QM_OPT_NICE,          QM_OPT_IDLE,    QM_OPT_POWER_CAP,
    QM_OPT_DEVICE,     QM_OPT_OFFLOAD,      QM_OPT_VRAM,          QM_OPT_PROFILE, QM_OPT_KERNEL,
    QM_OPT_PROGRESS,   QM_OPT_CHUNK,        QM_OPT_ISA,           QM_OPT_KV_TYPE, QM_OPT_EXPERTS_PER_TOKEN,
    QM_OPT_ROPE_THETA, QM_OPT_ROPE_SCALING, QM_OPT_SILENT,        QM_OPT_DTYPE,   QM_OPT_ACCEPTANCE,
    QM_OPT_END};

static const unsigned char kernel_uses[] = {QM_OPT_PROGRESS, QM_OPT_THREAD_LIST, QM_OPT_OUTPUT_FORMAT, QM_OPT_ISA,
                                            QM_OPT_END};
static const struct qm_mode bench_modes[] = {{.by = QM_OPT_KERNEL, .alone = true, .uses = kernel_uses},
                                             {.by = QM_OPT_END}};
static const struct qm_need bench_needs[] = {{QM_OPT_LAYERS, QM_OPT_RANDOM, 0},
                                             {QM_OPT_DTYPE, QM_OPT_RANDOM, 0},
                                             {QM_OPT_FILL_DEPTH, QM_OPT_N_DEPTH, 0},
                                             {QM_OPT_VRAM, QM_OPT_DEVICE, 0},
                                             {QM_OPT_END, 0, 0}};

const struct qm_command qm_cmd_bench = {
    .name = "bench",
    .usage = "[MODEL | --random SHAPE | --kernel]",
    .summary = "Measure tokens/s, and how close they come to this machine's limits",
    .details = "One row for each prompt length (pp) and number of generated tokens (tg) at\n"
               "each depth (d), batch and number of threads, as llama-bench has them; tokens/s\n"
               "are the median of the repetitions and their standard deviation. Bytes and\n"
               "FLOPs are counted from the model: weights once a step, keys and values once a\n"
               "sequence, the causal half of attention, the head for the last position only;\n"
               "of experts as many as equally likely ones would be touched.\n"
               "The limit is the longer of the bytes at the read bandwidth and the FLOPs at\n"
               "the multiply-add peak, both measured by the same threads just before and after\n"
               "the row. What fits in caches can pass 100 %.\n"
               "With --acceptance X generation is measured once more, with drafts of which so\n"
               "many are right, beside the most that the cost of checking them allows.\n"
               "SHAPE is qwen3-30b-a3b, qwen3-4b, qwen3-0.6b, llama-3-70b, yi-34b,\n"
               "internlm2-20b, mixtral-8x22b, gpt-oss-20b, gpt-oss-120b, or the path of a\n"
               "config.json; nothing is downloaded. JSON is llama-bench's array with its field\n"
               "names, and ours. --kernel measures the products alone, and OpenBLAS's beside\n"
               "them, where it is installed.\n",
    .example = "quietmind bench Qwen/Qwen3-4B -p 512 -n 64 -d 0,4096\n"
               "quietmind bench --random qwen3-30b-a3b --layers 8 -p 0 -d 131072 --fill-depth\n"
               "quietmind bench --kernel --threads 1,0 -o csv\n",
    .options = bench_options,
    .modes = bench_modes,
    .needs = bench_needs,
    .takes_model = true,
    .demo_without_model = true,
    .run = run_bench,
};
