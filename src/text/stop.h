/* Stop strings in streamed text: passes text on as soon as it cannot be the beginning of a stop string, and
 * ends it before the first one, wherever the pieces are cut. Linear in the text; knows nothing of tokens.
 * A matcher belongs to one text and one thread. */
#ifndef QM_TEXT_STOP_H
#define QM_TEXT_STOP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/error.h"

struct qm_stop;

/* The strings are copied. include: a stop string stays in the text, which ends after it. QM_USAGE for one that is empty
 * or not UTF-8. */
int qm_stop_new(const char *const *strings, int n, bool include, struct qm_stop **out, struct qm_error *err);
void qm_stop_free(struct qm_stop *s);

/* Appends what has become sure to out. Strings that are completed while not armed are text. *matched: a stop string is
 * complete; the text ends before it (the one that ends first; the longest of those that end together), and what follows
 * is dropped, now and in later calls. Where text and strings are whole UTF-8 characters, so is what is given out. */
int qm_stop_push(struct qm_stop *s, const char *text, size_t len, bool armed, struct qm_buf *out, bool *matched,
                 struct qm_error *err);
/* The text ended for another reason: appends what was held back. */
int qm_stop_flush(struct qm_stop *s, struct qm_buf *out, struct qm_error *err);

#endif
