/* JSON written: what jansson's writer prints, with the numbers that it has no type for, and reals as Python. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"

/* One more in the last digit of "d.ddde+xx"; false where that would carry into a new digit. */
static bool next_up(char *text) {
    for (char *c = strchr(text, 'e') - 1; c >= text; c--) {
        if (*c == '.' || *c == '-')
            continue;
        if (*c != '9')
            return ++*c;
        *c = '0';
    }
    return false;
}

/* The fewest digits: the nearest decimal of that many, or, beside a power of two, where a double's neighbour below is
 * nearer than the one above, the next one up. */
static void shortest(double x, char *text, size_t size) {
    for (int precision = 0; precision < 17; precision++) {
        snprintf(text, size, "%.*e", precision, x);
        double near = strtod(text, NULL);
        if (near == x || (near < x && next_up(text) && strtod(text, NULL) == x))
            return;
    }
}

void qm_json_real(double x, char out[QM_JSON_REAL_SIZE]) {
    if (!isfinite(x)) {
        strcpy(out, isnan(x) ? "NaN" : x < 0 ? "-Infinity" : "Infinity");
        return;
    }
    char text[32], digits[20];
    int n = 0, at = 0;
    shortest(fabs(x), text, sizeof text);
    const char *e = strchr(text, 'e');
    for (const char *c = text; c < e; c++)
        if (*c != '.')
            digits[n++] = *c;
    int exponent = atoi(e + 1);
    while (n > 1 && digits[n - 1] == '0')
        n--;
    digits[n] = 0;
    const char *sign = signbit(x) ? "-" : "";
    if (exponent < -4 || exponent >= 16) {
        snprintf(out, QM_JSON_REAL_SIZE, "%s%c%s%se%+03d", sign, digits[0], n > 1 ? "." : "", digits + 1, exponent);
        return;
    }
    if (exponent < 0) {
        snprintf(out, QM_JSON_REAL_SIZE, "%s0.%.*s%s", sign, -exponent - 1, "000", digits);
        return;
    }
    at = snprintf(out, QM_JSON_REAL_SIZE, "%s", sign);
    for (int i = 0; i <= exponent + 1 || i < n; i++) {
        if (i == exponent + 1)
            out[at++] = '.';
        out[at++] = i < n ? digits[i] : '0';
    }
    out[at] = 0;
}

struct writer {
    const char *comma, *colon;
    json_dump_callback_t write;
    void *arg;
};

static int put(const struct writer *w, const char *text) {
    return w->write(text, strlen(text), w->arg);
}

static int put_string(const struct writer *w, const char *text, size_t len) {
    json_t *s = json_stringn_nocheck(text, len);
    int rc = s ? json_dump_callback(s, w->write, w->arg, JSON_ENCODE_ANY) : -1;
    json_decref(s);
    return rc;
}

static int put_value(const struct writer *w, const json_t *v) {
    const char *number = qm_json_number(v);
    char real[QM_JSON_REAL_SIZE];
    int rc = 0;
    if (json_is_real(v))
        qm_json_real(json_real_value(v), real);
    if (number || json_is_real(v))
        return put(w, number ? number : real);
    if (json_is_array(v)) {
        rc = put(w, "[");
        for (size_t i = 0; i < json_array_size(v) && !rc; i++) {
            rc = i ? put(w, w->comma) : 0;
            if (!rc)
                rc = put_value(w, json_array_get(v, i));
        }
        return rc ? rc : put(w, "]");
    }
    if (!json_is_object(v))
        return json_dump_callback(v, w->write, w->arg, JSON_ENCODE_ANY);
    json_t *object = (json_t *)(uintptr_t)v; /* jansson's iterators take no const */
    rc = put(w, "{");
    bool first = true;
    for (void *it = json_object_iter(object); it && !rc; it = json_object_iter_next(object, it)) {
        rc = first ? 0 : put(w, w->comma);
        first = false;
        if (!rc)
            rc = put_string(w, json_object_iter_key(it), json_object_iter_key_len(it));
        if (!rc)
            rc = put(w, w->colon);
        if (!rc)
            rc = put_value(w, json_object_iter_value(it));
    }
    return rc ? rc : put(w, "}");
}

int qm_json_write(const json_t *v, bool spaced, json_dump_callback_t write, void *arg) {
    struct writer w = {spaced ? ", " : ",", spaced ? ": " : ":", write, arg};
    return put_value(&w, v) ? -1 : 0;
}

static int add(const char *bytes, size_t n, void *arg) {
    return qm_buf_add(arg, bytes, n, NULL) ? -1 : 0;
}

char *qm_json_text(const json_t *v, bool spaced) {
    struct qm_buf text = {0};
    if (!qm_json_write(v, spaced, add, &text))
        return text.data;
    qm_buf_free(&text);
    return NULL;
}

int qm_json_save(const char *path, json_t *v, int indent, struct qm_error *err) {
    struct qm_buf text = {0};
    bool whole = v && !json_dump_callback(v, add, &text, JSON_INDENT((size_t)indent)) && !add("\n", 1, &text);
    json_decref(v);
    int rc = whole ? qm_write_file(path, text.data, text.len, err) : qm_fail_memory(err, 4096, path);
    qm_buf_free(&text);
    return rc;
}
