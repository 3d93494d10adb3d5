/* The prefix cache: prefixes that were computed before are found again, page by page, by the hash of all tokens up to
 * the page's end; the tokens are compared too, never the hash alone. It holds references to blocks of the engine's
 * pool, so that nothing is copied, from the moment a block is filled: a second sequence can share the prefix of one
 * that is still being computed. The cache fills the pool as it goes; whoever finds the pool short asks it to shrink.
 * With a store, blocks can be written to a file and come back from there. Layers with sliding windows: a prefix is
 * found as far as its windows are still there (kv.h). Not thread-safe; one caller, between steps. All memory is
 * allocated at the start. */
#ifndef QM_SESSION_PREFIX_CACHE_H
#define QM_SESSION_PREFIX_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/engine.h"
#include "session/kv_store.h"

struct qm_prefix_cache;

/* The engine, and the store (NULL: none) of the same block size, must outlive the cache. */
int qm_prefix_cache_open(struct qm_engine *e, struct qm_kv_store *store, struct qm_prefix_cache **out,
                         struct qm_error *err);
void qm_prefix_cache_close(struct qm_prefix_cache *c);
/* Whether blocks that are given up are written to the store first; at first they are not. */
void qm_prefix_cache_set_spill(struct qm_prefix_cache *c, bool on);

/* Attaches the longest known prefix of tokens[0..n) to an empty sequence, at most n - 1 tokens, so that there is one
 * left to compute. *held: how many tokens s then has; *from_disk (may be NULL): how many of them were read from the
 * store. Blocks of the store are read where the pool has room, or the cache gives some up. What is damaged there is as
 * if it were not there. */
int qm_prefix_cache_attach(struct qm_prefix_cache *c, struct qm_sequence *s, const int32_t *tokens, int64_t n,
                           int64_t *held, int64_t *from_disk, struct qm_error *err);
/* Reads at most `most` blocks of the store that go on where the longest prefix of tokens[0..n) in memory ends; as
 * attach does, which then finds them. Returns how many: fewer where there are no more, or no room. So a caller whose
 * other sequences must not wait reads a long prefix little by little. */
int64_t qm_prefix_cache_read(struct qm_prefix_cache *c, const int32_t *tokens, int64_t n, int64_t most);
/* How many tokens attach would find in memory. */
int64_t qm_prefix_cache_find(const struct qm_prefix_cache *c, const int32_t *tokens, int64_t n);
/* Announces to the cache the blocks that s has filled by now; s holds the first qm_sequence_length tokens of `tokens`.
 * *known belongs to the caller: how many blocks it announced before, 0 at first; nothing is done where there is none
 * since. */
void qm_prefix_cache_add(struct qm_prefix_cache *c, struct qm_sequence *s, const int32_t *tokens, int64_t *known);
/* Frees at least n blocks of the pool, if it can, those unused for longest first, and of a prefix the end first.
 * Returns how many it freed. Blocks that a sequence holds stay, but for models of sliding windows only, where a
 * sequence that is alone needs fewer pages when they go: see qm_sequence_needs again. */
int64_t qm_prefix_cache_shrink(struct qm_prefix_cache *c, int64_t n);
/* Gives up every block that no sequence holds, and writes none of them to the store: their keys and values are lost. */
void qm_prefix_cache_clear(struct qm_prefix_cache *c);
/* How many blocks it could free: those that no sequence holds. */
int64_t qm_prefix_cache_idle(const struct qm_prefix_cache *c);
/* Writes the blocks of tokens[0..n) that s has filled and the store has not got, then syncs. *bytes (may be NULL): what
 * was written. Without a store, or where it is off or has no room for more, that is no error; QM_SYSTEM when it fails.
 */
int qm_prefix_cache_persist(struct qm_prefix_cache *c, struct qm_sequence *s, const int32_t *tokens, int64_t n,
                            uint64_t *bytes, struct qm_error *err);

struct qm_prefix_cache_stats {
    int64_t blocks;                          /* held now */
    uint64_t lookups, hits;                  /* attach calls, and those that found something */
    uint64_t tokens_found, tokens_from_disk; /* that need not be computed */
    uint64_t given_up;                       /* blocks */
    uint64_t blocks_read, blocks_written;    /* of the store */
};
void qm_prefix_cache_stats(const struct qm_prefix_cache *c, struct qm_prefix_cache_stats *out);

#endif
