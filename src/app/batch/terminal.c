/* Notes, steps, panel. */
#include "app/batch/terminal.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "app/remedy.h"
#include "base/utf8.h"
#include "batch/facts.h"

static const double PANEL_SECONDS = 0.5, LINE_SECONDS = 60;

static const struct qm_batch_words words = {.seed = "--seed",
                                            .context = "--context",
                                            .kv_memory = "--kv-memory",
                                            .until = "--until",
                                            .questions = "--ask",
                                            .trait = qm_trait_options,
                                            .remedy = qm_remedy_add};

void qm_batch_terminal_clear(struct qm_batch_terminal *t) {
    if (!t->lines)
        return;
    for (; t->lines > 0; t->lines--)
        fputs("\033[A\r\033[K", stderr);
    fflush(stderr);
}

static void note(void *arg, const char *line) {
    struct qm_batch_terminal *t = arg;
    qm_batch_terminal_clear(t);
    qm_note(t->progress, "%s", line);
}

static void step(void *arg, const char *what, uint64_t done, uint64_t total, bool bytes) {
    struct qm_batch_terminal *t = arg;
    qm_progress_update(t->progress, what, done, total, bytes ? QM_PROGRESS_BYTES : QM_PROGRESS_STEPS);
}

static void step_end(void *arg) {
    qm_progress_end(((struct qm_batch_terminal *)arg)->progress);
}

static bool facts_due(void *arg) {
    const struct qm_batch_terminal *t = arg;
    return !t->progress->quiet && qm_now() - t->spoken >= (t->progress->live ? PANEL_SECONDS : LINE_SECONDS);
}

/* No line may wrap, or the panel would not be found again. */
static void draw_panel(struct qm_batch_terminal *t, const char *text) {
    struct winsize size;
    int columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1 : 79;
    qm_batch_terminal_clear(t);
    while (*text) {
        int n = (int)strcspn(text, "\n");
        char line[512];
        int shown = n < columns ? n : columns;
        shown = snprintf(line, sizeof line, "%.*s", shown < (int)sizeof line ? shown : (int)sizeof line - 1, text);
        fprintf(stderr, "%.*s\n", (int)qm_utf8_printable(line, (size_t)shown), line);
        text += n + (text[n] == '\n');
        t->lines++;
    }
    fflush(stderr);
}

static void facts(void *arg, const struct qm_batch_facts *f) {
    struct qm_batch_terminal *t = arg;
    struct qm_buf text = {0};
    t->spoken = qm_now();
    if (!t->progress->live && !qm_batch_facts_line(f, &text, NULL))
        qm_note(t->progress, "%s", text.data);
    else if (t->progress->live && !qm_batch_facts_text(f, &text, NULL))
        draw_panel(t, text.data);
    qm_buf_free(&text);
}

void qm_batch_terminal_begin(struct qm_batch_terminal *t) {
    t->spoken = qm_now();
}

struct qm_batch_ui qm_batch_terminal_ui(struct qm_batch_terminal *t) {
    return (struct qm_batch_ui){.arg = t,
                                .note = note,
                                .progress = step,
                                .progress_end = step_end,
                                .facts_due = facts_due,
                                .facts = facts,
                                .words = &words};
}
