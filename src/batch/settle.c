/* Whose job it is: files that are there, what the job began as, what it goes on as. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/words.h"
#include "batch/job_private.h"
#include "batch/manifest.h"
#include "batch/names.h"

static const struct qm_batch_line beginning = {.number = 1, .file_line = 1};

/* --- files --- */

static int check_output(const struct qm_batch_job *j, struct qm_error *err) {
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
static int verify_journal(struct qm_batch_job *j, struct qm_error *err) {
    struct qm_journal_found found;
    int rc = qm_journal_verify(j->journal, &found, err);
    if (!rc)
        rc = qm_batch_output_expect(j->journal, found.bytes, err);
    if (rc || !found.dropped)
        return rc;
    qm_batch_note(j->ui, "%s: %lld row%s damaged or missing there: computed again", j->paths.journal,
                  (long long)found.dropped, qm_s((long long)found.dropped));
    j->complete = 0;
    rc = qm_batch_note_position(j->journal, &beginning, err);
    return rc ? rc : qm_journal_set_int(j->journal, "complete", 0, err);
}

static int note_crash(struct qm_batch_job *j, const struct qm_batch_crash *crash, struct qm_error *err) {
    qm_batch_note(
        j->ui,
        "the last run was ended by signal %d (%s) while %s at work; %s: what ends the program a second time is set "
        "aside as failed",
        crash->signal, strsignal(crash->signal), crash->n == 1 ? "one row was" : "rows were",
        crash->n == 1 ? "it is tried alone" : "they are tried one by one");
    int rc = qm_batch_crash_note(j->journal, crash, err);
    return rc ? rc : qm_journal_commit(j->journal, err);
}

/* Nothing is opened before it is known whose it is. */
int qm_batch_settle_files(struct qm_batch_job *j, struct qm_error *err) {
    struct stat partial;
    bool mine = true;
    struct qm_batch_crash crash;
    qm_batch_crash_read(j->paths.lock, &crash);
    int rc = check_output(j, err);
    if (!rc)
        rc = qm_batch_lock(j->paths.lock, &j->lock, err);
    if (!rc && j->options->restart)
        rc = qm_batch_names_clear(&j->paths, j->ui, err);
    if (!rc)
        rc = qm_batch_names_check(&j->paths, &j->log, err);
    if (!rc)
        rc = qm_journal_open(j->paths.journal, &j->journal, &j->created, err);
    if (!rc && j->created && stat(j->paths.partial, &partial) == 0 && partial.st_size > 0)
        rc = qm_remedy(
            err, QM_REMEDY_START_OVER,
            qm_fail(err, QM_INPUT,
                    "%s holds finished rows, and %s none: put the journal back, with its -wal, or name another output",
                    j->paths.partial, j->paths.journal));
    if (!rc)
        rc = qm_journal_get_int(j->journal, "complete", 0, &j->complete, err);
    if (!rc && !j->complete)
        rc = qm_batch_output_mine(&j->paths, j->journal, &mine, err);
    if (!rc && !mine)
        rc = qm_fail(err, QM_INPUT, "%s is there, and this job has not written it: move it away", j->paths.out);
    bool made = !rc && j->complete && access(j->paths.out, F_OK) == 0;
    if (!rc && made)
        rc = qm_journal_take_log(j->journal, err);
    if (!rc && !j->created && !made)
        rc = verify_journal(j, err);
    return rc || j->created || made || !crash.n ? rc : note_crash(j, &crash, err);
}

/* --- what the job is --- */

static void add_knobs(const struct qm_batch_job *j, struct qm_manifest *m) {
    const struct qm_batch_words *words = j->ui->words;
    qm_manifest_add_number(m, "seed", words->seed, (double)(int64_t)j->options->seed, false);
    qm_manifest_add_number(m, "context", words->context, (double)j->options->context, false);
}

static void add_input(const struct qm_batch_job *j, struct qm_manifest *m) {
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
static int settle_traits(struct qm_batch_job *j, const struct qm_fingerprint *f, struct qm_error *err) {
    struct qm_manifest m = {0};
    qm_manifest_add_traits(&m, f, j->ui->words);
    return qm_manifest_settle(&m, j->journal, j->ui, err);
}

/* Before the placement is known, and the context where it is what fits. */
static int settle_early_traits(struct qm_batch_job *j, struct qm_error *err) {
    struct qm_fingerprint f;
    const struct qm_fingerprint_of of = {.model = j->model.model,
                                         .weights = j->weights,
                                         .context = j->options->context ? j->options->context : j->context,
                                         .kv_type = qm_batch_kv_type(j->options, &j->model.model->config),
                                         .isa = j->options->isa};
    int rc = qm_fingerprint_make(&of, &f, err);
    f.value[QM_TRAIT_SPLIT][0] = 0;
    return rc ? rc : settle_traits(j, &f, err);
}

int qm_batch_job_check(void *job, const struct qm_engine_options *o, struct qm_error *err) {
    struct qm_batch_job *j = job;
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

static int show_hashing(void *arg, uint64_t done, uint64_t total) {
    qm_batch_progress(arg, "hashing the weights", done, total, true);
    return 0;
}

/* Which weights these are: the job's own journal may know them, else the user's cache, else they are read. */
static int find_weights(struct qm_batch_job *j, struct qm_error *err) {
    struct qm_buf text = {0};
    bool found;
    int rc = qm_journal_get(j->journal, "weights_known", &text, &found, err);
    if (!rc)
        rc = qm_weights_known(j->model.model, j->options->weights_cache, found ? text.data : NULL, show_hashing,
                              (void *)(uintptr_t)j->ui, j->weights, &j->weights_known, err);
    qm_batch_progress_end(j->ui);
    text.len = 0;
    if (!rc && j->model.model->shards)
        rc = qm_files_known_text(&j->weights_known, j->model.model->shards, &text, err);
    if (!rc)
        rc = qm_journal_set(j->journal, "weights_known", text.len ? text.data : "", err);
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

static int keep_touch(struct qm_batch_job *j, const struct qm_batch_rows *rows, struct qm_error *err) {
    char now[128];
    touch_text(rows, now);
    return qm_journal_set(j->journal, "input_touched", now, err);
}

/* An input of the same size and samples but another time is read once more from its beginning, and compared with what
 * was read before: each finished row's line, and block by block. */
static int settle_time(struct qm_batch_job *j, struct qm_error *err) {
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
        qm_batch_note(j->ui, "%s has another time than when this job ran last: it is compared from its beginning",
                      j->options->input);
        rc = qm_batch_note_position(j->journal, &beginning, err);
    }
    return rc ? rc : keep_touch(j, &j->rows, err);
}

static int settle_manifest(struct qm_batch_job *j, struct qm_error *err) {
    struct qm_manifest m = {0};
    bool found;
    int rc = find_weights(j, err);
    qm_manifest_add(&m, "weights", qm_trait_name(QM_TRAIT_WEIGHTS), j->weights, false);
    if (!rc)
        rc = qm_manifest_add_texts(&m, j->model.dir, j->options->chat_template, err);
    add_knobs(j, &m);
    add_input(j, &m);
    if (!rc)
        rc = qm_manifest_settle(&m, j->journal, j->ui, err);
    qm_manifest_job(&m, j->job);
    /* as large as it was, whatever is free today: which rows are too long must not change */
    if (!rc)
        rc = qm_journal_get_int(j->journal, "context_used", 0, &j->context, err);
    if (!rc)
        rc = qm_journal_get(j->journal, "placement", &j->plan, &found, err);
    return rc ? rc : settle_early_traits(j, err);
}

int qm_batch_settle_identity(struct qm_batch_job *j, struct qm_error *err) {
    bool found = false;
    int rc = settle_manifest(j, err);
    if (!rc)
        rc = qm_journal_get_int(j->journal, "created", (int64_t)qm_batch_real(&qm_batch_system_clock), &j->begun, err);
    if (!rc)
        rc = qm_journal_set_int(j->journal, "created", j->begun, err);
    if (!rc)
        rc = qm_journal_get(j->journal, "created_version", &j->began_with, &found, err);
    if (!rc && !found)
        rc = qm_journal_set(j->journal, "created_version", QM_VERSION, err);
    if (!rc)
        rc = qm_journal_get(j->journal, "model_name", &j->model_name, &found, err);
    if (!rc && !found)
        rc = qm_buf_str(&j->model_name, j->options->model_name, err);
    if (!rc)
        rc = qm_journal_set(j->journal, "model_name", j->model_name.data, err);
    if (!rc)
        rc = settle_time(j, err);
    if (!rc)
        rc = qm_journal_set(j->journal, "state", "starting", err);
    if (!rc)
        rc = qm_journal_commit(j->journal, err);
    return rc ? rc : qm_sync_folder(j->paths.journal, err);
}

/* --- the engine --- */

/* What a further run needs of this one: its context, and its placement where that splits sums. */
static int keep_placement(struct qm_batch_job *j, const char *plan, const struct qm_fingerprint *f,
                          struct qm_error *err) {
    bool split = strcmp(f->value[QM_TRAIT_SPLIT], "none") != 0;
    int rc = qm_journal_set_int(j->journal, "context_used", qm_engine_context(j->engine), err);
    return rc || !split || j->plan.len ? rc : qm_journal_set(j->journal, "placement", plan ? plan : "", err);
}

/* Tokens that were generated by another instruction set, say, are not gone on from: the row would be neither's. */
static int settle_tokens(struct qm_batch_job *j, const struct qm_fingerprint *f, struct qm_error *err) {
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

int qm_batch_settle_engine(struct qm_batch_job *j, const char *plan, struct qm_fingerprint *f, struct qm_error *err) {
    int rc = qm_weights_unchanged(j->model.model->shards, &j->weights_known, err);
    if (!rc)
        rc = qm_engine_fingerprint(j->engine, j->weights, f, err);
    if (!rc)
        rc = settle_traits(j, f, err);
    if (!rc)
        rc = keep_placement(j, plan, f, err);
    return rc ? rc : settle_tokens(j, f, err);
}

/* --- the input, once more --- */

/* No answer may belong to a question that is not there any more: before OUT appears. */
int qm_batch_settle_input(struct qm_batch_job *j, struct qm_error *err) {
    struct qm_batch_rows now = {0};
    bool same;
    int rc = j->rows.source.unchanged(j->rows.source.self, &same, err);
    if (rc || (same && !j->touched))
        return rc;
    rc = qm_batch_rows_open(j->options, &qm_batch_silent, &now, err);
    if (!rc)
        rc = qm_batch_rows_compare(&now, j->journal, err);
    if (!rc)
        rc = keep_touch(j, &now, err);
    qm_batch_rows_close(&now);
    return rc;
}
