/* Sequences, the blocks of keys and values that they share, and the pool of pages that both take from. Beside engine.h,
 * whose steps make sequences longer; the same thread-safety. */
#ifndef QM_ENGINE_SEQUENCE_H
#define QM_ENGINE_SEQUENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct qm_engine;
struct qm_sequence;

/* A sequence holds no tokens at first. QM_FIT where as many are open as the engine was opened for. Neither allocates
 * anything: sequences and their page tables are made with the engine. */
int qm_sequence_open(struct qm_engine *e, struct qm_sequence **out, struct qm_error *err);
void qm_sequence_close(struct qm_sequence *s);
int64_t qm_sequence_length(const struct qm_sequence *s);
/* Forgets tokens from position n on. Returns the length that is left: n, or 0 where a sliding window no
 * longer holds what position n needs (the prompt must then be computed again). */
int64_t qm_sequence_truncate(struct qm_sequence *s, int64_t n);
/* For measuring at a depth that would take too long to compute: appends n positions that belong to no token,
 * their keys and values small random numbers that follow from seed and position. QM_INPUT beyond the context,
 * QM_FIT where the pages are short; then nothing has changed. */
int qm_sequence_fill_random(struct qm_sequence *s, int64_t n, uint64_t seed, struct qm_error *err);

/* A block is the keys and values of one full page of tokens, [i, i + 1) * qm_engine_block_tokens, in every layer,
 * shared by reference among its holder and the sequences that computed it or were attached to it. What is shared is
 * never written: a sequence that is truncated into a block and goes on has a copy of its own. Layers with a sliding
 * window may lose their part of a block (kv.h says when); then it is still a part of a prefix, but no longer its
 * end. Nothing is allocated by any of these. */
typedef int32_t qm_block; /* a handle, valid until its last release; -1: none */
int64_t qm_engine_block_tokens(const struct qm_engine *e);
/* A reference to block i of s, the caller's to release. -1 where it is not filled, or the window of every layer has
 * moved on. A block that is kept already gives the same handle, with one more reference. */
qm_block qm_sequence_keep(struct qm_sequence *s, int64_t i);
void qm_block_release(struct qm_engine *e, qm_block b);
/* Whether every layer still has its part; whether a sequence holds it too, so that releasing it frees no page. */
bool qm_block_complete(const struct qm_engine *e, qm_block b);
bool qm_block_in_use(const struct qm_engine *e, qm_block b);
/* The longest prefix of blocks[0..n), in blocks, at whose end every window is still there. */
int64_t qm_blocks_usable(const struct qm_engine *e, const qm_block *blocks, int64_t n);
/* An empty sequence takes the tokens of blocks[0..n), which must be usable. QM_USAGE where it is not empty, n blocks
 * are not usable or more than the context. */
int qm_sequence_attach(struct qm_sequence *s, const qm_block *blocks, int64_t n, struct qm_error *err);
/* A block as bytes, for a file of the same model, KV type and instruction set: as many for every block. Import takes
 * pages and gives one reference; QM_FIT where no page is free, QM_INPUT where the bytes cannot be a block's. */
uint64_t qm_engine_block_bytes(const struct qm_engine *e);
void qm_block_export(const struct qm_engine *e, qm_block b, void *out);
int qm_block_import(struct qm_engine *e, const void *bytes, qm_block *out, struct qm_error *err);

/* The pool in blocks: all, and those that neither a sequence nor a block takes. */
struct qm_pool_state {
    int64_t blocks, free_blocks;
};
void qm_engine_pool(const struct qm_engine *e, struct qm_pool_state *out);
/* Tokens that a sequence can come to hold where nobody else takes pages: the context, or what the pool is enough for.
 */
int64_t qm_engine_longest(const struct qm_engine *e);
/* Free blocks that n further tokens of s take. */
int64_t qm_sequence_needs(const struct qm_sequence *s, int64_t n);

#endif
