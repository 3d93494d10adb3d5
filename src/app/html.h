/* What pages of HTML share: one file, nothing loaded, nothing executed. */
#ifndef QM_APP_HTML_H
#define QM_APP_HTML_H

#include "base/error.h"

/* The beginning of a page up to its heading; extra: more rules of CSS. */
int qm_html_head(const char *title, const char *extra, struct qm_error *err);
/* A text on standard output of which nothing becomes markup. */
int qm_html_text(const char *s, struct qm_error *err);
/* A number for people: "0.0123", "45.67", "21390"; written to out, which is returned. */
const char *qm_html_number(double x, char out[32]);

#endif
