/* tokenizer.json's "post_processor" (which special tokens stand around a text) and "decoder". What is
 * not implemented is refused by its name. */
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "text/tokenizer/internal.h"

/* ---- post-processors ---- */

/* The ids of one special token of a template. */
static int add_special(struct qm_tokenizer *t, const json_t *tokens, const json_t *item, struct qm_error *err) {
    const char *where = "post_processor TemplateProcessing", *name;
    size_t len, i;
    int rc = qm_field_string(item, "id", where, &name, &len, err);
    if (rc)
        return rc;
    const json_t *ids = json_object_get(json_object_get(tokens, name), "ids"), *id;
    if (!json_is_array(ids))
        return qm_fail(err, QM_INPUT, "%s: special token \"%s\" has no list of ids", where, name);
    json_array_foreach(ids, i, id) {
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= QM_VOCAB_MAX_ID)
            return qm_fail(err, QM_INPUT, "%s: an id of special token \"%s\" is not from 0 to %d", where, name,
                           QM_VOCAB_MAX_ID - 1);
        rc = qm_ids_push(&t->around, (int32_t)json_integer_value(id), err);
        if (rc)
            return rc;
    }
    return QM_OK;
}

static int load_template(struct qm_tokenizer *t, const json_t *v, struct qm_error *err) {
    const char *where = "post_processor TemplateProcessing", *which;
    const json_t *single = json_object_get(v, "single"), *tokens = json_object_get(v, "special_tokens"), *item;
    size_t i, len;
    if (!json_is_array(single) || json_array_size(single) > 64)
        return qm_fail(err, QM_INPUT, "%s: \"single\" must be a list of at most 64 items", where);
    json_array_foreach(single, i, item) {
        const json_t *special = json_object_get(item, "SpecialToken"), *sequence = json_object_get(item, "Sequence");
        int rc = QM_OK;
        if (special) {
            rc = add_special(t, tokens, special, err);
        } else if (sequence) {
            rc = qm_field_string(sequence, "id", where, &which, &len, err);
            if (!rc && strcmp(which, "A") != 0)
                rc = qm_fail(err, QM_INPUT, "%s: \"single\" names sequence \"%s\", expected \"A\"", where, which);
            if (!rc)
                rc = qm_ids_push(&t->around, -1, err);
        } else {
            rc = qm_fail(err, QM_INPUT, "%s: item %zu of \"single\" is neither SpecialToken nor Sequence", where, i);
        }
        if (rc)
            return rc;
    }
    return QM_OK;
}

/* ["</s>", 2] */
static int add_pair(struct qm_tokenizer *t, const json_t *v, const char *key, struct qm_error *err) {
    const json_t *pair = json_object_get(v, key), *id = json_array_get(pair, 1);
    if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= QM_VOCAB_MAX_ID)
        return qm_fail(err, QM_INPUT, "post_processor: \"%s\" must be a token and its id", key);
    return qm_ids_push(&t->around, (int32_t)json_integer_value(id), err);
}

static int load_bert(struct qm_tokenizer *t, const json_t *v, struct qm_error *err) {
    int rc = add_pair(t, v, "cls", err);
    if (!rc)
        rc = qm_ids_push(&t->around, -1, err);
    return rc ? rc : add_pair(t, v, "sep", err);
}

int qm_load_post(struct qm_tokenizer *t, const json_t *v, struct qm_error *err) {
    const char *type;
    size_t len, i;
    if (!v || json_is_null(v))
        return QM_OK;
    int rc = qm_field_string(v, "type", "post_processor", &type, &len, err);
    if (rc || strcmp(type, "ByteLevel") == 0) /* only offsets */
        return rc;
    if (strcmp(type, "Sequence") == 0) {
        const json_t *list = json_object_get(v, "processors"), *item;
        if (!json_is_array(list))
            return qm_fail(err, QM_INPUT, "post_processor Sequence: \"processors\" must be a list, found %s",
                           qm_json_type_name(list));
        json_array_foreach(list, i, item) if ((rc = qm_load_post(t, item, err))) return rc;
        return QM_OK;
    }
    bool bert = strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0;
    if (!bert && strcmp(type, "TemplateProcessing") != 0)
        return qm_fail(err, QM_INPUT, "post_processor \"%s\" is not implemented", type);
    if (t->around.len)
        return qm_fail(err, QM_INPUT,
                       "post_processor: a second step that adds special tokens (\"%s\") is not implemented", type);
    return bert ? load_bert(t, v, err) : load_template(t, v, err);
}

