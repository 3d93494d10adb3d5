/* Error values: formatting of messages. */
#include "base/error.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

/* A message can quote bytes of a hostile file: no control bytes reach a terminal, no character is cut. */
static void clean(char *s, size_t size) {
    size_t n = strlen(s);
    if (n + 1 == size) {
        while (n > 0 && ((unsigned char)s[n - 1] & 0xC0) == 0x80)
            n--;
        if (n > 0 && (unsigned char)s[n - 1] >= 0xC0)
            n--;
        s[n] = 0;
    }
    s[qm_utf8_printable(s, n)] = 0;
}

int qm_vfail(struct qm_error *err, enum qm_code code, const char *format, va_list args) {
    if (err) {
        err->code = code;
        err->remedy = QM_REMEDY_NONE;
        err->field[0] = 0;
        vsnprintf(err->message, sizeof err->message, format, args);
        clean(err->message, sizeof err->message);
    }
    return code;
}

int qm_fail(struct qm_error *err, enum qm_code code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    qm_vfail(err, code, format, args);
    va_end(args);
    return code;
}

int qm_remedy(struct qm_error *err, enum qm_remedy remedy, int code) {
    if (err)
        err->remedy = remedy;
    return code;
}

int qm_about(struct qm_error *err, const char *field, int code) {
    if (err && code && !err->field[0]) {
        snprintf(err->field, sizeof err->field, "%s", field);
        clean(err->field, sizeof err->field);
    }
    return code;
}

int qm_fail_context(struct qm_error *err, const char *format, ...) {
    if (!err)
        return QM_SYSTEM;
    char old[sizeof err->message], context[512], field[sizeof err->field];
    enum qm_remedy remedy = err->remedy;
    memcpy(old, err->message, sizeof old);
    memcpy(field, err->field, sizeof field);
    va_list args;
    va_start(args, format);
    vsnprintf(context, sizeof context, format, args);
    va_end(args);
    int code = qm_remedy(err, remedy, qm_fail(err, (enum qm_code)err->code, "%s: %s", context, old));
    memcpy(err->field, field, sizeof field);
    return code;
}

/* What is wrong with what the user named, rather than with the machine. */
static bool is_of_the_name(int e) {
    return e == ENOENT || e == EISDIR || e == ENOTDIR || e == EACCES || e == ELOOP || e == ENAMETOOLONG || e == ENXIO ||
           e == ENODEV;
}

int qm_fail_errno(struct qm_error *err, const char *format, ...) {
    int e = errno;
    char what[768];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return qm_fail(err, is_of_the_name(e) ? QM_INPUT : QM_SYSTEM, "%s: %s", what, strerror(e));
}

int qm_fail_memory(struct qm_error *err, unsigned long long bytes, const char *what) {
    return qm_fail(err, QM_SYSTEM, "out of memory: %llu bytes for %s", bytes, what);
}
