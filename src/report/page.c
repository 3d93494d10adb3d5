/* A page of HTML. */
#include "report/page.h"

#include <stdarg.h>

#include "report/numbers.h"
#include "report/plot.h"

static const char STYLE[] =
    "body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em;color:#222;background:#fff}\n"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px}\n"
    "td,th{border-bottom:1px solid #ddd;padding:.3em .6em;text-align:right}\n"
    "td:first-child,th:first-child{text-align:left}\npre{white-space:pre-wrap}p,td{overflow-wrap:anywhere}\n"
    ".wide{overflow-x:auto}.wide td{overflow-wrap:normal}h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}\n"
    "@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}td,th{border-color:#444}a{color:#8bf}}\n";

void qm_page_begin(struct qm_page *p, const char *title, const char *style, struct qm_error *err) {
    *p = (struct qm_page){.err = err};
    qm_page_markup(p, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
                      "content=\"width=device-width\">");
    qm_page_element(p, "title", title);
    qm_page_markup(p, "\n<style>\n%s%s%s</style></head><body>\n", STYLE, qm_plot_style, style);
    qm_page_element(p, "h1", title);
    qm_page_markup(p, "\n");
}

int qm_page_end(struct qm_page *p) {
    qm_page_markup(p, "</body></html>\n");
    return p->rc;
}

void qm_page_free(struct qm_page *p) {
    qm_buf_free(&p->out);
}

void qm_page_markup(struct qm_page *p, const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (!p->rc)
        p->rc = qm_buf_vprintf(&p->out, p->err, format, args);
    va_end(args);
}

void qm_page_text(struct qm_page *p, const char *text) {
    for (; *text && !p->rc; text++) {
        const char *entity = *text == '<'   ? "&lt;"
                             : *text == '>' ? "&gt;"
                             : *text == '&' ? "&amp;"
                             : *text == '"' ? "&quot;"
                                            : NULL;
        p->rc = entity ? qm_buf_str(&p->out, entity, p->err) : qm_buf_add(&p->out, text, 1, p->err);
    }
}

void qm_page_textf(struct qm_page *p, const char *format, ...) {
    struct qm_buf text = {0};
    va_list args;
    va_start(args, format);
    if (!p->rc)
        p->rc = qm_buf_vprintf(&text, p->err, format, args);
    va_end(args);
    qm_page_text(p, text.data ? text.data : "");
    qm_buf_free(&text);
}

void qm_page_element(struct qm_page *p, const char *element, const char *text) {
    qm_page_markup(p, "<%s>", element);
    qm_page_text(p, text);
    qm_page_markup(p, "</%s>", element);
}

void qm_page_table(struct qm_page *p, const char *const *headings) {
    qm_page_markup(p, "<div class=\"wide\"><table>\n<tr>");
    for (; *headings; headings++)
        qm_page_element(p, "th", *headings);
    qm_page_markup(p, "</tr>\n");
}

void qm_page_row(struct qm_page *p) {
    qm_page_markup(p, "<tr>");
}

void qm_page_cell(struct qm_page *p, const char *text) {
    qm_page_element(p, "td", text);
}

void qm_page_cell_number(struct qm_page *p, double x) {
    char number[32];
    qm_page_cell(p, qm_number_text(x, 4, number, sizeof number));
}

void qm_page_row_end(struct qm_page *p) {
    qm_page_markup(p, "</tr>\n");
}

void qm_page_table_end(struct qm_page *p) {
    qm_page_markup(p, "</table></div>\n");
}
