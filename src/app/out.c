/* Checked writes to standard output. */
#include "app/out.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/utf8.h"

static int failed(struct qm_error *err) {
    if (errno == EPIPE)
        return qm_fail(err, (enum qm_code)QM_PIPE_CLOSED, "standard output was closed");
    return qm_fail(err, QM_SYSTEM, "standard output: %s", strerror(errno));
}

static int write_raw(const void *bytes, size_t n, struct qm_error *err) {
    return fwrite(bytes, 1, n, stdout) == n ? QM_OK : failed(err);
}

/* What standard output is does not change while the program runs. */
static bool is_terminal(void) {
    static _Atomic int known;
    int now = known;
    if (!now)
        known = now = isatty(STDOUT_FILENO) ? 2 : 1;
    return now == 2;
}

int qm_out_write(const void *bytes, size_t n, struct qm_error *err) {
    if (!is_terminal())
        return write_raw(bytes, n, err);
    char *copy = malloc(n + 1);
    if (!copy)
        return qm_fail_memory(err, n, "text for the terminal");
    memcpy(copy, bytes, n);
    int rc = write_raw(copy, qm_utf8_printable(copy, n), err);
    free(copy);
    return rc;
}

int qm_out_escape(const char *s, struct qm_error *err) {
    return write_raw(s, strlen(s), err);
}

int qm_out_text(const char *s, struct qm_error *err) {
    return qm_out_write(s, strlen(s), err);
}

int qm_out_printf(struct qm_error *err, const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (!is_terminal()) {
        int n = vprintf(format, args);
        va_end(args);
        return n >= 0 ? QM_OK : failed(err);
    }
    char *text = NULL;
    int n = vasprintf(&text, format, args);
    va_end(args);
    int rc = n >= 0 ? qm_out_write(text, (size_t)n, err) : qm_fail_memory(err, 1024, "text for the terminal");
    if (n >= 0)
        free(text);
    return rc;
}

int qm_out_wrapped(const char *head, const char *text, int indent, struct qm_error *err) {
    enum { WIDE = 78 };
    int rc = qm_out_text(head, err), at = (int)strlen(head);
    while (*text && !rc) {
        int n = (int)strcspn(text, " \n");
        bool wrap = at + 1 + n > WIDE;
        rc = wrap ? qm_out_printf(err, "\n%*s%.*s", indent, "", n, text) : qm_out_printf(err, " %.*s", n, text);
        at = (wrap ? indent : at + 1) + n;
        text += n;
        text += strspn(text, " \n");
    }
    return rc ? rc : qm_out_text("\n", err);
}

int qm_out_flush(struct qm_error *err) {
    return fflush(stdout) == 0 ? QM_OK : failed(err);
}

int qm_out_now(const void *bytes, size_t n, struct qm_error *err) {
    int rc = qm_out_write(bytes, n, err);
    return rc ? rc : qm_out_flush(err);
}

int qm_out_page(struct qm_page *page) {
    int rc = qm_page_end(page);
    if (!rc)
        rc = qm_out_write(page->out.data, page->out.len, page->err);
    qm_page_free(page);
    return rc;
}

int qm_out_terminal_newline(struct qm_error *err) {
    return isatty(STDOUT_FILENO) ? qm_out_text("\n", err) : QM_OK;
}
