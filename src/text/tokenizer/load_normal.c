/* tokenizer.json's "normalizer": a list of steps from nested sequences. What is not implemented is
 * refused by its name. */
#include <string.h>

#include "base/json.h"
#include "text/tokenizer/internal.h"

static int base64_value(char c) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static int decode_base64(const char *s, size_t n, struct qm_buf *out, struct qm_error *err) {
    uint32_t bits = 0;
    size_t have = 0, pad = 0;
    int rc = n % 4 ? qm_fail(err, QM_INPUT, "precompiled_charsmap: base64 of %zu characters is cut", n) : QM_OK;
    for (size_t i = 0; !rc && i < n; i++) {
        int v = base64_value(s[i]);
        if (s[i] == '=' && i + 2 >= n) {
            pad++;
            continue;
        }
        if (v < 0 || pad)
            return qm_fail(err, QM_INPUT, "precompiled_charsmap: not base64 at character %zu", i);
        bits = bits << 6 | (uint32_t)v;
        have += 6;
        if (have >= 8) {
            have -= 8;
            char b = (char)(bits >> have);
            rc = qm_buf_add(out, &b, 1, err);
        }
    }
    return rc;
}

static int load_charsmap(struct qm_normal *n, const json_t *v, struct qm_error *err) {
    struct qm_buf blob = {0};
    const char *s;
    size_t len;
    int rc = qm_field_string(v, "precompiled_charsmap", "normalizer Precompiled", &s, &len, err);
    if (!rc)
        rc = decode_base64(s, len, &blob, err);
    if (!rc)
        rc = qm_charsmap_load(&n->map, blob.data ? blob.data : "", blob.len, err);
    qm_buf_free(&blob);
    return rc;
}

static int load_bert(struct qm_normal *n, const json_t *v, struct qm_error *err) {
    const char *where = "normalizer BertNormalizer";
    int rc = qm_field_bool(v, "clean_text", where, &n->clean, err);
    if (!rc)
        rc = qm_field_bool(v, "handle_chinese_chars", where, &n->chinese, err);
    if (!rc)
        rc = qm_field_bool(v, "lowercase", where, &n->lower, err);
    n->strip_accents = n->lower; /* what null stands for */
    return rc ? rc : qm_json_bool(v, "strip_accents", where, &n->strip_accents, err);
}

static int load_text(struct qm_normal *n, const json_t *v, const char *key, const char *where, struct qm_error *err) {
    const char *s;
    size_t len;
    int rc = qm_field_string(v, key, where, &s, &len, err);
    return rc ? rc : qm_str_copy(&n->text, s, len, err);
}

static int load_sequence(struct qm_tokenizer *t, const json_t *v, struct qm_error *err) {
    const json_t *list = json_object_get(v, "normalizers"), *item;
    size_t i;
    if (!json_is_array(list))
        return qm_fail(err, QM_INPUT, "normalizer Sequence: \"normalizers\" must be a list, found %s",
                       qm_json_type_name(list));
    json_array_foreach(list, i, item) {
        int rc = json_is_null(item) ? qm_fail(err, QM_INPUT, "normalizer Sequence: step %zu is null", i)
                                    : qm_load_normalizer(t, item, err);
        if (rc)
            return rc;
    }
    return QM_OK;
}

int qm_load_normalizer(struct qm_tokenizer *t, const json_t *v, struct qm_error *err) {
    static const struct {
        const char *name;
        enum qm_normal_type type;
        bool compose, compat;
    } known[] = {{"NFC", QM_NORMAL_FORM, true, false},
                 {"NFD", QM_NORMAL_FORM, false, false},
                 {"NFKC", QM_NORMAL_FORM, true, true},
                 {"NFKD", QM_NORMAL_FORM, false, true},
                 {"Lowercase", QM_NORMAL_LOWER, false, false},
                 {"Strip", QM_NORMAL_STRIP, false, false},
                 {"StripAccents", QM_NORMAL_STRIP_ACCENTS, false, false},
                 {"Replace", QM_NORMAL_REPLACE, false, false},
                 {"Prepend", QM_NORMAL_PREPEND, false, false},
                 {"Nmt", QM_NORMAL_NMT, false, false},
                 {"Precompiled", QM_NORMAL_CHARSMAP, false, false},
                 {"BertNormalizer", QM_NORMAL_BERT, false, false},
                 {"ByteLevel", QM_NORMAL_BYTES, false, false}};
    const char *type;
    size_t len, k = 0;
    if (!v || json_is_null(v))
        return QM_OK;
    int rc = qm_field_string(v, "type", "normalizer", &type, &len, err);
    if (rc)
        return rc;
    if (strcmp(type, "Sequence") == 0)
        return load_sequence(t, v, err);
    while (k < sizeof known / sizeof *known && strcmp(known[k].name, type) != 0)
        k++;
    if (k == sizeof known / sizeof *known)
        return qm_fail(err, QM_INPUT, "normalizer \"%s\" is not implemented", type);
    if (t->nnormals == QM_MAX_STEPS)
        return qm_fail(err, QM_INPUT, "normalizer: more than %d steps", QM_MAX_STEPS);
    struct qm_normal *n = &t->normals[t->nnormals++];
    n->type = known[k].type;
    n->compose = known[k].compose;
    n->compat = known[k].compat;
    switch (n->type) {
    case QM_NORMAL_STRIP:
        rc = qm_field_bool(v, "strip_left", "normalizer Strip", &n->left, err);
        return rc ? rc : qm_field_bool(v, "strip_right", "normalizer Strip", &n->right, err);
    case QM_NORMAL_REPLACE:
        rc = qm_field_pattern(v, "normalizer Replace", &n->pattern, err);
        return rc ? rc : load_text(n, v, "content", "normalizer Replace", err);
    case QM_NORMAL_PREPEND: return load_text(n, v, "prepend", "normalizer Prepend", err);
    case QM_NORMAL_CHARSMAP: return load_charsmap(n, v, err);
    case QM_NORMAL_BERT: return load_bert(n, v, err);
    default: return QM_OK;
    }
}
