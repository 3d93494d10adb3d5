/* Checked writes to standard output. */
#include "app/out.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int failed(struct qm_error *err) {
    if (errno == EPIPE)
        return qm_fail(err, (enum qm_code)QM_PIPE_CLOSED, "standard output was closed");
    return qm_fail(err, QM_SYSTEM, "standard output: %s", strerror(errno));
}

int qm_out_write(const void *bytes, size_t n, struct qm_error *err) {
    return fwrite(bytes, 1, n, stdout) == n ? QM_OK : failed(err);
}

int qm_out_text(const char *s, struct qm_error *err) {
    return qm_out_write(s, strlen(s), err);
}

int qm_out_printf(struct qm_error *err, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vprintf(format, args);
    va_end(args);
    return n >= 0 ? QM_OK : failed(err);
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

int qm_out_terminal_newline(struct qm_error *err) {
    return isatty(STDOUT_FILENO) ? qm_out_text("\n", err) : QM_OK;
}
