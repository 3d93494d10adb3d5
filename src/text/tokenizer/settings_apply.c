/* Makes the tokens of the folder's small files known to a tokenizer that is being loaded, and takes what stands around
 * a text from them. After the vocabulary and tokenizer.json's own added tokens, before the tables by id. */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer/internal.h"

struct adding {
    struct qm_tokenizer *t;
    uint32_t *at;  /* by id: place in t->added, counted from 1 */
    size_t strong; /* so many of t->added are from tokenizer.json or have ids */
    struct qm_error *err;
};

/* The id of a token that is new among the added ones. tokenizer.json's library gives the vocabulary's or the next free
 * one; beside a SentencePiece model the folder's own id counts, which may rename a piece. */
static int32_t new_id(const struct qm_tokenizer *t, const struct qm_new_token *n) {
    if (t->kind != QM_KIND_SPM)
        return qm_added_id(t, n->text, n->len);
    size_t len, size = t->added_vocab.size > t->vocab.size ? t->added_vocab.size : t->vocab.size;
    int32_t id = qm_vocab_find(&t->vocab, n->text, n->len);
    if (id >= 0 && !qm_vocab_text(&t->added_vocab, id, &len))
        return id;
    return n->id >= 0 && !qm_vocab_text(&t->added_vocab, n->id, &len) ? (int32_t)n->id : (int32_t)size;
}

static int add(struct adding *x, const struct qm_new_token *n) {
    struct qm_tokenizer *t = x->t;
    if (!n->len)
        return QM_OK;
    int32_t id = qm_vocab_find(&t->added_vocab, n->text, n->len);
    bool there = id >= 0;
    if (!there)
        id = new_id(t, n);
    struct qm_added a = {id, n->lstrip, n->rstrip, n->single_word, n->normalized && t->kind != QM_KIND_SPM, n->special};
    if (!there) {
        int rc = qm_vocab_add(&t->added_vocab, n->text, n->len, id, "added token", x->err);
        if (rc)
            return rc;
        t->added[t->nadded++] = a;
        x->at[id] = (uint32_t)t->nadded;
        return QM_OK;
    }
    size_t at = x->at[id] - 1;
    if (n->how == QM_NEW_REPLACE || (n->how == QM_NEW_WEAK && at >= x->strong)) {
        a.special |= t->added[at].special; /* the library does not take it back */
        t->added[at] = a;
    }
    t->added[at].special |= n->how == QM_NEW_MARK;
    return QM_OK;
}

/* A model's control pieces and its unknown one are special by themselves. */
static int add_pieces(struct adding *x) {
    const struct qm_tokenizer *t = x->t;
    int rc = QM_OK;
    for (size_t i = 0; !rc && t->kind == QM_KIND_SPM && i < t->spm.n; i++) {
        struct qm_new_token n = {.id = (int64_t)i, .special = true};
        if (t->spm.type[i] != QM_PIECE_CONTROL && t->spm.type[i] != QM_PIECE_UNKNOWN)
            continue;
        n.text = qm_vocab_text(&t->vocab, (int64_t)i, &n.len);
        rc = add(x, &n);
    }
    return rc;
}

static int32_t named_id(const struct qm_tokenizer *t, const char *text, int32_t otherwise) {
    int32_t id = text ? qm_tokenizer_id(t, text, strlen(text)) : -1;
    return id >= 0 ? id : otherwise;
}

static int set_around(struct qm_tokenizer *t, const struct qm_settings *s, struct qm_error *err) {
    int32_t bos = named_id(t, s->named[QM_NAMED_BOS], -1), eos = t->eos;
    if (t->kind == QM_KIND_SPM) {
        struct qm_spm *m = &t->spm;
        bool given = s->given[QM_NAMED_BOS];
        m->bos = given ? bos : m->bos;
        m->eos = eos;
        m->add_bos = s->add_bos && m->bos >= 0;
        m->add_eos = s->add_eos && m->eos >= 0;
        return QM_OK;
    }
    if (s->token_class < QM_CLASS_LLAMA || s->token_class > QM_CLASS_GPT_NEOX || s->resaved)
        return QM_OK;
    if (bos < 0 && s->add_bos && !s->given[QM_NAMED_BOS])
        return QM_OK;  /* the class does not fit the vocabulary (Llama 3 under Llama's model_type): the file knows */
    t->around.len = 0; /* these classes make the template anew */
    int rc = s->add_bos && bos >= 0 ? qm_ids_push(&t->around, bos, err) : QM_OK;
    if (!rc)
        rc = qm_ids_push(&t->around, -1, err);
    return rc || !s->add_eos || eos < 0 ? rc : qm_ids_push(&t->around, eos, err);
}

int qm_settings_apply(struct qm_tokenizer *t, const struct qm_settings *s, struct qm_error *err) {
    size_t room = t->nadded + s->n + QM_NAMED_COUNT + (t->kind == QM_KIND_SPM ? t->spm.n : 0);
    struct adding x = {.t = t, .at = calloc(QM_VOCAB_MAX_ID, sizeof *x.at), .err = err};
    struct qm_added *grown = realloc(t->added, (room + 1) * sizeof *grown);
    t->added = grown ? grown : t->added;
    int rc = x.at && grown ? QM_OK : qm_fail_memory(err, room * sizeof *grown, "added tokens");
    for (size_t i = 0; !rc && i < t->nadded; i++)
        x.at[t->added[i].id] = (uint32_t)i + 1;
    if (!rc)
        rc = add_pieces(&x);
    for (size_t i = 0; !rc && i < s->n; i++) {
        x.strong = i <= s->with_ids ? t->nadded : x.strong;
        rc = add(&x, &s->tokens[i]);
    }
    for (int k = 0; !rc && k < QM_NAMED_COUNT; k++) {
        const char *text = s->given[k] ? NULL : s->named[k];
        struct qm_new_token n = {.text = text, .len = text ? strlen(text) : 0, .id = -1, .special = true};
        n.how = QM_NEW_MARK;
        if (text && qm_tokenizer_id(t, text, n.len) >= 0)
            rc = add(&x, &n);
    }
    free(x.at);
    t->legacy = s->legacy;
    if (t->kind == QM_KIND_SPM && s->has_prefix_space)
        t->spm.dummy_prefix &= s->prefix_space;
    t->eos = named_id(t, s->named[QM_NAMED_EOS], s->given[QM_NAMED_EOS] ? -1 : t->eos);
    return rc ? rc : set_around(t, s, err);
}
