/* Opening, running and ending a job. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/words.h"
#include "batch/chat.h"
#include "batch/facts.h"
#include "batch/job_private.h"
#include "batch/run.h"
#include "numa/energy.h"

/* --- before the model is loaded --- */

/* What an earlier run has done. */
static int note_resumed(struct qm_batch_job *j, struct qm_error *err) {
    struct qm_journal_totals t;
    char begun[64];
    int rc = qm_journal_totals(j->journal, &t, err);
    if (!rc)
        qm_batch_note(j->ui, "resuming the job begun %s (quietmind %s): %lld row%s finished, %lld failed",
                      qm_batch_time_text(j->begun, begun, sizeof begun), j->began_with.data ? j->began_with.data : "?",
                      (long long)t.rows, qm_s(t.rows), (long long)t.failed);
    return rc;
}

static int keep_block(void *arg, int64_t block, const char *hash, struct qm_error *err) {
    return qm_journal_block(arg, block, hash, err);
}

/* context: of a sequence. */
static struct qm_openai_context requests(const struct qm_batch_job *j, int64_t context, struct tm *now) {
    time_t begun = (time_t)j->begun;
    struct qm_openai_context c =
        qm_openai_context_of(&j->model.model->config, j->model.defaults, j->model.tokenizer, j->model.chat);
    c.context = context;
    c.now = localtime_r(&begun, now); /* what templates print must not change when the job resumes */
    c.model = j->model_name.data;
    return c;
}

static int note_prediction(struct qm_batch_job *j, int64_t finished, struct qm_error *err) {
    const struct qm_batch_prediction *p = &j->predicted;
    struct qm_buf text = {0};
    int rc = qm_batch_rows_text(&j->rows, p->rows, p->all, finished > 0, &text, err);
    if (!rc)
        rc = qm_buf_str(&text, ", ", err);
    if (!rc)
        rc = qm_batch_prediction_text(p, &j->options->times, time(NULL), &text, err);
    if (!rc)
        qm_batch_note(j->ui, "%s", text.data);
    if (!rc && *p->basis)
        qm_batch_note(j->ui, "(predicted: %s)", p->basis);
    qm_buf_free(&text);
    return rc;
}

