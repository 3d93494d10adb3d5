/* A byte trie over a fixed set of keys, each with a value: all prefixes of a text that are keys, in one
 * walk. Used for added tokens, Unigram pieces and user-defined symbols. Const once built. */
#ifndef QM_TEXT_TOKENIZER_TRIE_H
#define QM_TEXT_TOKENIZER_TRIE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct qm_trie_key {
    const char *text;
    size_t len;
    int32_t value;  /* >= 0 */
    uint32_t order; /* of equal texts the one with the smallest order stays */
};

/* Nodes lie in breadth-first order, so the children of a node are consecutive and sorted by label. */
struct qm_trie {
    uint32_t *first; /* first child; the last is first[node + 1] - 1 */
    uint8_t *label;
    int32_t *value; /* -1: no key ends here */
    uint32_t nodes;
    uint32_t root[256]; /* the root's children by label, 0: none */
};

/* Sorts keys in place. An empty key is left out. */
int qm_trie_build(struct qm_trie *t, struct qm_trie_key *keys, size_t n, struct qm_error *err);
void qm_trie_free(struct qm_trie *t);

/* The child of node by c, or 0 (the root is no one's child). node 0 is the root. */
static inline uint32_t qm_trie_step(const struct qm_trie *t, uint32_t node, uint8_t c) {
    if (node == 0)
        return t->root[c];
    uint32_t lo = t->first[node], hi = t->first[node + 1];
    while (hi - lo > 8) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (t->label[mid] <= c)
            lo = mid;
        else
            hi = mid;
    }
    for (; lo < hi; lo++)
        if (t->label[lo] == c)
            return lo;
    return 0;
}

/* The value of the longest key that text begins with and its length, or -1. */
int32_t qm_trie_longest(const struct qm_trie *t, const char *text, size_t len, size_t *matched);

#endif
