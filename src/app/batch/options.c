/* From the command line to options. */
#include "app/batch/options.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/decode.h"
#include "app/template_args.h"
#include "app/weights_known.h"
#include "base/file.h"
#include "planner/machine.h"

static int take_times(const struct qm_args *args, time_t now, struct qm_batch_times *t, struct qm_error *err) {
    const char *until = qm_args_text(args, QM_OPT_UNTIL, NULL), *hours = qm_args_text(args, QM_OPT_HOURS, NULL);
    const char *battery = qm_args_text(args, QM_OPT_ON_BATTERY, "work");
    int seconds = 0, rc = QM_OK;
    t->has_until = until != NULL;
    t->has_hours = hours != NULL;
    t->pause_on_battery = !strcmp(battery, "pause");
    if (!t->pause_on_battery && strcmp(battery, "work") != 0)
        return qm_fail(err, QM_USAGE, "--on-battery: expected pause or work, found \"%s\"", battery);
    if (until)
        rc = qm_day_time_parse(until, "--until", &seconds, err);
    if (!rc && until)
        t->until = qm_day_time_next(seconds, now);
    if (!rc && hours)
        rc = qm_hours_parse(hours, "--hours", &t->hours, err);
    return rc;
}

static int take_store(const struct qm_args *args, struct qm_batch_options *s, struct qm_error *err) {
    const char *disk = qm_args_text(args, QM_OPT_KV_DISK, NULL);
    s->keep_store = disk != NULL;
    s->store_folder = disk ? disk : qm_args_text(args, QM_OPT_CHECKPOINT_DIR, NULL);
    s->checkpoint_every = qm_args_real(args, QM_OPT_CHECKPOINT_EVERY, 0);
    if (disk && args->option[QM_OPT_CHECKPOINT_DIR].set)
        return qm_fail(err, QM_USAGE,
                       "--checkpoint-dir and --kv-disk: checkpoints are kept in --kv-disk where it is "
                       "given; leave one of them out");
    if (!disk && args->option[QM_OPT_KV_DISK_SIZE].set)
        return qm_fail(err, QM_USAGE, "--kv-disk-size: only with --kv-disk");
    int rc = qm_decode_size(args, QM_OPT_CHECKPOINT_SIZE, &s->store_bytes, err);
    s->no_store = !disk && args->option[QM_OPT_CHECKPOINT_SIZE].set && s->store_bytes == 0;
    return rc ? rc : qm_decode_size(args, QM_OPT_KV_DISK_SIZE, &s->store_bytes, err);
}

static int take_input(const struct qm_args *args, bool check, struct qm_batch_options *s, struct qm_error *err) {
    bool documents = args->option[QM_OPT_DOCUMENT].set, ask = args->option[QM_OPT_ASK].set;
    s->input = args->n_positional ? args->positional[0] : NULL;
    if (documents != ask)
        return qm_fail(err, QM_USAGE,
                       "batch: %s is missing: quietmind batch MODEL --document PATH --ask FILE -o answers.md",
                       documents ? "--ask, a file with a question on each line," : "--document, a file or a folder,");
    if (documents && s->input)
        return qm_fail(err, QM_USAGE,
                       "batch: expected an input file or --document, found both: \"%s\"; a further document needs a "
                       "--document of its own",
                       s->input);
    if (!args->model || (!documents && !s->input))
        return qm_fail(err, QM_USAGE, "batch: the %s is missing: quietmind batch MODEL %s",
                       args->model ? "input" : "model",
                       documents ? "--document PATH --ask FILE -o answers.md"
                                 : "IN.jsonl -o OUT.jsonl, or about documents: quietmind batch MODEL --document PATH "
                                   "--ask FILE -o answers.md");
    static const enum qm_option plain[] = {QM_OPT_MAX_TOKENS,   QM_OPT_TEMPERATURE, QM_OPT_SYSTEM,
                                           QM_OPT_TEMPLATE_ARG, QM_OPT_FORMAT,      QM_OPT_SKIP_UNREADABLE};
    for (size_t i = 0; i < sizeof plain / sizeof *plain && !documents; i++)
        if (args->option[plain[i]].set)
            return qm_fail(err, QM_USAGE, "--%s: only with --document; the rows of a batch file say it themselves",
                           qm_options[plain[i]].name);
    const char *format = qm_args_text(args, QM_OPT_FORMAT, NULL);
    s->output = qm_args_text(args, QM_OPT_OUTPUT, NULL);
    s->format = QM_ANSWERS_LINES;
    if (!(s->output && *s->output) && !check)
        return qm_fail(err, QM_USAGE, "batch: the output is missing: -o %s", documents ? "answers.md" : "OUT.jsonl");
    if (format)
        return qm_answer_format_parse(format, "--format", &s->format, err);
    return documents && s->output ? qm_answer_format_of(s->output, "-o", &s->format, err) : QM_OK;
}

/* What is there may only be a page that an earlier run has written. */
static int check_report(const char *path, struct qm_error *err) {
    char head[2048] = "";
    struct stat st;
    bool there = stat(path, &st) == 0;
    if (there && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)) && strncmp(path, "/dev/", 5) != 0)
        return qm_fail(err, QM_INPUT, "--report %s: expected a file's name, found %s", path, qm_file_kind(st.st_mode));
    if (there && S_ISREG(st.st_mode) && st.st_size > 0) {
        int fd, rc = qm_open_regular(path, &fd, NULL, err);
        if (rc)
            return rc;
        ssize_t n = pread(fd, head, sizeof head - 1, 0);
        rc = n < 0 ? qm_fail_errno(err, "--report %s: cannot be read", path) : QM_OK;
        close(fd);
        if (rc)
            return rc;
        if (n <= 0 || !strstr(head, "<title>quietmind"))
            return qm_fail(err, QM_INPUT,
                           "--report %s: a file is there that is no report: move it away, or name another", path);
    }
    return qm_out_try(path, err);
}