/* How long it will take, before weights are read: shown, and kept for the report. */
static int predict(struct qm_batch_job *j, struct qm_error *err) {
    static const double SECONDS = 0.3;
    struct qm_batch_forecast *f = NULL;
    const struct qm_config *config = &j->model.model->config;
    struct qm_journal_totals t;
    struct tm now;
    int64_t context = j->options->context ? j->options->context : j->context;
    struct qm_openai_context openai = requests(j, context ? context : config->default_positions, &now);
    const struct qm_batch_forecast_of of = {&j->rows.source, j->journal, &openai, &j->flight, SECONDS};
    int rc = qm_journal_totals(j->journal, &t, err);
    if (!rc)
        rc = qm_batch_forecast_open(j->options, j->model.machine, j->model.model, openai.context, &f, err);
    if (!rc) {
        qm_batch_crash_watch(j->lock, &j->flight);
        rc = qm_batch_forecast_look(f, &of, err);
        qm_batch_crash_end();
    }
    if (!rc) {
        qm_batch_forecast_get(f, &j->predicted);
        rc = j->predicted.rows > 0 ? note_prediction(j, t.rows, err) : QM_OK;
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

int qm_batch_job_open(const struct qm_batch_options *o, const struct qm_batch_ui *ui, struct qm_batch_job **out,
                      struct qm_error *err) {
    struct qm_batch_job *j = calloc(1, sizeof *j);
    *out = NULL;
    if (!j)
        return qm_fail_memory(err, sizeof *j, "the job");
    j->options = o;
    j->ui = ui;
    j->lock = -1;
    int rc = qm_batch_rows_open(o, ui, &j->rows, err);
    if (rc) {
        qm_batch_job_close(j);
        return rc;
    }
    *out = j;
    return QM_OK;
}

int qm_batch_job_prepare(struct qm_batch_job *j, const struct qm_batch_model *m, bool *complete, struct qm_error *err) {
    time_t seconds = time(NULL);
    struct tm now;
    j->model = *m;
    int rc = qm_batch_chat(j->options, j->ui->words, m->chat, m->chat_error, localtime_r(&seconds, &now), err);
    if (!rc)
        rc = qm_batch_paths(j->options->output, &j->paths, err);
    if (!rc)
        rc = qm_batch_settle_files(j, err);
    if (!rc)
        rc = qm_batch_settle_identity(j, err);
    *complete = !rc && j->complete;
    if (rc || j->complete)
        return rc;
    if (!j->created)
        rc = note_resumed(j, err);
    return rc ? rc : predict(j, err);
}

/* --- with the engine --- */

int qm_batch_job_wants(struct qm_batch_job *j, struct qm_batch_engine *out, struct qm_error *err) {
    *out = (struct qm_batch_engine){.context = j->context, .plan = j->plan.len ? j->plan.data : NULL};
    return qm_batch_kv_memory(j->options, j->model.model, &j->model.drafts, &out->kv_memory, err);
}

/* Who computes, for the report. energy: why joules can't be read, or "". */
static int keep_circumstances(struct qm_batch_job *j, const char *machine, const char *energy, struct qm_error *err) {
    int rc = j->options->command ? qm_journal_set(j->journal, "command", j->options->command, err) : QM_OK;
    if (!rc)
        rc = qm_journal_set(j->journal, "program", "quietmind " QM_VERSION, err);
    if (!rc)
        rc = qm_journal_set(j->journal, "not_readable", energy, err);
    return rc ? rc : qm_journal_set(j->journal, "machine", machine, err);
}

static int open_scheduler(struct qm_batch_job *j, struct qm_speculation *speculation, const char *plan,
                          struct qm_error *err) {
    struct qm_fingerprint f;
    int rc = qm_batch_settle_engine(j, plan, &f, err);
    if (!rc)
        rc = qm_batch_fit_settle(j->journal, j->options, j->ui->words, j->engine, &j->fit, err);
    if (!rc)
        rc = qm_batch_store_open(&j->store, j->options, &j->paths, &f, j->engine, j->ui, err);
    struct qm_scheduler_options o = {
        .engine = j->engine, .tokenizer = j->model.tokenizer, .cache = j->store.cache, .speculation = speculation};
    return rc ? rc : qm_scheduler_open(&o, &j->scheduler, err);
}

static int work(struct qm_batch_job *j, const char *machine, const volatile sig_atomic_t *interrupt,
                struct qm_error *err) {
    struct tm now;
    struct qm_openai_context openai = requests(j, j->fit.possible, &now);
    struct qm_batch_work_options o = {
        .source = &j->rows.source,
        .journal = j->journal,
        .output = j->output,
        .scheduler = j->scheduler,
        .openai = &openai,
        .longest = j->fit.longest,
        .look_ahead = j->options->look_ahead,
        .sequences = j->options->sequences,
        .in_flight = j->options->sequences + (j->options->sequences + 3) / 4,
        .seed = j->options->seed,
        .job = j->job,
        .created = j->begun,
        .clock = &qm_batch_system_clock,
        .words = j->ui->words,
        .flight = &j->flight,
    };
    struct qm_energy *energy = NULL;
    struct qm_batch_checkpoint checkpoint =
        qm_batch_store_checkpoint(&j->store, j->options, j->engine, j->scheduler, j->ui);
    int rc = qm_batch_work_new(&o, &j->work, err);
    if (rc)
        return rc;
    struct qm_batch_run r = {
        .work = j->work,
        .scheduler = j->scheduler,
        .journal = j->journal,
        .checkpoint = &checkpoint,
        .times = j->options->times,
        .ui = j->ui,
        .interrupt = interrupt,
        .clock = &qm_batch_system_clock,
        .rows_known = j->rows.source.rows,
        .predicted = j->predicted,
    };
    struct qm_error unreadable = {0};
    r.energy = qm_energy_open("", &energy, &unreadable) ? NULL : energy;
    qm_engine_on_fall_back(j->engine, qm_batch_run_device_failed, &r);
    rc = keep_circumstances(j, machine, r.energy ? "" : unreadable.message, err);
    qm_batch_crash_watch(j->lock, &j->flight);
    if (!rc)
        rc = qm_batch_run(&r, err);
    qm_batch_crash_end();
    const struct qm_batch_counts c = qm_batch_work_counts(j->work);
    if (!rc)
        rc = qm_batch_fit_waiting(j->journal, j->options, j->ui->words, j->engine, &j->fit, c.waiting, c.first_waiting,
                                  err);
    qm_energy_close(energy);
    qm_engine_on_fall_back(j->engine, NULL, NULL);
    return rc;
}

int qm_batch_job_run(struct qm_batch_job *j, struct qm_engine *engine, struct qm_speculation *speculation,
                     const char *plan, const char *machine, const volatile sig_atomic_t *interrupt,
                     struct qm_error *err) {
    j->engine = engine;
    if (j->rows.input)
        qm_batch_input_on_block(j->rows.input, keep_block, j->journal);
    int rc = open_scheduler(j, speculation, plan, err);
    if (!rc)
        qm_engine_set_interrupt(engine, interrupt);
    if (!rc)
        rc = qm_batch_output_open(&j->paths, j->journal, j->log, j->ui, &j->output, err);
    return rc ? rc : work(j, machine, interrupt, err);
}

/* --- after it --- */

static int write_output(struct qm_batch_job *j, struct qm_error *err) {
    struct qm_batch_answers answers = {j->options->format, j->rows.documents, -1};
    bool lines = j->options->format == QM_ANSWERS_LINES;
    enum qm_journal_order order = j->options->as_completed && lines ? QM_JOURNAL_BY_COMPLETION : QM_JOURNAL_BY_INPUT;
    int64_t rows;
    int rc = qm_journal_get_int(j->journal, "rows", -1, &rows, err);
    if (!rc)
        rc = qm_journal_whole(j->journal, rows, err);
    if (!rc)
        rc =
            qm_batch_output_finish(&j->paths, j->journal, order, lines ? NULL : qm_batch_answers, &answers, j->ui, err);
    if (!rc)
        rc = qm_journal_set_int(j->journal, "complete", 1, err);
    if (!rc)
        rc = qm_journal_set_int(j->journal, "ended", (int64_t)qm_batch_real(&qm_batch_system_clock), err);
    return rc ? rc : qm_journal_commit(j->journal, err);
}

static int remove_file(const char *path, struct qm_error *err) {
    return unlink(path) == 0 || errno == ENOENT ? QM_OK : qm_fail_errno(err, "%s: cannot be removed", path);
}

int qm_batch_job_finish(struct qm_batch_job *j, struct qm_journal_totals *t, struct qm_error *err) {
    /* what is missing of a job that was complete before is written again */
    int rc = !j->complete || j->touched ? qm_batch_settle_input(j, err) : QM_OK;
    bool written = j->complete && access(j->paths.out, F_OK) == 0;
    if (!rc)
        rc = written ? qm_journal_commit(j->journal, err) : write_output(j, err);
    if (!rc)
        rc = remove_file(j->paths.partial, err);
    if (!rc)
        rc = qm_journal_totals(j->journal, t, err);
    if (!rc)
        qm_batch_store_done(&j->store);
    return rc;
}

struct qm_journal *qm_batch_job_journal(const struct qm_batch_job *j) {
    return j->journal;
}

void qm_batch_job_close(struct qm_batch_job *j) {
    if (!j)
        return;
    qm_batch_work_free(j->work);
    qm_scheduler_close(j->scheduler);
    qm_batch_store_close(&j->store);
    qm_batch_output_close(j->output);
    qm_journal_close(j->journal);
    qm_batch_rows_close(&j->rows);
    if (j->paths.lock)
        qm_batch_unlock(j->paths.lock, j->lock);
    qm_batch_paths_free(&j->paths);
    qm_buf_free(&j->began_with);
    qm_buf_free(&j->model_name);
    qm_buf_free(&j->plan);
    qm_files_known_free(&j->weights_known);
    free(j);
}
