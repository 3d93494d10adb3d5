/* What pages of HTML share: one file, nothing loaded, nothing executed. */
#ifndef QM_APP_HTML_H
#define QM_APP_HTML_H

#include "base/buf.h"
#include "base/error.h"

/* The beginning of a page up to its heading; extra: more rules of CSS. What is in a <div class="wide"> scrolls by
 * itself where the screen is narrow. */
int qm_html_add_head(struct qm_buf *out, const char *title, const char *extra, struct qm_error *err);
/* A text of which nothing becomes markup. */
int qm_html_add_text(struct qm_buf *out, const char *s, struct qm_error *err);
/* The same two on standard output. */
int qm_html_head(const char *title, const char *extra, struct qm_error *err);
int qm_html_text(const char *s, struct qm_error *err);
/* A number for people: "0.0123", "45.67", "21390"; written to out, which is returned. */
const char *qm_html_number(double x, char out[32]);

/* Where an axis of four parts ends that shows `most` (above 0) with some room: its parts are short numbers, and
 * at least half of it is used. */
double qm_html_axis_end(double most);

/* A chart's picture and the margins around what is drawn, in its units. */
struct qm_html_chart {
    int width, height, left, right, top, bottom;
};
/* A line across at `share` (0 to 1) of the chart's height, with its value at the left, on standard output. */
int qm_html_line(const struct qm_html_chart *c, double share, const char *value, struct qm_error *err);

#endif
