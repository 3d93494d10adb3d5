/* Rows of results in four formats. */
#include "app/rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/out.h"

int qm_row_format_parse(const char *name, enum qm_row_format *out, struct qm_error *err) {
    static const char *const names[] = {"md", "csv", "json", "jsonl", "html"};
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
        if (!strcmp(name, names[i])) {
            *out = (enum qm_row_format)i;
            return QM_OK;
        }
    return qm_fail(err, QM_USAGE, "-o: expected md, csv, json, jsonl or html, found \"%s\"", name);
}

static int markdown_head(const struct qm_column *columns, struct qm_error *err) {
    int rc = qm_out_text("|", err);
    for (const struct qm_column *c = columns; c->title && !rc; c++)
        rc = qm_out_printf(err, c->right ? " %*s |" : " %-*s |", c->width, c->title);
    if (!rc)
        rc = qm_out_text("\n|", err);
    for (const struct qm_column *c = columns; c->title && !rc; c++) {
        for (int i = 0; i < c->width && !rc; i++)
            rc = qm_out_text(i ? "-" : " ", err);
        if (!rc)
            rc = qm_out_text(c->right ? ": |" : "- |", err);
    }
    return rc ? rc : qm_out_text("\n", err);
}

/* Columns that a terminal gives a UTF-8 text without wide characters. */
static int shown_width(const char *s) {
    int n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xC0) != 0x80;
    return n;
}

static int markdown_row(const struct qm_column *columns, const json_t *row, struct qm_error *err) {
    int rc = qm_out_text("|", err);
    for (const struct qm_column *c = columns; c->title && !rc; c++) {
        struct qm_buf cell = {0};
        rc = c->cell(row, &cell, err);
        const char *text = cell.data ? cell.data : "";
        int pad = c->width - shown_width(text);
        pad = pad > 0 ? pad : 0;
        if (!rc)
            rc = qm_out_printf(err, " %*s%s%*s |", c->right ? pad : 0, "", text, c->right ? 0 : pad, "");
        qm_buf_free(&cell);
    }
    return rc ? rc : qm_out_text("\n", err);
}

/* RFC 4180: quoted, quotes doubled. */
static int csv_text(const char *s, struct qm_error *err) {
    int rc = qm_out_text("\"", err);
    while (*s && !rc) {
        size_t n = strcspn(s, "\"");
        rc = qm_out_write(s, n, err);
        s += n;
        if (!rc && *s == '"') {
            rc = qm_out_text("\"\"", err);
            s++;
        }
    }
    return rc ? rc : qm_out_text("\"", err);
}

static int csv_value(const json_t *v, struct qm_error *err) {
    if (json_is_string(v))
        return csv_text(json_string_value(v), err);
    if (json_is_null(v))
        return QM_OK;
    char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
    int rc = text ? qm_out_text(text, err) : qm_fail_memory(err, 64, "a row");
    free(text);
    return rc;
}

static int csv_row(json_t *row, bool head, struct qm_error *err) {
    const char *key;
    json_t *v;
    int rc = QM_OK;
    bool first = true;
    json_object_foreach(row, key, v) {
        if (rc || json_is_array(v) || json_is_object(v))
            continue;
        if (!first)
            rc = qm_out_text(",", err);
        if (!rc)
            rc = head ? qm_out_text(key, err) : csv_value(v, err);
        first = false;
    }
    return rc ? rc : qm_out_text("\n", err);
}

static int json_row(const json_t *row, const char *before, size_t flags, const char *after, struct qm_error *err) {
    char *text = json_dumps(row, flags | JSON_REAL_PRECISION(9));
    int rc = text ? qm_out_printf(err, "%s%s%s", before, text, after) : qm_fail_memory(err, 1024, "a row");
    free(text);
    return rc;
}

int qm_rows_open(struct qm_rows *r, enum qm_row_format format, const struct qm_column *columns, struct qm_error *err) {
    *r = (struct qm_rows){.format = format, .columns = columns, .all = json_array()};
    return r->all ? QM_OK : qm_fail_memory(err, 64, "rows");
}

int qm_rows_add(struct qm_rows *r, json_t *row, struct qm_error *err) {
    bool first = json_array_size(r->all) == 0;
    if (!row || json_array_append_new(r->all, row))
        return qm_fail_memory(err, 1024, "a row");
    int rc = QM_OK;
    switch (r->format) {
    case QM_ROWS_MD:
        rc = first ? markdown_head(r->columns, err) : QM_OK;
        rc = rc ? rc : markdown_row(r->columns, row, err);
        break;
    case QM_ROWS_CSV:
        rc = first ? csv_row(row, true, err) : QM_OK;
        rc = rc ? rc : csv_row(row, false, err);
        break;
    case QM_ROWS_JSON: rc = json_row(row, first ? "[\n  " : ",\n  ", JSON_COMPACT, "", err); break;
    case QM_ROWS_JSONL: rc = json_row(row, "", JSON_COMPACT, "\n", err); break;
    case QM_ROWS_HTML: break;
    }
    return rc ? rc : qm_out_flush(err);
}

int qm_rows_end(struct qm_rows *r, struct qm_error *err) {
    if (r->format != QM_ROWS_JSON)
        return QM_OK;
    return qm_out_text(json_array_size(r->all) ? "\n]\n" : "[]\n", err);
}

void qm_rows_close(struct qm_rows *r) {
    json_decref(r->all);
    *r = (struct qm_rows){0};
}
