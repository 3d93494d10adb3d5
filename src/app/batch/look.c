/* --status and --export. */
#include "app/batch/look.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/out.h"
#include "batch/clock.h"
#include "batch/facts.h"
#include "batch/forecast.h"
#include "batch/journal.h"
#include "batch/output.h"
#include "report/numbers.h"

static int open_both(const char *output, struct qm_batch_paths *paths, struct qm_journal **j, struct qm_error *err) {
    *j = NULL;
    int rc = qm_batch_paths(output, paths, err);
    return rc ? rc : qm_journal_open_reader(paths->journal, j, err);
}

static int to_stdout(void *arg, const char *bytes, size_t n, struct qm_error *err) {
    (void)arg;
    return qm_out_write(bytes, n, err);
}

int qm_batch_export(const char *output, struct qm_error *err) {
    struct qm_batch_paths paths = {0};
    struct qm_journal *j;
    int rc = open_both(output, &paths, &j, err);
    if (!rc)
        rc = qm_batch_output_export(j, QM_JOURNAL_BY_INPUT, to_stdout, NULL, err);
    qm_journal_close(j);
    qm_batch_paths_free(&paths);
    return rc;
}

static int print_time(const char *name, int64_t seconds, struct qm_error *err) {
    char text[64];
    return qm_out_printf(err, "%s%s\n", name, qm_batch_time_text(seconds, text, sizeof text));
}

/* Devices that failed, with the times. */
static int print_failures(struct qm_journal *j, struct qm_error *err) {
    struct qm_buf text = {0};
    bool found;
    int rc = qm_journal_get(j, "device_failures", &text, &found, err);
    for (char *rest, *line = !rc && found ? strtok_r(text.data, "\n", &rest) : NULL; line && !rc;
         line = strtok_r(NULL, "\n", &rest))
        rc = qm_out_printf(err, "failed   %s\n", line);
    qm_buf_free(&text);
    return rc;
}

/* What a job that is not running still needs: time of work, whenever it is done. */
static int print_left(struct qm_journal *j, struct qm_error *err) {
    double left;
    char text[64];
    int rc = qm_batch_left_kept(j, &left, err);
    return rc || left < 0
               ? rc
               : qm_out_printf(err, "left     about %s of work\n", qm_duration_text(left, text, sizeof text));
}

static int print_status(struct qm_journal *j, const struct qm_batch_paths *paths, struct qm_error *err) {
    struct qm_buf text = {0}, state = {0};
    struct qm_journal_totals t;
    int64_t rows, created, when, complete;
    bool found;
    long process = qm_batch_lock_holder(paths->lock);
    int rc = qm_journal_totals(j, &t, err);
    if (!rc)
        rc = qm_journal_get_int(j, "rows", -1, &rows, err);
    if (!rc)
        rc = qm_journal_get_int(j, "created", 0, &created, err);
    if (!rc)
        rc = qm_journal_get_int(j, "status_time", 0, &when, err);
    if (!rc)
        rc = qm_journal_get_int(j, "complete", 0, &complete, err);
    if (!rc)
        rc = qm_journal_get(j, "status", &text, &found, err);
    if (!rc)
        rc = qm_journal_get(j, "state", &state, &found, err);
    /* "working" and the like are of a process that was killed */
    bool known = state.data && strcmp(state.data, "working") != 0 && strcmp(state.data, "starting") != 0;
    if (!rc)
        rc = qm_out_printf(err, "job      %s\n", paths->out);
    if (!rc)
        rc = print_time("begun    ", created, err);
    if (!rc && complete)
        rc = qm_out_text("state    complete\n", err);
    else if (!rc && process)
        rc = qm_out_printf(err, "state    %s (process %ld)\n", state.data ? state.data : "starting", process);
    else if (!rc)
        rc = qm_out_printf(err, "state    not running%s%s; the same command resumes it\n", known ? ": " : "",
                           known ? state.data : "");
    if (!rc)
        rc = qm_out_printf(err, "rows     %lld finished, %lld failed", (long long)t.rows, (long long)t.failed);
    if (!rc && rows >= 0)
        rc = qm_out_printf(err, ", of %lld", (long long)rows);
    if (!rc)
        rc = qm_out_text("\n", err);
    if (!rc)
        rc = print_failures(j, err);
    if (!rc && !complete && !(process && text.data))
        rc = print_left(j, err);
    if (!rc && process && !complete && text.data) {
        rc = print_time("as of    ", when, err);
        if (!rc)
            rc = qm_out_text(text.data, err);
    }
    qm_buf_free(&text);
    qm_buf_free(&state);
    return rc;
}

