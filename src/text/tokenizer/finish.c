/* What is made of a tokenizer once all of its tokens are known, whichever file they came from. */
#include <stdlib.h>

#include "text/tokenizer/internal.h"

/* A template may name ids that no token has. */
static int check_around(const struct qm_tokenizer *t, struct qm_error *err) {
    size_t len;
    for (size_t i = 0; i < t->around.len; i++)
        if (t->around.data[i] >= 0 && !qm_tokenizer_piece(t, t->around.data[i], &len))
            return qm_fail(err, QM_INPUT, "post_processor: id %d is not in the vocabulary", t->around.data[i]);
    return QM_OK;
}

/* Cutting keeps BPE's result only if each symbol's text is the text it stands for: no characters dropped
 * without an unknown token, no merges of byte or unknown tokens. */
static bool may_cut(const struct qm_tokenizer *t) {
    const struct qm_bpe *b = &t->bpe;
    if (t->kind == QM_KIND_SPM)
        return t->spm.bpe && !t->spm.has_unused;
    if (t->kind != QM_KIND_BPE || t->map_bytes || b->ignore_merges || b->prefix.len || b->suffix.len || b->unk < 0 ||
        qm_vocab_find(&t->vocab, "\xE2\x96\x81", 3) < 0)
        return false;
    for (size_t i = 0; i < b->nslots; i++) {
        int32_t side[2] = {(int32_t)(b->slots[i].pair >> 32), (int32_t)b->slots[i].pair};
        for (int k = 0; b->slots[i].pair != UINT64_MAX && k < 2; k++) {
            size_t len;
            const char *p = qm_vocab_text(&t->vocab, side[k], &len);
            if (side[k] == b->unk || !p || qm_byte_piece(p, len) >= 0)
                return false;
        }
    }
    return true;
}

int qm_tokenizer_finish(struct qm_tokenizer *t, struct qm_error *err) {
    t->size = t->vocab.size > t->added_vocab.size ? t->vocab.size : t->added_vocab.size;
    t->special = calloc(t->size + 1, 1);
    t->dropped = calloc(t->size + 1, 1);
    if (!t->special || !t->dropped)
        return qm_fail_memory(err, t->size, "the special tokens");
    for (size_t i = 0; i < t->nadded; i++)
        if (t->added[i].special)
            t->special[t->added[i].id] = 1;
    for (size_t i = 0; t->kind == QM_KIND_SPM && i < t->size; i++)
        t->special[i] |= i < t->spm.n && t->spm.type[i] == QM_PIECE_CONTROL;
    if (t->npretoks && t->pretoks[t->npretoks - 1].type == QM_PRETOK_MAP) {
        t->npretoks--;
        t->map_bytes = true;
    }
    if (may_cut(t))
        qm_allow_cuts(t);
    int rc = check_around(t, err);
    if (!rc)
        rc = qm_added_build(t, err);
    /* The library drops what is spelled like a special token, and spells normalized ones normalized. */
    for (size_t i = 0; !rc && i < t->size; i++) {
        size_t len;
        const char *text = qm_vocab_text(&t->added_text, (int64_t)i, &len);
        int32_t like = text ? qm_vocab_find(&t->added_vocab, text, len) : (int32_t)i;
        t->dropped[i] = like >= 0 && t->special[like];
    }
    return rc;
}
