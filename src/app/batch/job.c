/* Opening, running and ending a job. */
#include "app/batch/job.h"
#include "app/batch/chat.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "app/batch/fit.h"
#include "app/batch/forecast.h"
#include "app/batch/manifest.h"
#include "app/batch/names.h"
#include "app/batch/power.h"
#include "app/batch/report.h"
#include "app/batch/run.h"
#include "app/batch/store.h"
#include "app/decode.h"
#include "app/signals.h"
#include "app/weights_known.h"
#include "base/file.h"
#include "base/size.h"
#include "base/words.h"
#include "batch/crash.h"
#include "numa/machine.h"

static const struct qm_batch_line beginning = {.number = 1, .file_line = 1};

struct job {
    const struct qm_args *args;
    const struct qm_batch_settings *settings;
    struct qm_progress *progress;
    struct qm_batch_rows rows;
    struct qm_batch_paths paths;
    int lock;
    struct qm_app_model model;
    struct qm_chat *chat;
    struct qm_journal *journal;
    bool created, log, touched; /* it is new; it had a log; the input may be another than when the job ran last */
    int64_t complete;
    struct qm_files_known weights_known;
    char weights[QM_HASH_TEXT]; /* the hash of their files */
    struct qm_buf plan;         /* the placement it began with, where that splits sums */
    char job[QM_HASH_TEXT];
    int64_t begun;            /* seconds since 1970, of the first run; */
    struct qm_buf began_with; /* its version */
    struct qm_buf model_name; /* as the first run was told it: lines must not depend on where another stands */
    int64_t context;
    struct qm_batch_fit fit;
    struct qm_batch_prediction predicted; /* of this run */
    struct qm_batch_flight flight;
    struct qm_batch_store store;
    struct qm_scheduler *scheduler;
    struct qm_batch_output *output;
    struct qm_batch_work *work;
};

/* --- before the model is loaded --- */

static int remove_file(const char *path, struct qm_error *err) {
    return unlink(path) == 0 || errno == ENOENT ? QM_OK : qm_fail_errno(err, "%s: cannot be removed", path);
}

static int check_output(const struct job *j, struct qm_error *err) {
    struct stat out;
    size_t n = strlen(j->paths.out);
    bool there = lstat(j->paths.out, &out) == 0;
    if ((there && S_ISDIR(out.st_mode)) || (n && j->paths.out[n - 1] == '/'))
        return qm_fail(err, QM_INPUT, "%s is a folder; name a file in it", j->paths.out);
    if (there && !S_ISREG(out.st_mode))
        return qm_fail(err, QM_INPUT, "%s is not a regular file; name another output", j->paths.out);
    return QM_OK;
}

/* What is damaged is computed again: the input is read from its beginning, OUT.partial is written anew. */
static int verify_journal(struct job *j, struct qm_error *err) {
    struct qm_journal_found found;
    int rc = qm_journal_verify(j->journal, &found, err);
    rc = rc ? rc : qm_batch_output_expect(j->journal, found.bytes, err);
    if (rc || !found.dropped)
        return rc;
    qm_note(j->progress, "%s: %lld row%s damaged or missing there: computed again", j->paths.journal,
            (long long)found.dropped, qm_s((long long)found.dropped));
    j->complete = 0;
    rc = qm_batch_note_position(j->journal, &beginning, err);
    return rc ? rc : qm_journal_set_int(j->journal, "complete", 0, err);
}

static int note_crash(struct job *j, const struct qm_batch_crash *crash, struct qm_error *err) {
    qm_note(j->progress,
            "the last run was ended by signal %d (%s) while %s at work; %s: what ends the program a second time is set "
            "aside as failed",
            crash->signal, strsignal(crash->signal), crash->n == 1 ? "one row was" : "rows were",
            crash->n == 1 ? "it is tried alone" : "they are tried one by one");
    int rc = qm_batch_crash_note(j->journal, crash, err);
    return rc ? rc : qm_journal_commit(j->journal, err);
}

