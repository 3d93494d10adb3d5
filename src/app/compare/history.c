/* Results of compare that are kept by themselves (history.h), so that two days can be held against each other without
 * a file: keeping one, listing them, and finding the one that --with names. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/compare/compare.h"
#include "app/history.h"
#include "app/out.h"
#include "base/file.h"
#include "base/parse.h"
#include "base/path.h"

enum { REPORT_LIMIT = 64 << 20, PATH_ROOM = 4200 };

char *qm_compare_json_text(const struct qm_compare_report *r, size_t flags) {
    json_t *root = qm_compare_json(r);
    char *text = root ? json_dumps(root, flags) : NULL;
    json_decref(root);
    return text;
}

/* The same folder by whatever name it was given. */
static void absolute(const char *directory, char *out, size_t size) {
    char *path = realpath(directory, NULL);
    snprintf(out, size, "%s", path ? path : directory);
    free(path);
}

static void work_of(const struct qm_compare_report *r, char *out, size_t size) {
    snprintf(out, size, "%s, %lld each, temperature %g, seed %lld", r->text_hash, (long long)r->generate,
             r->temperature, (long long)r->seed);
}

static void summary_of(const struct qm_compare_report *r, char *out, size_t size) {
    size_t n = (size_t)snprintf(out, size, "%lld+%lld:", (long long)r->prompt_tokens, (long long)r->generate);
    for (int i = 0; i < r->configs && n < size; i++) {
        const struct qm_compare_config *c = &r->config[i];
        if (c->decode.measured.n)
            n += (size_t)snprintf(out + n, size - n, c->decode.measured.median >= 1000 ? " %.20s %.0f" : " %.20s %.4g",
                                  c->name, c->decode.measured.median);
    }
}

void qm_compare_keep(const struct qm_compare_report *r, struct qm_progress *progress) {
    char path[PATH_ROOM], *text = qm_compare_json_text(r, JSON_COMPACT);
    struct qm_history_result *kept = calloc(1, sizeof *kept);
    struct qm_error aside, err;
    qm_history_path(path, sizeof path);
    if (text && kept && path[0]) {
        snprintf(kept->when, sizeof kept->when, "%s", r->when);
        snprintf(kept->machine, sizeof kept->machine, "%s", r->machine);
        absolute(r->model, kept->model, sizeof kept->model);
        work_of(r, kept->work, sizeof kept->work);
        summary_of(r, kept->summary, sizeof kept->summary);
        int rc = qm_history_keep(path, kept, text, &aside, &err);
        if (aside.code)
            qm_note(progress, "%s", aside.message);
        if (rc)
            qm_note(progress, "%s", err.message);
    }
    free(kept);
    free(text);
}

static int print_json(const struct qm_history_result *results, int n, struct qm_error *err) {
    json_t *list = json_array();
    for (int i = 0; i < n; i++) {
        const struct qm_history_result *r = &results[i];
        json_array_append_new(list, json_pack("{s:I, s:s, s:s, s:s, s:s, s:s}", "number", (json_int_t)r->number, "when",
                                              r->when, "machine", r->machine, "model", r->model, "work", r->work,
                                              "summary", r->summary));
    }
    char *text = json_dumps(list, JSON_INDENT(2));
    int rc = text ? qm_out_printf(err, "%s\n", text) : qm_fail_memory(err, 4096, "the history");
    free(text);
    json_decref(list);
    return rc;
}

int qm_compare_history(bool json, struct qm_error *err) {
    struct qm_history_result *results;
    char path[PATH_ROOM];
    int n;
    qm_history_path(path, sizeof path);
    int rc = qm_history_results(path, &results, &n, err);
    if (!rc && json)
        rc = print_json(results, n, err);
    else if (!rc && !path[0])
        rc = qm_out_text("nothing is kept: neither XDG_CACHE_HOME nor HOME names a folder\n", err);
    else if (!rc && n == 0)
        rc = qm_out_text("no result is kept yet: each quietmind compare keeps its own\n", err);
    else if (!rc)
        rc = qm_out_text("number  when                  model             prompt+generated tokens: decode, tokens/s\n",
                         err);
    for (int i = 0; i < n && !rc && !json; i++)
        rc = qm_out_printf(err, "%6lld  %-20.20s  %-16.16s  %.100s\n", (long long)results[i].number, results[i].when,
                           qm_path_last(results[i].model), results[i].summary);
    free(results);
    return rc;
}

/* The last one of the model; of those, one of the same work goes first. */
static int find_last(const char *path, const struct qm_compare_report *now, const char *directory, int64_t *number,
                     struct qm_error *err) {
    struct qm_history_result *results;
    char model[sizeof results->model], work[sizeof results->work];
    int n, rc = qm_history_results(path, &results, &n, err);
    bool same = false;
    *number = 0;
    absolute(directory, model, sizeof model);
    work_of(now, work, sizeof work);
    for (int i = 0; i < n; i++) {
        bool equal = !strcmp(results[i].work, work);
        if (strcmp(results[i].model, model) != 0 || (same && !equal))
            continue;
        *number = results[i].number;
        same = equal;
    }
    free(results);
    if (!rc && !*number)
        rc = qm_fail(err, QM_INPUT, "--with last: no result of %s is kept in %s", directory,
                     path[0] ? path : "a cache directory, since there is none");
    return rc;
}

int qm_compare_before(const char *which, const struct qm_compare_report *now, const char *directory,
                      struct qm_compare_report *out, struct qm_error *err) {
    char path[PATH_ROOM], name[64];
    struct qm_buf text = {0};
    int64_t number = 0;
    bool last = !strcmp(which, "last");
    int rc = QM_OK;
    qm_history_path(path, sizeof path);
    if (last)
        rc = find_last(path, now, directory, &number, err);
    if (!rc && (last || qm_parse_int(which, &number))) {
        rc = qm_history_text(path, number, &text, err);
        snprintf(name, sizeof name, "the kept result %lld", (long long)number);
        which = name;
    } else if (!rc) {
        rc = qm_read_given(which, REPORT_LIMIT, &text, err);
    }
    if (!rc)
        rc = qm_compare_parse(text.data ? text.data : "", text.len, which, out, err);
    qm_buf_free(&text);
    return rc;
}
