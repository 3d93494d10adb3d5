/* Rows as chapters, as columns, as objects. */
#include "batch/answers.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"

static const char *const names[] = {"jsonl", "md", "txt", "csv", "json"};
enum { N_NAMES = sizeof names / sizeof *names };

int qm_answer_format_of(const char *path, const char *option, enum qm_answer_format *out, struct qm_error *err) {
    const char *slash = strrchr(path, '/'), *dot = strrchr(slash ? slash : path, '.');
    *out = QM_ANSWERS_LINES;
    for (int i = 0; dot && i < N_NAMES; i++)
        if (!strcasecmp(dot + 1, names[i])) {
            *out = (enum qm_answer_format)i;
            return QM_OK;
        }
    if (dot && !strcasecmp(dot + 1, "markdown"))
        *out = QM_ANSWERS_MD;
    else if (dot)
        return qm_remedy(
            err, QM_REMEDY_NAME_FORMAT,
            qm_fail(err, QM_USAGE,
                    "%s %s: answers are not written as \"%s\"; expected a name that ends with .md, .txt, .csv, .json "
                    "or .jsonl",
                    option, path, dot));
    return QM_OK;
}

int qm_answer_format_parse(const char *name, const char *option, enum qm_answer_format *out, struct qm_error *err) {
    for (int i = 0; i < N_NAMES; i++)
        if (!strcmp(name, names[i])) {
            *out = (enum qm_answer_format)i;
            return QM_OK;
        }
    return qm_fail(err, QM_USAGE, "%s: expected jsonl, md, txt, csv or json, found \"%s\"", option, name);
}

/* What a row says; owned by its line. */
struct answer {
    const char *document, *question, *text, *failed;
    long long tokens; /* where it was cut; 0: it was not */
};

static int markdown(const struct answer *a, bool chapter, bool first, struct qm_buf *out, struct qm_error *err) {
    int rc = chapter ? qm_buf_printf(out, err, "%s# %s\n", first ? "" : "\n", a->document) : QM_OK;
    if (!rc)
        rc = qm_buf_printf(out, err, "\n## %s\n\n", a->question);
    if (!rc)
        rc = qm_buf_printf(out, err, a->failed ? "*Failed: %s*\n" : "%s\n", a->failed ? a->failed : a->text);
    if (!rc && a->tokens)
        rc = qm_buf_printf(out, err, "\n*Cut at its limit of %lld tokens.*\n", a->tokens);
    return rc;
}

static int plain(const struct answer *a, bool chapter, bool first, struct qm_buf *out, struct qm_error *err) {
    int rc = chapter ? qm_buf_printf(out, err, "%s=== %s ===\n", first ? "" : "\n", a->document) : QM_OK;
    if (!rc)
        rc = qm_buf_printf(out, err, "\n%s\n\n", a->question);
    if (!rc)
        rc = qm_buf_printf(out, err, a->failed ? "[failed: %s]\n" : "%s\n", a->failed ? a->failed : a->text);
    if (!rc && a->tokens)
        rc = qm_buf_printf(out, err, "[cut at its limit of %lld tokens]\n", a->tokens);
    return rc;
}

static int csv_field(struct qm_buf *out, const char *s, const char *end, struct qm_error *err) {
    int rc = qm_buf_str(out, "\"", err);
    for (; *s && !rc; s++)
        rc = qm_buf_add(out, *s == '"' ? "\"\"" : s, *s == '"' ? 2 : 1, err);
    if (!rc)
        rc = qm_buf_str(out, "\"", err);
    return rc ? rc : qm_buf_str(out, end, err);
}

static int csv(const struct answer *a, bool first, struct qm_buf *out, struct qm_error *err) {
    int rc = first ? qm_buf_str(out, "document,question,answer,cut,error\n", err) : QM_OK;
    if (!rc)
        rc = csv_field(out, a->document, ",", err);
    if (!rc)
        rc = csv_field(out, a->question, ",", err);
    if (!rc)
        rc = csv_field(out, a->failed ? "" : a->text, ",", err);
    if (!rc)
        rc = qm_buf_str(out, a->tokens ? "yes," : "no,", err);
    return rc ? rc : csv_field(out, a->failed ? a->failed : "", "\n", err);
}

static int object(const struct answer *a, bool first, struct qm_buf *out, struct qm_error *err) {
    json_t *o = json_pack("{s:s, s:s, s:s?, s:b, s:s?}", "document", a->document, "question", a->question, "answer",
                          a->failed ? NULL : a->text, "cut", a->tokens != 0, "error", a->failed);
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    int rc =
        text ? qm_buf_printf(out, err, "%s%s", first ? "[\n" : ",\n", text) : qm_fail_memory(err, 256, "an answer");
    free(text);
    json_decref(o);
    return rc;
}

int qm_batch_answers(void *arg, const struct qm_journal_row *row, struct qm_buf *text, struct qm_error *err) {
    struct qm_batch_answers *m = arg;
    bool first = m->document < 0;
    if (!row)
        return m->format == QM_ANSWERS_JSON ? qm_buf_str(text, first ? "[]\n" : "\n]\n", err) : QM_OK;
    json_t *line = NULL;
    int rc = qm_json_parse(row->text, row->len, "a row", &line, err);
    if (rc)
        return rc;
    struct answer a = {.text = ""};
    const char *end = NULL;
    json_int_t tokens = 0;
    int64_t document = qm_batch_documents_row(m->documents, row->number, &a.document, &a.question);
    json_unpack(line, "{s:{s:{s:[{s:{s:s}}]}}}", "response", "body", "choices", "message", "content", &a.text);
    json_unpack(line, "{s:{s:{s:[{s:s}]}}}", "response", "body", "choices", "finish_reason", &end);
    json_unpack(line, "{s:{s:{s:{s:I}}}}", "response", "body", "usage", "completion_tokens", &tokens);
    json_unpack(line, "{s:{s:s}}", "error", "message", &a.failed);
    a.tokens = end && !strcmp(end, "length") ? (long long)tokens : 0;
    switch (m->format) {
    case QM_ANSWERS_MD: rc = markdown(&a, document != m->document, first, text, err); break;
    case QM_ANSWERS_TXT: rc = plain(&a, document != m->document, first, text, err); break;
    case QM_ANSWERS_CSV: rc = csv(&a, first, text, err); break;
    case QM_ANSWERS_JSON: rc = object(&a, first, text, err); break;
    case QM_ANSWERS_LINES: break;
    }
    m->document = document;
    json_decref(line);
    return rc;
}
