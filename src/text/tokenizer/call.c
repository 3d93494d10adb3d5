/* The state of one encoding: its buffers, the symbols and the heap of merging, and a small cache of words seen in
 * this call. */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer/internal.h"

/* One entry is one cache line; longer words and those of more tokens go past the cache. */
enum { CACHE_KEY = 22, CACHE_IDS = 10 };
struct entry {
    uint8_t len, n;
    char key[CACHE_KEY];
    int32_t ids[CACHE_IDS];
};
struct qm_word_cache {
    size_t mask;
    struct entry entries[];
};

int qm_call_begin(struct qm_call *c, const struct qm_tokenizer *t, size_t expected, struct qm_ids *out,
                  struct qm_error *err) {
    memset(c, 0, sizeof *c);
    c->t = t;
    c->out = out;
    c->err = err;
    c->parse_special = true;
    int rc = qm_matcher_new(&c->matcher, err);
    if (rc)
        return rc;
    size_t n = 32;
    while (n < 16384 && n * 32 < expected)
        n *= 2;
    c->cache = calloc(1, sizeof *c->cache + n * sizeof(struct entry));
    if (!c->cache)
        return qm_fail_memory(err, n * sizeof(struct entry), "the cache of words");
    c->cache->mask = n - 1;
    return QM_OK;
}

void qm_call_end(struct qm_call *c) {
    qm_matcher_free(c->matcher);
    for (size_t i = 0; i < QM_MAX_STEPS; i++)
        qm_buf_free(&c->step[i]);
    qm_buf_free(&c->normal[0]);
    qm_buf_free(&c->normal[1]);
    qm_buf_free(&c->mapped);
    qm_ids_free(&c->word);
    free(c->symbols);
    free(c->heap);
    free(c->path);
    free(c->cache);
}

int qm_call_look(const struct qm_call *c) {
    return c->interrupt && *c->interrupt ? qm_fail(c->err, QM_INTERRUPTED, "interrupted") : QM_OK;
}

static struct entry *entry_of(const struct qm_call *c, const char *word, size_t len) {
    return &c->cache->entries[qm_hash_bytes(word, len) & c->cache->mask];
}

const int32_t *qm_word_cached(const struct qm_call *c, const char *word, size_t len, size_t *n) {
    if (len > CACHE_KEY)
        return NULL;
    const struct entry *e = entry_of(c, word, len);
    if (e->len != len || memcmp(e->key, word, len) != 0)
        return NULL;
    *n = e->n;
    return e->ids;
}

void qm_word_remember(struct qm_call *c, const char *word, size_t len, const int32_t *ids, size_t n) {
    if (len > CACHE_KEY || n > CACHE_IDS)
        return;
    struct entry *e = entry_of(c, word, len);
    e->len = (uint8_t)len;
    e->n = (uint8_t)n;
    memcpy(e->key, word, len);
    if (n)
        memcpy(e->ids, ids, n * sizeof *ids);
}

int qm_symbols_reserve(struct qm_call *c, size_t n) {
    if (n <= c->symbols_cap)
        return QM_OK;
    size_t cap = c->symbols_cap ? c->symbols_cap : 256;
    while (cap < n)
        cap *= 2;
    struct qm_symbol *p = realloc(c->symbols, cap * sizeof *p);
    if (!p)
        return qm_fail_memory(c->err, cap * sizeof *p, "the symbols of a word");
    c->symbols = p;
    c->symbols_cap = cap;
    return QM_OK;
}

int qm_heap_push(struct qm_call *c, uint64_t key, uint32_t size) {
    if (c->heap_len == c->heap_cap) {
        size_t cap = c->heap_cap ? c->heap_cap * 2 : 256;
        struct qm_heap_item *p = realloc(c->heap, cap * sizeof *p);
        if (!p)
            return qm_fail_memory(c->err, cap * sizeof *p, "the merges of a word");
        c->heap = p;
        c->heap_cap = cap;
    }
    size_t i = c->heap_len++;
    for (; i > 0 && c->heap[(i - 1) / 2].key > key; i = (i - 1) / 2)
        c->heap[i] = c->heap[(i - 1) / 2];
    c->heap[i] = (struct qm_heap_item){key, size};
    return QM_OK;
}

struct qm_heap_item qm_heap_pop(struct qm_call *c) {
    struct qm_heap_item top = c->heap[0], last = c->heap[--c->heap_len];
    size_t i = 0, n = c->heap_len;
    for (size_t child = 1; child < n; child = 2 * i + 1) {
        child += child + 1 < n && c->heap[child + 1].key < c->heap[child].key;
        if (c->heap[child].key >= last.key)
            break;
        c->heap[i] = c->heap[child];
        i = child;
    }
    c->heap[i] = last;
    return top;
}
