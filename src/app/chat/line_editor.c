/* libedit, fed by a reader of our own: it sees signals between two characters and takes pasted text whole. */
#include "app/chat/line_editor.h"

#include <errno.h>
#include <histedit.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

#include "app/progress.h"
#include "app/signals.h"
#include "base/buf.h"
#include "base/utf8.h"

enum { HISTORY_LINES = 1000, CTRL_C = 3, ESCAPE = 27, PASTE_MAX = 16 << 20 };
static const wchar_t PASTE_END[] = L"\033[201~";

struct qm_line_editor {
    EditLine *edit; /* NULL: not a terminal */
    History *history;
    const char *history_path; /* NULL: none between starts */
    bool pastes;              /* the terminal is asked to mark what is pasted */
    bool more;                /* a further line of a message is read */
    bool cleared, ended;      /* by Ctrl-C; the terminal is gone, or the program shall end */
    int empty_breaks;         /* Ctrl-C on an empty line, one after the other */
    sigset_t outside;         /* the mask while nothing is read */
    struct qm_buf message;
    char *line;
    size_t cap;
};

static volatile sig_atomic_t stopped, resized;

static void note_signal(int signal_number) {
    if (signal_number == SIGTSTP)
        stopped = 1;
    else
        resized = 1;
}

static char *prompt(EditLine *edit) {
    static char first[] = "> ", further[] = "... ";
    struct qm_line_editor *e = NULL;
    el_get(edit, EL_CLIENTDATA, &e);
    return e && e->more ? further : first;
}

static void ask_for_marks(const struct qm_line_editor *e, bool on) {
    if (e->pastes) {
        fputs(on ? "\033[?2004h" : "\033[?2004l", stderr);
        fflush(stderr);
    }
}

/* Ctrl-Z: the terminal is given back, and taken again when the shell lets it go on. */
static void suspend(struct qm_line_editor *e) {
    struct sigaction by_default = {.sa_handler = SIG_DFL}, before;
    sigset_t stop;
    stopped = 0;
    ask_for_marks(e, false);
    fputc('\n', stderr);
    el_set(e->edit, EL_PREP_TERM, 0);
    sigaction(SIGTSTP, &by_default, &before);
    raise(SIGTSTP);
    sigemptyset(&stop);
    sigaddset(&stop, SIGTSTP);
    sigprocmask(SIG_UNBLOCK, &stop, NULL); /* here it stops */
    sigprocmask(SIG_BLOCK, &stop, NULL);
    sigaction(SIGTSTP, &before, NULL);
    el_set(e->edit, EL_PREP_TERM, 1);
    ask_for_marks(e, true);
    el_set(e->edit, EL_REFRESH);
}

/* Signals that came meanwhile. 1: a character stands in *out; -1: the end; 0: read on. */
static int after_signals(struct qm_line_editor *e, wchar_t *out) {
    if (resized) {
        resized = 0;
        el_resize(e->edit);
    }
    if (stopped)
        suspend(e);
    if (qm_signals_leave()) {
        e->ended = true;
        return -1;
    }
    if (!*qm_signals_flag())
        return 0;
    qm_signals_hold(); /* lowers the flag */
    *out = CTRL_C;
    return 1;
}

/* One byte from the terminal. As after_signals. */
static int next_byte(struct qm_line_editor *e, wchar_t *out, unsigned char *byte) {
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    for (;;) {
        sigset_t held;
        sigprocmask(SIG_SETMASK, &e->outside, &held); /* those that came come first, whatever is there to read */
        sigprocmask(SIG_SETMASK, &held, NULL);
        int what = after_signals(e, out);
        if (what)
            return what;
        int ready = ppoll(&in, 1, NULL, &e->outside);
        if (ready < 0 && errno == EINTR)
            continue;
        ssize_t n = ready < 0 ? -1 : read(STDIN_FILENO, byte, 1);
        if (n == 1)
            return 0;
        if (n < 0 && errno == EINTR)
            continue;
        e->ended = true; /* the terminal is gone */
        return -1;
    }
}

