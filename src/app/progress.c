/* Live line, plain lines, or nothing. */
#include "app/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const double LIVE_SECONDS = 0.1, PLAIN_SECONDS = 10;

const char *qm_bytes_text(double bytes, char *out, int size) {
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    int u = 0;
    while (bytes >= 999.5 && u < 4) {
        bytes /= 1000;
        u++;
    }
    snprintf(out, (size_t)size, bytes < 99.5 && u > 0 ? "%.1f %s" : "%.0f %s", bytes, units[u]);
    return out;
}

void qm_progress_init(struct qm_progress *p, const struct qm_args *args) {
    *p = (struct qm_progress){.quiet = args->option[QM_OPT_QUIET_OUTPUT].set, .live = isatty(STDERR_FILENO)};
}

static int columns(void) {
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80;
}

static void say(const struct qm_progress *p, uint64_t done, uint64_t total, enum qm_unit unit) {
    double seconds = qm_now() - p->started, rate = seconds > 0 ? (double)done / seconds : 0;
    char line[256], a[32], b[32], c[32];
    if (unit == QM_UNIT_BYTES)
        snprintf(line, sizeof line, "%s: %s of %s, %s/s, %.0f s left", p->what,
                 qm_bytes_text((double)done, a, sizeof a), qm_bytes_text((double)total, b, sizeof b),
                 qm_bytes_text(rate, c, sizeof c), rate > 0 && done < total ? (double)(total - done) / rate : 0.0);
    else if (unit == QM_UNIT_STEPS)
        snprintf(line, sizeof line, "%s: %llu of %llu", p->what, (unsigned long long)done, (unsigned long long)total);
    else
        snprintf(line, sizeof line, "%s: %llu of %llu tokens, %.1f tokens/s", p->what, (unsigned long long)done,
                 (unsigned long long)total, rate);
    if (p->live)
        fprintf(stderr, "\r\033[K%.*s", columns() - 1, line);
    else
        fprintf(stderr, "%s\n", line);
    fflush(stderr);
}

void qm_progress_update(struct qm_progress *p, const char *what, uint64_t done, uint64_t total, enum qm_unit unit) {
    if (p->quiet)
        return;
    double now = qm_now();
    if (strncmp(p->what, what, sizeof p->what - 1) != 0) {
        qm_progress_end(p);
        snprintf(p->what, sizeof p->what, "%s", what);
        p->started = p->spoken = now;
    }
    bool due = now - p->spoken >= (p->live ? LIVE_SECONDS : PLAIN_SECONDS);
    bool last_of_long = !p->live && done == total && now - p->started >= PLAIN_SECONDS;
    if (!due && !last_of_long)
        return;
    p->spoken = now;
    p->line_open = p->live;
    say(p, done, total, unit);
}

void qm_progress_end(struct qm_progress *p) {
    if (p->line_open)
        fputs("\r\033[K", stderr);
    p->line_open = false;
    p->what[0] = 0;
}

void qm_note(struct qm_progress *p, const char *format, ...) {
    if (p->quiet)
        return;
    if (p->line_open)
        fputs("\r\033[K", stderr);
    p->line_open = false;
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}