static json_t *real_or_null(double x) {
    return x >= 0 ? json_real(x) : json_null();
}

/* The same for programs: numbers that are not known are null. */
static int print_status_json(struct qm_journal *j, const struct qm_batch_paths *paths, struct qm_error *err) {
    struct qm_journal_totals t;
    struct qm_journal_run run;
    struct qm_buf state = {0}, failures = {0};
    int64_t rows, created, complete;
    struct qm_batch_prediction predicted;
    double left = -1;
    bool found, is_predicted = false;
    int runs;
    long process = qm_batch_lock_holder(paths->lock);
    int rc = qm_journal_totals(j, &t, err);
    if (!rc)
        rc = qm_journal_runs(j, &run, &runs, err);
    if (!rc)
        rc = qm_journal_get_int(j, "rows", -1, &rows, err);
    if (!rc)
        rc = qm_journal_get_int(j, "created", 0, &created, err);
    if (!rc)
        rc = qm_journal_get_int(j, "complete", 0, &complete, err);
    if (!rc)
        rc = qm_journal_get(j, "state", &state, &found, err);
    if (!rc)
        rc = qm_batch_left_kept(j, &left, err);
    if (!rc)
        rc = qm_batch_prediction_load(j, &predicted, &is_predicted, err);
    if (!rc)
        rc = qm_journal_get(j, "device_failures", &failures, &found, err);
    if (!rc) {
        json_t *root = json_pack(
            "{s:s, s:I, s:b, s:o, s:s, s:{s:o, s:I, s:I, s:I}, s:{s:I, s:I, s:I}, s:i, s:f, s:o, s:o, s:o, s:o}",
            "output", paths->out, "created", (json_int_t)created, "complete", complete != 0, "process",
            process ? json_integer(process) : json_null(), "state",
            complete     ? "complete"
            : state.data ? state.data
                         : "",
            "rows", "total", rows >= 0 ? json_integer(rows) : json_null(), "finished", (json_int_t)t.rows, "failed",
            (json_int_t)t.failed, "cut", (json_int_t)t.cut, "tokens", "prompt", (json_int_t)t.prompt, "cached",
            (json_int_t)t.cached, "generated", (json_int_t)t.generated, "runs", runs, "seconds", run.seconds, "joules",
            real_or_null(run.joules), "device_failures",
            found && failures.len ? json_string(failures.data) : json_null(), "left_seconds",
            complete ? json_real(0) : real_or_null(left), "predicted",
            is_predicted ? json_pack("{s:f, s:f, s:f}", "seconds", predicted.seconds, "low", predicted.low, "high",
                                     predicted.high)
                         : json_null());
        char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
        json_decref(root);
        rc = text ? qm_out_printf(err, "%s\n", text) : qm_fail(err, QM_INPUT, "%s: not UTF-8", paths->out);
        free(text);
    }
    qm_buf_free(&state);
    qm_buf_free(&failures);
    return rc;
}

int qm_batch_status(const char *output, bool as_json, struct qm_error *err) {
    struct qm_batch_paths paths = {0};
    struct qm_journal *j;
    int rc = open_both(output, &paths, &j, err);
    if (!rc)
        rc = as_json ? print_status_json(j, &paths, err) : print_status(j, &paths, err);
    qm_journal_close(j);
    qm_batch_paths_free(&paths);
    return rc;
}
