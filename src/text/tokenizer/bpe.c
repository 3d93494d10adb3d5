/* BPE as the `tokenizers` library does it: a word's characters as tokens, then merges by rank, leftmost
 * first. Short words by repeated search, long ones (a whole text, where nothing splits it) by a heap
 * over a linked list. */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer/internal.h"

enum { SHORT_WORD = 64 };

static size_t slot_of(const struct qm_bpe *b, uint64_t pair) {
    uint64_t h = pair * 0x9E3779B97F4A7C15u;
    size_t i = (size_t)(h ^ h >> 32) & (b->nslots - 1);
    while (b->slots[i].pair != UINT64_MAX && b->slots[i].pair != pair)
        i = (i + 1) & (b->nslots - 1);
    return i;
}

int qm_bpe_add_merge(struct qm_bpe *b, int32_t left, int32_t right, uint32_t rank, int32_t id, struct qm_error *err) {
    /* rank is the count of those before: duplicates keep the load below one half all the same */
    if ((size_t)rank * 2 >= b->nslots) {
        size_t n = b->nslots ? b->nslots * 2 : 1024;
        struct qm_bpe grown = {.nslots = n, .slots = malloc(n * sizeof *b->slots)};
        if (!grown.slots)
            return qm_fail_memory(err, n * sizeof *b->slots, "the merges");
        memset(grown.slots, 0xFF, n * sizeof *b->slots);
        for (size_t i = 0; i < b->nslots; i++)
            if (b->slots[i].pair != UINT64_MAX)
                grown.slots[slot_of(&grown, b->slots[i].pair)] = b->slots[i];
        free(b->slots);
        b->slots = grown.slots;
        b->nslots = n;
    }
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    b->slots[slot_of(b, pair)] = (struct qm_merge){pair, rank, id};
    return QM_OK;
}

const struct qm_merge *qm_bpe_find(const struct qm_bpe *b, int32_t left, int32_t right) {
    if (!b->nslots)
        return NULL;
    const struct qm_merge *m = &b->slots[slot_of(b, (uint64_t)(uint32_t)left << 32 | (uint32_t)right)];
    return m->pair == UINT64_MAX ? NULL : m;
}

/* ---- the word's first tokens ---- */

static int push(struct qm_call *c, size_t *n, int32_t id) {
    int rc = qm_symbols_reserve(c, *n + 1);
    if (!rc)
        c->symbols[(*n)++] = (struct qm_symbol){.id = id};
    return rc;
}

/* The token of one character, with the prefix or suffix that its place in the word asks for. */
static int char_token(const struct qm_call *c, const char *p, size_t k, bool first, bool last, int32_t *id,
                      struct qm_buf *spelled) {
    const struct qm_bpe *b = &c->t->bpe;
    bool prefix = !first && b->prefix.len, suffix = last && b->suffix.len;
    if (!prefix && !suffix) {
        *id = k == 1 ? b->ascii[(unsigned char)*p & 127] : qm_vocab_find(&c->t->vocab, p, k);
        return QM_OK;
    }
    spelled->len = 0;
    int rc = prefix ? qm_buf_add(spelled, b->prefix.data, b->prefix.len, c->err) : QM_OK;
    if (!rc)
        rc = qm_buf_add(spelled, p, k, c->err);
    if (!rc && suffix)
        rc = qm_buf_add(spelled, b->suffix.data, b->suffix.len, c->err);
    if (!rc)
        *id = qm_vocab_find(&c->t->vocab, spelled->data, spelled->len);
    return rc;
}

static int missing_unk(const struct qm_call *c) {
    const struct qm_str *u = &c->t->bpe.unk_text;
    return qm_fail(c->err, QM_INPUT,
                   "the text has a character outside the vocabulary, and the unknown token \"%.*s\" "
                   "is not in it either",
                   (int)u->len, u->data);
}

/* Characters to symbols. A pending unknown token is written when a known character or the end comes;
 * byte tokens do not count as known, so they go before it, as in the library. */
static int spell(struct qm_call *c, const char *word, size_t len, size_t *n) {
    const struct qm_bpe *b = &c->t->bpe;
    struct qm_buf spelled = {0};
    bool pending = false;
    int rc = QM_OK;
    for (size_t i = 0; !rc && i < len;) {
        uint32_t cp;
        const char *p = word + i;
        size_t k = qm_char_next(p, len - i, &cp);
        int32_t id = -1;
        rc = char_token(c, p, k, i == 0, i + k == len, &id, &spelled);
        i += k;
        if (rc)
            break;
        if (id >= 0) {
            if (pending)
                rc = push(c, n, b->unk);
            pending = false;
            if (!rc)
                rc = push(c, n, id);
            continue;
        }
        bool bytes = b->byte_fallback;
        const char *s = spelled.len ? spelled.data : p;
        size_t slen = spelled.len ? spelled.len : k;
        for (size_t j = 0; bytes && j < slen; j++)
            bytes = b->byte_token[(unsigned char)s[j]] >= 0;
        for (size_t j = 0; !rc && bytes && j < slen; j++)
            rc = push(c, n, b->byte_token[(unsigned char)s[j]]);
        spelled.len = 0;
        if (bytes || !b->has_unk)
            continue;
        if (b->unk < 0)
            rc = missing_unk(c);
        else if (pending && !b->fuse_unk)
            rc = push(c, n, b->unk);
        pending = true;
    }
    if (!rc && pending)
        rc = push(c, n, b->unk);
    qm_buf_free(&spelled);
    return rc;
}

