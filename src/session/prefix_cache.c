/* The prefix cache: a table of blocks by the hash of their prefixes, a list of them by use. Which pages a block is,
 * and how sequences share them, is the engine's; the file is kv_store.c's. */
#include "session/prefix_cache.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sequence.h"

/* A known block. Nodes are numbered; -1 is none. */
struct node {
    struct qm_kv_hash hash;
    int32_t parent, children; /* the block before it; how many nodes come after it */
    int32_t chain;            /* the next one in its bucket, or free */
    int32_t older, newer;     /* by use: a node is always older than its parent */
    qm_block block;
    bool pinned; /* part of what is being attached */
    bool read;   /* from the store, and not attached since */
};

struct qm_prefix_cache {
    struct qm_engine *engine;
    struct qm_kv_store *store;
    bool spill, windows_only;             /* no layer keeps the whole context */
    int64_t block_tokens, capacity, most; /* nodes; blocks of a context */
    struct node *nodes;
    int32_t *tokens;  /* [capacity][block_tokens] */
    int32_t *buckets; /* [mask + 1] */
    uint64_t mask;
    int32_t free, oldest, newest;
    int32_t *path;    /* [most] nodes of a prefix */
    qm_block *blocks; /* [most] their blocks */
    uint8_t *bytes;   /* one block's, with a store */
    struct qm_prefix_cache_stats stats;
};

static const struct qm_kv_hash NOTHING = {0, 0};

int qm_prefix_cache_open(struct qm_engine *e, struct qm_kv_store *store, struct qm_prefix_cache **out,
                         struct qm_error *err) {
    *out = NULL;
    struct qm_prefix_cache *c = calloc(1, sizeof *c);
    if (!c)
        return qm_fail_memory(err, sizeof *c, "the prefix cache");
    struct qm_pool_state pool;
    qm_engine_pool(e, &pool);
    c->engine = e;
    c->store = store;
    c->block_tokens = qm_engine_block_tokens(e);
    c->capacity = pool.blocks;
    c->most = qm_engine_context(e) / c->block_tokens;
    c->oldest = c->newest = c->free = -1;
    const struct qm_config *config = &qm_engine_model(e)->config;
    c->windows_only = true;
    for (int64_t l = 0; l < config->layers; l++)
        c->windows_only = c->windows_only && config->layer[l].window > 0;
    for (c->mask = 15; c->mask < (uint64_t)c->capacity;)
        c->mask = 2 * c->mask + 1;
    size_t n = (size_t)c->capacity, most = (size_t)c->most + 1;
    c->nodes = calloc(n + 1, sizeof *c->nodes);
    c->tokens = calloc(n + 1, (size_t)c->block_tokens * sizeof *c->tokens);
    c->buckets = malloc((size_t)(c->mask + 1) * sizeof *c->buckets);
    c->path = calloc(most, sizeof *c->path);
    c->blocks = calloc(most, sizeof *c->blocks);
    c->bytes = store ? malloc(qm_engine_block_bytes(e)) : NULL;
    if (!c->nodes || !c->tokens || !c->buckets || !c->path || !c->blocks || (store && !c->bytes)) {
        qm_prefix_cache_close(c);
        return qm_fail_memory(err, (n + 1) * (sizeof *c->nodes + (size_t)c->block_tokens * 4), "the prefix cache");
    }
    memset(c->buckets, 0xFF, (size_t)(c->mask + 1) * sizeof *c->buckets);
    for (int32_t i = (int32_t)c->capacity - 1; i >= 0; i--) {
        c->nodes[i].chain = c->free;
        c->free = i;
    }
    *out = c;
    return QM_OK;
}

void qm_prefix_cache_close(struct qm_prefix_cache *c) {
    if (!c)
        return;
    for (int32_t i = c->oldest; i >= 0; i = c->nodes[i].newer)
        qm_block_release(c->engine, c->nodes[i].block);
    free(c->nodes);
    free(c->tokens);
    free(c->buckets);
    free(c->path);
    free(c->blocks);
    free(c->bytes);
    free(c);
}

void qm_prefix_cache_set_spill(struct qm_prefix_cache *c, bool on) {
    c->spill = on;
}

