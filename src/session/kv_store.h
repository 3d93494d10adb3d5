/* Blocks of keys and values in a file: the disk tier of the prefix cache, and the checkpoint of long prompts.
 *
 * The file is a header and slots of one size, a block each: the hash of the prefix that ends with it, the hash of
 * the prefix before it, its own tokens, its bytes (qm_block_export), and checksums of both. The header names what
 * the blocks are of (`key`); a file of another key is emptied, a file that is not one of these is left alone and the
 * store stays off; qm_kv_store_note says which. A slot that does not agree with its checksum is free. So a crash in the
 * middle of a write loses that slot only, and nothing read is trusted before its checksum and tokens have been
 * compared. Opening reads the heads of the slots, not the blocks.
 *
 * The file grows to max_bytes, at most 4194304 blocks; then the block that was used longest ago is written over, but
 * none that was used since qm_kv_store_begin. Where there is no room on the disk, or it fails, the store turns itself
 * off, and the note says so. One process at a time has a file open. Nothing is allocated after opening. Not
 * thread-safe; one caller. */
#ifndef QM_SESSION_KV_STORE_H
#define QM_SESSION_KV_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/engine.h"

struct qm_kv_store;

struct qm_kv_hash {
    uint64_t hi, lo;
};

struct qm_kv_store_options {
    const char *path;
    uint64_t max_bytes;   /* of the file */
    uint64_t key;         /* qm_fingerprint_key: of all that changes keys and values */
    uint64_t block_bytes; /* qm_engine_block_bytes */
    int64_t block_tokens; /* qm_engine_block_tokens */
};

/* The hash of a prefix that is `parent`'s tokens and then n more; {0, 0} is the hash of none. */
struct qm_kv_hash qm_kv_hash(struct qm_kv_hash parent, const int32_t *tokens, int64_t n);

/* Whether a file that begins with these bytes is one of a store's, or was to become one. */
bool qm_kv_store_mark(const unsigned char head[8]);

/* QM_FIT where max_bytes holds no block; QM_INPUT where another process has the file open, or it is no regular file;
 * QM_SYSTEM. A file that cannot be used otherwise is no error: see the note. */
int qm_kv_store_open(const struct qm_kv_store_options *o, struct qm_kv_store **out, struct qm_error *err);
void qm_kv_store_close(struct qm_kv_store *s);
/* What was ignored at opening, and why the store is off; "" where all is well. Lives as long as s. */
const char *qm_kv_store_note(const struct qm_kv_store *s);
bool qm_kv_store_off(const struct qm_kv_store *s);
/* Blocks that are there (their bytes not verified yet). */
int64_t qm_kv_store_blocks(const struct qm_kv_store *s);

/* From now on what is put, got or touched is not given up. */
void qm_kv_store_begin(struct qm_kv_store *s);
bool qm_kv_store_has(const struct qm_kv_store *s, struct qm_kv_hash h);
/* Counts as a use of it. False where it is not there. */
bool qm_kv_store_touch(struct qm_kv_store *s, struct qm_kv_hash h);
/* Writes a block, unless it is there. QM_FIT where there is no room, or the store is off; QM_SYSTEM when it has just
 * turned itself off. Not on the disk before the next sync. */
int qm_kv_store_put(struct qm_kv_store *s, struct qm_kv_hash h, struct qm_kv_hash parent, const int32_t *tokens,
                    const void *bytes, struct qm_error *err);
/* Reads a block of these tokens. QM_INPUT where it is not there, or was damaged (then it is forgotten); QM_SYSTEM. */
int qm_kv_store_get(struct qm_kv_store *s, struct qm_kv_hash h, struct qm_kv_hash parent, const int32_t *tokens,
                    void *bytes, struct qm_error *err);
/* fdatasync. A failure is not tried again: the store is off from then on, and what was not on the disk is forgotten by
 * its checksum when it is opened next. */
int qm_kv_store_sync(struct qm_kv_store *s, struct qm_error *err);

#endif
