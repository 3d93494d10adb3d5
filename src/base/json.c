/* Typed access to JSON that explains itself, and the numbers that jansson has no type for. */
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The one key of such a number's object. No text has it: it is not UTF-8. */
static const char number_key[] = "\xFF";

json_t *qm_json_number_new(const char *text) {
    json_t *v = json_object();
    if (!json_object_set_new_nocheck(v, number_key, json_string_nocheck(text)))
        return v;
    json_decref(v);
    return NULL;
}

const char *qm_json_number(const json_t *v) {
    return json_object_size(v) == 1 ? json_string_value(json_object_get(v, number_key)) : NULL;
}

/* NaN or an infinity, and not an integer. */
static bool not_finite(const char *number) {
    return strpbrk(number, "Ny");
}

const char *qm_json_type_name(const json_t *v) {
    if (!v)
        return "nothing";
    const char *number = qm_json_number(v);
    if (number)
        return not_finite(number) ? number : "an integer beyond 64 bits";
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

static int out_of_range(const char *key, const char *where, int64_t min, int64_t max, const char *found, bool below,
                        struct qm_error *err) {
    const char *more = strlen(found) > 60 ? "..." : "";
    if (max == INT64_MAX && below)
        return qm_fail(err, QM_INPUT, "%s: \"%s\" must be at least %lld, found %.60s%s", where, key, (long long)min,
                       found, more);
    return qm_fail(err, QM_INPUT, "%s: \"%s\" must be from %lld to %lld, found %.60s%s", where, key, (long long)min,
                   (long long)max, found, more);
}

static int not_what(const char *wanted, const json_t *v, const char *key, const char *where, struct qm_error *err) {
    int rc = qm_fail(err, QM_INPUT, "%s: \"%s\" must be %s, found %s", where, key, wanted, qm_json_type_name(v));
    return qm_about(err, key, rc);
}

int qm_json_int(const json_t *obj, const char *key, const char *where, int64_t min, int64_t max, int64_t *out,
                struct qm_error *err) {
    const json_t *v = present(obj, key);
    if (!v)
        return QM_OK;
    const char *number = qm_json_number(v);
    if (number && !not_finite(number))
        return qm_about(err, key, out_of_range(key, where, min, max, number, number[0] == '-', err));
    double real = json_is_real(v) ? json_real_value(v) : 0.5;
    if (!json_is_integer(v) && (real != floor(real) || fabs(real) > 9e15))
        return not_what("an integer", v, key, where, err);
    int64_t x = json_is_integer(v) ? (int64_t)json_integer_value(v) : (int64_t)real;
    if (x < min || x > max) {
        char found[24];
        snprintf(found, sizeof found, "%lld", (long long)x);
        return qm_about(err, key, out_of_range(key, where, min, max, found, x < min, err));
    }
    *out = x;
    return QM_OK;
}

int qm_json_double(const json_t *obj, const char *key, const char *where, double *out, struct qm_error *err) {
    const json_t *v = present(obj, key);
    if (!v)
        return QM_OK;
    const char *number = qm_json_number(v);
    double huge = number ? strtod(number, NULL) : 0;
    if ((!json_is_number(v) && !number) || !isfinite(huge))
        return not_what("a number", v, key, where, err);
    *out = number ? huge : json_number_value(v);
    return QM_OK;
}

int qm_json_bool(const json_t *obj, const char *key, const char *where, bool *out, struct qm_error *err) {
    const json_t *v = present(obj, key);
    if (!v)
        return QM_OK;
    if (!json_is_boolean(v))
        return not_what("true or false", v, key, where, err);
    *out = json_is_true(v);
    return QM_OK;
}

int qm_json_string(const json_t *obj, const char *key, const char *where, const char **out, struct qm_error *err) {
    const json_t *v = present(obj, key);
    if (!v)
        return QM_OK;
    if (!json_is_string(v))
        return not_what("a string", v, key, where, err);
    if (strlen(json_string_value(v)) != json_string_length(v))
        return qm_about(
            err, key, qm_fail(err, QM_INPUT, "%s: \"%s\" must be text without NUL characters, found one", where, key));
    *out = json_string_value(v);
    return QM_OK;
}