/* --- nodes ------------------------------------------------------------------------------------------------ */

static void leave_list(struct qm_prefix_cache *c, int32_t i) {
    const struct node *n = &c->nodes[i];
    *(n->older < 0 ? &c->oldest : &c->nodes[n->older].newer) = n->newer;
    *(n->newer < 0 ? &c->newest : &c->nodes[n->newer].older) = n->older;
}

static void make_newest(struct qm_prefix_cache *c, int32_t i) {
    struct node *n = &c->nodes[i];
    n->older = c->newest;
    n->newer = -1;
    *(c->newest < 0 ? &c->oldest : &c->nodes[c->newest].newer) = i;
    c->newest = i;
}

/* A use of a whole prefix, its end first, so that parents stay newer than their children. */
static void touch(struct qm_prefix_cache *c, int64_t n) {
    for (int64_t i = n - 1; i >= 0; i--) {
        leave_list(c, c->path[i]);
        make_newest(c, c->path[i]);
    }
}

static int32_t find_node(const struct qm_prefix_cache *c, struct qm_kv_hash hash, int32_t parent,
                         const int32_t *tokens) {
    for (int32_t i = c->buckets[hash.lo & c->mask]; i >= 0; i = c->nodes[i].chain) {
        const struct node *n = &c->nodes[i];
        if (n->hash.hi == hash.hi && n->hash.lo == hash.lo && n->parent == parent &&
            memcmp(c->tokens + i * c->block_tokens, tokens, (size_t)c->block_tokens * sizeof *tokens) == 0)
            return i;
    }
    return -1;
}

/* Takes over the caller's reference to the block. There are as many nodes as blocks. */
static int32_t insert(struct qm_prefix_cache *c, struct qm_kv_hash hash, int32_t parent, const int32_t *tokens,
                      qm_block block) {
    int32_t i = c->free, *bucket = &c->buckets[hash.lo & c->mask];
    assert(i >= 0);
    c->free = c->nodes[i].chain;
    c->nodes[i] = (struct node){.hash = hash, .parent = parent, .chain = *bucket, .block = block};
    *bucket = i;
    memcpy(c->tokens + i * c->block_tokens, tokens, (size_t)c->block_tokens * sizeof *tokens);
    if (parent >= 0)
        c->nodes[parent].children++;
    make_newest(c, i);
    c->stats.blocks++;
    return i;
}

static struct qm_kv_hash parent_hash(const struct qm_prefix_cache *c, int32_t parent) {
    return parent < 0 ? NOTHING : c->nodes[parent].hash;
}

static void spill(struct qm_prefix_cache *c, const struct node *n) {
    if (qm_kv_store_off(c->store) || qm_kv_store_has(c->store, n->hash))
        return;
    qm_kv_store_begin(c->store);
    qm_block_export(c->engine, n->block, c->bytes);
    int rc = qm_kv_store_put(c->store, n->hash, parent_hash(c, n->parent), c->tokens + (n - c->nodes) * c->block_tokens,
                             c->bytes, NULL);
    c->stats.blocks_written += rc == QM_OK; /* it is only a cache: the store's note says what is wrong */
}

static void give_up(struct qm_prefix_cache *c, int32_t i) {
    struct node *n = &c->nodes[i];
    if (c->spill && c->store)
        spill(c, n);
    int32_t *at = &c->buckets[n->hash.lo & c->mask];
    while (*at != i)
        at = &c->nodes[*at].chain;
    *at = n->chain;
    leave_list(c, i);
    if (n->parent >= 0)
        c->nodes[n->parent].children--;
    qm_block_release(c->engine, n->block);
    n->chain = c->free;
    c->free = i;
    c->stats.blocks--;
    c->stats.given_up++;
}

static int64_t free_blocks(const struct qm_prefix_cache *c) {
    struct qm_pool_state pool;
    qm_engine_pool(c->engine, &pool);
    return pool.free_blocks;
}