/* Nothing is opened before it is known whose it is. */
static int open_journal(struct job *j, struct qm_error *err) {
    struct stat partial;
    bool mine = true;
    struct qm_batch_crash crash;
    qm_batch_crash_read(j->paths.lock, &crash);
    int rc = check_output(j, err);
    rc = rc ? rc : qm_batch_lock(j->paths.lock, &j->lock, err);
    if (!rc && j->settings->restart)
        rc = qm_batch_names_clear(&j->paths, j->progress, err);
    rc = rc ? rc : qm_batch_names_check(&j->paths, &j->log, err);
    rc = rc ? rc : qm_journal_open(j->paths.journal, &j->journal, &j->created, err);
    if (!rc && j->created && stat(j->paths.partial, &partial) == 0 && partial.st_size > 0)
        rc = qm_fail(err, QM_INPUT,
                     "%s holds finished rows, and %s none: put the journal back, with its -wal, name another output, "
                     "or start over with --restart",
                     j->paths.partial, j->paths.journal);
    rc = rc ? rc : qm_journal_get_int(j->journal, "complete", 0, &j->complete, err);
    rc = rc || j->complete ? rc : qm_batch_output_mine(&j->paths, j->journal, &mine, err);
    if (!rc && !mine)
        rc = qm_fail(err, QM_INPUT, "%s is there, and this job has not written it: move it away", j->paths.out);
    bool made = !rc && j->complete && access(j->paths.out, F_OK) == 0;
    rc = rc || !made ? rc : qm_journal_take_log(j->journal, err);
    rc = rc || j->created || made ? rc : verify_journal(j, err);
    return rc || j->created || made || !crash.n ? rc : note_crash(j, &crash, err);
}

static void add_knobs(const struct job *j, struct qm_manifest *m) {
    qm_manifest_add_number(m, "seed", "--seed", (double)qm_args_int(j->args, QM_OPT_SEED, 0), false);
    qm_manifest_add_number(m, "context", "--context", (double)qm_args_int(j->args, QM_OPT_CONTEXT, 0), false);
}

static void add_input(const struct job *j, struct qm_manifest *m) {
    char text[QM_HASH_TEXT + 32];
    if (j->rows.documents) {
        qm_batch_documents_hash(j->rows.documents, text);
        qm_manifest_add(m, "input", "the documents, the questions or how they are asked", text, false);
        return;
    }
    const struct qm_batch_identity *id = qm_batch_input_identity(j->rows.input);
    snprintf(text, sizeof text, "%s %llu", id->sample, (unsigned long long)id->size);
    qm_manifest_add(m, "input", "the input's content", text, false);
}

/* What is known of it by now is compared with what the job began with, or kept as that. */
static int settle_traits(struct job *j, const struct qm_fingerprint *f, struct qm_error *err) {
    struct qm_manifest m = {0};
    qm_manifest_add_traits(&m, f);
    return qm_manifest_settle(&m, j->journal, j->progress, err);
}

/* Before the placement is known, and the context where it is what fits. */
static int settle_early_traits(struct job *j, struct qm_error *err) {
    struct qm_fingerprint f;
    struct qm_fingerprint_of of = {.model = j->model.model, .weights = j->weights};
    int kv_type, rc = qm_decode_kv_type(j->args, &kv_type, err);
    rc = rc ? rc : qm_decode_isa(j->args, &of.isa, err);
    of.kv_type = kv_type < 0 ? qm_kv_default_type(&j->model.model->config) : (enum qm_dtype)kv_type;
    of.context = qm_args_int(j->args, QM_OPT_CONTEXT, j->context);
    rc = rc ? rc : qm_fingerprint_make(&of, &f, err);
    f.value[QM_TRAIT_SPLIT][0] = 0;
    return rc ? rc : settle_traits(j, &f, err);
}

/* Before weights are read. */
static int settle_planned_traits(void *arg, const struct qm_engine_options *o, struct qm_error *err) {
    struct job *j = arg;
    struct qm_fingerprint f;
    const struct qm_fingerprint_of of = {.model = j->model.model,
                                         .weights = j->weights,
                                         .context = o->context,
                                         .kv_type = o->kv_type < 0 ? qm_kv_default_type(&j->model.model->config)
                                                                   : (enum qm_dtype)o->kv_type,
                                         .isa = o->isa,
                                         .placement = o->placement};
    int rc = qm_fingerprint_make(&of, &f, err);
    return rc ? rc : settle_traits(j, &f, err);
}