/* What libedit reads characters by: 1 and a character, 0 at the end. */
static int next_char(EditLine *edit, wchar_t *out) {
    struct qm_line_editor *e = NULL;
    el_get(edit, EL_CLIENTDATA, &e);
    char bytes[4];
    uint32_t cp;
    for (size_t n = 0; n < sizeof bytes;) {
        int what = next_byte(e, out, (unsigned char *)&bytes[n]);
        if (what)
            return what > 0 ? 1 : 0;
        n++;
        if (qm_utf8_decode(bytes, n, &cp)) {
            *out = (wchar_t)cp;
            return 1;
        }
        if ((unsigned char)bytes[0] < 0xC2) /* begins nothing */
            n = 0;
    }
    *out = 0xFFFD;
    return 1;
}

/* Of UTF-8. */
static size_t characters(const char *from, const char *to) {
    size_t n = 0;
    for (; from < to; from++)
        n += ((unsigned char)*from & 0xC0) != 0x80;
    return n;
}

/* Ctrl-C. What is on the line is left standing on the screen. */
static unsigned char clear_line(EditLine *edit, int key) {
    (void)key;
    struct qm_line_editor *e = NULL;
    el_get(edit, EL_CLIENTDATA, &e);
    const LineInfo *line = el_line(edit);
    e->cleared = true;
    e->empty_breaks = line->lastchar == line->buffer && !e->more ? e->empty_breaks + 1 : 0;
    fputs("^C\n", stderr);
    return CC_NEWLINE;
}

/* Up: to the line above in a message of several lines, else to what was typed before (which is ^P's). */
static unsigned char go_up(EditLine *edit, int key) {
    (void)key;
    const LineInfo *l = el_line(edit);
    const char *line = l->cursor, *above;
    while (line > l->buffer && line[-1] != '\n')
        line--;
    if (line == l->buffer) {
        el_push(edit, "\020");
        return CC_NORM;
    }
    for (above = line - 1; above > l->buffer && above[-1] != '\n';)
        above--;
    size_t column = characters(line, l->cursor), room = characters(above, line - 1);
    el_cursor(edit, -(int)(characters(above, l->cursor) - (column < room ? column : room)));
    return CC_CURSOR;
}

/* Down, likewise (^N). */
static unsigned char go_down(EditLine *edit, int key) {
    (void)key;
    const LineInfo *l = el_line(edit);
    const char *line = l->cursor, *next = memchr(l->cursor, '\n', (size_t)(l->lastchar - l->cursor)), *end;
    if (!next) {
        el_push(edit, "\016");
        return CC_NORM;
    }
    while (line > l->buffer && line[-1] != '\n')
        line--;
    next++;
    end = memchr(next, '\n', (size_t)(l->lastchar - next));
    size_t column = characters(line, l->cursor), room = characters(next, end ? end : l->lastchar);
    el_cursor(edit, (int)(characters(l->cursor, next) + (column < room ? column : room)));
    return CC_CURSOR;
}

/* What is pasted, up to its end mark, as it is; its control characters are dropped, tabs and newlines are not. */
static unsigned char paste(EditLine *edit, int key) {
    (void)key;
    size_t n = 0, cap = 0, marked = 0;
    wchar_t *text = NULL, c;
    while (el_wgetc(edit, &c) == 1) {
        marked = c == PASTE_END[marked] ? marked + 1 : c == PASTE_END[0] ? 1 : 0;
        if (!PASTE_END[marked])
            break;
        if (c == CTRL_C && marked == 0) { /* the end mark may never come */
            free(text);
            return clear_line(edit, key);
        }
        if (n + 2 > cap) {
            cap = cap ? 2 * cap : 4096;
            wchar_t *p = n < PASTE_MAX ? realloc(text, cap * sizeof *p) : NULL;
            if (!p)
                break;
            text = p;
        }
        text[n++] = c == L'\r' ? L'\n' : c;
    }
    size_t kept = 0, mark = wcslen(PASTE_END) - 1;
    n = PASTE_END[marked] || n < mark ? n : n - mark;
    for (size_t i = 0; i < n; i++)
        if (text[i] == L'\n' || text[i] == L'\t' || (text[i] >= L' ' && text[i] != 0x7F))
            text[kept++] = text[i];
    if (kept) {
        text[kept] = 0;
        el_winsertstr(edit, text);
    }
    free(text);
    return CC_REFRESH;
}

/* A pipe in its place would be waited for. */
static void load_history(History *history_, const char *path) {
    HistEvent event;
    struct stat st;
    if (path && stat(path, &st) == 0 && S_ISREG(st.st_mode))
        history(history_, &event, H_LOAD, path);
}

