/* Unigram as the `tokenizers` library does it: the segmentation with the greatest sum of scores, found
 * left to right; runs of unknown characters become one unknown token, or bytes. Scores are doubles added
 * in the library's order, so that ties fall the same way. */
#include <stdlib.h>

#include "text/tokenizer/internal.h"

/* The best path that ends at a byte. */
struct node {
    double score;
    uint32_t start; /* UINT32_MAX: none ends here */
    int32_t id;
};

static const double unknown_penalty = 10.0;

static int nodes_reserve(struct qm_call *c, size_t n) {
    size_t bytes = n * sizeof(struct node);
    if (bytes <= c->path_bytes)
        return QM_OK;
    free(c->path);
    c->path_bytes = 0;
    c->path = malloc(bytes);
    if (!c->path)
        return qm_fail_memory(c->err, bytes, "the paths of a word");
    c->path_bytes = bytes;
    return QM_OK;
}

static void offer(struct node *to, double score, uint32_t start, int32_t id) {
    if (to->start == UINT32_MAX || score > to->score)
        *to = (struct node){score, start, id};
}

static int search(struct qm_call *c, const char *word, size_t len) {
    const struct qm_unigram *u = &c->t->unigram;
    struct node *nodes = c->path;
    for (size_t i = 0; i <= len; i++)
        nodes[i] = (struct node){0, UINT32_MAX, 0};
    for (size_t i = 0; i < len;) {
        uint32_t cp, at = 0;
        size_t k = qm_char_next(word + i, len - i, &cp);
        bool single = false;
        for (size_t j = i; j < len; j++) {
            at = qm_trie_step(&u->trie, at, (uint8_t)word[j]);
            if (!at)
                break;
            int32_t id = u->trie.value[at];
            if (id < 0)
                continue;
            offer(&nodes[j + 1], u->score[id] + nodes[i].score, (uint32_t)i, id);
            single |= j + 1 - i == k;
        }
        if (!single) {
            if (u->unk < 0)
                return qm_fail(c->err, QM_INPUT,
                               "the text has a character outside the vocabulary (U+%04X), and the "
                               "tokenizer has no unk_id",
                               (unsigned)cp);
            offer(&nodes[i + k], u->min_score - unknown_penalty + nodes[i].score, (uint32_t)i, u->unk);
        }
        i += k;
    }
    return QM_OK;
}

/* The token of one stretch of text. */
static int write_piece(struct qm_call *c, const char *p, size_t n, struct qm_ids *out) {
    const struct qm_unigram *u = &c->t->unigram;
    int32_t id = qm_vocab_find(&c->t->vocab, p, n);
    bool bytes = id < 0 && u->byte_fallback;
    for (size_t i = 0; bytes && i < n; i++)
        bytes = u->byte_token[(unsigned char)p[i]] >= 0;
    int rc = QM_OK;
    for (size_t i = 0; !rc && bytes && i < n; i++)
        rc = qm_ids_push(out, u->byte_token[(unsigned char)p[i]], c->err);
    return bytes || rc ? rc : qm_ids_push(out, id >= 0 ? id : u->unk, c->err);
}

int qm_unigram_encode(struct qm_call *c, const char *word, size_t len, struct qm_ids *out) {
    if (c->t->map_bytes) {
        c->mapped.len = 0;
        int rc = qm_map_bytes(word, len, &c->mapped, c->err);
        if (rc)
            return rc;
        word = c->mapped.data;
        len = c->mapped.len;
    }
    int rc = nodes_reserve(c, len + 1);
    if (!rc)
        rc = search(c, word, len);
    if (rc)
        return rc;
    struct node *nodes = c->path;
    /* Turn the path around: each node gets the end of its piece in score's place. */
    uint32_t end = (uint32_t)len, next = UINT32_MAX;
    while (end > 0) {
        uint32_t start = nodes[end].start;
        nodes[end].start = next;
        next = end;
        nodes[end].score = start;
        end = start;
    }
    for (uint32_t e = next; !rc && e != UINT32_MAX;) {
        uint32_t from = (uint32_t)nodes[e].score, to = e, after = nodes[e].start;
        if (nodes[e].id == c->t->unigram.unk)
            while (after != UINT32_MAX && nodes[after].id == c->t->unigram.unk) {
                to = after;
                after = nodes[after].start;
            }
        rc = write_piece(c, word + from, to - from, out);
        e = after;
    }
    return rc;
}
