/* quietmind compare: the same prompts under several configurations, and whether they answer the same. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "app/command_list.h"
#include "app/compare/run.h"
#include "app/decode.h"
#include "app/machine/model.h"
#include "app/offload.h"
#include "app/open_model.h"
#include "app/out.h"
#include "app/signals.h"
#include "base/file.h"
#include "base/hash.h"
#include "batch/options.h"
#include "numa/topology.h"
#include "planner/noise.h"

/* Read again and again to the length that is asked for. */
static const char TEXT[] =
    "A mill stood where the river leaves the hills. Its wheel turned slowly in summer and not at all in the dry weeks, "
    "and the miller kept a book of every sack that came and went. On the first page he had written the rule of the "
    "house: nothing is thrown away that can be ground again, and nothing is ground that has not been weighed. In the "
    "book were 412 sacks of wheat, 96 of rye and 17 of barley, with the names of those who brought them. ";

struct compare_options {
    struct qm_model_options model;
    struct qm_offload_options offload;
    const char *configs;
    struct qm_texts prompts, files; /* none of both: a text of prompt_tokens tokens */
    int64_t prompt_tokens, generate, chunk;
    int rounds, threads, kv_type;
    enum qm_isa isa;
    struct qm_numa numa;
    double temperature, bound;
    uint64_t seed;
    const char *machine;          /* a described one, to predict for; NULL: this one */
    const char *with;             /* an earlier report; NULL */
    struct qm_compare_job_of job; /* its file NULL: none */
    const char *output;           /* of the report as JSON; NULL */
    bool history, json, csv, html, silent;
};

struct compare {
    const struct compare_options *options;
    struct qm_compare_task task;
    struct qm_compare_report report, before;
    struct qm_app_model opened;
    struct qm_progress progress;
    struct qm_meter meter;
};

static int decode(const struct qm_args *args, struct compare_options *o, struct qm_error *err) {
    *o = (struct compare_options){
        .model = qm_decode_model(args),
        .configs = qm_args_text(args, QM_OPT_CONFIGS, "cpu,quiet,auto"),
        .prompts = qm_decode_texts(args, QM_OPT_PROMPTS),
        .files = qm_decode_texts(args, QM_OPT_FILES),
        .prompt_tokens = qm_args_int(args, QM_OPT_PROMPT_TOKENS, 512),
        .generate = qm_args_int(args, QM_OPT_COMPARE_GENERATE, 64),
        .chunk = qm_args_int(args, QM_OPT_CHUNK, QM_DEFAULT_CHUNK),
        .rounds = (int)qm_args_int(args, QM_OPT_ROUNDS, 3),
        .threads = (int)qm_args_int(args, QM_OPT_THREADS, 0),
        .temperature = qm_args_real(args, QM_OPT_TEMPERATURE, 0),
        .bound = qm_args_real(args, QM_OPT_BOUND, 0.001),
        .seed = (uint64_t)qm_args_int(args, QM_OPT_SEED, 0),
        .machine = qm_args_text(args, QM_OPT_MACHINE, NULL),
        .with = qm_args_text(args, QM_OPT_WITH, NULL),
        .job = {.file = qm_args_text(args, QM_OPT_JOB, NULL),
                .sequences = qm_args_int(args, QM_OPT_SEQUENCES, QM_BATCH_SEQUENCES)},
        .output = qm_args_text(args, QM_OPT_OUTPUT, NULL),
        .history = args->option[QM_OPT_HISTORY].set,
        .json = args->option[QM_OPT_JSON].set,
        .csv = args->option[QM_OPT_CSV].set,
        .html = args->option[QM_OPT_HTML].set,
        .silent = args->option[QM_OPT_SILENT].set,
    };
    o->job.model_name = o->model.name;
    o->job.chat_template = o->model.chat_template;
    if (o->history) /* asks nothing else */
        return QM_OK;
    int rc = qm_decode_isa(args, &o->isa, err);
    if (!rc)
        rc = qm_decode_kv_type(args, &o->kv_type, err);
    if (!rc)
        rc = qm_decode_numa(args, &o->numa, err);
    return rc ? rc : qm_decode_offload(args, &o->offload, err);
}

