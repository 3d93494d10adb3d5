/* From a pre-tokenized word to ids: a small cache of words seen in this call, then the model. Also the
 * life of a call's state and ByteLevel's alphabet. */
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
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

static int append(struct qm_ids *out, const int32_t *ids, size_t n, struct qm_error *err) {
    for (size_t i = 0; i < n; i++) {
        int rc = qm_ids_push(out, ids[i], err);
        if (rc)
            return rc;
    }
    return QM_OK;
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

static const char space_mark[] = "\xE2\x96\x81";

size_t qm_word_cut(const struct qm_tokenizer *t, const char *p, size_t len) {
    for (size_t i = 1; t->cuttable && i + 3 <= len; i++) {
        const char *mark = memchr(p + i, space_mark[0], len - i - 2);
        if (!mark)
            break;
        i = (size_t)(mark - p);
        if (memcmp(mark, space_mark, 3) == 0 && !t->joins[(unsigned char)mark[-1]])
            return i;
    }
    return len;
}

void qm_allow_cuts(struct qm_tokenizer *t) {
    t->cuttable = true;
    for (size_t id = 0; id < t->vocab.size; id++) {
        size_t len;
        const char *p = qm_vocab_text(&t->vocab, (int64_t)id, &len);
        for (size_t i = 1; p && i + 3 <= len; i++)
            if (memcmp(p + i, space_mark, 3) == 0)
                t->joins[(unsigned char)p[i - 1]] = true;
    }
}

static int encode_one(struct qm_call *c, const char *word, size_t len) {
    size_t n;
    const int32_t *ids = qm_word_cached(c, word, len, &n);
    if (ids)
        return append(c->out, ids, n, c->err);
    c->word.len = 0;
    int rc =
        c->t->kind == QM_KIND_BPE ? qm_bpe_encode(c, word, len, &c->word) : qm_unigram_encode(c, word, len, &c->word);
    if (rc)
        return rc;
    qm_word_remember(c, word, len, c->word.data, c->word.len);
    return append(c->out, c->word.data, c->word.len, c->err);
}

int qm_word_encode(struct qm_call *c, const char *word, size_t len) {
    int rc = QM_OK;
    for (size_t n; !rc && len; word += n, len -= n) {
        n = qm_word_cut(c->t, word, len);
        rc = qm_call_look(c);
        rc = rc ? rc : encode_one(c, word, n);
    }
    return rc;
}

/* ---- ByteLevel's alphabet: printable Latin-1 stands for itself, the other bytes for U+0100 on. ---- */

static bool is_itself(uint32_t b) {
    return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
}

uint32_t qm_byte_char(uint8_t byte) {
    if (is_itself(byte))
        return byte;
    /* The bytes that do not stand for themselves, in their order: 0-32, 127-160, 173. */
    return 256u + (byte <= 32 ? byte : byte <= 160 ? byte - 127u + 33u : 67u);
}

int qm_char_byte(uint32_t cp) {
    if (cp < 256)
        return is_itself(cp) ? (int)cp : -1;
    cp -= 256;
    return cp <= 32 ? (int)cp : cp <= 66 ? (int)(cp - 33 + 127) : cp == 67 ? 173 : -1;
}

int qm_map_bytes(const char *p, size_t n, struct qm_buf *out, struct qm_error *err) {
    int rc = qm_buf_reserve(out, n * 2, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < n; i++)
        out->len += qm_utf8_encode(qm_byte_char((uint8_t)p[i]), out->data + out->len);
    out->data[out->len] = 0;
    return QM_OK;
}

int qm_byte_piece(const char *p, size_t n) {
    if (n != 6 || memcmp(p, "<0x", 3) != 0 || p[5] != '>')
        return -1;
    int v = 0;
    for (int i = 3; i < 5; i++) {
        char c = p[i];
        int d = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                       : -1;
        if (d < 0)
            return -1;
        v = v * 16 + d;
    }
    return v;
}
