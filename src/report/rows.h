/* Results in rows, written as they come: Markdown, CSV, JSON (one array), JSON lines. A row is a JSON object with
 * the same keys every time; CSV leaves lists and objects out. */
#ifndef QM_REPORT_ROWS_H
#define QM_REPORT_ROWS_H

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/error.h"

enum qm_row_format { QM_ROWS_MD, QM_ROWS_CSV, QM_ROWS_JSON, QM_ROWS_JSONL, QM_ROWS_HTML };

struct qm_column {
    const char *title;
    int width;
    bool right; /* aligned so */
    /* Appends the cell's text. */
    int (*cell)(const json_t *row, struct qm_buf *out, struct qm_error *err);
};

/* Where rows go, each at once when it is added: returns 0 or a code that ends the writing. */
typedef int qm_rows_write_fn(const void *bytes, size_t n, struct qm_error *err);

struct qm_rows {
    enum qm_row_format format;
    const struct qm_column *columns; /* of Markdown, ended by a title of NULL */
    qm_rows_write_fn *write;
    json_t *all;        /* the rows, for who wants them at the end (HTML) */
    struct qm_buf text; /* not handed on yet */
};

int qm_rows_open(struct qm_rows *r, enum qm_row_format format, const struct qm_column *columns, qm_rows_write_fn *write,
                 struct qm_error *err);
/* Takes the row (which may be NULL: out of memory) and writes it. */
int qm_rows_add(struct qm_rows *r, json_t *row, struct qm_error *err);
/* Ends the array of JSON. Before the first row nothing is written, so that what fails early leaves no result. */
int qm_rows_end(struct qm_rows *r, struct qm_error *err);
void qm_rows_close(struct qm_rows *r);

/* Appends a text as a field of CSV: in quotes, quotes doubled (RFC 4180). */
int qm_csv_text(struct qm_buf *out, const char *s, struct qm_error *err);

#endif