/* ---- merging ---- */

static int merge_short(struct qm_call *c, size_t n, struct qm_ids *out) {
    const struct qm_bpe *b = &c->t->bpe;
    int32_t id[SHORT_WORD], next_id[SHORT_WORD];
    uint32_t rank[SHORT_WORD]; /* of the pair that begins here; UINT32_MAX: none */
    for (size_t i = 0; i < n; i++)
        id[i] = c->symbols[i].id;
    for (size_t i = 0; i + 1 < n; i++) {
        const struct qm_merge *m = qm_bpe_find(b, id[i], id[i + 1]);
        rank[i] = m ? m->rank : UINT32_MAX;
        next_id[i] = m ? m->id : -1;
    }
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (rank[i] < rank[best])
                best = i;
        if (rank[best] == UINT32_MAX)
            break;
        id[best] = next_id[best];
        size_t tail = n - best - 2;
        memmove(id + best + 1, id + best + 2, tail * sizeof *id);
        memmove(rank + best, rank + best + 1, tail * sizeof *rank);
        memmove(next_id + best, next_id + best + 1, tail * sizeof *next_id);
        n--;
        for (size_t i = best ? best - 1 : 0; i <= best && i + 1 < n; i++) {
            const struct qm_merge *m = qm_bpe_find(b, id[i], id[i + 1]);
            rank[i] = m ? m->rank : UINT32_MAX;
            next_id[i] = m ? m->id : -1;
        }
    }
    int rc = QM_OK;
    for (size_t i = 0; !rc && i < n; i++)
        rc = qm_ids_push(out, id[i], c->err);
    return rc;
}

static int push_pair(struct qm_call *c, uint32_t left, uint32_t right) {
    const struct qm_merge *m = qm_bpe_find(&c->t->bpe, c->symbols[left].id, c->symbols[right].id);
    return m ? qm_heap_push(c, (uint64_t)m->rank << 32 | left, 0) : QM_OK;
}

/* A popped pair is stale unless the tokens there still have its rank: merging only lengthens them, so a
 * pair that is gone never comes back. */
static int merge_long(struct qm_call *c, size_t n, struct qm_ids *out) {
    struct qm_symbol *s = c->symbols;
    int rc = QM_OK;
    for (size_t i = 0; i < n; i++) {
        s[i].prev = (uint32_t)i - 1;
        s[i].next = i + 1 < n ? (uint32_t)i + 1 : UINT32_MAX;
        s[i].len = 1; /* alive */
    }
    c->heap_len = 0;
    for (size_t i = 0; !rc && i + 1 < n; i++)
        rc = push_pair(c, (uint32_t)i, (uint32_t)i + 1);
    while (!rc && c->heap_len) {
        uint64_t key = qm_heap_pop(c).key;
        uint32_t left = (uint32_t)key, right = s[left].next;
        if (!s[left].len || right == UINT32_MAX)
            continue;
        const struct qm_merge *m = qm_bpe_find(&c->t->bpe, s[left].id, s[right].id);
        if (!m || m->rank != key >> 32)
            continue;
        s[left].id = m->id;
        s[left].next = s[right].next;
        s[right].len = 0;
        if (s[left].next != UINT32_MAX) {
            s[s[left].next].prev = left;
            rc = push_pair(c, left, s[left].next);
        }
        if (!rc && s[left].prev != UINT32_MAX)
            rc = push_pair(c, s[left].prev, left);
    }
    for (uint32_t i = 0; !rc && n && i != UINT32_MAX; i = s[i].next)
        rc = qm_ids_push(out, s[i].id, c->err);
    return rc;
}

/* The symbols of raw bytes where ByteLevel's mapping is still to come; false: some byte has no token. */
static bool spell_bytes(struct qm_call *c, const char *word, size_t len) {
    const int32_t *mapped = c->t->bpe.mapped;
    for (size_t i = 0; i < len; i++) {
        int32_t id = mapped[(unsigned char)word[i]];
        if (id < 0)
            return false;
        c->symbols[i].id = id;
    }
    return true;
}

int qm_bpe_encode(struct qm_call *c, const char *word, size_t len, struct qm_ids *out) {
    const struct qm_bpe *b = &c->t->bpe;
    size_t n = 0;
    bool raw = c->t->map_bytes, plain = !b->prefix.len && !b->suffix.len;
    int rc = QM_OK;
    if (raw && (b->ignore_merges || !plain)) {
        c->mapped.len = 0;
        rc = qm_map_bytes(word, len, &c->mapped, c->err);
    }
    if (!rc && b->ignore_merges) {
        int32_t id =
            raw ? qm_vocab_find(&c->t->vocab, c->mapped.data, c->mapped.len) : qm_vocab_find(&c->t->vocab, word, len);
        if (id >= 0)
            return qm_ids_push(out, id, c->err);
    }
    if (!rc)
        rc = qm_symbols_reserve(c, len);
    if (!rc && raw && plain && spell_bytes(c, word, len)) {
        n = len;
    } else if (!rc && raw) {
        c->mapped.len = 0;
        rc = qm_map_bytes(word, len, &c->mapped, c->err);
        if (!rc)
            rc = spell(c, c->mapped.data, c->mapped.len, &n);
    } else if (!rc) {
        rc = spell(c, word, len, &n);
    }
    if (rc)
        return rc;
    return n <= SHORT_WORD ? merge_short(c, n, out) : merge_long(c, n, out);
}
