/* What a loaded tokenizer knows of single tokens; and its end. */
#include <stdlib.h>

#include "text/tokenizer/internal.h"

void qm_tokenizer_free(struct qm_tokenizer *t) {
    if (!t)
        return;
    qm_vocab_free(&t->vocab);
    qm_vocab_free(&t->added_vocab);
    qm_vocab_free(&t->added_text);
    free(t->added);
    free(t->special);
    free(t->dropped);
    qm_trie_free(&t->raw.trie);
    qm_trie_free(&t->normal.trie);
    for (size_t i = 0; i < QM_MAX_STEPS; i++) {
        qm_regex_free(t->normals[i].pattern);
        free(t->normals[i].text.data);
        qm_charsmap_free(&t->normals[i].map);
        qm_regex_free(t->pretoks[i].pattern);
        qm_regex_free(t->decodes[i].pattern);
        free(t->decodes[i].text.data);
    }
    qm_ids_free(&t->around);
    free(t->bpe.slots);
    free(t->bpe.unk_text.data);
    free(t->bpe.prefix.data);
    free(t->bpe.suffix.data);
    free(t->unigram.score);
    qm_trie_free(&t->unigram.trie);
    qm_vocab_free(&t->spm.pieces);
    qm_vocab_free(&t->spm.reserved);
    free(t->spm.score);
    free(t->spm.rank);
    free(t->spm.type);
    qm_trie_free(&t->spm.user);
    qm_trie_free(&t->spm.trie);
    qm_charsmap_free(&t->spm.map);
    free(t);
}

int64_t qm_tokenizer_size(const struct qm_tokenizer *t) {
    return (int64_t)t->size;
}

int32_t qm_tokenizer_id(const struct qm_tokenizer *t, const char *content, size_t len) {
    int32_t id = qm_vocab_find(&t->added_vocab, content, len);
    return id >= 0 ? id : qm_vocab_find(&t->vocab, content, len);
}

const char *qm_tokenizer_piece(const struct qm_tokenizer *t, int32_t id, size_t *len) {
    const char *p = qm_vocab_text(&t->added_vocab, id, len);
    return p ? p : qm_vocab_text(&t->vocab, id, len);
}

int32_t qm_tokenizer_eos(const struct qm_tokenizer *t) {
    return t->eos;
}

bool qm_tokenizer_is_added(const struct qm_tokenizer *t, int32_t id) {
    size_t len;
    return qm_vocab_text(&t->added_vocab, id, &len) ||
           (t->kind == QM_KIND_SPM && id >= 0 && (size_t)id < t->spm.n && t->spm.type[id] == QM_PIECE_USER);
}

bool qm_tokenizer_is_special(const struct qm_tokenizer *t, int32_t id) {
    return id >= 0 && (size_t)id < t->size && t->special[id];
}

int qm_spm_type(const struct qm_tokenizer *t, int32_t id) {
    size_t len;
    /* What was added beside the model is text as it stands, like its control pieces and the unknown one, which are
     * added tokens too. */
    return qm_vocab_text(&t->added_vocab, id, &len) || (size_t)id >= t->spm.n ? QM_PIECE_CONTROL : t->spm.type[id];
}

/* The id the library gives an added token: the vocabulary's, else the next free one. The file's own "id"
 * does not count, as it does not there. */
int32_t qm_added_id(const struct qm_tokenizer *t, const char *text, size_t len) {
    int32_t id = qm_vocab_find(&t->added_vocab, text, len);
    if (id < 0)
        id = qm_vocab_find(&t->vocab, text, len);
    if (id >= 0)
        return id;
    size_t count = t->kind == QM_KIND_BPE ? t->vocab.count : t->vocab.size;
    return (int32_t)(t->added_vocab.size > count ? t->added_vocab.size : count);
}