static void set_up(struct qm_line_editor *e) {
    HistEvent event;
    e->pastes = qm_terminal_escapes(STDERR_FILENO);
    history(e->history, &event, H_SETSIZE, HISTORY_LINES);
    history(e->history, &event, H_SETUNIQUE, 1);
    load_history(e->history, e->history_path);
    el_set(e->edit, EL_CLIENTDATA, e);
    el_set(e->edit, EL_PROMPT, prompt);
    el_set(e->edit, EL_EDITOR, "emacs");
    el_set(e->edit, EL_HIST, history, e->history);
    el_set(e->edit, EL_SIGNAL, 0);
    el_set(e->edit, EL_GETCFN, next_char);
    /* wide, since libedit leaks its own copies of narrow names */
    el_wset(e->edit, EL_ADDFN, L"qm-clear-line", L"give the line up", clear_line);
    el_wset(e->edit, EL_ADDFN, L"qm-paste", L"take what is pasted", paste);
    el_wset(e->edit, EL_ADDFN, L"qm-up", L"line above, or history", go_up);
    el_wset(e->edit, EL_ADDFN, L"qm-down", L"line below, or history", go_down);
    el_source(e->edit, NULL);
    for (int i = 0; i < 2; i++) {
        el_set(e->edit, EL_BIND, i ? "\033OA" : "\033[A", "qm-up", NULL);
        el_set(e->edit, EL_BIND, i ? "\033OB" : "\033[B", "qm-down", NULL);
    }
    el_set(e->edit, EL_BIND, "^C", "qm-clear-line", NULL);
    el_set(e->edit, EL_BIND, "\033[200~", "qm-paste", NULL);
}

int qm_line_editor_new(const char *history_path, struct qm_line_editor **out, struct qm_error *err) {
    struct qm_line_editor *e = *out = calloc(1, sizeof *e);
    if (!e)
        return qm_fail_memory(err, sizeof *e, "the line editor");
    e->history_path = history_path;
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return QM_OK;
    /* The prompt and the echo go to standard error: standard output carries answers only. */
    e->edit = el_init("quietmind", stdin, stderr, stderr);
    e->history = history_init();
    if (!e->edit || !e->history) {
        qm_line_editor_free(e);
        *out = NULL;
        return qm_fail(err, QM_SYSTEM, "the line editor could not start on this terminal");
    }
    set_up(e);
    return QM_OK;
}

void qm_line_editor_free(struct qm_line_editor *e) {
    if (!e)
        return;
    if (e->history)
        history_end(e->history);
    if (e->edit)
        el_end(e->edit);
    qm_buf_free(&e->message);
    free(e->line);
    free(e);
}

bool qm_line_editor_interactive(const struct qm_line_editor *e) {
    return e->edit != NULL;
}

/* Into the history, and at once into its file, with what other conversations have put there meanwhile. */
static void remember(struct qm_line_editor *e, const char *text) {
    HistEvent event;
    char temporary[4200];
    history(e->history, &event, H_ENTER, text);
    if (!e->history_path ||
        (size_t)snprintf(temporary, sizeof temporary, "%s.XXXXXX", e->history_path) >= sizeof temporary)
        return;
    History *all = history_init();
    int fd = all ? mkstemp(temporary) : -1;
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    bool good = file != NULL;
    if (all) {
        history(all, &event, H_SETSIZE, HISTORY_LINES);
        history(all, &event, H_SETUNIQUE, 1);
        load_history(all, e->history_path);
        history(all, &event, H_ENTER, text);
        good = good && history(all, &event, H_SAVE_FP, file) >= 0;
        history_end(all);
    }
    if (file)
        good = fclose(file) == 0 && good;
    if (fd >= 0 && (!good || rename(temporary, e->history_path) != 0))
        unlink(temporary);
}

