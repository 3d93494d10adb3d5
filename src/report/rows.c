/* Rows of results in four formats. */
#include "report/rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int markdown_head(const struct qm_column *columns, struct qm_buf *out, struct qm_error *err) {
    int rc = qm_buf_str(out, "|", err);
    for (const struct qm_column *c = columns; c->title && !rc; c++)
        rc = qm_buf_printf(out, err, c->right ? " %*s |" : " %-*s |", c->width, c->title);
    if (!rc)
        rc = qm_buf_str(out, "\n|", err);
    for (const struct qm_column *c = columns; c->title && !rc; c++) {
        for (int i = 0; i < c->width && !rc; i++)
            rc = qm_buf_str(out, i ? "-" : " ", err);
        if (!rc)
            rc = qm_buf_str(out, c->right ? ": |" : "- |", err);
    }
    return rc ? rc : qm_buf_str(out, "\n", err);
}

/* Columns that a terminal gives a UTF-8 text without wide characters. */
static int shown_width(const char *s) {
    int n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xC0) != 0x80;
    return n;
}

static int markdown_row(const struct qm_column *columns, const json_t *row, struct qm_buf *out, struct qm_error *err) {
    int rc = qm_buf_str(out, "|", err);
    for (const struct qm_column *c = columns; c->title && !rc; c++) {
        struct qm_buf cell = {0};
        rc = c->cell(row, &cell, err);
        const char *text = cell.data ? cell.data : "";
        int pad = c->width - shown_width(text);
        pad = pad > 0 ? pad : 0;
        if (!rc)
            rc = qm_buf_printf(out, err, " %*s%s%*s |", c->right ? pad : 0, "", text, c->right ? 0 : pad, "");
        qm_buf_free(&cell);
    }
    return rc ? rc : qm_buf_str(out, "\n", err);
}

int qm_csv_text(struct qm_buf *out, const char *s, struct qm_error *err) {
    int rc = qm_buf_str(out, "\"", err);
    while (*s && !rc) {
        size_t n = strcspn(s, "\"");
        rc = qm_buf_add(out, s, n, err);
        s += n;
        if (!rc && *s == '"') {
            rc = qm_buf_str(out, "\"\"", err);
            s++;
        }
    }
    return rc ? rc : qm_buf_str(out, "\"", err);
}

static int csv_value(const json_t *v, struct qm_buf *out, struct qm_error *err) {
    if (json_is_string(v))
        return qm_csv_text(out, json_string_value(v), err);
    if (json_is_null(v))
        return QM_OK;
    char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
    int rc = text ? qm_buf_str(out, text, err) : qm_fail_memory(err, 64, "a row");
    free(text);
    return rc;
}

static int csv_row(json_t *row, bool head, struct qm_buf *out, struct qm_error *err) {
    const char *key;
    json_t *v;
    int rc = QM_OK;
    bool first = true;
    json_object_foreach(row, key, v) {
        if (rc || json_is_array(v) || json_is_object(v))
            continue;
        if (!first)
            rc = qm_buf_str(out, ",", err);
        if (!rc)
            rc = head ? qm_buf_str(out, key, err) : csv_value(v, out, err);
        first = false;
    }
    return rc ? rc : qm_buf_str(out, "\n", err);
}

static int json_row(const json_t *row, const char *before, size_t flags, const char *after, struct qm_buf *out,
                    struct qm_error *err) {
    char *text = json_dumps(row, flags | JSON_REAL_PRECISION(9));
    int rc = text ? qm_buf_printf(out, err, "%s%s%s", before, text, after) : qm_fail_memory(err, 1024, "a row");
    free(text);
    return rc;
}

/* Hands on what has been written. */
static int hand_on(struct qm_rows *r, int rc, struct qm_error *err) {
    if (!rc && r->text.len)
        rc = r->write(r->text.data, r->text.len, err);
    r->text.len = 0;
    return rc;
}

int qm_rows_open(struct qm_rows *r, enum qm_row_format format, const struct qm_column *columns, qm_rows_write_fn *write,
                 struct qm_error *err) {
    *r = (struct qm_rows){.format = format, .columns = columns, .write = write, .all = json_array()};
    return r->all ? QM_OK : qm_fail_memory(err, 64, "rows");
}

int qm_rows_add(struct qm_rows *r, json_t *row, struct qm_error *err) {
    struct qm_buf *out = &r->text;
    bool first = json_array_size(r->all) == 0;
    if (!row || json_array_append_new(r->all, row))
        return qm_fail_memory(err, 1024, "a row");
    int rc = QM_OK;
    switch (r->format) {
    case QM_ROWS_MD:
        rc = first ? markdown_head(r->columns, out, err) : QM_OK;
        if (!rc)
            rc = markdown_row(r->columns, row, out, err);
        break;
    case QM_ROWS_CSV:
        rc = first ? csv_row(row, true, out, err) : QM_OK;
        if (!rc)
            rc = csv_row(row, false, out, err);
        break;
    case QM_ROWS_JSON: rc = json_row(row, first ? "[\n  " : ",\n  ", JSON_COMPACT, "", out, err); break;
    case QM_ROWS_JSONL: rc = json_row(row, "", JSON_COMPACT, "\n", out, err); break;
    case QM_ROWS_HTML: break;
    }
    return hand_on(r, rc, err);
}

int qm_rows_end(struct qm_rows *r, struct qm_error *err) {
    if (r->format != QM_ROWS_JSON)
        return QM_OK;
    return hand_on(r, qm_buf_str(&r->text, json_array_size(r->all) ? "\n]\n" : "[]\n", err), err);
}

void qm_rows_close(struct qm_rows *r) {
    json_decref(r->all);
    qm_buf_free(&r->text);
    *r = (struct qm_rows){0};
}
