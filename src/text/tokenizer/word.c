/* From a pre-tokenized word to ids: the cache of words seen in this call, then the model. */
#include <string.h>

#include "text/tokenizer/internal.h"

static int append(struct qm_ids *out, const int32_t *ids, size_t n, struct qm_error *err) {
    for (size_t i = 0; i < n; i++) {
        int rc = qm_ids_push(out, ids[i], err);
        if (rc)
            return rc;
    }
    return QM_OK;
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
        if (!rc)
            rc = encode_one(c, word, n);
    }
    return rc;
}