/* Which weights these are: the job's own journal may know them, else the user's cache, else they are read. */
static int find_weights(struct job *j, struct qm_error *err) {
    struct qm_buf text = {0};
    bool found;
    int rc = qm_journal_get(j->journal, "weights_known", &text, &found, err);
    rc = rc ? rc
            : qm_weights_known(j->model.model, found ? text.data : NULL, j->progress, j->weights, &j->weights_known,
                               err);
    text.len = 0;
    if (!rc && j->model.model->shards)
        rc = qm_files_known_text(&j->weights_known, j->model.model->shards, &text, err);
    rc = rc ? rc : qm_journal_set(j->journal, "weights_known", text.len ? text.data : "", err);
    qm_buf_free(&text);
    return rc;
}

/* What every write and every replacement of the file changes; also what changes nothing, which is compared then. */
static void touch_text(const struct qm_batch_rows *rows, char out[128]) {
    *out = 0;
    if (!rows->input)
        return;
    const struct qm_batch_identity *id = qm_batch_input_identity(rows->input);
    snprintf(out, 128, "%lld %lld %llu %llu", (long long)id->modified, (long long)id->changed,
             (unsigned long long)id->device, (unsigned long long)id->inode);
}

static int keep_touch(struct job *j, const struct qm_batch_rows *rows, struct qm_error *err) {
    char now[128];
    touch_text(rows, now);
    return qm_journal_set(j->journal, "input_touched", now, err);
}

/* An input of the same size and samples but another time is read once more from its beginning, and compared with what
 * was read before: each finished row's line, and block by block. */
static int settle_time(struct job *j, struct qm_error *err) {
    struct qm_buf before = {0};
    char now[128];
    bool found;
    touch_text(&j->rows, now);
    int rc = qm_journal_get(j->journal, "input_touched", &before, &found, err);
    j->touched = !rc && found && strcmp(before.data ? before.data : "", now) != 0;
    qm_buf_free(&before);
    if (rc || (j->touched && j->complete))
        return rc;
    if (j->touched) {
        qm_note(j->progress, "%s has another time than when this job ran last: it is compared from its beginning",
                j->settings->input);
        rc = qm_batch_note_position(j->journal, &beginning, err);
    }
    return rc ? rc : keep_touch(j, &j->rows, err);
}

static int settle_manifest(struct job *j, struct qm_error *err) {
    struct qm_manifest m = {0};
    bool found;
    int rc = find_weights(j, err);
    qm_manifest_add(&m, "weights", qm_trait_name(QM_TRAIT_WEIGHTS), j->weights, false);
    rc = rc ? rc : qm_manifest_add_texts(&m, j->model.dir, qm_args_text(j->args, QM_OPT_CHAT_TEMPLATE, NULL), err);
    add_knobs(j, &m);
    add_input(j, &m);
    rc = rc ? rc : qm_manifest_settle(&m, j->journal, j->progress, err);
    qm_manifest_job(&m, j->job);
    /* as large as it was, whatever is free today: which rows are too long must not change */
    rc = rc ? rc : qm_journal_get_int(j->journal, "context_used", 0, &j->context, err);
    rc = rc ? rc : qm_journal_get(j->journal, "placement", &j->plan, &found, err);
    return rc ? rc : settle_early_traits(j, err);
}

static int settle(struct job *j, struct qm_error *err) {
    bool found = false;
    int rc = settle_manifest(j, err);
    rc = rc ? rc
            : qm_journal_get_int(j->journal, "created", (int64_t)qm_batch_real(&qm_batch_system_clock), &j->begun, err);
    rc = rc ? rc : qm_journal_set_int(j->journal, "created", j->begun, err);
    rc = rc ? rc : qm_journal_get(j->journal, "created_version", &j->began_with, &found, err);
    if (!rc && !found)
        rc = qm_journal_set(j->journal, "created_version", QM_VERSION, err);
    rc = rc ? rc : qm_journal_get(j->journal, "model_name", &j->model_name, &found, err);
    if (!rc && !found)
        rc = qm_buf_str(&j->model_name, j->args->model, err);
    rc = rc ? rc : qm_journal_set(j->journal, "model_name", j->model_name.data, err);
    rc = rc ? rc : settle_time(j, err);
    rc = rc ? rc : qm_journal_set(j->journal, "state", "starting", err);
    rc = rc ? rc : qm_journal_commit(j->journal, err);
    return rc ? rc : qm_sync_folder(j->paths.journal, err);
}

