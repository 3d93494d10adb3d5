/* Fingerprints of files, models and jobs: 128 bits of XXH3 (libxxhash) as 32 hexadecimal digits. They tell what
 * changed by accident or by hand; they are no signature. */
#ifndef QM_BASE_HASH_H
#define QM_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { QM_HASH_TEXT = 33 };

struct qm_hasher;

int qm_hasher_new(struct qm_hasher **out, struct qm_error *err);
void qm_hasher_free(struct qm_hasher *h);
/* Begins anew. */
void qm_hasher_reset(struct qm_hasher *h);
void qm_hasher_add(struct qm_hasher *h, const void *bytes, size_t n);
/* The hash of all that was added so far; more can be added afterwards. */
void qm_hasher_text(const struct qm_hasher *h, char out[QM_HASH_TEXT]);
uint64_t qm_hasher_short(const struct qm_hasher *h);

/* The hash of one piece of memory. */
uint64_t qm_hash64(const void *bytes, size_t n, uint64_t seed);
void qm_hash_text(const void *bytes, size_t n, char out[QM_HASH_TEXT]);

#endif
