/* plan --accuracy: predicted beside measured, of the last runs. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/history.h"
#include "app/out.h"
#include "app/plan/plan.h"

enum { ROWS = 40 };

static double error_of(const struct qm_history_row *r) {
    return r->predicted / r->measured - 1;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median of the distances, and how many are within a tenth. */
static double median_error(const struct qm_history_row *rows, int n, int *within) {
    double errors[ROWS];
    *within = 0;
    for (int i = 0; i < n; i++) {
        errors[i] = fabs(error_of(&rows[i]));
        *within += errors[i] <= 0.1;
    }
    qsort(errors, (size_t)n, sizeof *errors, ascending);
    return n % 2 ? errors[n / 2] : (errors[n / 2 - 1] + errors[n / 2]) / 2;
}

static int print_rows(const struct qm_history_row *rows, int n, struct qm_error *err) {
    int within, rc = qm_out_text(
                    "when                 model           what                    predicted   measured  error\n", err);
    for (int i = 0; i < n && !rc; i++) {
        const struct qm_history_row *r = &rows[i];
        char what[48];
        int at = snprintf(what, sizeof what, "%s %lld", strcmp(r->what, "writing") ? "prefill" : "decode",
                          (long long)r->tokens);
        if (r->sequences > 1)
            at += snprintf(what + at, sizeof what - (size_t)at, " x %lld", (long long)r->sequences);
        if (r->depth)
            snprintf(what + at, sizeof what - (size_t)at, " @ %lld", (long long)r->depth);
        rc = qm_out_printf(err, "%-20.20s %-15.15s %-22.22s %10.2f %10.2f %+5.0f %%\n", r->when, r->model, what,
                           r->predicted, r->measured, 100 * error_of(r));
    }
    double median = median_error(rows, n, &within);
    return rc ? rc : qm_out_printf(err, "\nmedian error %.0f %%; %d of %d within 10 %%\n", 100 * median, within, n);
}

static int print_json(const struct qm_history_row *rows, int n, struct qm_error *err) {
    json_t *list = json_array();
    for (int i = 0; i < n; i++) {
        const struct qm_history_row *r = &rows[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:i, s:f, s:f}", "when",
                                              r->when, "machine", r->machine, "model", r->model, "command", r->command,
                                              "what", r->what, "sequences", (json_int_t)r->sequences, "depth",
                                              (json_int_t)r->depth, "tokens", (json_int_t)r->tokens, "threads",
                                              r->threads, "predicted", r->predicted, "measured", r->measured));
    }
    char *text = json_dumps(list, JSON_INDENT(1));
    json_decref(list);
    int rc = text ? qm_out_printf(err, "%s\n", text) : qm_fail_memory(err, 4096, "the history");
    free(text);
    return rc;
}

int qm_plan_accuracy(bool json, struct qm_error *err) {
    char path[4200];
    struct qm_history_row *rows;
    int n;
    qm_history_path(path, sizeof path);
    int rc = qm_history_last(path, ROWS, &rows, &n, err);
    if (!rc && json)
        rc = print_json(rows, n, err);
    else if (!rc && !path[0])
        rc = qm_out_text("nothing is kept: neither XDG_CACHE_HOME nor HOME names a folder\n", err);
    else if (!rc && n == 0)
        rc = qm_out_text("no run has been predicted yet: after quietmind plan, each run and bench is\n", err);
    else if (!rc)
        rc = print_rows(rows, n, err);
    free(rows);
    return rc;
}