static int take_numbers(const struct compare_options *o, struct compare *c, struct qm_error *err) {
    struct qm_compare_task *t = &c->task;
    t->generate = o->generate;
    t->rounds = o->rounds;
    t->chunk = o->chunk;
    t->threads = o->threads;
    t->isa = o->isa;
    t->kv_type = o->kv_type;
    t->numa = o->numa;
    t->sampling = qm_sampling_default;
    t->sampling.temperature = o->temperature;
    t->sampling.seed = o->seed;
    c->report.bound = o->bound;
    c->report.generate = t->generate;
    c->report.rounds = t->rounds;
    c->report.seed = (int64_t)t->sampling.seed;
    c->report.temperature = t->sampling.temperature;
    return qm_compare_specs_parse(o->configs, t, err);
}

static int add_prompt(struct compare *c, const char *name, const char *text, size_t len, struct qm_error *err) {
    struct qm_compare_task *t = &c->task;
    if (t->prompts == QM_COMPARE_PROMPTS)
        return qm_fail(err, QM_USAGE, "compare: more than %d prompts", QM_COMPARE_PROMPTS);
    struct qm_ids *ids = &t->prompt[t->prompts++];
    int rc = qm_check_text(text, len, name, err);
    if (!rc)
        rc = qm_tokenizer_encode(c->opened.tokenizer, text, len, true, true, ids, err);
    if (!rc)
        rc = qm_tokenizer_check_ids(c->opened.tokenizer, ids, c->opened.model->config.vocab, name, err);
    return !rc && ids->len == 0 ? qm_fail(err, QM_INPUT, "%s: the prompt is empty", name) : rc;
}

static int default_prompt(struct compare *c, int64_t wanted, struct qm_error *err) {
    struct qm_ids *ids = &c->task.prompt[0];
    struct qm_buf text = {0};
    int rc = QM_OK;
    /* a token is at most as long as the text */
    for (size_t times = 1 + (size_t)wanted / 64; !rc && (int64_t)ids->len < wanted; times *= 2) {
        c->task.prompts = 0;
        ids->len = 0;
        for (size_t i = text.len / (sizeof TEXT - 1); i < times && !rc; i++)
            rc = qm_buf_str(&text, TEXT, err);
        if (!rc)
            rc = add_prompt(c, "the default prompt", text.data, text.len, err);
    }
    ids->len = (int64_t)ids->len > wanted ? (size_t)wanted : ids->len;
    qm_buf_free(&text);
    return rc;
}

static int read_prompts(struct compare *c, struct qm_error *err) {
    const struct qm_texts *texts = &c->options->prompts, *files = &c->options->files;
    struct qm_compare_task *t = &c->task;
    int rc = QM_OK;
    for (size_t i = 0; i < texts->n && !rc; i++)
        rc = add_prompt(c, "--prompt", texts->text[i], strlen(texts->text[i]), err);
    for (size_t i = 0; i < files->n && !rc; i++) {
        struct qm_buf text = {0};
        rc = qm_read_text(files->text[i], &text, err);
        if (!rc)
            rc = add_prompt(c, files->text[i], text.data ? text.data : "", text.len, err);
        qm_buf_free(&text);
    }
    if (!rc && t->prompts == 0)
        rc = default_prompt(c, c->options->prompt_tokens, err);
    struct qm_hasher *hasher = NULL;
    if (!rc)
        rc = qm_hasher_new(&hasher, err);
    if (rc)
        return rc;
    for (int p = 0; p < t->prompts; p++) {
        int64_t n = (int64_t)t->prompt[p].len;
        c->report.prompt_tokens += n;
        t->context = n + t->generate > t->context ? n + t->generate : t->context;
        qm_hasher_add(hasher, &n, sizeof n);
        qm_hasher_add(hasher, t->prompt[p].data, (size_t)n * sizeof *t->prompt[p].data);
    }
    c->report.prompts = t->prompts;
    qm_hasher_text(hasher, c->report.text_hash);
    qm_hasher_free(hasher);
    if (t->context > t->model->config.max_positions)
        return qm_fail(err, QM_USAGE, "compare: a prompt and its answer take %lld tokens, the model's context is %lld",
                       (long long)t->context, (long long)t->model->config.max_positions);
    return QM_OK;
}

