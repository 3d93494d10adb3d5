/* Live line, plain lines, or nothing. */
#include "app/progress.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/utf8.h"
#include "base/words.h"
#include "report/numbers.h"

static const double LIVE_SECONDS = 0.1, PLAIN_SECONDS = 10, TICK_SECONDS = 1;

/* A step that is open. The thread says it again where nobody else does. */
struct qm_progress_ticker {
    pthread_mutex_t lock; /* of all that follows, and of standard error while the step is open */
    pthread_cond_t wake;
    pthread_t thread;
    bool live, threaded, end;
    bool line_open, anything_shown; /* the live line shows something; something has been said */
    char what[64];
    struct qm_progress_state state;
    double started, spoken; /* seconds, monotonic */
};

bool qm_terminal_escapes(int fd) {
    const char *type = getenv("TERM");
    return isatty(fd) && !(type && !strcmp(type, "dumb"));
}

int qm_terminal_columns(int fd) {
    struct winsize size;
    return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80;
}

void qm_progress_init(struct qm_progress *p, bool silent) {
    *p = (struct qm_progress){.quiet = silent, .live = qm_terminal_escapes(STDERR_FILENO)};
}

static void amount(const struct qm_progress_state *s, char *out, size_t size) {
    char a[32], b[32];
    unsigned long long done = s->done, total = s->total;
    const char *noun = s->unit == QM_PROGRESS_TOKENS ? " token" : "";
    const char *plural = s->unit == QM_PROGRESS_TOKENS ? qm_s((long long)(total ? total : done)) : "";
    if (!total && !done)
        out[0] = 0;
    else if (s->unit == QM_PROGRESS_BYTES && total)
        snprintf(out, size, "%s of %s", qm_bytes_text((double)done, a, sizeof a),
                 qm_bytes_text((double)total, b, sizeof b));
    else if (s->unit == QM_PROGRESS_BYTES)
        snprintf(out, size, "%s", qm_bytes_text((double)done, a, sizeof a));
    else if (total)
        snprintf(out, size, "%llu of %llu%s%s", done, total, noun, plural);
    else
        snprintf(out, size, "%llu%s%s", done, noun, plural);
}

/* Appends ", " and the text. */
__attribute__((format(printf, 3, 4))) static void more(char *out, int size, const char *format, ...) {
    size_t n = strlen(out);
    va_list args;
    va_start(args, format);
    if (n + 3 < (size_t)size) {
        memcpy(out + n, ", ", 3);
        vsnprintf(out + n + 2, (size_t)size - n - 2, format, args);
    }
    va_end(args);
}

/* parts: 0 how far, 1 and what is left, 2 and the rate. */
static void compose(const struct qm_progress_state *s, int parts, char *out, int size) {
    char text[80], share[16] = "";
    double rate = s->seconds > 0 && s->done > s->from ? (double)(s->done - s->from) / s->seconds : 0;
    amount(s, text, sizeof text);
    if (s->total) /* 100 is shown of what is done only */
        snprintf(share, sizeof share, " (%d %%)",
                 s->done >= s->total ? 100 : (int)(100 * ((double)s->done / (double)s->total)));
    snprintf(out, (size_t)size, "%s%s%s%s", s->what, *text ? ": " : "", text, share);
    if (parts > 1 && rate > 0 && s->unit == QM_PROGRESS_TOKENS)
        more(out, size, "%.1f tokens/s", rate);
    if (parts > 1 && rate > 0 && s->unit == QM_PROGRESS_BYTES)
        more(out, size, "%s", qm_bytes_rate_text(rate, text, sizeof text));
    if (parts > 0 && rate > 0 && s->done < s->total)
        more(out, size, "%s left", qm_duration_text((double)(s->total - s->done) / rate, text, sizeof text));
    else if (parts > 0 && rate <= 0 && s->seconds >= 1)
        more(out, size, "%s so far", qm_duration_text(s->seconds, text, sizeof text));
}

const char *qm_progress_text(const struct qm_progress_state *s, int width, char *out, int size) {
    int parts = 2;
    compose(s, parts, out, size);
    while ((int)strlen(out) > width && parts)
        compose(s, --parts, out, size);
    if ((int)strlen(out) > width)
        out[width > 0 ? width : 0] = 0;
    return out;
}

