/* From options to settings. */
#include "app/batch/settings.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "planner/machine.h"

static int take_size(const struct qm_args *args, enum qm_option option, const char *name, uint64_t *out,
                     struct qm_error *err) {
    return args->option[option].set ? qm_size_parse(name, args->option[option].text, out, err) : QM_OK;
}

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

static int take_store(const struct qm_args *args, struct qm_batch_settings *s, struct qm_error *err) {
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
    int rc = take_size(args, QM_OPT_CHECKPOINT_SIZE, "--checkpoint-size", &s->store_bytes, err);
    s->no_store = !disk && args->option[QM_OPT_CHECKPOINT_SIZE].set && s->store_bytes == 0;
    return rc ? rc : take_size(args, QM_OPT_KV_DISK_SIZE, "--kv-disk-size", &s->store_bytes, err);
}

static int take_input(const struct qm_args *args, struct qm_batch_settings *s, struct qm_error *err) {
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
    s->skip_unreadable = args->option[QM_OPT_SKIP_UNREADABLE].set;
    s->output = qm_args_text(args, QM_OPT_OUTPUT, NULL);
    s->format = QM_ANSWERS_LINES;
    if (!(s->output && *s->output) && !s->check)
        return qm_fail(err, QM_USAGE, "batch: the output is missing: -o %s", documents ? "answers.md" : "OUT.jsonl");
    if (format)
        return qm_answer_format_parse(format, &s->format, err);
    return documents && s->output ? qm_answer_format_of(s->output, &s->format, err) : QM_OK;
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

int qm_batch_settings_take(const struct qm_args *args, time_t now, struct qm_batch_settings *s, struct qm_error *err) {
    *s = (struct qm_batch_settings){
        .check = args->option[QM_OPT_CHECK].set,
        .strict = args->option[QM_OPT_STRICT].set,
        .restart = args->option[QM_OPT_RESTART].set,
        .as_completed = args->option[QM_OPT_AS_COMPLETED].set,
        .sequences = qm_args_int(args, QM_OPT_SEQUENCES, QM_BATCH_SEQUENCES),
        .look_ahead = qm_args_int(args, QM_OPT_LOOK_AHEAD, QM_BATCH_LOOK_AHEAD),
        .chunk = qm_args_int(args, QM_OPT_CHUNK, 0),
        .on_done = qm_args_text(args, QM_OPT_ON_DONE, NULL),
        .report = qm_args_text(args, QM_OPT_REPORT, NULL),
    };
    int rc = take_input(args, s, err);
    if (!rc)
        rc = take_size(args, QM_OPT_KV_MEMORY, "--kv-memory", &s->kv_memory, err);
    if (!rc)
        rc = take_store(args, s, err);
    if (!rc && s->report && !s->check)
        rc = check_report(s->report, err);
    return rc ? rc : take_times(args, now, &s->times, err);
}
