/* What pages of HTML share. */
#include "app/html.h"

#include <math.h>
#include <stdio.h>

#include "app/out.h"

int qm_html_add_head(struct qm_buf *out, const char *title, const char *extra, struct qm_error *err) {
    return qm_buf_printf(
        out, err,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
        "content=\"width=device-width\"><title>%s</title>\n<style>\n"
        "body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em;color:#222;"
        "background:#fff}\n"
        "table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px}\n"
        "td,th{border-bottom:1px solid #ddd;padding:.3em .6em;text-align:right}\n"
        "td:first-child,th:first-child{text-align:left}\npre{white-space:pre-wrap}\n"
        ".wide{overflow-x:auto}.wide:has(svg){overflow:visible}.wide svg{width:100%%;height:auto;overflow:visible}\n"
        ".axis{stroke:#999}text{font:12px system-ui,sans-serif;fill:#444}\n"
        "@media(max-width:36em){text{font-size:18px}}\n%s"
        "@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}text{fill:#bbb}td,th{border-color:#444}}"
        "\n</style></head><body>\n<h1>%s</h1>\n",
        title, extra, title);
}

/* Names come from paths, files and CPUID: nothing of them may become markup. */
int qm_html_add_text(struct qm_buf *out, const char *s, struct qm_error *err) {
    int rc = QM_OK;
    for (; *s && !rc; s++) {
        const char *entity = *s == '<'   ? "&lt;"
                             : *s == '>' ? "&gt;"
                             : *s == '&' ? "&amp;"
                             : *s == '"' ? "&quot;"
                                         : NULL;
        rc = entity ? qm_buf_str(out, entity, err) : qm_buf_add(out, s, 1, err);
    }
    return rc;
}

/* To standard output, and the buffer goes. */
static int write_out(int rc, struct qm_buf *out, struct qm_error *err) {
    if (!rc && out->len)
        rc = qm_out_write(out->data, out->len, err);
    qm_buf_free(out);
    return rc;
}

int qm_html_head(const char *title, const char *extra, struct qm_error *err) {
    struct qm_buf out = {0};
    return write_out(qm_html_add_head(&out, title, extra, err), &out, err);
}

int qm_html_text(const char *s, struct qm_error *err) {
    struct qm_buf out = {0};
    return write_out(qm_html_add_text(&out, s, err), &out, err);
}

const char *qm_html_number(double x, char out[32]) {
    snprintf(out, 32, x >= 1000 && x < 1e15 ? "%.0f" : "%.4g", x);
    return out;
}

double qm_html_axis_end(double most) {
    static const double parts[] = {1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8};
    double part = most * 1.05 / 4, ten = pow(10, floor(log10(part)));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (part <= parts[i] * ten)
            return 4 * parts[i] * ten;
    return 40 * ten;
}

int qm_html_line(const struct qm_html_chart *c, double share, const char *value, struct qm_error *err) {
    double y = c->top + (c->height - c->top - c->bottom) * (1 - share);
    return qm_out_printf(err,
                         "<path class=\"axis\" d=\"M%d %.1fH%d\" opacity=\"%s\"/>"
                         "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
                         c->left, y, c->width - c->right, share > 0 ? ".3" : "1", c->left - 8, y + 4, value);
}
