/* What pages of HTML share. */
#include "app/html.h"

#include <stdio.h>

#include "app/out.h"

int qm_html_head(const char *title, const char *extra, struct qm_error *err) {
    return qm_out_printf(
        err,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>%s</title>\n<style>\n"
        "body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em;color:#222;"
        "background:#fff}\n"
        "table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px}\n"
        "td,th{border-bottom:1px solid #ddd;padding:.3em .6em;text-align:right}\n"
        "td:first-child,th:first-child{text-align:left}\nsvg{max-width:100%%;height:auto}\n"
        ".axis{stroke:#999}text{font:12px system-ui,sans-serif;fill:#444}\n%s"
        "@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}text{fill:#bbb}td,th{border-color:#444}}"
        "\n</style></head><body>\n<h1>%s</h1>\n",
        title, extra, title);
}

/* Names come from paths and from CPUID: nothing of them may become markup. */
int qm_html_text(const char *s, struct qm_error *err) {
    int rc = QM_OK;
    for (; *s && !rc; s++) {
        const char *entity = *s == '<'   ? "&lt;"
                             : *s == '>' ? "&gt;"
                             : *s == '&' ? "&amp;"
                             : *s == '"' ? "&quot;"
                                         : NULL;
        rc = entity ? qm_out_text(entity, err) : qm_out_printf(err, "%c", *s);
    }
    return rc;
}

const char *qm_html_number(double x, char out[32]) {
    snprintf(out, 32, x >= 1000 && x < 1e15 ? "%.0f" : "%.4g", x);
    return out;
}
