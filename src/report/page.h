/* A page of HTML in memory: one file, nothing loaded, nothing executed, dark where the reader's screen is, readable
 * from a phone to a desk. Pictures on it are in report/plot.h.
 *
 * The page carries its first error: after it nothing is added, and qm_page_end returns it, so calls need no checks
 * between. What is markup and what is text is decided by the function: nothing given to a function of text, title or
 * cell becomes markup, whatever it comes from. Not thread-safe. */
#ifndef QM_REPORT_PAGE_H
#define QM_REPORT_PAGE_H

#include "base/buf.h"
#include "base/error.h"

struct qm_page {
    struct qm_buf out;
    struct qm_error *err; /* the caller's, until qm_page_end */
    int rc; /* of the first thing that failed; a caller may set it to the code of an error of its own while it is QM_OK
             */
};

/* The beginning up to the heading. style: more rules of CSS, or "". Free *p whatever follows. */
void qm_page_begin(struct qm_page *p, const char *title, const char *style, struct qm_error *err);
/* The end; returns the first error. p->out is then the whole page. */
int qm_page_end(struct qm_page *p);
void qm_page_free(struct qm_page *p);

/* Markup: arguments are numbers or constants, never what comes from elsewhere. */
void qm_page_markup(struct qm_page *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Text, as plain as it is. */
void qm_page_text(struct qm_page *p, const char *text);
void qm_page_textf(struct qm_page *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Text in an element: qm_page_element(p, "h2", "Rows"). */
void qm_page_element(struct qm_page *p, const char *element, const char *text);

/* A table, which scrolls by itself where the screen is narrow: headings ended by NULL; cells of a row between row and
 * row_end. A number is shown in four digits; "-" where it is not known (not finite). */
void qm_page_table(struct qm_page *p, const char *const *headings);
void qm_page_row(struct qm_page *p);
void qm_page_cell(struct qm_page *p, const char *text);
void qm_page_cell_number(struct qm_page *p, double x);
void qm_page_row_end(struct qm_page *p);
void qm_page_table_end(struct qm_page *p);

#endif
