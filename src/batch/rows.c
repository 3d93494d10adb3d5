/* The rows of a job as its options say. */
#include "batch/rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/words.h"
#include "batch/row.h"
#include "batch/work.h"

static int open_documents(const struct qm_batch_options *o, const struct qm_batch_ui *ui, struct qm_batch_rows *out,
                          struct qm_error *err) {
    const struct qm_batch_asked *a = &o->asked;
    const struct qm_collect from = {.paths = a->paths,
                                    .n_paths = a->n_paths,
                                    .output = o->output,
                                    .others = a->others,
                                    .n_others = a->n_others,
                                    .search = a->search,
                                    .skip_unreadable = a->skip_unreadable,
                                    .ui = ui};
    int rc = qm_batch_documents_open(&from, a->questions, a->system, a->body, &out->documents, err);
    if (!rc)
        out->source = qm_batch_documents_source(out->documents);
    return rc;
}

int qm_batch_rows_text(const struct qm_batch_rows *r, double rows, bool exact, bool left, struct qm_buf *out,
                       struct qm_error *err) {
    int64_t questions, documents = r->documents ? qm_batch_documents_count(r->documents, &questions) : 0;
    int rc = QM_OK;
    if (r->documents)
        rc = qm_buf_printf(out, err, "%lld document%s, %lld question%s: ", (long long)documents, qm_s(documents),
                           (long long)questions, qm_s(questions));
    double step = pow(10, fmax(0, floor(log10(fmax(rows, 1))) - 1)); /* two digits say what is known of them */
    double n = exact ? rows : round(rows / step) * step;
    return rc ? rc
              : qm_buf_printf(out, err, "%s%.0f row%s%s", exact ? "" : "about ", n, qm_s((long long)(n + 0.5)),
                              left ? " left" : "");
}

/* A text, an archive or a list instead of rows is reported at once, not in as many error lines as it has lines. A first
 * row that is only damaged (it begins as one, and has a name) is a row like others. */
static int check_first(const struct qm_batch_source *source, const char *path, struct qm_error *err) {
    static const struct qm_batch_line beginning = {.number = 1, .file_line = 1};
    struct qm_batch_line line;
    struct qm_error why = {0};
    char title[64], id[QM_BATCH_ID_LIMIT + 1];
    json_t *first = NULL;
    bool end;
    int rc = source->next(source->self, &line, &end, err);
    if (rc || end || !line.text)
        return rc ? rc : source->seek(source->self, &beginning, err);
    snprintf(title, sizeof title, "line %lld", (long long)line.file_line);
    rc = qm_json_parse(line.text, line.length, title, &first, &why);
    if (!rc && !json_is_object(first))
        rc = qm_fail(&why, QM_INPUT, "%s: %s", title, qm_json_type_name(first));
    qm_batch_row_name(line.text, line.length, id);
    json_decref(first);
    if (rc == QM_INPUT && !*id)
        return qm_remedy(
            err, QM_REMEDY_ASK_DOCUMENTS,
            qm_fail(err, QM_INPUT,
                    "%s: expected a batch file, a JSON object {\"custom_id\", \"method\", \"url\", \"body\"} on each "
                    "line; found %s",
                    path, why.message));
    return source->seek(source->self, &beginning, err);
}

int qm_batch_rows_open(const struct qm_batch_options *o, const struct qm_batch_ui *ui, struct qm_batch_rows *out,
                       struct qm_error *err) {
    if (!o->input)
        return open_documents(o, ui, out, err);
    int rc = qm_batch_input_open(o->input, QM_BATCH_LINE_LIMIT, &out->input, err);
    if (!rc)
        out->source = qm_batch_input_source(out->input);
    return rc ? rc : check_first(&out->source, o->input, err);
}

void qm_batch_rows_close(struct qm_batch_rows *r) {
    qm_batch_input_close(r->input);
    qm_batch_documents_close(r->documents);
    *r = (struct qm_batch_rows){0};
}

int qm_batch_rows_compare(const struct qm_batch_rows *r, struct qm_journal *j, struct qm_error *err) {
    struct qm_journal_totals t;
    int64_t n = 0;
    int rc = qm_journal_totals(j, &t, err);
    while (!rc) {
        struct qm_batch_line line;
        bool end, known;
        uint64_t answered;
        rc = r->source.next(r->source.self, &line, &end, err);
        if (rc || end)
            break;
        n++;
        rc = qm_journal_has(j, line.number, &known, &answered, err);
        if (!rc && (!known || answered != line.hash))
            rc = qm_batch_other_row(line.number, err);
    }
    if (rc || t.rows == n)
        return rc;
    return qm_remedy(err, QM_REMEDY_START_OVER,
                     qm_fail(err, QM_INPUT,
                             "the input has %lld rows, and %lld were answered: put the file back as it was "
                             "and run the same command again",
                             (long long)n, (long long)t.rows));
}
