/* What pages of HTML share: one file, nothing loaded, nothing executed. */
#ifndef QM_APP_HTML_H
#define QM_APP_HTML_H

#include "base/error.h"

/* The beginning of a page up to its heading; extra: more rules of CSS. */
int qm_html_head(const char *title, const char *extra, struct qm_error *err);
/* A text on standard output of which nothing becomes markup. */
int qm_html_text(const char *s, struct qm_error *err);

#endif