/* What is predicted is for the machine of --machine, what is measured is measured here; else the profile of this
 * machine, measured where there is none yet, before any engine's threads are there. */
static int look_at_machine(struct compare *c, struct qm_error *err) {
    const struct compare_options *o = c->options;
    struct qm_machine_model *speed = &c->task.speed;
    struct qm_topology topology;
    int rc = qm_topology_load(NULL, &topology, err);
    if (rc)
        return rc;
    snprintf(c->report.machine, sizeof c->report.machine, "%s", topology.cpu_model);
    qm_topology_free(&topology);
    if (o->machine)
        rc = qm_app_machine_described(o->machine, speed, err);
    else if (!(rc = qm_offload_check_devices(&o->offload, err)))
        rc = qm_app_machine_measure(o->isa, c->task.model, &c->progress, speed, err);
    c->task.ram = o->machine ? 0 : qm_app_machine_ram(speed);
    if (!rc)
        rc = qm_offload_devices(&o->offload, speed, err);
    return rc ? rc : qm_meter_open("", &c->meter, err);
}

static void describe(struct compare *c) {
    struct qm_compare_report *r = &c->report;
    struct qm_reading now;
    time_t seconds = time(NULL);
    struct tm utc;
    strftime(r->when, sizeof r->when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &utc));
    snprintf(r->model, sizeof r->model, "%s", c->opened.dir);
    snprintf(r->isa, sizeof r->isa, "%s", qm_isa_name(c->task.isa));
    snprintf(r->build, sizeof r->build, "%s", QM_VERSION);
    qm_sensors_read(c->meter.sensors, &now);
    for (int k = 0; k < QM_SENSOR_COUNT; k++) {
        const char *why = qm_sensors_why(c->meter.sensors, (enum qm_sensor)k);
        size_t n = strlen(r->not_readable);
        if (why[0])
            snprintf(r->not_readable + n, sizeof r->not_readable - n, "%s: %.300s\n", qm_sensor_name((enum qm_sensor)k),
                     why);
    }
}

static int write_json(const struct compare *c, const char *path, struct qm_error *err) {
    struct qm_out out;
    char *text = qm_compare_json_text(&c->report, JSON_INDENT(2));
    int rc = text ? QM_OK : qm_fail(err, QM_INPUT, "%s: a name is not UTF-8", c->report.model);
    if (!rc && !path)
        rc = qm_out_printf(err, "%s\n", text);
    else if (!rc && !(rc = qm_out_open(&out, path, err))) {
        if (fprintf(out.file, "%s\n", text) < 0) {
            rc = qm_fail_errno(err, "%s", path);
            qm_out_abort(&out);
        } else {
            rc = qm_out_commit(&out, err);
        }
    }
    free(text);
    return rc;
}

static int print(const struct compare *c, struct qm_error *err) {
    const struct compare_options *o = c->options;
    const struct qm_compare_report *before = c->before.configs ? &c->before : NULL;
    int rc = o->output ? write_json(c, o->output, err) : QM_OK;
    if (rc)
        return rc;
    if (o->json)
        return write_json(c, NULL, err);
    if (o->csv)
        return qm_compare_csv(&c->report, err);
    if (o->html)
        return qm_compare_html(&c->report, before, err);
    return qm_compare_text(&c->report, before, err);
}

/* The result is printed by now: the code and a line say what it lacks. */
static int judge(const struct qm_compare_report *r, int rounds, struct qm_error *err) {
    if (r->rounds < rounds)
        return qm_fail(err, QM_INTERRUPTED, "interrupted in round %d: the result is that of the %d before",
                       r->rounds + 1, r->rounds);
    for (int i = 0; i < r->configs; i++)
        if (r->config[i].failed[0])
            return qm_fail(err, QM_SYSTEM, "%s failed in %s; the result has what the others did", r->config[i].name,
                           r->config[i].failed);
    return r->reference >= 0 && !r->agree ? QM_DISAGREE : QM_OK;
}

