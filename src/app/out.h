/* Standard output, which carries the result and nothing else: every write is checked. A reader that closed the
 * pipe is no failure of ours: QM_PIPE_CLOSED travels up as an error code and ends the program silently, with
 * exit code 0. */
#ifndef QM_APP_OUT_H
#define QM_APP_OUT_H

#include <stddef.h>

#include "base/error.h"
#include "report/page.h"

enum { QM_PIPE_CLOSED = 1000 };

/* Where standard output is a terminal, control characters that come with the text (of a model, a file, a name) become
 * '?': an answer must not move the cursor, rename the window or write into the keyboard's queue. Elsewhere bytes are
 * written as they are. */
int qm_out_write(const void *bytes, size_t n, struct qm_error *err);
/* The same, handed to the system at once: for results that come now and then. */
int qm_out_now(const void *bytes, size_t n, struct qm_error *err);
int qm_out_text(const char *s, struct qm_error *err);
int qm_out_printf(struct qm_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* An escape sequence of the program's own. */
int qm_out_escape(const char *s, struct qm_error *err);
/* The words of text after head in lines of at most 78 columns, those after the first set in by so many columns. */
int qm_out_wrapped(const char *head, const char *text, int indent, struct qm_error *err);
/* Hands what was written to the system. */
int qm_out_flush(struct qm_error *err);
/* Ends a page, writes it and frees it. */
int qm_out_page(struct qm_page *page);
/* A newline where standard output is a terminal, so that the prompt starts on a line of its own. */
int qm_out_terminal_newline(struct qm_error *err);

#endif
