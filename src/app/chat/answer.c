/* Wrapping, and the printing of answers. */
#include "app/chat/answer.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utf8proc.h>

#include "app/out.h"
#include "app/progress.h"
#include "base/utf8.h"

enum { TAB = 8, MAX_SPACES = 64 };

static int end_line(struct qm_wrap *w, qm_wrap_write *write, struct qm_error *err) {
    w->at = w->spaces = 0;
    w->goes_on = false;
    memset(w->begun, 0, sizeof w->begun);
    return write("\n", 1, err);
}

/* The spaces that were held back, as they are. */
static int write_spaces(struct qm_wrap *w, qm_wrap_write *write, struct qm_error *err) {
    int rc = QM_OK;
    for (; w->spaces && !rc; w->spaces--, w->at++)
        rc = write(" ", 1, err);
    return rc;
}

/* The word, on this line or the next one. */
static int write_word(struct qm_wrap *w, qm_wrap_write *write, struct qm_error *err) {
    int rc = QM_OK;
    if (!w->word.len)
        return rc;
    if (!w->goes_on && w->at && w->at + w->spaces + w->width > w->columns) {
        char begun[sizeof w->begun];
        memcpy(begun, w->begun, sizeof begun); /* the text's line goes on */
        rc = end_line(w, write, err);
        memcpy(w->begun, begun, sizeof begun);
    }
    if (!rc)
        rc = write_spaces(w, write, err);
    if (!rc)
        rc = write(w->word.data, w->word.len, err);
    w->at = w->columns ? (w->at + w->width - 1) % w->columns + 1 : 0;
    w->word.len = 0;
    w->width = 0;
    w->goes_on = false;
    return rc;
}

int qm_wrap_flush(struct qm_wrap *w, qm_wrap_write *write, struct qm_error *err) {
    int rc = write_word(w, write, err);
    return rc ? rc : write_spaces(w, write, err);
}

/* Whether the line that ends was a fence: code begins or ends after it. */
static void look_for_fence(struct qm_wrap *w) {
    if (!memcmp(w->begun, "```", 3))
        w->code = !w->code;
}

static void note_beginning(struct qm_wrap *w, char c) {
    size_t n = strnlen(w->begun, sizeof w->begun - 1);
    if (n < sizeof w->begun - 1 && (n || c != ' '))
        w->begun[n] = c;
}

static int one_character(struct qm_wrap *w, const char *c, size_t n, uint32_t cp, qm_wrap_write *write,
                         struct qm_error *err) {
    int width = cp < 0x20 ? 0 : utf8proc_charwidth((utf8proc_int32_t)cp), rc = QM_OK;
    if (cp == '\n') {
        rc = qm_wrap_flush(w, write, err);
        look_for_fence(w);
        return rc ? rc : end_line(w, write, err);
    }
    note_beginning(w, *c);
    if (w->code)
        return write(c, n, err);
    if (cp == ' ' || cp == '\t') {
        rc = write_word(w, write, err);
        w->goes_on = false;
        int more = cp == '\t' ? TAB - (w->at + w->spaces) % TAB : 1;
        w->spaces += w->spaces + more < MAX_SPACES ? more : 0;
        return rc;
    }
    if (width == 2 && (rc = write_word(w, write, err))) /* a word of its own, to which what follows may be joined */
        return rc;
    rc = qm_buf_add(&w->word, c, n, err);
    w->width += width;
    if (!rc && w->width >= w->columns) { /* longer than a line: the terminal breaks it */
        rc = write_word(w, write, err);
        w->goes_on = true;
    }
    return rc;
}

int qm_wrap_text(struct qm_wrap *w, const char *text, size_t len, qm_wrap_write *write, struct qm_error *err) {
    if (w->columns <= 0)
        return write(text, len, err);
    int rc = QM_OK;
    for (size_t at = 0, n; at < len && !rc; at += n) {
        uint32_t cp = 0xFFFD;
        n = qm_utf8_decode(text + at, len - at, &cp);
        n = n ? n : 1;
        rc = one_character(w, text + at, n, cp, write, err);
    }
    return rc;
}

static const char DIM[] = "\033[2m", PLAIN[] = "\033[0m";

void qm_answer_begin(struct qm_answer_printer *p, bool hide_thinking) {
    const char *no_color = getenv("NO_COLOR");
    bool terminal = isatty(STDOUT_FILENO);
    struct qm_buf word = p->wrap.word;
    word.len = 0;
    *p = (struct qm_answer_printer){.hide_thinking = hide_thinking, .wrap.word = word};
    p->colors = qm_terminal_escapes(STDOUT_FILENO) && !(no_color && *no_color);
    p->wrap.columns = terminal ? qm_terminal_columns(STDOUT_FILENO) : 0;
}

/* Reasoning is dim where there are colours; elsewhere it stands between marks. */
static int turn_to(struct qm_answer_printer *p, bool reasoning, struct qm_error *err) {
    if (p->in_reasoning == reasoning)
        return QM_OK;
    p->in_reasoning = reasoning;
    int rc = qm_wrap_flush(&p->wrap, qm_out_write, err);
    p->wrap.at = 0;
    if (!rc && p->colors)
        rc = qm_out_escape(reasoning ? DIM : PLAIN, err);
    if (!rc && p->colors)
        return qm_out_text(reasoning ? "" : "\n\n", err);
    return rc ? rc : qm_out_text(reasoning ? "<think>\n" : "\n</think>\n\n", err);
}

int qm_answer_text(struct qm_answer_printer *p, enum qm_content part, const char *text, size_t len,
                   struct qm_error *err) {
    bool reasoning = part == QM_CONTENT_REASONING;
    if (reasoning && p->hide_thinking)
        return QM_OK;
    int rc = turn_to(p, reasoning, err);
    if (!rc)
        rc = qm_wrap_text(&p->wrap, text, len, qm_out_write, err);
    return rc ? rc : qm_out_flush(err);
}

int qm_answer_end(struct qm_answer_printer *p, struct qm_error *err) {
    int rc = qm_wrap_flush(&p->wrap, qm_out_write, err);
    if (!rc && p->in_reasoning)
        rc = p->colors ? qm_out_escape(PLAIN, err) : qm_out_text("\n</think>", err);
    if (!rc)
        rc = qm_out_text("\n", err);
    return rc ? rc : qm_out_flush(err);
}

void qm_answer_free(struct qm_answer_printer *p) {
    qm_buf_free(&p->wrap.word);
}