/* A line of a terminal, without its newline: NULL at the end, or where Ctrl-C cleared it. */
static const char *edit_line(struct qm_line_editor *e) {
    static const int ours[] = {SIGTSTP, SIGWINCH}, held[] = {SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGWINCH};
    struct sigaction action = {.sa_handler = note_signal}, before[2];
    sigset_t block;
    sigemptyset(&block);
    for (size_t i = 0; i < sizeof held / sizeof *held; i++)
        sigaddset(&block, held[i]);
    for (int i = 0; i < 2; i++)
        sigaction(ours[i], &action, &before[i]);
    sigprocmask(SIG_BLOCK, &block, &e->outside);
    ask_for_marks(e, true);
    e->cleared = false;
    int n = 0;
    const char *read = el_gets(e->edit, &n);
    ask_for_marks(e, false);
    sigprocmask(SIG_SETMASK, &e->outside, NULL);
    for (int i = 0; i < 2; i++)
        sigaction(ours[i], &before[i], NULL);
    if (e->cleared)
        return NULL;
    if (!read || n <= 0) {
        e->ended = true;
        return NULL;
    }
    free(e->line);
    return e->line = strndup(read, (size_t)n - (read[n - 1] == '\n'));
}

static const char *plain_line(struct qm_line_editor *e, struct qm_error *err, int *rc) {
    errno = 0;
    ssize_t n = getline(&e->line, &e->cap, stdin);
    if (n < 0) {
        *rc = errno && !feof(stdin) ? qm_fail_errno(err, "standard input") : QM_OK;
        e->ended = true;
        return NULL;
    }
    n -= e->line[n - 1] == '\n';
    n -= n > 0 && e->line[n - 1] == '\r';
    e->line[n] = 0;
    return e->line;
}

static const char *next_line(struct qm_line_editor *e, struct qm_error *err, int *rc) {
    return e->edit ? edit_line(e) : plain_line(e, err, rc);
}

/* "three" begins with the mark of a block, or ends with it. */
static const char MARK[] = "\"\"\"";

static bool ends_with_mark(const char *line, size_t n) {
    return n >= 3 && !memcmp(line + n - 3, MARK, 3);
}

/* The lines of one message, joined. Returns false where Ctrl-C gave it up or the input ended in it. */
static bool join_lines(struct qm_line_editor *e, const char *line, bool *one_line, struct qm_error *err, int *rc) {
    bool block = strncmp(line, MARK, 3) == 0;
    e->message.len = 0;
    *one_line = !block;
    if (block)
        line += 3;
    for (bool first = true;; first = false) {
        size_t n = strlen(line), end = n;
        while (end && (line[end - 1] == ' ' || line[end - 1] == '\t'))
            end--;
        bool last = block ? ends_with_mark(line, end) : n == 0 || line[n - 1] != '\\';
        n = last ? (block ? end - 3 : n) : n - !block;
        bool empty_edge = block && n == 0 && (first || last); /* the mark on a line of its own */
        if (!empty_edge) {
            *rc = qm_buf_add(&e->message, line, n, err);
            if (!*rc && !last)
                *rc = qm_buf_str(&e->message, "\n", err);
        }
        if (*rc || last)
            break;
        *one_line = false;
        e->more = true;
        line = next_line(e, err, rc);
        e->more = false;
        if (!line)
            return e->ended && !e->cleared && !*rc && e->message.len > 0; /* what the input ends in is a message */
    }
    if (block && e->message.len && e->message.data[e->message.len - 1] == '\n')
        e->message.len--; /* before the closing mark */
    return !*rc;
}

int qm_line_editor_read(struct qm_line_editor *e, struct qm_message *out, struct qm_error *err) {
    int rc = QM_OK;
    *out = (struct qm_message){0};
    while (!rc && !e->ended) {
        const char *line = next_line(e, err, &rc);
        if (!line && e->empty_breaks == 1 && e->cleared)
            fputs("(Ctrl-C again, Ctrl-D or /exit leaves)\n", stderr);
        if (!line && e->empty_breaks > 1)
            return QM_OK;
        if (!line)
            continue;
        e->empty_breaks = 0;
        if (!join_lines(e, line, &out->one_line, err, &rc))
            continue;
        if ((rc = qm_buf_reserve(&e->message, 0, err))) /* ends it with a zero */
            break;
        e->message.data[e->message.len] = 0;
        out->one_line = out->one_line && !memchr(e->message.data, '\n', e->message.len);
        out->text = e->message.data;
        out->len = e->message.len;
        if (e->edit && out->text[strspn(out->text, " \t\n")])
            remember(e, out->text);
        return QM_OK;
    }
    if (e->edit && !rc && !qm_signals_leave())
        fputc('\n', stderr);
    return rc;
}
