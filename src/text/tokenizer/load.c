/* tokenizer.json as a whole: its parts in the order in which they depend on each other, added tokens
 * last, for their normalized forms need the normalizer. "truncation" and "padding" are left aside: they
 * are settings of a training script that were saved along, and an engine that silently cut a prompt at
 * 512 tokens would not do what its caller asked. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "text/tokenizer/internal.h"

int qm_str_copy(struct qm_str *s, const char *p, size_t n, struct qm_error *err) {
    char *copy = malloc(n + 1);
    if (!copy)
        return qm_fail_memory(err, n + 1, "a string");
    if (n)
        memcpy(copy, p, n);
    copy[n] = 0;
    free(s->data);
    *s = (struct qm_str){copy, n};
    return QM_OK;
}

int qm_field_string(const json_t *v, const char *key, const char *where, const char **out, size_t *len,
                    struct qm_error *err) {
    const json_t *s = json_object_get(v, key);
    if (!qm_json_is_object(v))
        return qm_fail(err, QM_INPUT, "%s must be an object, found %s", where, qm_json_type_name(v));
    if (!json_is_string(s))
        return qm_fail(err, QM_INPUT, "%s: \"%s\" must be a string, found %s", where, key, qm_json_type_name(s));
    *out = json_string_value(s);
    *len = json_string_length(s);
    return QM_OK;
}

int qm_field_bool(const json_t *v, const char *key, const char *where, bool *out, struct qm_error *err) {
    const json_t *b = json_object_get(v, key);
    if (!json_is_boolean(b))
        return qm_fail(err, QM_INPUT, "%s: \"%s\" must be true or false, found %s", where, key, qm_json_type_name(b));
    *out = json_is_true(b);
    return QM_OK;
}

int qm_field_pattern(const json_t *v, const char *where, struct qm_regex **out, struct qm_error *err) {
    const json_t *p = json_object_get(v, "pattern"), *string = json_object_get(p, "String"),
                 *regex = json_object_get(p, "Regex");
    int rc = QM_OK;
    if (json_is_string(string))
        rc = qm_regex_literal(json_string_value(string), json_string_length(string), out, err);
    else if (json_is_string(regex))
        rc = qm_regex_compile(json_string_value(regex), json_string_length(regex), out, err);
    else
        return qm_fail(err, QM_INPUT, "%s: \"pattern\" must be {\"String\": ...} or {\"Regex\": ...}", where);
    return rc ? qm_fail_context(err, "%s", where) : QM_OK;
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

static int load_added_token(struct qm_tokenizer *t, const json_t *v, size_t i, struct qm_error *err) {
    struct qm_added a = {.normalized = true};
    const char *where = "added token", *text;
    size_t len;
    int rc = qm_field_string(v, "content", where, &text, &len, err);
    if (rc)
        return rc;
    if (len > QM_MAX_ADDED_BYTES)
        return qm_fail(err, QM_INPUT, "added token %zu has %zu bytes, expected at most %d", i, len, QM_MAX_ADDED_BYTES);
    if ((rc = qm_json_bool(v, "lstrip", where, &a.lstrip, err)) ||
        (rc = qm_json_bool(v, "rstrip", where, &a.rstrip, err)) ||
        (rc = qm_json_bool(v, "single_word", where, &a.single_word, err)) ||
        (rc = qm_json_bool(v, "special", where, &a.special, err)) ||
        (rc = qm_json_bool(v, "normalized", where, &a.normalized, err)))
        return rc;
    if (len == 0)
        return QM_OK;
    a.id = qm_added_id(t, text, len);
    rc = qm_vocab_add(&t->added_vocab, text, len, a.id, where, err);
    if (!rc)
        t->added[t->nadded++] = a;
    return rc;
}

static int load_added(struct qm_tokenizer *t, const json_t *v, struct qm_error *err) {
    const json_t *item;
    size_t i, n = json_array_size(v);
    if (!v || json_is_null(v))
        return QM_OK;
    if (!json_is_array(v) || n > QM_MAX_ADDED)
        return qm_fail(err, QM_INPUT, "\"added_tokens\" must be a list of at most %d, found %s of %zu", QM_MAX_ADDED,
                       qm_json_type_name(v), n);
    t->added = calloc(n + 1, sizeof *t->added);
    if (!t->added)
        return qm_fail_memory(err, n * sizeof *t->added, "added tokens");
    json_array_foreach(v, i, item) {
        int rc = load_added_token(t, item, i, err);
        if (rc)
            return rc;
    }
    return QM_OK;
}

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

static int load_parts(struct qm_tokenizer *t, const json_t *root, const char *name, const struct qm_settings *s,
                      struct qm_error *err) {
    int rc = qm_load_vocab_model(t, json_object_get(root, "model"), name, err);
    if (rc)
        return rc;
    if ((rc = qm_load_normalizer(t, json_object_get(root, "normalizer"), err)) ||
        (rc = qm_load_pretokenizer(t, json_object_get(root, "pre_tokenizer"), err)) ||
        (rc = qm_load_post(t, json_object_get(root, "post_processor"), err)) ||
        (rc = qm_load_decoder(t, json_object_get(root, "decoder"), err)) ||
        (rc = load_added(t, json_object_get(root, "added_tokens"), err)) ||
        (rc = s ? qm_settings_apply(t, s, err) : QM_OK) || (rc = qm_tokenizer_finish(t, err)))
        qm_fail_context(err, "%s", name);
    return rc;
}

int qm_tokenizer_load_json(const char *text, size_t len, const char *name, struct qm_token_files *beside,
                           struct qm_tokenizer **out, struct qm_error *err) {
    json_t *root = NULL;
    struct qm_settings s = {0};
    *out = NULL;
    struct qm_tokenizer *t = calloc(1, sizeof *t);
    if (!t)
        return qm_fail_memory(err, sizeof *t, "a tokenizer");
    t->eos = -1;
    int rc = qm_json_parse(text, len, name, &root, err);
    if (!rc && !qm_json_is_object(root))
        rc = qm_fail(err, QM_INPUT, "%s: must be an object, found %s", name, qm_json_type_name(root));
    if (beside)
        beside->tokenizer = json_incref(root);
    if (!rc && beside)
        rc = qm_settings_read(beside, &s, err);
    if (!rc && beside)
        rc = qm_settings_rewrite(&s, root, err);
    if (!rc)
        rc = load_parts(t, root, name, beside ? &s : NULL, err);
    qm_settings_free(&s);
    json_decref(root);
    if (rc) {
        qm_tokenizer_free(t);
        return rc;
    }
    *out = t;
    return QM_OK;
}
