/* Which weights a model has: the hash of its shards' whole content, so that a copy elsewhere is the same weights and an
 * edited byte makes others. Reading terabytes for that takes a while, so what was hashed once is known again by the
 * file's inode, size and times (to the nanosecond; that of the inode's change too, which no program can set back).
 * Between safetensors.h, which opened the files, and whoever keeps what is known; it writes nothing itself. */
#ifndef QM_MODEL_WEIGHTS_HASH_H
#define QM_MODEL_WEIGHTS_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/hash.h"
#include "model/safetensors.h"

enum { QM_FILES_KNOWN = 8192 }; /* as many are kept; the oldest go */

/* A file that was hashed. */
struct qm_file_known {
    uint64_t inode, bytes;
    int64_t modified, changed, hashed; /* nanoseconds since 1970 */
    char hash[QM_HASH_TEXT];
};

/* Zero-initialise, then qm_files_known_free. The newest is the last. */
struct qm_files_known {
    struct qm_file_known *file;
    int n;
};
void qm_files_known_free(struct qm_files_known *k);
/* Adds what a text of qm_files_known_text says; lines that are none of it are ignored. */
int qm_files_known_parse(struct qm_files_known *k, const char *text, size_t len, struct qm_error *err);
/* One line a file, appended to *out: of these shards, or of all (NULL). */
int qm_files_known_text(const struct qm_files_known *k, const struct qm_shards *shards, struct qm_buf *out,
                        struct qm_error *err);

/* Called now and then with the bytes read and those to read. Nonzero interrupts. */
typedef int qm_hash_progress_fn(void *arg, uint64_t done, uint64_t total);

/* The hash of all shards together, whatever their names, order and folder. Shards that are not known, or that were
 * changed less than two seconds before they were hashed (file systems count coarsely), are read from beginning to end
 * and added to *k. *read: how many were. shards NULL (a model opened from its config): the hash of none. QM_INPUT where
 * a file changes meanwhile; QM_INTERRUPTED. */
int qm_weights_hash(const struct qm_shards *shards, struct qm_files_known *k, qm_hash_progress_fn *progress, void *arg,
                    char out[QM_HASH_TEXT], int *read, struct qm_error *err);
/* Whether the shards still are the files that were hashed, now that they have been loaded: QM_INPUT naming one that is
 * not. */
int qm_weights_unchanged(const struct qm_shards *shards, const struct qm_files_known *k, struct qm_error *err);

#endif
