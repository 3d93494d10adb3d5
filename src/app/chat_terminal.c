/* Line editing by libedit, and the printing of answers. */
#include "app/chat_terminal.h"

#include <errno.h>
#include <histedit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/out.h"

enum { HISTORY_LINES = 1000 };

struct qm_line_editor {
    EditLine *edit; /* NULL: not a terminal */
    History *history;
    char *line;
    size_t cap;
};

static char *prompt(EditLine *edit) {
    static char text[] = "> ";
    (void)edit;
    return text;
}

int qm_line_editor_new(struct qm_line_editor **out, struct qm_error *err) {
    struct qm_line_editor *e = *out = calloc(1, sizeof *e);
    if (!e)
        return qm_fail_memory(err, sizeof *e, "the line editor");
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return QM_OK;
    HistEvent event;
    /* The prompt and the echo go to standard error: standard output carries answers only. */
    e->edit = el_init("quietmind", stdin, stderr, stderr);
    e->history = history_init();
    if (!e->edit || !e->history) {
        qm_line_editor_free(e);
        *out = NULL;
        return qm_fail(err, QM_SYSTEM, "the line editor could not start on this terminal");
    }
    history(e->history, &event, H_SETSIZE, HISTORY_LINES);
    history(e->history, &event, H_SETUNIQUE, 1);
    el_set(e->edit, EL_PROMPT, prompt);
    el_set(e->edit, EL_EDITOR, "emacs");
    el_set(e->edit, EL_HIST, history, e->history);
    el_set(e->edit, EL_SIGNAL, 1); /* a signal finds the terminal as it was before */
    el_source(e->edit, NULL);
    return QM_OK;
}

void qm_line_editor_free(struct qm_line_editor *e) {
    if (!e)
        return;
    if (e->history)
        history_end(e->history);
    if (e->edit)
        el_end(e->edit);
    free(e->line);
    free(e);
}

bool qm_line_editor_interactive(const struct qm_line_editor *e) {
    return e->edit != NULL;
}

static int keep(struct qm_line_editor *e, const char *line, size_t n, struct qm_error *err) {
    if (n + 1 > e->cap) {
        char *p = realloc(e->line, n + 1);
        if (!p)
            return qm_fail_memory(err, n + 1, "a line");
        e->line = p;
        e->cap = n + 1;
    }
    memcpy(e->line, line, n);
    e->line[n] = 0;
    return QM_OK;
}

int qm_line_editor_read(struct qm_line_editor *e, const char **line, struct qm_error *err) {
    *line = NULL;
    if (!e->edit) {
        errno = 0;
        ssize_t n = getline(&e->line, &e->cap, stdin);
        if (n < 0)
            return errno && !feof(stdin) ? qm_fail_errno(err, "standard input") : QM_OK;
        if (e->line[n - 1] == '\n')
            e->line[n - 1] = 0;
        *line = e->line;
        return QM_OK;
    }
    int n = 0;
    const char *read = el_gets(e->edit, &n);
    if (!read || n <= 0) {
        fputc('\n', stderr);
        return QM_OK;
    }
    HistEvent event;
    if (n > 1)
        history(e->history, &event, H_ENTER, read);
    int rc = keep(e, read, (size_t)n - (read[n - 1] == '\n'), err);
    if (!rc)
        *line = e->line;
    return rc;
}

static const char DIM[] = "\033[2m", PLAIN[] = "\033[0m";

void qm_answer_begin(struct qm_answer_printer *p, bool hide_thinking) {
    *p = (struct qm_answer_printer){.terminal = isatty(STDOUT_FILENO), .hide_thinking = hide_thinking};
}

/* Reasoning is dim on a terminal; elsewhere it stands between marks. */
static int turn_to(struct qm_answer_printer *p, bool reasoning, struct qm_error *err) {
    if (p->in_reasoning == reasoning)
        return QM_OK;
    p->in_reasoning = reasoning;
    if (p->terminal)
        return qm_out_printf(err, "%s%s", reasoning ? DIM : PLAIN, reasoning ? "" : "\n\n");
    return qm_out_text(reasoning ? "<think>\n" : "\n</think>\n\n", err);
}

int qm_answer_text(struct qm_answer_printer *p, enum qm_part part, const char *text, size_t len, struct qm_error *err) {
    bool reasoning = part == QM_PART_REASONING;
    if (reasoning && p->hide_thinking)
        return QM_OK;
    int rc = turn_to(p, reasoning, err);
    if (!rc)
        rc = qm_out_write(text, len, err);
    p->any = true;
    return rc ? rc : qm_out_flush(err);
}

int qm_answer_end(struct qm_answer_printer *p, struct qm_error *err) {
    int rc = QM_OK;
    if (p->in_reasoning)
        rc = qm_out_text(p->terminal ? PLAIN : "\n</think>", err);
    if (!rc)
        rc = qm_out_text("\n", err);
    return rc ? rc : qm_out_flush(err);
}
