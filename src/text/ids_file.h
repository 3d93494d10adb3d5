/* Token ids as text: decimals separated by white space, nothing else. Untrusted input. */
#ifndef QM_TEXT_IDS_FILE_H
#define QM_TEXT_IDS_FILE_H

#include <stddef.h>

#include "base/error.h"
#include "text/tokenizer/tokenizer.h"

/* Appends the ids in text. QM_INPUT with line and column for anything that is not an id from 0 to 2^31 - 1.
 * name: of the file, for messages. */
int qm_ids_parse(const char *text, size_t len, const char *name, struct qm_ids *out, struct qm_error *err);
/* The same from a file of at most 1 GB ("-": standard input). A file without ids is QM_INPUT. */
int qm_ids_read(const char *path, struct qm_ids *out, struct qm_error *err);

#endif
