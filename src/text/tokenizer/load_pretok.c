/* tokenizer.json's "pre_tokenizer": a list of steps from nested sequences. What is not implemented is
 * refused by its name. */
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "text/tokenizer/internal.h"

/* GPT-2's expression, which ByteLevel splits by. */
static const char gpt2_pattern[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
/* Rust's \w has the two joiners that Oniguruma's has not. */
static const char word_pattern[] = "[\\w\\x{200C}\\x{200D}]+|[^\\w\\s\\x{200C}\\x{200D}]+";

/* A new last step; NULL, with *err set to QM_INPUT, where there is no room. */
static struct qm_pretok *next_step(struct qm_tokenizer *t, enum qm_pretok_type type, struct qm_error *err) {
    if (t->npretoks == QM_MAX_STEPS) {
        qm_fail(err, QM_INPUT, "pre_tokenizer: more than %d steps", QM_MAX_STEPS);
        return NULL;
    }
    struct qm_pretok *p = &t->pretoks[t->npretoks++];
    p->type = type;
    return p;
}

static int load_behavior(const json_t *v, const char *where, enum qm_behavior *out, struct qm_error *err) {
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    const char *s = NULL;
    int rc = qm_json_string(v, "behavior", where, &s, err);
    for (size_t i = 0; !rc && s && i < sizeof names / sizeof *names; i++)
        if (strcmp(s, names[i]) == 0) {
            *out = (enum qm_behavior)i;
            return QM_OK;
        }
    if (!rc && s)
        rc = qm_fail(err, QM_INPUT, "%s: behavior \"%s\" is not known", where, s);
    return rc;
}

static int load_byte_level(struct qm_tokenizer *t, const json_t *v, struct qm_error *err) {
    bool prefix = false, use_regex = true;
    int rc = qm_field_bool(v, "add_prefix_space", "pre_tokenizer ByteLevel", &prefix, err);
    if (!rc)
        rc = qm_json_bool(v, "use_regex", "pre_tokenizer ByteLevel", &use_regex, err);
    if (!rc && (prefix || use_regex)) {
        struct qm_pretok *p = next_step(t, QM_PRETOK_BYTES, err);
        if (!p)
            return QM_INPUT;
        p->prefix_space = prefix;
        if (use_regex)
            rc = qm_regex_compile(gpt2_pattern, sizeof gpt2_pattern - 1, &p->pattern, err);
    }
    return rc ? rc : next_step(t, QM_PRETOK_MAP, err) ? QM_OK : QM_INPUT;
}

static int one_char(const json_t *v, const char *key, const char *where, struct qm_pretok *p, struct qm_error *err) {
    const char *s;
    size_t len;
    uint32_t cp;
    int rc = qm_field_string(v, key, where, &s, &len, err);
    if (rc)
        return rc;
    if (len == 0 || len > 4 || qm_utf8_decode(s, len, &cp) != len)
        return qm_fail(err, QM_INPUT, "%s: \"%s\" must be one character, found \"%s\"", where, key, s);
    memcpy(p->mark, s, len);
    p->mark_len = len;
    return QM_OK;
}

static int load_metaspace(struct qm_tokenizer *t, const json_t *v, struct qm_error *err) {
    const char *where = "pre_tokenizer Metaspace", *scheme = NULL;
    bool prefix = true;
    struct qm_pretok *p = next_step(t, QM_PRETOK_METASPACE, err);
    int rc = !p ? QM_INPUT : one_char(v, "replacement", where, p, err);
    if (!rc)
        rc = qm_json_string(v, "prepend_scheme", where, &scheme, err);
    if (!rc)
        rc = qm_json_bool(v, "add_prefix_space", where, &prefix, err);
    if (rc)
        return rc;
    p->split = true;
    if (!scheme)
        scheme = prefix ? "always" : "never"; /* files from before there was a scheme */
    else if (!prefix && strcmp(scheme, "never") != 0)
        return qm_fail(err, QM_INPUT, "%s: add_prefix_space false does not agree with prepend_scheme \"%s\"", where,
                       scheme);
    if (strcmp(scheme, "always") == 0)
        p->scheme = QM_SCHEME_ALWAYS;
    else if (strcmp(scheme, "first") == 0)
        p->scheme = QM_SCHEME_FIRST;
    else if (strcmp(scheme, "never") == 0)
        p->scheme = QM_SCHEME_NEVER;
    else
        return qm_fail(err, QM_INPUT, "%s: prepend_scheme \"%s\" is not known", where, scheme);
    return qm_json_bool(v, "split", where, &p->split, err);
}

static int load_split(struct qm_tokenizer *t, const json_t *v, struct qm_error *err) {
    const char *where = "pre_tokenizer Split", *behavior;
    size_t len;
    struct qm_pretok *p = next_step(t, QM_PRETOK_REGEX, err);
    int rc = !p ? QM_INPUT : qm_field_pattern(v, where, &p->pattern, err);
    if (!rc)
        rc = qm_field_string(v, "behavior", where, &behavior, &len, err);
    if (!rc)
        rc = load_behavior(v, where, &p->behavior, err);
    return rc ? rc : qm_field_bool(v, "invert", where, &p->invert, err);
}

static int by_class(struct qm_tokenizer *t, qm_char_class in_class, enum qm_behavior behavior, struct qm_error *err) {
    struct qm_pretok *p = next_step(t, QM_PRETOK_CLASS, err);
    if (!p)
        return QM_INPUT;
    p->in_class = in_class;
    p->behavior = behavior;
    return QM_OK;
}

static int load_digits(struct qm_tokenizer *t, const json_t *v, struct qm_error *err) {
    bool individual;
    int rc = qm_field_bool(v, "individual_digits", "pre_tokenizer Digits", &individual, err);
    return rc ? rc : by_class(t, qm_is_numeric, individual ? QM_ISOLATED : QM_CONTIGUOUS, err);
}

static int load_punctuation(struct qm_tokenizer *t, const json_t *v, struct qm_error *err) {
    enum qm_behavior b = QM_ISOLATED;
    int rc = load_behavior(v, "pre_tokenizer Punctuation", &b, err);
    return rc ? rc : by_class(t, qm_is_punct, b, err);
}

static int load_whitespace(struct qm_tokenizer *t, const json_t *v, struct qm_error *err) {
    (void)v;
    struct qm_pretok *p = next_step(t, QM_PRETOK_REGEX, err);
    if (!p)
        return QM_INPUT;
    p->behavior = QM_REMOVED;
    p->invert = true;
    return qm_regex_compile(word_pattern, sizeof word_pattern - 1, &p->pattern, err);
}

static int load_whitespace_split(struct qm_tokenizer *t, const json_t *v, struct qm_error *err) {
    (void)v;
    return by_class(t, qm_is_space, QM_REMOVED, err);
}

static int load_bert(struct qm_tokenizer *t, const json_t *v, struct qm_error *err) {
    int rc = load_whitespace_split(t, v, err);
    return rc ? rc : by_class(t, qm_is_punct, QM_ISOLATED, err);
}

static int load_delimiter(struct qm_tokenizer *t, const json_t *v, struct qm_error *err) {
    struct qm_pretok *p = next_step(t, QM_PRETOK_CHAR, err);
    return !p ? QM_INPUT : one_char(v, "delimiter", "pre_tokenizer CharDelimiterSplit", p, err);
}

static int load_length(struct qm_tokenizer *t, const json_t *v, struct qm_error *err) {
    int64_t n = 5; /* the library's default */
    struct qm_pretok *p = next_step(t, QM_PRETOK_LENGTH, err);
    int rc = !p ? QM_INPUT : qm_json_int(v, "length", "pre_tokenizer FixedLength", 1, INT32_MAX, &n, err);
    if (!rc)
        p->length = (size_t)n;
    return rc;
}

static int load_sequence(struct qm_tokenizer *t, const json_t *v, struct qm_error *err) {
    const json_t *list = json_object_get(v, "pretokenizers"), *item;
    size_t i;
    if (!json_is_array(list))
        return qm_fail(err, QM_INPUT, "pre_tokenizer Sequence: \"pretokenizers\" must be a list, found %s",
                       qm_json_type_name(list));
    json_array_foreach(list, i, item) {
        int rc = json_is_null(item) ? qm_fail(err, QM_INPUT, "pre_tokenizer Sequence: step %zu is null", i)
                                    : qm_load_pretokenizer(t, item, err);
        if (rc)
            return rc;
    }
    return QM_OK;
}

int qm_load_pretokenizer(struct qm_tokenizer *t, const json_t *v, struct qm_error *err) {
    static const struct {
        const char *name;
        int (*load)(struct qm_tokenizer *, const json_t *, struct qm_error *);
    } known[] = {{"ByteLevel", load_byte_level},
                 {"Metaspace", load_metaspace},
                 {"Split", load_split},
                 {"Digits", load_digits},
                 {"Punctuation", load_punctuation},
                 {"Whitespace", load_whitespace},
                 {"WhitespaceSplit", load_whitespace_split},
                 {"BertPreTokenizer", load_bert},
                 {"CharDelimiterSplit", load_delimiter},
                 {"FixedLength", load_length},
                 {"Sequence", load_sequence}};
    const char *type;
    size_t len;
    if (!v || json_is_null(v))
        return QM_OK;
    int rc = qm_field_string(v, "type", "pre_tokenizer", &type, &len, err);
    if (rc)
        return rc;
    for (size_t k = 0; k < sizeof known / sizeof *known; k++)
        if (strcmp(known[k].name, type) == 0)
            return known[k].load(t, v, err);
    return qm_fail(err, QM_INPUT, "pre_tokenizer \"%s\" is not implemented", type);
}