/* ---- decoders ---- */

static int load_metaspace(struct qm_decode *d, const json_t *v, struct qm_error *err) {
    const char *where = "decoder Metaspace", *mark, *scheme = NULL;
    size_t len;
    bool prefix = true;
    int rc = qm_field_string(v, "replacement", where, &mark, &len, err);
    if (!rc && len == 0)
        rc = qm_fail(err, QM_INPUT, "%s: \"replacement\" is empty", where);
    if (!rc)
        rc = qm_str_copy(&d->text, mark, len, err);
    if (!rc)
        rc = qm_json_string(v, "prepend_scheme", where, &scheme, err);
    if (!rc)
        rc = qm_json_bool(v, "add_prefix_space", where, &prefix, err);
    d->drop_first = scheme ? strcmp(scheme, "never") != 0 : prefix;
    return rc;
}

static int load_strip(struct qm_decode *d, const json_t *v, struct qm_error *err) {
    const char *where = "decoder Strip", *content;
    size_t len;
    int64_t start = 0, stop = 0;
    uint32_t cp;
    int rc = qm_field_string(v, "content", where, &content, &len, err);
    if (!rc && (len == 0 || qm_utf8_decode(content, len, &cp) != len))
        rc = qm_fail(err, QM_INPUT, "%s: \"content\" must be one character, found \"%s\"", where, content);
    if (!rc)
        rc = qm_str_copy(&d->text, content, len, err);
    if (!rc)
        rc = qm_json_int(v, "start", where, 0, INT32_MAX, &start, err);
    if (!rc)
        rc = qm_json_int(v, "stop", where, 0, INT32_MAX, &stop, err);
    d->start = (size_t)start;
    d->stop = (size_t)stop;
    return rc;
}

static int load_replace(struct qm_decode *d, const json_t *v, struct qm_error *err) {
    const char *content;
    size_t len;
    int rc = qm_field_pattern(v, "decoder Replace", &d->pattern, err);
    if (!rc)
        rc = qm_field_string(v, "content", "decoder Replace", &content, &len, err);
    return rc ? rc : qm_str_copy(&d->text, content, len, err);
}

int qm_load_decoder(struct qm_tokenizer *t, const json_t *v, struct qm_error *err) {
    static const struct {
        const char *name;
        enum qm_decode_type type;
    } known[] = {
        {"ByteLevel", QM_DECODE_BYTES}, {"Metaspace", QM_DECODE_METASPACE}, {"ByteFallback", QM_DECODE_BYTE_FALLBACK},
        {"Fuse", QM_DECODE_FUSE},       {"Strip", QM_DECODE_STRIP},         {"Replace", QM_DECODE_REPLACE}};
    const char *type;
    size_t len, k = 0, i;
    if (!v || json_is_null(v))
        return QM_OK;
    t->has_decoder = true;
    int rc = qm_field_string(v, "type", "decoder", &type, &len, err);
    if (rc)
        return rc;
    if (strcmp(type, "Sequence") == 0) {
        const json_t *list = json_object_get(v, "decoders"), *item;
        if (!json_is_array(list))
            return qm_fail(err, QM_INPUT, "decoder Sequence: \"decoders\" must be a list, found %s",
                           qm_json_type_name(list));
        json_array_foreach(list, i, item) if ((rc = qm_load_decoder(t, item, err))) return rc;
        return QM_OK;
    }
    while (k < sizeof known / sizeof *known && strcmp(known[k].name, type) != 0)
        k++;
    if (k == sizeof known / sizeof *known)
        return qm_fail(err, QM_INPUT, "decoder \"%s\" is not implemented", type);
    if (t->ndecodes == QM_MAX_STEPS)
        return qm_fail(err, QM_INPUT, "decoder: more than %d steps", QM_MAX_STEPS);
    struct qm_decode *d = &t->decodes[t->ndecodes++];
    d->type = known[k].type;
    switch (d->type) {
    case QM_DECODE_METASPACE: return load_metaspace(d, v, err);
    case QM_DECODE_STRIP: return load_strip(d, v, err);
    case QM_DECODE_REPLACE: return load_replace(d, v, err);
    default: return QM_OK;
    }
}