/* Cards are predicted for as gpu, beside what runs here; nothing computes on one. */
static int refuse_cards(const struct qm_offload_options *o, const struct qm_compare_task *t, struct qm_error *err) {
    int cards = 0;
    for (int i = 0; i < t->specs; i++)
        cards += t->spec[i].kind == QM_COMPARE_GPU;
    if (cards && cards == t->specs)
        return qm_fail(err, QM_USAGE,
                       "--configs gpu: this build computes on no GPU: nothing to run; with cpu beside it, gpu is shown "
                       "as predicted, and quietmind plan predicts alone");
    return cards ? QM_OK : qm_offload_refuse_cards(o, err);
}

/* What ran beside the runs, and beside what predictions rest on. */
static void mark(struct compare *c, const struct qm_noise_watch *watch) {
    struct qm_noise noise = qm_noise_end(watch);
    char now[300];
    const char *before = c->task.speed.noise;
    qm_noise_text(&noise, now, sizeof now);
    snprintf(c->report.noise, sizeof c->report.noise, "%s%s%s%s%s", now[0] ? "runs: " : "", now,
             now[0] && before[0] ? "; " : "", before[0] ? "predictions, " : "", before);
}

static int compare(struct compare *c, struct qm_error *err) {
    const struct compare_options *o = c->options;
    struct qm_compare_task *t = &c->task;
    int rc = take_numbers(o, c, err);
    if (!rc)
        rc = refuse_cards(&o->offload, t, err);
    if (!rc)
        rc = qm_app_open(&o->model, QM_TOKENIZER_YES, &c->progress, &c->opened, err);
    if (!rc)
        rc = qm_app_check_head(&c->opened, err);
    t->model = c->opened.model;
    t->model_name = c->opened.dir;
    if (!rc)
        rc = read_prompts(c, err);
    /* before anything long begins: what can't be written, and what is no report, is refused at once */
    if (!rc && o->output)
        rc = qm_out_try(o->output, err);
    if (!rc && o->with)
        rc = qm_compare_before(o->with, &c->report, c->opened.dir, &c->before, err);
    if (!rc)
        rc = look_at_machine(c, err);
    if (rc)
        return rc;
    describe(c);
    t->progress = &c->progress;
    t->meter = &c->meter;
    t->stop = qm_signals_flag();
    rc = qm_compare_plan(t, &c->report, err);
    struct qm_noise_watch watch;
    qm_noise_begin(&watch);
    qm_signals_hold();
    if (!rc)
        rc = qm_compare_run(t, &c->report, err);
    mark(c, &watch);
    qm_signals_release();
    qm_progress_end(&c->progress);
    if (!rc && o->job.file)
        rc = qm_compare_job_rows(&o->job, &c->opened, t, &c->report, err);
    if (!rc)
        rc = print(c, err);
    if (!rc && c->report.reference >= 0)
        qm_compare_keep(&c->report, &c->progress);
    return rc ? rc : judge(&c->report, t->rounds, err);
}

static int run_compare(const struct qm_args *args, struct qm_error *err) {
    struct compare_options o;
    struct compare *c;
    int rc = decode(args, &o, err);
    if (rc || o.history)
        return rc ? rc : qm_compare_history(o.json, err);
    if (!(c = calloc(1, sizeof *c)))
        return qm_fail_memory(err, sizeof *c, "the comparison");
    c->options = &o;
    qm_progress_init(&c->progress, o.silent);
    rc = compare(c, err);
    qm_compare_report_free(&c->report);
    qm_compare_report_free(&c->before);
    qm_compare_task_free(&c->task);
    qm_meter_close(&c->meter);
    qm_app_close(&c->opened);
    free(c);
    return rc;
}

static const unsigned char compare_options[] = {QM_OPT_CONFIGS,
                                                QM_OPT_MACHINE,
                                                QM_OPT_DEVICE,
                                                QM_OPT_PROMPTS,
                                                QM_OPT_FILES,
                                                QM_OPT_PROMPT_TOKENS,
                                                QM_OPT_COMPARE_GENERATE,
                                                QM_OPT_ROUNDS,
                                                QM_OPT_BOUND,
                                                QM_OPT_JOB,
                                                QM_OPT_SEQUENCES,
                                                QM_OPT_WITH,
                                                QM_OPT_HISTORY,
                                                QM_OPT_OUTPUT,
                                                QM_OPT_JSON,
                                                QM_OPT_CSV,
                                                QM_OPT_HTML,
                                                QM_OPT_TEMPERATURE,
                                                QM_OPT_SEED,
                                                QM_OPT_THREADS,
                                                QM_OPT_NUMA,
                                                QM_OPT_ISA,
                                                QM_OPT_KV_TYPE,
                                                QM_OPT_CHUNK,
                                                QM_OPT_CHAT_TEMPLATE,
                                                QM_OPT_EXPERTS_PER_TOKEN,
                                                QM_OPT_ROPE_THETA,
                                                QM_OPT_ROPE_SCALING,
                                                QM_OPT_SILENT,
                                                QM_OPT_END};

