/* A growable byte buffer. */
#include "base/buf.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int qm_buf_reserve(struct qm_buf *b, size_t more, struct qm_error *err) {
    if (more >= SIZE_MAX / 2 - b->len)
        return qm_fail_memory(err, more, "a text buffer");
    size_t need = b->len + more + 1;
    if (need <= b->cap)
        return QM_OK;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need)
        cap *= 2;
    char *p = realloc(b->data, cap);
    if (!p)
        return qm_fail_memory(err, cap, "a text buffer");
    b->data = p;
    b->cap = cap;
    b->data[b->len] = 0;
    return QM_OK;
}

int qm_buf_add(struct qm_buf *b, const void *bytes, size_t n, struct qm_error *err) {
    int rc = qm_buf_reserve(b, n, err);
    if (rc)
        return rc;
    if (n)
        memcpy(b->data + b->len, bytes, n);
    b->len += n;
    b->data[b->len] = 0;
    return QM_OK;
}

int qm_buf_str(struct qm_buf *b, const char *s, struct qm_error *err) {
    return qm_buf_add(b, s, strlen(s), err);
}

int qm_buf_vprintf(struct qm_buf *b, struct qm_error *err, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (n < 0)
        return qm_fail(err, QM_SYSTEM, "text could not be formatted");
    int rc = qm_buf_reserve(b, (size_t)n, err);
    if (rc)
        return rc;
    vsnprintf(b->data + b->len, (size_t)n + 1, format, args);
    b->len += (size_t)n;
    return QM_OK;
}

int qm_buf_printf(struct qm_buf *b, struct qm_error *err, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int rc = qm_buf_vprintf(b, err, format, args);
    va_end(args);
    return rc;
}

void qm_buf_free(struct qm_buf *b) {
    free(b->data);
    *b = (struct qm_buf){0};
}
