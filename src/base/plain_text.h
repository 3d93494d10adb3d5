/* Text that people give in files: UTF-8 without a byte order mark. */
#ifndef QM_BASE_PLAIN_TEXT_H
#define QM_BASE_PLAIN_TEXT_H

#include <stddef.h>

#include "base/buf.h"
#include "base/error.h"

/* Appends a text file of at most 1 GB ("-": standard input; what can be read is waited for, as qm_read_input does).
 * QM_INPUT where it is not UTF-8, with the offset of the first byte that is not, or a PDF. */
int qm_read_text(const char *path, struct qm_buf *out, struct qm_error *err);
/* QM_INPUT naming the first byte that is not UTF-8. name: of what it is. */
int qm_check_text(const char *text, size_t len, const char *name, struct qm_error *err);

#endif