/* What every request about a document has. */
static int take_body(const struct qm_args *args, json_t **out, struct qm_error *err) {
    json_t *body = json_object(), *variables = json_object();
    const struct qm_texts set = qm_decode_texts(args, QM_OPT_TEMPLATE_ARG);
    int rc = body && variables ? qm_template_args(&set, variables, err) : qm_fail_memory(err, 256, "requests");
    if (!rc && args->option[QM_OPT_MAX_TOKENS].set && args->option[QM_OPT_MAX_TOKENS].integer > 0)
        json_object_set_new(body, "max_tokens", json_integer(args->option[QM_OPT_MAX_TOKENS].integer));
    if (!rc && args->option[QM_OPT_TEMPERATURE].set)
        json_object_set_new(body, "temperature", json_real(args->option[QM_OPT_TEMPERATURE].real));
    if (!rc && json_object_size(variables))
        json_object_set(body, "chat_template_kwargs", variables);
    json_decref(variables);
    *out = body;
    return rc;
}

static int take_asked(const struct qm_args *args, struct qm_batch_command *c, struct qm_error *err) {
    const struct qm_arg *paths = &args->option[QM_OPT_DOCUMENT];
    c->others[0] = args->option[QM_OPT_ASK].text;
    c->others[1] = c->report;
    c->others[2] = c->job.chat_template;
    c->job.asked = (struct qm_batch_asked){.paths = paths->list,
                                           .n_paths = paths->n_list,
                                           .questions = args->option[QM_OPT_ASK].text,
                                           .system = qm_args_text(args, QM_OPT_SYSTEM, NULL),
                                           .others = c->others,
                                           .n_others = sizeof c->others / sizeof *c->others,
                                           .search = getenv("PATH"),
                                           .skip_unreadable = args->option[QM_OPT_SKIP_UNREADABLE].set};
    int rc = take_body(args, &c->body, err);
    c->job.asked.body = c->body;
    return rc;
}

/* The command line as it was typed, for a shell; nothing where the system does not show it. */
static void command_line(struct qm_buf *line) {
    struct qm_buf words = {0};
    if (!qm_read_file("/proc/self/cmdline", 1 << 20, &words, NULL)) {
        for (const char *w = words.data; w < words.data + words.len; w += strlen(w) + 1) {
            bool plain = *w && strspn(w, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,+@%") ==
                                   strlen(w);
            if (!strcmp(w, "--restart"))
                continue;
            qm_buf_str(line, line->len ? " " : "", NULL);
            qm_buf_str(line, plain ? "" : "'", NULL);
            for (const char *c = w; *c; c++)
                qm_buf_str(line, *c == '\'' ? "'\\''" : (char[]){*c, 0}, NULL);
            qm_buf_str(line, plain ? "" : "'", NULL);
        }
    }
    qm_buf_free(&words);
}

/* The model, and the engine as far as its bits depend on it. */
static int take_engine(const struct qm_args *args, struct qm_batch_command *c, struct qm_error *err) {
    struct qm_batch_options *o = &c->job;
    c->model = qm_decode_model(args);
    int rc = qm_decode_load(args, &c->load, err);
    if (!rc)
        rc = qm_decode_drafts(args, &c->drafts, err);
    o->model_name = args->model;
    o->chat_template = c->model.chat_template;
    o->context = c->load.context;
    o->threads = c->load.threads;
    o->isa = c->load.isa;
    o->kv_type = c->load.kv_type;
    return rc ? rc : qm_decode_size(args, QM_OPT_KV_MEMORY, &o->kv_memory, err);
}

int qm_batch_options_take(const struct qm_args *args, time_t now, struct qm_batch_command *c, struct qm_error *err) {
    *c = (struct qm_batch_command){.job = qm_batch_options_default,
                                   .check = args->option[QM_OPT_CHECK].set,
                                   .strict = args->option[QM_OPT_STRICT].set,
                                   .on_done = qm_args_text(args, QM_OPT_ON_DONE, NULL),
                                   .report = qm_args_text(args, QM_OPT_REPORT, NULL)};
    struct qm_batch_options *o = &c->job;
    o->restart = args->option[QM_OPT_RESTART].set;
    o->as_completed = args->option[QM_OPT_AS_COMPLETED].set;
    o->sequences = qm_args_int(args, QM_OPT_SEQUENCES, o->sequences);
    o->look_ahead = qm_args_int(args, QM_OPT_LOOK_AHEAD, o->look_ahead);
    o->chunk = qm_args_int(args, QM_OPT_CHUNK, 0);
    o->seed = (uint64_t)qm_args_int(args, QM_OPT_SEED, 0);
    qm_app_weights_cache(c->weights_cache, sizeof c->weights_cache);
    o->weights_cache = *c->weights_cache ? c->weights_cache : NULL;
    command_line(&c->command);
    o->command = c->command.len ? c->command.data : NULL;
    int rc = take_engine(args, c, err);
    if (!rc)
        rc = take_input(args, c->check, o, err);
    if (!rc)
        rc = take_store(args, o, err);
    if (!rc && c->report && !c->check)
        rc = check_report(c->report, err);
    if (!rc)
        rc = take_times(args, now, &o->times, err);
    return rc || o->input ? rc : take_asked(args, c, err);
}

void qm_batch_command_free(struct qm_batch_command *c) {
    json_decref(c->body);
    qm_buf_free(&c->command);
}
