/* Building and searching the byte trie. */
#include "text/tokenizer/trie.h"

#include <stdlib.h>
#include <string.h>

static int by_text(const void *a, const void *b) {
    const struct qm_trie_key *x = a, *y = b;
    size_t n = x->len < y->len ? x->len : y->len;
    int c = n ? memcmp(x->text, y->text, n) : 0;
    if (c)
        return c;
    if (x->len != y->len)
        return x->len < y->len ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* Keys lo..hi share their first depth bytes, which lead to the node. */
struct range {
    uint32_t lo, hi, depth;
};

/* Gives node i its value and its children; ranges[] is the queue of the breadth-first walk. */
static void fill_node(struct qm_trie *t, const struct qm_trie_key *keys, struct range *ranges, uint32_t i) {
    struct range r = ranges[i];
    t->first[i] = t->nodes;
    t->value[i] = -1;
    uint32_t k = r.lo;
    if (k < r.hi && keys[k].len == r.depth) {
        t->value[i] = r.depth ? keys[k].value : -1;
        while (k < r.hi && keys[k].len == r.depth)
            k++;
    }
    while (k < r.hi) {
        uint32_t start = k;
        uint8_t c = (uint8_t)keys[k].text[r.depth];
        while (k < r.hi && (uint8_t)keys[k].text[r.depth] == c)
            k++;
        t->label[t->nodes] = c;
        ranges[t->nodes++] = (struct range){start, k, r.depth + 1};
    }
}

int qm_trie_build(struct qm_trie *t, struct qm_trie_key *keys, size_t n, struct qm_error *err) {
    *t = (struct qm_trie){0};
    size_t bytes = 1;
    for (size_t i = 0; i < n; i++)
        bytes += keys[i].len;
    if (n >= UINT32_MAX || bytes >= UINT32_MAX / 2)
        return qm_fail(err, QM_INPUT, "a trie of %zu keys and %zu bytes is too large", n, bytes);
    if (n)
        qsort(keys, n, sizeof *keys, by_text);
    struct range *ranges = malloc(bytes * sizeof *ranges);
    t->first = malloc((bytes + 1) * sizeof *t->first);
    t->label = malloc(bytes);
    t->value = malloc(bytes * sizeof *t->value);
    if (!ranges || !t->first || !t->label || !t->value) {
        free(ranges);
        qm_trie_free(t);
        return qm_fail_memory(err, bytes * 21, "a token trie");
    }
    ranges[0] = (struct range){0, (uint32_t)n, 0};
    t->label[0] = 0;
    t->nodes = 1;
    for (uint32_t i = 0; i < t->nodes; i++)
        fill_node(t, keys, ranges, i);
    t->first[t->nodes] = t->nodes;
    for (uint32_t c = t->first[0]; c < t->first[1] && t->nodes > 1; c++)
        t->root[t->label[c]] = c;
    free(ranges);
    return QM_OK;
}

void qm_trie_free(struct qm_trie *t) {
    free(t->first);
    free(t->label);
    free(t->value);
    *t = (struct qm_trie){0};
}

int32_t qm_trie_longest(const struct qm_trie *t, const char *text, size_t len, size_t *matched) {
    int32_t best = -1;
    uint32_t node = 0;
    for (size_t i = 0; i < len; i++) {
        node = qm_trie_step(t, node, (uint8_t)text[i]);
        if (!node)
            break;
        if (t->value[node] >= 0) {
            best = t->value[node];
            *matched = i + 1;
        }
    }
    return best;
}