int64_t qm_prefix_cache_shrink(struct qm_prefix_cache *c, int64_t n) {
    int64_t before = free_blocks(c);
    /* Then blocks that sequences hold: no page is freed by that, but those before them in a prefix can go; and where
     * windows slide, a sequence may write over pages that nobody else holds. */
    bool all = c->windows_only;
    for (int pass = 0; pass < 2 && (pass == 0 || all); pass++)
        for (int32_t i = c->oldest, next; i >= 0 && free_blocks(c) - before < n; i = next) {
            next = c->nodes[i].newer;
            bool used = qm_block_in_use(c->engine, c->nodes[i].block);
            if (c->nodes[i].pinned || c->nodes[i].children > 0)
                all = all || (!used && !c->nodes[i].pinned);
            else if (!used || pass == 1)
                give_up(c, i);
        }
    return free_blocks(c) - before;
}

void qm_prefix_cache_clear(struct qm_prefix_cache *c) {
    bool on = c->spill;
    c->spill = false;
    while (qm_prefix_cache_shrink(c, INT64_MAX) > 0)
        ;
    c->spill = on;
}

int64_t qm_prefix_cache_idle(const struct qm_prefix_cache *c) {
    int64_t idle = 0;
    for (int32_t i = c->oldest; i >= 0; i = c->nodes[i].newer)
        idle += !qm_block_in_use(c->engine, c->nodes[i].block);
    return idle;
}

/* --- prefixes ------------------------------------------------------------------------------------------- */

/* The known blocks of tokens[0..n), n in blocks, to c->path and c->blocks; *hash: up to their end. */
static int64_t walk(const struct qm_prefix_cache *c, const int32_t *tokens, int64_t n, struct qm_kv_hash *hash) {
    int32_t parent = -1;
    *hash = NOTHING;
    n = n < c->most ? n : c->most;
    for (int64_t i = 0; i < n; i++, tokens += c->block_tokens) {
        struct qm_kv_hash next = qm_kv_hash(*hash, tokens, c->block_tokens);
        int32_t node = find_node(c, next, parent, tokens);
        if (node < 0)
            return i;
        *hash = next;
        c->path[i] = parent = node;
        c->blocks[i] = c->nodes[node].block;
    }
    return n;
}

int64_t qm_prefix_cache_find(const struct qm_prefix_cache *c, const int32_t *tokens, int64_t n) {
    struct qm_kv_hash hash;
    int64_t known = walk(c, tokens, n > 0 ? (n - 1) / c->block_tokens : 0, &hash);
    return qm_blocks_usable(c->engine, c->blocks, known) * c->block_tokens;
}

/* Goes on from the store, after `known` blocks in c->path, up to n; returns how many there are then. */
static int64_t read_store(struct qm_prefix_cache *c, const int32_t *tokens, int64_t known, int64_t n,
                          struct qm_kv_hash hash) {
    if (!c->store || qm_kv_store_off(c->store))
        return known;
    n = n < c->most ? n : c->most;
    for (int64_t i = 0; i < known; i++)
        c->nodes[c->path[i]].pinned = true;
    for (; known < n; known++) {
        const int32_t *own = tokens + known * c->block_tokens;
        struct qm_kv_hash next = qm_kv_hash(hash, own, c->block_tokens);
        if (!qm_kv_store_has(c->store, next) || (free_blocks(c) == 0 && qm_prefix_cache_shrink(c, 1) == 0) ||
            qm_kv_store_get(c->store, next, hash, own, c->bytes, NULL) ||
            qm_block_import(c->engine, c->bytes, &c->blocks[known], NULL))
            break;
        int32_t parent = known ? c->path[known - 1] : -1;
        c->path[known] = insert(c, next, parent, own, c->blocks[known]);
        c->nodes[c->path[known]].pinned = c->nodes[c->path[known]].read = true;
        c->stats.blocks_read++;
        hash = next;
    }
    for (int64_t i = 0; i < known; i++)
        c->nodes[c->path[i]].pinned = false;
    return known;
}

int64_t qm_prefix_cache_read(struct qm_prefix_cache *c, const int32_t *tokens, int64_t n, int64_t most) {
    int64_t blocks = n > 0 ? (n - 1) / c->block_tokens : 0;
    struct qm_kv_hash hash;
    int64_t known = walk(c, tokens, blocks, &hash);
    int64_t all = read_store(c, tokens, known, most < blocks - known ? known + most : blocks, hash);
    touch(c, all);
    return all - known;
}

