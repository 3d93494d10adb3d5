/* JSON with limits, and typed access that explains itself. */
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"

int qm_json_parse(const char *text, size_t len, const char *name, json_t **out, struct qm_error *err) {
    json_error_t e;
    *out = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
    if (*out)
        return QM_OK;
    char line[32] = "";
    if (memchr(text, '\n', len))
        snprintf(line, sizeof line, "line %d ", e.line);
    return qm_fail(err, QM_INPUT, "%s: not valid JSON at %scolumn %d: %s", name, line, e.column, e.text);
}

int qm_json_load(const char *path, size_t limit, json_t **out, struct qm_error *err) {
    struct qm_buf text = {0};
    *out = NULL;
    int rc = qm_read_file(path, limit, &text, err);
    if (!rc)
        rc = qm_json_parse(text.data ? text.data : "", text.len, path, out, err);
    qm_buf_free(&text);
    return rc;
}

const char *qm_json_type_name(const json_t *v) {
    if (!v)
        return "nothing";
    switch (json_typeof(v)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "a list";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a real number";
    case JSON_TRUE: return "true";
    case JSON_FALSE: return "false";
    case JSON_NULL: return "null";
    }
    return "an unknown type";
}

static const json_t *present(const json_t *obj, const char *key) {
    const json_t *v = json_object_get(obj, key);
    return v && !json_is_null(v) ? v : NULL;
}

int qm_json_int(const json_t *obj, const char *key, const char *where, int64_t min, int64_t max, int64_t *out,
                struct qm_error *err) {
    const json_t *v = present(obj, key);
    if (!v)
        return QM_OK;
    double real = json_is_real(v) ? json_real_value(v) : 0.5;
    if (!json_is_integer(v) && (real != floor(real) || fabs(real) > 9e15))
        return qm_fail(err, QM_INPUT, "%s: \"%s\" must be an integer, found %s", where, key, qm_json_type_name(v));
    int64_t x = json_is_integer(v) ? (int64_t)json_integer_value(v) : (int64_t)real;
    if (x < min && max == INT64_MAX)
        return qm_fail(err, QM_INPUT, "%s: \"%s\" must be at least %lld, found %lld", where, key, (long long)min,
                       (long long)x);
    if (x < min || x > max)
        return qm_fail(err, QM_INPUT, "%s: \"%s\" must be from %lld to %lld, found %lld", where, key, (long long)min,
                       (long long)max, (long long)x);
    *out = x;
    return QM_OK;
}

int qm_json_double(const json_t *obj, const char *key, const char *where, double *out, struct qm_error *err) {
    const json_t *v = present(obj, key);
    if (!v)
        return QM_OK;
    if (!json_is_number(v))
        return qm_fail(err, QM_INPUT, "%s: \"%s\" must be a number, found %s", where, key, qm_json_type_name(v));
    *out = json_number_value(v);
    return QM_OK;
}

int qm_json_bool(const json_t *obj, const char *key, const char *where, bool *out, struct qm_error *err) {
    const json_t *v = present(obj, key);
    if (!v)
        return QM_OK;
    if (!json_is_boolean(v))
        return qm_fail(err, QM_INPUT, "%s: \"%s\" must be true or false, found %s", where, key, qm_json_type_name(v));
    *out = json_is_true(v);
    return QM_OK;
}

int qm_json_string(const json_t *obj, const char *key, const char *where, const char **out, struct qm_error *err) {
    const json_t *v = present(obj, key);
    if (!v)
        return QM_OK;
    if (!json_is_string(v))
        return qm_fail(err, QM_INPUT, "%s: \"%s\" must be a string, found %s", where, key, qm_json_type_name(v));
    *out = json_string_value(v);
    return QM_OK;
}
