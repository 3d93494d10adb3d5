/* A growable byte buffer: always NUL-terminated once written, so `data` is a C string when the content
 * is text. Growth that fails leaves what was there and returns QM_SYSTEM. Zero-initialise, then
 * qm_buf_free. Not thread-safe. */
#ifndef QM_BASE_BUF_H
#define QM_BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>

#include "base/error.h"

struct qm_buf {
    char *data;
    size_t len, cap;
};

int qm_buf_reserve(struct qm_buf *b, size_t more, struct qm_error *err);
int qm_buf_add(struct qm_buf *b, const void *bytes, size_t n, struct qm_error *err);
int qm_buf_str(struct qm_buf *b, const char *s, struct qm_error *err);
int qm_buf_printf(struct qm_buf *b, struct qm_error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int qm_buf_vprintf(struct qm_buf *b, struct qm_error *err, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));
void qm_buf_free(struct qm_buf *b);

#endif
