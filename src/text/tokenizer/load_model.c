/* tokenizer.json's "model": BPE or Unigram, its vocabulary and merges. Other models are refused by name. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "text/tokenizer/internal.h"

static int load_vocab(struct qm_tokenizer *t, const json_t *v, const char *name, struct qm_error *err) {
    json_t *vocab = json_object_get(v, "vocab");
    if (!qm_json_is_object(vocab))
        return qm_fail(err, QM_INPUT, "%s: the model's \"vocab\" must be an object, found %s", name,
                       qm_json_type_name(vocab));
    for (void *it = json_object_iter(vocab); it; it = json_object_iter_next(vocab, it)) {
        const char *key = json_object_iter_key(it);
        const json_t *id = json_object_iter_value(it);
        if (!json_is_integer(id))
            return qm_fail(err, QM_INPUT, "%s: the id of token \"%.64s\" must be an integer, found %s", name, key,
                           qm_json_type_name(id));
        int rc = qm_vocab_add(&t->vocab, key, json_object_iter_key_len(it), json_integer_value(id), name, err);
        if (rc)
            return rc;
    }
    return QM_OK;
}

/* The two sides of a merge: "a b" or ["a", "b"]. */
static int merge_sides(const json_t *m, size_t i, const char *name, struct qm_str side[2], struct qm_error *err) {
    if (json_is_array(m) && json_array_size(m) == 2) {
        for (size_t k = 0; k < 2; k++) {
            const json_t *s = json_array_get(m, k);
            if (!json_is_string(s))
                return qm_fail(err, QM_INPUT, "%s: merge %zu must hold two strings, found %s", name, i,
                               qm_json_type_name(s));
            side[k] = (struct qm_str){(char *)json_string_value(s), json_string_length(s)};
        }
        return QM_OK;
    }
    const char *s = json_string_value(m);
    size_t len = json_string_length(m);
    const char *space = s ? memchr(s, ' ', len) : NULL;
    if (!space || memchr(space + 1, ' ', len - (size_t)(space + 1 - s)))
        return qm_fail(err, QM_INPUT, "%s: merge %zu must be \"a b\" or [\"a\", \"b\"], found %s \"%.80s\"", name, i,
                       qm_json_type_name(m), s ? s : "");
    side[0] = (struct qm_str){(char *)s, (size_t)(space - s)};
    side[1] = (struct qm_str){(char *)space + 1, len - (size_t)(space + 1 - s)};
    return QM_OK;
}

static int find_side(const struct qm_tokenizer *t, const struct qm_str *s, size_t i, const char *name, int32_t *id,
                     struct qm_error *err) {
    *id = qm_vocab_find(&t->vocab, s->data, s->len);
    if (*id >= 0)
        return QM_OK;
    return qm_fail(err, QM_INPUT, "%s: merge %zu needs the token \"%.*s\", which is not in the vocabulary", name, i,
                   (int)(s->len < 80 ? s->len : 80), s->data);
}

static int load_merges(struct qm_tokenizer *t, const json_t *v, const char *name, struct qm_error *err) {
    const json_t *merges = json_object_get(v, "merges"), *m;
    struct qm_buf joined = {0};
    size_t i;
    int rc = QM_OK;
    if (!json_is_array(merges) || json_array_size(merges) > QM_VOCAB_MAX_ID)
        return qm_fail(err, QM_INPUT, "%s: the model's \"merges\" must be a list of at most %d, found %s of %zu", name,
                       QM_VOCAB_MAX_ID, qm_json_type_name(merges), json_array_size(merges));
    json_array_foreach(merges, i, m) {
        struct qm_str side[2], both;
        int32_t left, right, id;
        if ((rc = merge_sides(m, i, name, side, err)) || (rc = find_side(t, &side[0], i, name, &left, err)) ||
            (rc = find_side(t, &side[1], i, name, &right, err)))
            break;
        size_t prefix = t->bpe.prefix.len < side[1].len ? t->bpe.prefix.len : side[1].len;
        joined.len = 0;
        if ((rc = qm_buf_add(&joined, side[0].data, side[0].len, err)) ||
            (rc = qm_buf_add(&joined, side[1].data + prefix, side[1].len - prefix, err)))
            break;
        both = (struct qm_str){joined.data, joined.len};
        if ((rc = find_side(t, &both, i, name, &id, err)) ||
            (rc = qm_bpe_add_merge(&t->bpe, left, right, (uint32_t)i, id, err)))
            break;
    }
    qm_buf_free(&joined);
    return rc;
}

static void byte_tokens(const struct qm_vocab *v, int32_t out[256]) {
    for (unsigned b = 0; b < 256; b++) {
        static const char hex[] = "0123456789ABCDEF";
        const char piece[] = {'<', '0', 'x', hex[b >> 4], hex[b & 15], '>'};
        out[b] = qm_vocab_find(v, piece, sizeof piece);
    }
}

static int copy_string(const json_t *v, const char *key, const char *where, struct qm_str *out, struct qm_error *err) {
    const json_t *s = json_object_get(v, key);
    if (!s || json_is_null(s))
        return QM_OK;
    if (!json_is_string(s))
        return qm_fail(err, QM_INPUT, "%s: \"%s\" must be a string, found %s", where, key, qm_json_type_name(s));
    return qm_str_copy(out, json_string_value(s), json_string_length(s), err);
}