/* What an earlier run has done. */
static int tell_resumed(struct job *j, struct qm_error *err) {
    struct qm_journal_totals t;
    char begun[64];
    int rc = qm_journal_totals(j->journal, &t, err);
    if (!rc)
        qm_note(j->progress, "resuming the job begun %s (quietmind %s): %lld row%s finished, %lld failed",
                qm_batch_time_text(j->begun, begun, sizeof begun), j->began_with.data ? j->began_with.data : "?",
                (long long)t.rows, qm_s(t.rows), (long long)t.failed);
    return rc;
}

static int keep_block(void *arg, int64_t block, const char *hash, struct qm_error *err) {
    return qm_journal_block(arg, block, hash, err);
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

static void tell_how_to_resume(struct qm_progress *progress) {
    struct qm_buf line = {0};
    command_line(&line);
    if (line.len)
        qm_note(progress, "resume with: %s", line.data);
    qm_buf_free(&line);
}

/* Who computes, for the report. energy: why joules can't be read, or "". */
static int keep_circumstances(struct job *j, const char *energy, struct qm_error *err) {
    struct qm_buf line = {0};
    struct qm_machine *m = malloc(sizeof *m);
    char text[512];
    if (!m)
        return qm_fail_memory(err, sizeof *m, "the machine's description");
    command_line(&line);
    int rc = line.len ? qm_journal_set(j->journal, "command", line.data, err) : QM_OK;
    rc = rc ? rc : qm_journal_set(j->journal, "program", "quietmind " QM_VERSION, err);
    rc = rc ? rc : qm_journal_set(j->journal, "not_readable", energy, err);
    rc = rc ? rc : qm_machine_describe(m, err);
    if (!rc) {
        snprintf(text, sizeof text, "%s, %d thread%s, %s, %.1f GiB of memory", m->topology.cpu_model,
                 qm_engine_threads(j->model.engine), qm_s(qm_engine_threads(j->model.engine)),
                 qm_args_text(j->args, QM_OPT_ISA, qm_isa_name(qm_isa_auto())), qm_gib(m->memory));
        rc = qm_journal_set(j->journal, "machine", text, err);
        qm_machine_free(m);
    }
    free(m);
    qm_buf_free(&line);
    return rc;
}

/* --- with the model --- */

/* What a further run needs of this one: its context, and its placement where that splits sums. */
static int keep_placement(struct job *j, const struct qm_fingerprint *f, struct qm_error *err) {
    bool split = strcmp(f->value[QM_TRAIT_SPLIT], "none") != 0;
    int rc = qm_journal_set_int(j->journal, "context_used", qm_engine_context(j->model.engine), err);
    return rc || !split || j->plan.len ? rc : qm_journal_set(j->journal, "placement", j->model.plan, err);
}

/* Tokens that were generated by another instruction set, say, are not gone on from: the row would be neither's. */
static int settle_tokens(struct job *j, const struct qm_fingerprint *f, struct qm_error *err) {
    struct qm_buf before = {0};
    char now[32];
    bool found;
    snprintf(now, sizeof now, "%016llx", (unsigned long long)qm_fingerprint_key(f));
    int rc = qm_journal_get(j->journal, "tokens_key", &before, &found, err);
    if (!rc && found && strcmp(before.data, now) != 0)
        rc = qm_journal_forget_tokens(j->journal, err);
    qm_buf_free(&before);
    return rc ? rc : qm_journal_set(j->journal, "tokens_key", now, err);
}

static int settle_engine(struct job *j, struct qm_fingerprint *f, struct qm_error *err) {
    int rc = qm_weights_unchanged(j->model.model->shards, &j->weights_known, err);
    rc = rc ? rc : qm_engine_fingerprint(j->model.engine, j->weights, f, err);
    rc = rc ? rc : settle_traits(j, f, err);
    rc = rc ? rc : keep_placement(j, f, err);
    return rc ? rc : settle_tokens(j, f, err);
}

static int open_engine(struct job *j, struct qm_error *err) {
    struct qm_fingerprint f;
    struct qm_app_engine wanted = {.embeddings = true,
                                   .chunk = j->settings->chunk,
                                   .sequences = j->settings->sequences,
                                   .context = j->context,
                                   .plan = j->plan.len ? j->plan.data : NULL,
                                   .check = settle_planned_traits,
                                   .arg = j};
    struct qm_load_options load;
    int rc = qm_decode_load(j->args, &load, err);
    rc = rc ? rc : qm_batch_kv_memory(j->args, j->settings, j->model.model, &wanted.kv_memory, err);
    rc = rc ? rc : qm_app_load_engine(&load, &wanted, j->progress, &j->model, err);
    rc = rc ? rc : settle_engine(j, &f, err);
    rc = rc ? rc : qm_batch_fit_settle(j->journal, j->args, j->settings, j->model.engine, &j->fit, err);
    rc = rc ? rc : qm_batch_store_open(&j->store, j->settings, &j->paths, &f, j->model.engine, j->progress, err);
    struct qm_scheduler_options o = {
        .engine = j->model.engine, .tokenizer = j->model.tokenizer, .cache = j->store.cache};
    return rc ? rc : qm_scheduler_open(&o, &j->scheduler, err);
}

/* context: of a sequence. */
static struct qm_openai_context requests(const struct job *j, int64_t context, struct tm *now) {
    time_t begun = (time_t)j->begun;
    return (struct qm_openai_context){
        .tokenizer = j->model.tokenizer,
        .chat = j->chat,
        .vocab = j->model.model->config.vocab,
        .no_head = j->model.model->config.no_head,
        .context = context,
        .sampling = qm_openai_sampling(&j->model.defaults),
        .now = localtime_r(&begun, now), /* what templates print must not change when the job resumes */
        .model = j->model_name.data,
    };
}

static int tell_prediction(struct job *j, int64_t finished, struct qm_error *err) {
    const struct qm_batch_prediction *p = &j->predicted;
    struct qm_buf text = {0};
    int rc = qm_batch_rows_text(&j->rows, p->rows, p->all, finished > 0, &text, err);
    rc = rc ? rc : qm_buf_str(&text, ", ", err);
    rc = rc ? rc : qm_batch_prediction_text(p, &j->settings->times, time(NULL), &text, err);
    if (!rc)
        qm_note(j->progress, "%s", text.data);
    if (!rc && *p->basis)
        qm_note(j->progress, "(predicted: %s)", p->basis);
    qm_buf_free(&text);
    return rc;
}

/* How long it will take, before weights are read: told, and kept for the report. */
static int predict(struct job *j, struct qm_error *err) {
    static const double SECONDS = 0.3;
    struct qm_batch_forecast *f = NULL;
    const struct qm_config *config = &j->model.model->config;
    struct qm_journal_totals t;
    struct tm now;
    int64_t context = qm_args_int(j->args, QM_OPT_CONTEXT, j->context);
    struct qm_openai_context openai = requests(j, context ? context : config->usual_positions, &now);
    const struct qm_batch_forecast_of of = {&j->rows.source, j->journal, &openai, &j->flight, SECONDS};
    int kv_type, rc = qm_decode_kv_type(j->args, &kv_type, err);
    rc = rc ? rc : qm_journal_totals(j->journal, &t, err);
    rc = rc ? rc
            : qm_batch_forecast_open(j->args, j->settings, j->model.model,
                                     kv_type < 0 ? qm_kv_default_type(config) : (enum qm_dtype)kv_type, openai.context,
                                     &f, err);
    if (!rc) {
        qm_batch_crash_watch(j->lock, &j->flight);
        rc = qm_batch_forecast_look(f, &of, err);
        qm_batch_crash_end();
    }
    if (!rc) {
        qm_batch_forecast_get(f, &j->predicted);
        rc = j->predicted.rows > 0 ? tell_prediction(j, t.rows, err) : QM_OK;
    }
    if (!rc && t.rows == 0)
        rc = qm_batch_prediction_keep(j->journal, &j->predicted, err);
    if (!rc) {
        const struct qm_batch_facts ahead = {
            .counts.done = t.rows, .rows = t.rows + (int64_t)j->predicted.rows, .left = j->predicted.seconds};
        rc = qm_batch_left_keep(j->journal, &ahead, err);
    }
    qm_batch_forecast_close(f);
    return rc ? rc : qm_journal_commit(j->journal, err);
}

static int run(struct job *j, struct qm_error *err) {
    struct tm now;
    struct qm_openai_context openai = requests(j, j->fit.possible, &now);
    struct qm_batch_work_options o = {
        .source = &j->rows.source,
        .journal = j->journal,
        .output = j->output,
        .scheduler = j->scheduler,
        .openai = &openai,
        .longest = j->fit.longest,
        .look_ahead = j->settings->look_ahead,
        .sequences = j->settings->sequences,
        .in_flight = j->settings->sequences + (j->settings->sequences + 3) / 4,
        .seed = (uint64_t)qm_args_int(j->args, QM_OPT_SEED, 0),
        .job = j->job,
        .created = j->begun,
        .clock = &qm_batch_system_clock,
        .flight = &j->flight,
    };
    struct qm_inhibitor inhibitor;
    struct qm_energy *energy = NULL;
    struct qm_batch_checkpoint checkpoint =
        qm_batch_store_checkpoint(&j->store, j->settings, j->model.engine, j->scheduler, j->progress);
    int rc = qm_batch_work_new(&o, &j->work, err);
    if (rc)
        return rc;
    struct qm_batch_run r = {
        .work = j->work,
        .scheduler = j->scheduler,
        .journal = j->journal,
        .checkpoint = &checkpoint,
        .times = j->settings->times,
        .show = {.progress = j->progress},
        .interrupt = qm_signals_flag(),
        .clock = &qm_batch_system_clock,
        .rows_known = j->rows.source.rows,
        .predicted = j->predicted,
    };
    struct qm_error unreadable = {0};
    r.energy = qm_energy_open("", &energy, &unreadable) ? NULL : energy;
    qm_engine_on_fall_back(j->model.engine, qm_batch_run_device_failed, &r);
    qm_inhibit_sleep(&inhibitor);
    rc = keep_circumstances(j, r.energy ? "" : unreadable.message, err);
    qm_batch_crash_watch(j->lock, &j->flight);
    rc = rc ? rc : qm_batch_run(&r, err);
    qm_batch_crash_end();
    const struct qm_batch_counts c = qm_batch_work_counts(j->work);
    rc = rc ? rc
            : qm_batch_fit_waiting(j->journal, j->settings, j->model.engine, &j->fit, c.waiting, c.first_waiting, err);
    qm_inhibit_end(&inhibitor);
    qm_energy_close(energy);
    return rc;
}

/* --- after it --- */

/* No answer may belong to a question that is not there any more: before OUT appears. */
static int compare_input(struct job *j, struct qm_error *err) {
    struct qm_batch_rows now = {0};
    struct qm_progress quiet = {.quiet = true};
    bool same;
    int rc = j->rows.source.unchanged(j->rows.source.self, &same, err);
    if (rc || (same && !j->touched))
        return rc;
    rc = qm_batch_rows_open(j->args, j->settings, &quiet, &now, err);
    rc = rc ? rc : qm_batch_rows_compare(&now, j->journal, err);
    rc = rc ? rc : keep_touch(j, &now, err);
    qm_batch_rows_close(&now);
    return rc;
}

static int write_output(struct job *j, struct qm_error *err) {
    struct qm_batch_answers answers = {j->settings->format, j->rows.documents, -1};
    bool lines = j->settings->format == QM_ANSWERS_LINES;
    enum qm_journal_order order = j->settings->as_completed && lines ? QM_JOURNAL_BY_COMPLETION : QM_JOURNAL_BY_INPUT;
    int64_t rows;
    int rc = qm_journal_get_int(j->journal, "rows", -1, &rows, err);
    rc = rc ? rc : qm_journal_whole(j->journal, rows, err);
    rc = rc ? rc
            : qm_batch_output_finish(&j->paths, j->journal, order, lines ? NULL : qm_batch_answers, &answers,
                                     j->progress, err);
    rc = rc ? rc : qm_journal_set_int(j->journal, "complete", 1, err);
    rc = rc ? rc : qm_journal_set_int(j->journal, "ended", (int64_t)qm_batch_real(&qm_batch_system_clock), err);
    return rc ? rc : qm_journal_commit(j->journal, err);
}

/* The command's failure is told; the job is done all the same. */
static void run_on_done(struct job *j, int64_t failed) {
    char count[32];
    snprintf(count, sizeof count, "%lld", (long long)failed);
    if (setenv("QUIETMIND_OUT", j->settings->output, 1) != 0 || setenv("QUIETMIND_FAILED", count, 1) != 0)
        return;
    int status = system(j->settings->on_done);
    if (status != 0)
        qm_note(j->progress, "--on-done: the command ended with %d",
                WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/* The exit code of a complete job. */
static int verdict(const struct job *j, const struct qm_journal_totals *t) {
    bool none = t->rows > 0 && t->failed == t->rows;
    return none || (j->settings->strict && t->failed) ? QM_DISAGREE : QM_OK;
}

static int finish(struct job *j, struct qm_error *err) {
    struct qm_journal_totals t;
    int rc = compare_input(j, err);
    rc = rc ? rc : write_output(j, err);
    rc = rc ? rc : remove_file(j->paths.partial, err);
    rc = rc ? rc : qm_journal_totals(j->journal, &t, err);
    rc = rc ? rc : qm_batch_report(j->journal, j->settings->output, j->progress, err);
    if (!rc && j->settings->report)
        rc = qm_batch_report_html(j->journal, j->settings->output, j->settings->report, err);
    if (!rc && j->settings->on_done)
        run_on_done(j, t.failed);
    return rc ? rc : verdict(j, &t);
}

/* Complete before: nothing is computed, but what is missing is written again. */
static int already_complete(struct job *j, struct qm_error *err) {
    struct qm_journal_totals t;
    int rc = j->touched ? compare_input(j, err) : QM_OK;
    rc = rc ? rc : access(j->paths.out, F_OK) == 0 ? qm_journal_commit(j->journal, err) : write_output(j, err);
    rc = rc ? rc : remove_file(j->paths.partial, err);
    rc = rc ? rc : qm_journal_totals(j->journal, &t, err);
    if (!rc && j->settings->report)
        rc = qm_batch_report_html(j->journal, j->settings->output, j->settings->report, err);
    if (!rc)
        qm_note(j->progress, "%s is complete: %lld row%s, %lld failed", j->settings->output, (long long)t.rows,
                qm_s(t.rows), (long long)t.failed);
    return rc ? rc : verdict(j, &t);
}

static void close_job(struct job *j) {
    qm_batch_work_free(j->work);
    qm_scheduler_close(j->scheduler);
    qm_batch_store_close(&j->store);
    qm_batch_output_close(j->output);
    qm_journal_close(j->journal);
    qm_chat_free(j->chat);
    qm_app_close(&j->model);
    qm_batch_rows_close(&j->rows);
    qm_batch_unlock(j->paths.lock, j->lock);
    qm_batch_paths_free(&j->paths);
    qm_buf_free(&j->began_with);
    qm_buf_free(&j->model_name);
    qm_buf_free(&j->plan);
    qm_files_known_free(&j->weights_known);
}

static int open_rows(struct job *j, struct qm_error *err) {
    time_t seconds = time(NULL);
    struct tm now;
    const struct qm_model_options named = qm_decode_model(j->args);
    int rc = qm_batch_rows_open(j->args, j->settings, j->progress, &j->rows, err);
    rc = rc ? rc : qm_app_open(&named, QM_TOKENIZER_YES, j->progress, &j->model, err);
    rc = rc ? rc : qm_batch_chat(j->args, j->settings, j->model.dir, localtime_r(&seconds, &now), &j->chat, err);
    rc = rc ? rc : qm_batch_paths(j->settings->output, &j->paths, err);
    rc = rc ? rc : open_journal(j, err);
    return rc ? rc : settle(j, err);
}

int qm_batch_job(const struct qm_args *args, const struct qm_batch_settings *s, struct qm_progress *progress,
                 struct qm_error *err) {
    struct job j = {.args = args, .settings = s, .progress = progress, .lock = -1};
    int rc = open_rows(&j, err);
    if (!rc && j.complete) {
        rc = already_complete(&j, err);
        close_job(&j);
        return rc;
    }
    if (!rc && !j.created)
        rc = tell_resumed(&j, err);
    rc = rc ? rc : predict(&j, err);
    if (!rc && j.rows.input)
        qm_batch_input_on_block(j.rows.input, keep_block, j.journal);
    qm_signals_hold(); /* from here on there is something to say: loading ends early, rows are saved */
    rc = rc ? rc : open_engine(&j, err);
    if (!rc)
        qm_engine_set_interrupt(j.model.engine, qm_signals_flag());
    rc = rc ? rc : qm_batch_output_open(&j.paths, j.journal, j.log, j.progress, &j.output, err);
    rc = rc ? rc : run(&j, err);
    qm_signals_release();
    rc = rc ? rc : finish(&j, err);
    bool done = rc == QM_OK || rc == QM_DISAGREE;
    if (done)
        qm_batch_store_done(&j.store);
    else if (rc == QM_STOPPED || rc == QM_INTERRUPTED)
        tell_how_to_resume(progress);
    close_job(&j);
    return rc;
}
