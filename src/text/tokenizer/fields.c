/* Required fields of the published files, and text that is kept of them. */
#include "text/tokenizer/fields.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"

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