static int load_bpe(struct qm_tokenizer *t, const json_t *v, const char *name, struct qm_error *err) {
    struct qm_bpe *b = &t->bpe;
    const char *where = "model BPE";
    double dropout = 0;
    const json_t *unk = json_object_get(v, "unk_token");
    t->kind = QM_KIND_BPE;
    int rc = qm_json_double(v, "dropout", where, &dropout, err);
    if (!rc && dropout != 0)
        rc = qm_fail(err, QM_INPUT, "%s: dropout %g is not implemented, expected none", where, dropout);
    if (!rc)
        rc = qm_json_bool(v, "fuse_unk", where, &b->fuse_unk, err);
    if (!rc)
        rc = qm_json_bool(v, "byte_fallback", where, &b->byte_fallback, err);
    if (!rc)
        rc = qm_json_bool(v, "ignore_merges", where, &b->ignore_merges, err);
    if (!rc)
        rc = copy_string(v, "unk_token", where, &b->unk_text, err);
    if (!rc)
        rc = copy_string(v, "continuing_subword_prefix", where, &b->prefix, err);
    if (!rc)
        rc = copy_string(v, "end_of_word_suffix", where, &b->suffix, err);
    if (!rc)
        rc = load_vocab(t, v, name, err);
    if (!rc)
        rc = load_merges(t, v, name, err);
    if (rc)
        return rc;
    b->has_unk = json_is_string(unk);
    b->unk = b->has_unk ? qm_vocab_find(&t->vocab, b->unk_text.data, b->unk_text.len) : -1;
    byte_tokens(&t->vocab, b->byte_token);
    for (unsigned c = 0; c < 256; c++) {
        struct qm_buf mapped = {0};
        char byte = (char)c;
        rc = qm_map_bytes(&byte, 1, &mapped, err);
        if (rc)
            return rc;
        b->mapped[c] = qm_vocab_find(&t->vocab, mapped.data, mapped.len);
        if (c < 128)
            b->ascii[c] = qm_vocab_find(&t->vocab, &byte, 1);
        qm_buf_free(&mapped);
    }
    return QM_OK;
}

/* Adds ["piece", score] under the id of its place. */
static int load_piece(struct qm_tokenizer *t, const json_t *item, size_t i, const char *name, struct qm_trie_key *key,
                      struct qm_error *err) {
    const json_t *s = json_array_get(item, 0), *score = json_array_get(item, 1);
    if (!json_is_string(s) || !json_is_number(score) || !isfinite(json_number_value(score)))
        return qm_fail(err, QM_INPUT, "%s: entry %zu of the Unigram vocabulary must be [\"piece\", score]", name, i);
    size_t len = json_string_length(s);
    if (len > QM_MAX_ADDED_BYTES)
        return qm_fail(err, QM_INPUT, "%s: piece %zu of the Unigram vocabulary has %zu bytes, expected at most %d",
                       name, i, len, QM_MAX_ADDED_BYTES);
    t->unigram.score[i] = json_number_value(score);
    if (t->unigram.score[i] < t->unigram.min_score)
        t->unigram.min_score = t->unigram.score[i];
    /* Two pieces may be equal: the library keeps the later id. */
    *key = (struct qm_trie_key){json_string_value(s), len, (int32_t)i, (uint32_t)(QM_VOCAB_MAX_ID - i)};
    return qm_vocab_add(&t->vocab, json_string_value(s), len, (int64_t)i, name, err);
}

static int load_unigram(struct qm_tokenizer *t, const json_t *v, const char *name, struct qm_error *err) {
    struct qm_unigram *u = &t->unigram;
    const json_t *vocab = json_object_get(v, "vocab"), *item;
    size_t i, n = json_array_size(vocab);
    int64_t unk = -1;
    t->kind = QM_KIND_UNIGRAM;
    if (!json_is_array(vocab) || n > QM_VOCAB_MAX_ID)
        return qm_fail(err, QM_INPUT, "%s: the Unigram model's \"vocab\" must be a list of at most %d, found %s of %zu",
                       name, QM_VOCAB_MAX_ID, qm_json_type_name(vocab), n);
    int rc = qm_json_int(v, "unk_id", "model Unigram", 0, (int64_t)n - 1, &unk, err);
    if (!rc)
        rc = qm_json_bool(v, "byte_fallback", "model Unigram", &u->byte_fallback, err);
    if (rc)
        return rc;
    struct qm_trie_key *keys = malloc((n + 1) * sizeof *keys);
    u->score = malloc((n + 1) * sizeof *u->score);
    if (!keys || !u->score)
        rc = qm_fail_memory(err, n * 40, "the Unigram vocabulary");
    u->min_score = INFINITY;
    json_array_foreach(vocab, i, item) {
        if (rc || (rc = load_piece(t, item, i, name, &keys[i], err)))
            break;
    }
    if (!rc)
        rc = qm_trie_build(&u->trie, keys, n, err);
    free(keys);
    u->unk = (int32_t)unk;
    byte_tokens(&t->vocab, u->byte_token);
    return rc;
}

int qm_load_vocab_model(struct qm_tokenizer *t, const json_t *v, const char *name, struct qm_error *err) {
    const char *type = NULL;
    if (!qm_json_is_object(v))
        return qm_fail(err, QM_INPUT, "%s: \"model\" must be an object, found %s", name, qm_json_type_name(v));
    int rc = qm_json_string(v, "type", "model", &type, err);
    if (rc)
        return rc;
    if (!type) /* old files do not say */
        type = json_object_get(v, "merges") ? "BPE" : json_is_array(json_object_get(v, "vocab")) ? "Unigram" : "(none)";
    if (strcmp(type, "BPE") == 0)
        return load_bpe(t, v, name, err);
    if (strcmp(type, "Unigram") == 0)
        return load_unigram(t, v, name, err);
    return qm_fail(err, QM_INPUT, "%s: model \"%s\" is not implemented, expected BPE or Unigram", name, type);
}