static const unsigned char history_uses[] = {QM_OPT_JSON, QM_OPT_END};
static const unsigned char json_refuses[] = {QM_OPT_CSV, QM_OPT_HTML, QM_OPT_END};
static const unsigned char csv_refuses[] = {QM_OPT_HTML, QM_OPT_END};
static const unsigned char length_refuses[] = {QM_OPT_PROMPTS, QM_OPT_FILES, QM_OPT_END};
static const struct qm_mode compare_modes[] = {{.by = QM_OPT_HISTORY, .alone = true, .uses = history_uses},
                                               {.by = QM_OPT_JSON, .refuses = json_refuses},
                                               {.by = QM_OPT_CSV, .refuses = csv_refuses},
                                               {.by = QM_OPT_PROMPT_TOKENS, .refuses = length_refuses},
                                               {.by = QM_OPT_END}};
static const struct qm_need compare_needs[] = {
    {QM_OPT_SEQUENCES, QM_OPT_JOB, 0}, {QM_OPT_CHAT_TEMPLATE, QM_OPT_JOB, 0}, {QM_OPT_END, 0, 0}};

static const struct qm_option_words compare_words[] = {{QM_OPT_TEMPERATURE, NULL, "0"},
                                                       {QM_OPT_SEED, NULL, "0"},
                                                       {QM_OPT_OUTPUT, "also write the result to OUT, as JSON", NULL},
                                                       {QM_OPT_SEQUENCES, "with --job: sequences at once", NULL},
                                                       {QM_OPT_END, NULL, NULL}};

const struct qm_command qm_cmd_compare = {
    .name = "compare",
    .usage = "[MODEL]",
    .summary = "Compare configurations: speed, energy, agreement of answers",
    .details = "Configurations: cpu; drafts (the CPU, with --draft lookup); quiet or\n"
               "quiet:PERCENT (the fewest threads that keep 97 % of the speed); auto (the\n"
               "planner's placement on the devices of --device); gpu (a card of this machine);\n"
               "emulated:auto (the emulated devices of --device, else a card for half of the\n"
               "model) or emulated:SIZE,bandwidth=GB/s,... as --device has it. What can't be\n"
               "run here is shown with its prediction, and says so; what drafts gain is not\n"
               "predicted.\n"
               "Each round runs every configuration, every other round in reverse order; shown\n"
               "are median, lowest and highest, and the prediction. Answers have as many tokens\n"
               "as --generate says, end tokens or not, with the same seed everywhere.\n"
               "They agree where the logits along the same prefix are at most --bound nats\n"
               "(Kullback-Leibler) from those of the first configuration, and no token differs\n"
               "but where that was measured; with --bound 0 every token must be the same.\n"
               "Exit code 0: they agree; 1: they do not; 5: a configuration failed, such as a\n"
               "device; the others go on, and the result says so. Results are kept, the last 32\n"
               "of them; --with shows one beside this one: last, a number of --history, or a\n"
               "file (of -o or --json, of this machine or another).\n",
    .example = "quietmind compare Qwen/Qwen3-4B --configs cpu,quiet,emulated:auto\n"
               "quietmind compare Qwen/Qwen3-4B -f report.txt -n 200 --with last\n"
               "quietmind compare --history\n"
               "quietmind compare Qwen/Qwen3-4B --job tonight.jsonl --html > compare.html\n",
    .options = compare_options,
    .modes = compare_modes,
    .needs = compare_needs,
    .words = compare_words,
    .takes_model = true,
    .demo_without_model = true,
    .run = run_compare,
};
