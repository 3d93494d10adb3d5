/* Reporting how measurements go. */
#include "planner/measuring.h"

#include <stdarg.h>
#include <stdio.h>

int qm_measuring_progress(const struct qm_measuring *with, const char *what, int done, int total,
                          struct qm_error *err) {
    if (with->progress && with->progress(with->arg, what, (uint64_t)done, (uint64_t)total))
        return qm_fail(err, QM_INTERRUPTED, "interrupted while %s", what);
    return QM_OK;
}

void qm_measuring_note(const struct qm_measuring *with, const char *format, ...) {
    char line[2048];
    va_list args;
    if (!with->note)
        return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    with->note(with->arg, line);
}
