/* The terminal side of a conversation: questions in (with line editing and history on a terminal, plain lines
 * otherwise), answers out, reasoning dim or left out. Knows nothing of models. */
#ifndef QM_APP_CHAT_TERMINAL_H
#define QM_APP_CHAT_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/error.h"
#include "session/reasoning.h"

struct qm_line_editor;

/* Edits lines where standard input and standard error are a terminal. */
int qm_line_editor_new(struct qm_line_editor **out, struct qm_error *err);
void qm_line_editor_free(struct qm_line_editor *e);
bool qm_line_editor_interactive(const struct qm_line_editor *e);
/* The next line without its newline, lent until the next call; *line is NULL at the end of input. */
int qm_line_editor_read(struct qm_line_editor *e, const char **line, struct qm_error *err);

/* Prints an answer as it comes. */
struct qm_answer_printer {
    bool terminal;      /* standard output is one */
    bool hide_thinking; /* reasoning is left out */
    bool in_reasoning, any;
};
void qm_answer_begin(struct qm_answer_printer *p, bool hide_thinking);
int qm_answer_text(struct qm_answer_printer *p, enum qm_part part, const char *text, size_t len, struct qm_error *err);
/* Ends the line. */
int qm_answer_end(struct qm_answer_printer *p, struct qm_error *err);

#endif
