/* --status and --export. */
#include "app/batch/look.h"

#include <stdio.h>
#include <string.h>

#include "app/batch/clock.h"
#include "app/batch/journal.h"
#include "app/batch/output.h"
#include "app/out.h"

static int open_both(const char *output, struct qm_batch_paths *paths, struct qm_journal **j, struct qm_error *err) {
    *j = NULL;
    int rc = qm_batch_paths(output, paths, err);
    return rc ? rc : qm_journal_open_reader(paths->journal, j, err);
}

int qm_batch_export(const char *output, struct qm_error *err) {
    struct qm_batch_paths paths = {0};
    struct qm_journal *j;
    int rc = open_both(output, &paths, &j, err);
    if (!rc)
        rc = qm_batch_output_export(j, QM_JOURNAL_BY_INPUT, NULL, NULL, err);
    qm_journal_close(j);
    qm_batch_paths_free(&paths);
    return rc;
}

static int print_time(const char *name, int64_t seconds, struct qm_error *err) {
    char text[64];
    return qm_out_printf(err, "%s%s\n", name, qm_batch_time_text(seconds, text, sizeof text));
}

static int print_status(struct qm_journal *j, const struct qm_batch_paths *paths, struct qm_error *err) {
    struct qm_buf text = {0}, state = {0};
    struct qm_journal_totals t;
    int64_t rows, created, when, complete;
    bool found;
    long process = qm_batch_lock_holder(paths->lock);
    int rc = qm_journal_totals(j, &t, err);
    rc = rc ? rc : qm_journal_get_int(j, "rows", -1, &rows, err);
    rc = rc ? rc : qm_journal_get_int(j, "created", 0, &created, err);
    rc = rc ? rc : qm_journal_get_int(j, "status_time", 0, &when, err);
    rc = rc ? rc : qm_journal_get_int(j, "complete", 0, &complete, err);
    rc = rc ? rc : qm_journal_get(j, "status", &text, &found, err);
    rc = rc ? rc : qm_journal_get(j, "state", &state, &found, err);
    /* "working" and the like are of a process that was killed */
    bool known = state.data && strcmp(state.data, "working") != 0 && strcmp(state.data, "starting") != 0;
    rc = rc ? rc : qm_out_printf(err, "job      %s\n", paths->out);
    rc = rc ? rc : print_time("begun    ", created, err);
    if (!rc && complete)
        rc = qm_out_text("state    complete\n", err);
    else if (!rc && process)
        rc = qm_out_printf(err, "state    %s (process %ld)\n", state.data ? state.data : "starting", process);
    else if (!rc)
        rc = qm_out_printf(err, "state    not running%s%s; the same command resumes it\n", known ? ": " : "",
                           known ? state.data : "");
    rc = rc ? rc
            : qm_out_printf(err, "rows     %lld finished, %lld of them failed", (long long)t.rows, (long long)t.failed);
    if (!rc && rows >= 0)
        rc = qm_out_printf(err, ", of %lld", (long long)rows);
    rc = rc ? rc : qm_out_text("\n", err);
    if (!rc && process && !complete && text.data) {
        rc = print_time("as of    ", when, err);
        rc = rc ? rc : qm_out_text(text.data, err);
    }
    qm_buf_free(&text);
    qm_buf_free(&state);
    return rc;
}

int qm_batch_status(const char *output, struct qm_error *err) {
    struct qm_batch_paths paths = {0};
    struct qm_journal *j;
    int rc = open_both(output, &paths, &j, err);
    if (!rc)
        rc = print_status(j, &paths, err);
    qm_journal_close(j);
    qm_batch_paths_free(&paths);
    return rc;
}
