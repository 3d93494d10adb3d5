/* The two-way table between token text and id, over one arena of bytes. Built once by a loader, then
 * const. Strings may hold any byte, NUL included. Not a place for token flags. */
#ifndef QM_TEXT_TOKENIZER_VOCAB_H
#define QM_TEXT_TOKENIZER_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

/* Ids are below this, so that a file of a few bytes cannot make tables of gigabytes. */
enum { QM_VOCAB_MAX_ID = 1 << 22 };

struct qm_vocab_text {
    uint32_t offset, len;
};

struct qm_vocab {
    struct qm_buf bytes;
    struct qm_vocab_text *text; /* by id; offset UINT32_MAX: no such id */
    size_t size, text_cap;      /* greatest id + 1 */
    int32_t *slots;             /* open addressing, -1 empty */
    size_t nslots, count;       /* count of distinct texts */
    size_t longest;             /* bytes of the longest text */
};

/* Adds text under id. An id that is taken by another text is QM_INPUT; a text that is there already
 * moves to the new id (both ids keep their text). where names the file in messages. */
int qm_vocab_add(struct qm_vocab *v, const char *text, size_t len, int64_t id, const char *where, struct qm_error *err);
/* The id of a text, or -1. */
int32_t qm_vocab_find(const struct qm_vocab *v, const char *text, size_t len);
/* The text of an id, or NULL. */
const char *qm_vocab_text(const struct qm_vocab *v, int64_t id, size_t *len);
void qm_vocab_free(struct qm_vocab *v);

uint64_t qm_hash_bytes(const char *p, size_t n);

#endif
