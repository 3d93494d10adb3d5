/* tokenizer.json as a whole: its parts in the order in which they depend on each other, added tokens
 * last, for their normalized forms need the normalizer. "truncation" and "padding" are left aside: they
 * are settings of a training script that were saved along, and an engine that silently cut a prompt at
 * 512 tokens would not do what its caller asked. */
#include <stdlib.h>

#include "base/json.h"
#include "text/tokenizer/internal.h"

static int load_added_token(struct qm_tokenizer *t, const json_t *v, size_t i, struct qm_error *err) {
    struct qm_added a = {.normalized = true};
    const char *where = "added token", *text;
    size_t len;
    int rc = qm_field_string(v, "content", where, &text, &len, err);
    if (rc)
        return rc;
    if (len > QM_MAX_ADDED_BYTES)
        return qm_fail(err, QM_INPUT, "added token %zu has %zu bytes, expected at most %d", i, len, QM_MAX_ADDED_BYTES);
    rc = qm_json_bool(v, "lstrip", where, &a.lstrip, err);
    if (!rc)
        rc = qm_json_bool(v, "rstrip", where, &a.rstrip, err);
    if (!rc)
        rc = qm_json_bool(v, "single_word", where, &a.single_word, err);
    if (!rc)
        rc = qm_json_bool(v, "special", where, &a.special, err);
    if (!rc)
        rc = qm_json_bool(v, "normalized", where, &a.normalized, err);
    if (rc || len == 0)
        return rc;
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

static int load_parts(struct qm_tokenizer *t, const json_t *root, const char *name, const struct qm_settings *s,
                      struct qm_error *err) {
    int rc = qm_load_vocab_model(t, json_object_get(root, "model"), name, err);
    if (rc)
        return rc;
    rc = qm_load_normalizer(t, json_object_get(root, "normalizer"), err);
    if (!rc)
        rc = qm_load_pretokenizer(t, json_object_get(root, "pre_tokenizer"), err);
    if (!rc)
        rc = qm_load_post(t, json_object_get(root, "post_processor"), err);
    if (!rc)
        rc = qm_load_decoder(t, json_object_get(root, "decoder"), err);
    if (!rc)
        rc = load_added(t, json_object_get(root, "added_tokens"), err);
    if (!rc && s)
        rc = qm_settings_apply(t, s, err);
    if (!rc)
        rc = qm_tokenizer_finish(t, err);
    if (rc)
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
