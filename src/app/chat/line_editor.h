/* Messages as they are typed: on a terminal with line editing and a history that outlives the program (libedit),
 * elsewhere plain lines. Several lines are one message where they are pasted (bracketed paste), where they stand
 * between lines that begin and end with """, or where a line ends with a backslash. Knows nothing of models. */
#ifndef QM_APP_CHAT_LINE_EDITOR_H
#define QM_APP_CHAT_LINE_EDITOR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct qm_line_editor;

/* Edits where standard input and standard error are a terminal. history: a file, or NULL for none between starts; one
 * that can't be read or written is done without. */
int qm_line_editor_new(const char *history, struct qm_line_editor **out, struct qm_error *err);
void qm_line_editor_free(struct qm_line_editor *e);
bool qm_line_editor_interactive(const struct qm_line_editor *e);

struct qm_message {
    const char *text; /* valid until the next call; NULL at the end of input */
    size_t len;
    bool one_line; /* typed as one line: it may be a command */
};

/* The next message, without its last newline. Ctrl-C clears the line, twice on an empty one is the end; so are Ctrl-D,
 * a closed terminal and SIGTERM (signals.h says which). While it reads, the terminal edits; when it returns, the
 * terminal is as it was. Signals must be held (signals.h) on a terminal. */
int qm_line_editor_read(struct qm_line_editor *e, struct qm_message *out, struct qm_error *err);

#endif