int qm_prefix_cache_attach(struct qm_prefix_cache *c, struct qm_sequence *s, const int32_t *tokens, int64_t n,
                           int64_t *held, int64_t *from_disk, struct qm_error *err) {
    int64_t most = n > 0 ? (n - 1) / c->block_tokens : 0;
    struct qm_kv_hash hash;
    int64_t known = walk(c, tokens, most, &hash), all = read_store(c, tokens, known, most, hash);
    touch(c, all);
    int64_t usable = qm_blocks_usable(c->engine, c->blocks, all);
    int64_t read = 0;
    *held = 0;
    if (from_disk)
        *from_disk = 0;
    int rc = qm_sequence_attach(s, c->blocks, usable, err);
    if (rc)
        return rc;
    for (int64_t i = 0; i < usable; i++) {
        read += c->nodes[c->path[i]].read ? c->block_tokens : 0;
        c->nodes[c->path[i]].read = false;
    }
    *held = usable * c->block_tokens;
    if (from_disk)
        *from_disk = read;
    c->stats.lookups++;
    c->stats.hits += usable > 0;
    c->stats.tokens_found += (uint64_t)*held;
    c->stats.tokens_from_disk += (uint64_t)read;
    return QM_OK;
}

void qm_prefix_cache_add(struct qm_prefix_cache *c, struct qm_sequence *s, const int32_t *tokens, int64_t *known) {
    int64_t filled = qm_sequence_length(s) / c->block_tokens, first = *known;
    if (filled <= first)
        return;
    *known = filled;
    struct qm_kv_hash hash;
    int64_t n = walk(c, tokens, filled, &hash);
    for (int64_t i = first; i < n; i++) { /* known from another sequence: this one may have windows that it has lost */
        struct node *node = &c->nodes[c->path[i]];
        if (qm_block_complete(c->engine, node->block))
            continue;
        qm_block own = qm_sequence_keep(s, i);
        if (own >= 0) {
            qm_block_release(c->engine, node->block);
            node->block = own;
        }
    }
    for (; n < filled; n++) {
        qm_block block = qm_sequence_keep(s, n);
        if (block < 0)
            break;
        const int32_t *own = tokens + n * c->block_tokens;
        hash = qm_kv_hash(hash, own, c->block_tokens);
        c->path[n] = insert(c, hash, n ? c->path[n - 1] : -1, own, block);
    }
    touch(c, n);
}

int qm_prefix_cache_persist(struct qm_prefix_cache *c, struct qm_sequence *s, const int32_t *tokens, int64_t n,
                            uint64_t *bytes, struct qm_error *err) {
    int64_t length = qm_sequence_length(s), filled = (n < length ? n : length) / c->block_tokens, written = 0;
    if (bytes)
        *bytes = 0;
    if (!c->store || qm_kv_store_off(c->store))
        return QM_OK;
    qm_kv_store_begin(c->store);
    struct qm_kv_hash hash, parent = NOTHING;
    int64_t known = walk(c, tokens, filled, &hash);
    int rc = QM_OK;
    for (int64_t i = 0; i < filled && !rc; i++, tokens += c->block_tokens) {
        hash = qm_kv_hash(parent, tokens, c->block_tokens);
        if (!qm_kv_store_touch(c->store, hash)) {
            qm_block block = i < known ? c->blocks[i] : qm_sequence_keep(s, i);
            if (block < 0)
                break;
            qm_block_export(c->engine, block, c->bytes);
            if (i >= known)
                qm_block_release(c->engine, block);
            rc = qm_kv_store_put(c->store, hash, parent, tokens, c->bytes, err);
            written += rc == QM_OK;
        }
        parent = hash;
    }
    if (rc == QM_FIT) /* no room: what is written is a prefix, and of use */
        rc = QM_OK;
    if (!rc && written)
        rc = qm_kv_store_sync(c->store, err);
    c->stats.blocks_written += (uint64_t)written;
    if (!rc && bytes)
        *bytes = (uint64_t)written * qm_engine_block_bytes(c->engine);
    return rc;
}

void qm_prefix_cache_stats(const struct qm_prefix_cache *c, struct qm_prefix_cache_stats *out) {
    *out = c->stats;
}
