/* A batch job with this program's model, signals and terminal. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "app/batch/commands.h"
#include "app/batch/inhibit.h"
#include "app/batch/report.h"
#include "app/drafts.h"
#include "app/machine/model.h"
#include "app/offload.h"
#include "app/signals.h"
#include "base/size.h"
#include "base/words.h"
#include "batch/crash.h"
#include "numa/machine.h"

int qm_batch_open_model(const struct qm_batch_command *b, struct qm_progress *progress, struct qm_app_model *app,
                        struct qm_drafts *drafts, struct qm_machine_model **machine, struct qm_batch_model *out,
                        struct qm_error *err) {
    *machine = calloc(1, sizeof **machine);
    int rc = *machine ? QM_OK : qm_fail_memory(err, sizeof **machine, "the machine");
    if (!rc)
        rc = qm_app_open(&b->model, QM_TOKENIZER_YES, progress, app, err);
    if (!rc)
        rc = qm_drafts_describe(&b->drafts, app, 0, progress, drafts, err);
    if (!rc)
        rc = qm_app_machine_kept(b->load.isa, app->model, *machine, NULL, err);
    *out = (struct qm_batch_model){.dir = app->dir,
                                   .model = app->model,
                                   .tokenizer = app->tokenizer,
                                   .chat = app->chat,
                                   .chat_error = &app->chat_error,
                                   .defaults = &app->defaults,
                                   .machine = *machine,
                                   .drafts = drafts->memory};
    return rc;
}

/* Who computes, for the report. */
static int describe_machine(enum qm_isa isa, const struct qm_engine *e, char *out, size_t size, struct qm_error *err) {
    struct qm_machine *m = malloc(sizeof *m);
    int rc = m ? qm_machine_describe(m, err) : qm_fail_memory(err, sizeof *m, "the machine's description");
    if (!rc) {
        snprintf(out, size, "%s, %d thread%s, %s, %.1f GiB of memory", m->topology.cpu_model, qm_engine_threads(e),
                 qm_s(qm_engine_threads(e)), qm_isa_name(isa), qm_gib(m->memory));
        qm_machine_free(m);
    }
    free(m);
    return rc;
}

/* The command's failure is reported; the job is done all the same. */
static void run_on_done(const struct qm_batch_command *b, struct qm_progress *progress, int64_t failed) {
    char count[32];
    snprintf(count, sizeof count, "%lld", (long long)failed);
    if (setenv("QUIETMIND_OUT", b->job.output, 1) != 0 || setenv("QUIETMIND_FAILED", count, 1) != 0)
        return;
    int status = system(b->on_done);
    if (status != 0)
        qm_note(progress, "--on-done: the command ended with %d",
                WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/* The exit code of a complete job. */
static int verdict(const struct qm_batch_command *b, const struct qm_journal_totals *t) {
    bool none = t->rows > 0 && t->failed == t->rows;
    return none || (b->strict && t->failed) ? QM_DISAGREE : QM_OK;
}

/* With the engine as the job needs it. Signals are held: loading ends early, rows are saved. */
static int load_and_run(const struct qm_batch_command *b, struct qm_batch_job *job, struct qm_progress *progress,
                        struct qm_app_model *m, struct qm_drafts *drafts, struct qm_error *err) {
    struct qm_batch_engine wants;
    struct qm_inhibitor inhibitor;
    char machine[512];
    int rc = qm_batch_job_wants(job, &wants, err);
    struct qm_app_engine wanted = {.embeddings = true,
                                   .chunk = b->job.chunk,
                                   .sequences = b->job.sequences,
                                   .context = wants.context,
                                   .kv_memory = wants.kv_memory,
                                   .drafts = drafts->memory,
                                   .plan = wants.plan,
                                   .check = qm_batch_job_check,
                                   .arg = job};
    if (!rc)
        rc = qm_app_load_engine(&b->load, &wanted, progress, m, err);
    if (!rc)
        rc = describe_machine(b->load.isa, m->engine, machine, sizeof machine, err);
    if (!rc)
        rc = qm_drafts_open(&b->drafts, m, progress, drafts, err);
    if (rc)
        return rc;
    qm_inhibit_sleep(&inhibitor);
    rc = qm_batch_job_run(job, m->engine, drafts->speculation, m->plan, machine, qm_signals_flag(), err);
    qm_inhibit_end(&inhibitor);
    return rc;
}

/* The output, the reports, and what is to be done then. */
static int finish(const struct qm_batch_command *b, struct qm_batch_job *job, bool complete,
                  struct qm_progress *progress, struct qm_error *err) {
    struct qm_journal_totals t;
    int rc = qm_batch_job_finish(job, &t, err);
    struct qm_journal *j = qm_batch_job_journal(job);
    if (!complete)
        if (!rc)
            rc = qm_batch_report(j, b->job.output, progress, err);
    if (!rc && b->report)
        rc = qm_batch_report_html(j, b->job.output, b->report, err);
    if (!rc && complete)
        qm_note(progress, "%s is complete: %lld row%s, %lld failed", b->job.output, (long long)t.rows, qm_s(t.rows),
                (long long)t.failed);
    else if (!rc && b->on_done)
        run_on_done(b, progress, t.failed);
    return rc ? rc : verdict(b, &t);
}

int qm_batch_job_command(const struct qm_batch_command *b, struct qm_progress *progress, struct qm_error *err) {
    struct qm_batch_terminal terminal = {.progress = progress};
    const struct qm_batch_ui ui = qm_batch_terminal_ui(&terminal);
    struct qm_batch_job *job = NULL;
    struct qm_app_model app = {0};
    struct qm_drafts drafts = {0};
    struct qm_machine_model *machine = NULL;
    struct qm_batch_model m;
    bool complete = false;
    int rc = qm_batch_job_open(&b->job, &ui, &job, err);
    if (!rc)
        rc = qm_batch_open_model(b, progress, &app, &drafts, &machine, &m, err);
    if (!rc)
        rc = qm_batch_job_prepare(job, &m, &complete, err);
    if (!rc && !complete) {
        qm_signals_hold();
        qm_batch_terminal_begin(&terminal);
        rc = load_and_run(b, job, progress, &app, &drafts, err);
        qm_batch_terminal_clear(&terminal);
        qm_drafts_report(&drafts, progress);
        qm_signals_release();
    }
    if (!rc)
        rc = finish(b, job, complete, progress, err);
    if ((rc == QM_STOPPED || rc == QM_INTERRUPTED) && b->job.command)
        qm_note(progress, "resume with: %s", b->job.command);
    qm_batch_job_close(job);
    qm_drafts_close(&drafts);
    qm_app_close(&app);
    free(machine);
    return rc;
}