/* Under the lock. */
static void say(struct qm_progress_ticker *t, double now) {
    char line[256];
    t->state.seconds = now - t->started;
    t->state.what = t->what;
    qm_progress_text(&t->state, t->live ? qm_terminal_columns(STDERR_FILENO) - 1 : (int)sizeof line, line, sizeof line);
    fprintf(stderr, t->live ? "\r\033[K%s" : "%s\n", line);
    fflush(stderr);
    t->spoken = now;
    t->anything_shown = true;
    t->line_open = t->live;
}

static double wait_between(const struct qm_progress_ticker *t) {
    return t->live || !t->anything_shown ? TICK_SECONDS : PLAIN_SECONDS;
}

static void *tick(void *arg) {
    struct qm_progress_ticker *t = arg;
    pthread_mutex_lock(&t->lock);
    while (!t->end) {
        double due = t->spoken + wait_between(t), now = qm_now();
        if (now >= due) {
            say(t, now);
            continue;
        }
        struct timespec until = {.tv_sec = (time_t)due};
        until.tv_nsec = (long)((due - (double)until.tv_sec) * 1e9);
        pthread_cond_timedwait(&t->wake, &t->lock, &until);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

/* Signals are the main thread's. Without a thread the line moves only when it is updated. */
static void start_thread(struct qm_progress_ticker *t) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    t->threaded = pthread_create(&t->thread, NULL, tick, t) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static struct qm_progress_ticker *begin(const struct qm_progress *p, const char *what, uint64_t done) {
    struct qm_progress_ticker *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->wake, &clock);
    pthread_condattr_destroy(&clock);
    t->live = p->live;
    snprintf(t->what, sizeof t->what, "%s", what);
    t->state.from = done;
    t->started = t->spoken = qm_now();
    return t;
}

void qm_progress_update(struct qm_progress *p, const char *what, uint64_t done, uint64_t total,
                        enum qm_progress_unit unit) {
    if (p->quiet)
        return;
    if (p->ticker && strncmp(p->ticker->what, what, sizeof p->ticker->what - 1) != 0)
        qm_progress_end(p);
    bool first = !p->ticker;
    if (first && !(p->ticker = begin(p, what, done)))
        return;
    struct qm_progress_ticker *t = p->ticker;
    pthread_mutex_lock(&t->lock);
    double now = qm_now();
    t->state.done = done;
    t->state.total = total;
    t->state.unit = unit;
    bool due = now - t->spoken >= (t->live ? LIVE_SECONDS : wait_between(t));
    bool last_of_long = !t->live && done == total && now - t->started >= PLAIN_SECONDS;
    if (due || last_of_long || (first && t->live))
        say(t, now);
    pthread_mutex_unlock(&t->lock);
    if (first)
        start_thread(t);
}

void qm_progress_end(struct qm_progress *p) {
    struct qm_progress_ticker *t = p->ticker;
    if (!t)
        return;
    p->ticker = NULL;
    pthread_mutex_lock(&t->lock);
    t->end = true;
    if (t->line_open)
        fputs("\r\033[K", stderr);
    pthread_cond_signal(&t->wake);
    pthread_mutex_unlock(&t->lock);
    if (t->threaded)
        pthread_join(t->thread, NULL);
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

/* On a terminal a line is broken between words; a word that is longer than the terminal is wide stays whole. */
static void write_note(const char *text, int columns) {
    int at = 0;
    for (int n; *text; text += n) {
        int spaces = (int)strspn(text, " "), word = (int)strcspn(text + spaces, " \n");
        n = spaces + word;
        if (columns && at && at + n > columns)
            at = fprintf(stderr, "\n%.*s", word, text + spaces) - 1;
        else
            at += fprintf(stderr, "%.*s", n, text);
        if (text[n] == '\n') {
            fputc('\n', stderr);
            at = 0;
            n++;
        }
    }
    fputc('\n', stderr);
}

void qm_note(struct qm_progress *p, const char *format, ...) {
    if (p->quiet)
        return;
    struct qm_progress_ticker *t = p->ticker;
    if (t)
        pthread_mutex_lock(&t->lock);
    if (t && t->line_open)
        fputs("\r\033[K", stderr);
    char line[8192];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    line[qm_utf8_printable(line, strlen(line))] = 0;
    write_note(line, p->live ? qm_terminal_columns(STDERR_FILENO) : 0);
    if (t) {
        t->line_open = false;
        pthread_mutex_unlock(&t->lock);
    }
}
