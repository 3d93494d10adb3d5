/* The reader of JSON: text -> jansson's values; json.h says what it takes. Typed access is in json.c. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/utf8.h"

enum { MAX_DEPTH = 2048, MAX_DIGITS = 4300 };

struct reader {
    const char *at, *end;
    const char *wrong; /* the first thing that is no JSON, at `at` */
    bool strict, memory;
    int depth;
    struct qm_buf scratch;
};

static void *fail(struct reader *r, const char *wrong) {
    if (!r->wrong)
        r->wrong = wrong;
    return NULL;
}

static void *no_memory(struct reader *r) {
    r->memory = true;
    return fail(r, "out of memory");
}

static void skip_blanks(struct reader *r) {
    while (r->at < r->end && memchr(" \t\n\r", *r->at, 4))
        r->at++;
}

static bool take(struct reader *r, const char *word) {
    size_t n = strlen(word);
    if ((size_t)(r->end - r->at) < n || memcmp(r->at, word, n) != 0)
        return false;
    r->at += n;
    return true;
}

/* Four hexadecimal digits at s, or -1. */
static int32_t unit(const char *s, const char *end) {
    if (end - s < 4)
        return -1;
    int32_t u = 0;
    for (int i = 0; i < 4; i++) {
        static const char digits[] = "0123456789abcdef0123456789ABCDEF";
        const char *d = memchr(digits, s[i], sizeof digits - 1);
        if (!d)
            return -1;
        u = u << 4 | (int32_t)((d - digits) % 16);
    }
    return u;
}

/* After "\u". Two halves make one character; a half alone is U+FFFD. */
static bool read_unit(struct reader *r) {
    int32_t u = unit(r->at, r->end);
    if (u < 0)
        return fail(r, "four hexadecimal digits expected");
    r->at += 4;
    if (u >= 0xD800 && u < 0xE000) {
        int32_t low = u < 0xDC00 && r->end - r->at >= 6 && !memcmp(r->at, "\\u", 2) ? unit(r->at + 2, r->end) : -1;
        bool pair = low >= 0xDC00 && low < 0xE000;
        if (pair)
            r->at += 6;
        u = pair ? 0x10000 + ((u - 0xD800) << 10) + (low - 0xDC00) : 0xFFFD;
    }
    char bytes[4];
    return !qm_buf_add(&r->scratch, bytes, qm_utf8_encode((uint32_t)u, bytes), NULL) || no_memory(r);
}

static bool read_escape(struct reader *r) {
    static const char escapes[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
    if (take(r, "\\u"))
        return read_unit(r);
    for (const char *e = escapes; *e && r->end - r->at > 1; e += 2)
        if (r->at[1] == *e) {
            r->at += 2;
            return !qm_buf_add(&r->scratch, e + 1, 1, NULL) || no_memory(r);
        }
    return fail(r, "unknown escape in a string");
}

/* A string at its first quote. *text is valid until the next one. */
static bool read_text(struct reader *r, const char **text, size_t *len) {
    const char *plain = ++r->at; /* where what is not yet copied begins */
    r->scratch.len = 0;
    while (r->at < r->end && *r->at != '"') {
        unsigned char c = (unsigned char)*r->at;
        uint32_t cp;
        if (c == '\\') {
            if (qm_buf_add(&r->scratch, plain, (size_t)(r->at - plain), NULL))
                return no_memory(r);
            if (!read_escape(r))
                return false;
            plain = r->at;
        } else if (c < 0x20) {
            return fail(r, "control character in a string");
        } else {
            size_t n = c < 0x80 ? 1 : qm_utf8_decode(r->at, (size_t)(r->end - r->at), &cp);
            if (!n)
                return fail(r, "unable to decode byte as UTF-8");
            r->at += n;
        }
    }
    if (r->at == r->end)
        return fail(r, "the string has no end");
    *text = plain;
    *len = (size_t)(r->at - plain);
    if (r->scratch.len || plain[-1] != '"') {
        if (qm_buf_add(&r->scratch, plain, *len, NULL))
            return no_memory(r);
        *text = r->scratch.data;
        *len = r->scratch.len;
    }
    r->at++;
    return true;
}

static size_t digits(struct reader *r) {
    const char *from = r->at;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
        r->at++;
    return (size_t)(r->at - from);
}

static json_t *read_number(struct reader *r) {
    const char *from = r->at;
    bool real = false;
    take(r, "-");
    bool zero = r->at < r->end && *r->at == '0';
    size_t n = digits(r);
    if (!n || (zero && n > 1))
        return fail(r, n ? "a number begins with 0" : "a value expected");
    const char *fraction = r->at;
    if (take(r, ".")) {
        if (!digits(r))
            return fail(r, "a digit expected after the point");
        real = true;
    }
    if (r->at < r->end && (*r->at == 'e' || *r->at == 'E')) {
        r->at++;
        if (!take(r, "-"))
            take(r, "+");
        if (!digits(r))
            return fail(r, "a digit expected in the exponent");
        real = true;
    }
    r->scratch.len = 0;
    if (qm_buf_add(&r->scratch, from, (size_t)(r->at - from), NULL))
        return no_memory(r);
    json_t *v;
    if (real) {
        double x = strtod(r->scratch.data, NULL);
        v = isfinite(x) ? json_real(x) : qm_json_number_new(x < 0 ? "-Infinity" : "Infinity");
    } else {
        if (n > MAX_DIGITS) {
            r->at = fraction;
            return fail(r, "an integer of more than 4300 digits");
        }
        errno = 0;
        long long x = strtoll(r->scratch.data, NULL, 10);
        v = errno ? qm_json_number_new(r->scratch.data) : json_integer(x);
    }
    return v ? v : no_memory(r);
}

static json_t *read_value(struct reader *r);

static json_t *read_list(struct reader *r) {
    json_t *list = json_array();
    if (!list)
        return no_memory(r);
    skip_blanks(r);
    if (take(r, "]"))
        return list;
    do {
        json_t *v = read_value(r);
        if (!v)
            break;
        if (json_array_append_new(list, v)) {
            no_memory(r);
            break;
        }
        skip_blanks(r);
        if (take(r, "]"))
            return list;
    } while (take(r, ",") || fail(r, "',' or ']' expected"));
    json_decref(list);
    return NULL;
}

/* "key": value, into the object. */
static bool read_member(struct reader *r, json_t *object) {
    const char *text;
    size_t len;
    skip_blanks(r);
    const char *start = r->at;
    if (r->at == r->end || *r->at != '"')
        return fail(r, "a key in quotes expected");
    if (!read_text(r, &text, &len))
        return false;
    char small[64], *key = len < sizeof small ? small : malloc(len + 1); /* the value's strings use the scratch too */
    if (!key)
        return no_memory(r);
    memcpy(key, text, len);
    key[len] = 0;
    bool done = false;
    skip_blanks(r);
    if (r->strict && (json_object_getn(object, key, len) || strlen(key) != len)) {
        r->at = start;
        fail(r, strlen(key) != len ? "NUL in an object key" : "duplicate object key");
    } else if (!take(r, ":")) {
        fail(r, "':' expected");
    } else {
        json_t *v = read_value(r);
        done = v && (!json_object_setn_new_nocheck(object, key, len, v) || no_memory(r));
    }
    if (key != small)
        free(key);
    return done;
}

static json_t *read_object(struct reader *r) {
    json_t *object = json_object();
    if (!object)
        return no_memory(r);
    skip_blanks(r);
    if (take(r, "}"))
        return object;
    while (read_member(r, object)) {
        skip_blanks(r);
        if (take(r, "}"))
            return object;
        if (!take(r, ",")) {
            fail(r, "',' or '}' expected");
            break;
        }
    }
    json_decref(object);
    return NULL;
}

static json_t *read_string(struct reader *r) {
    const char *text;
    size_t len;
    if (!read_text(r, &text, &len))
        return NULL;
    json_t *v = json_stringn_nocheck(text, len);
    return v ? v : no_memory(r);
}

static json_t *read_value(struct reader *r) {
    static const struct {
        const char *word, *number;
        json_t *(*make)(void);
    } words[] = {{"null", NULL, json_null}, {"true", NULL, json_true},      {"false", NULL, json_false},
                 {"NaN", "NaN", NULL},      {"Infinity", "Infinity", NULL}, {"-Infinity", "-Infinity", NULL}};
    skip_blanks(r);
    if (r->at == r->end)
        return fail(r, "a value expected, found the end");
    if (*r->at == '"')
        return read_string(r);
    if (*r->at == '[' || *r->at == '{') {
        if (r->depth == MAX_DEPTH)
            return fail(r, "maximum parsing depth reached");
        r->depth++;
        json_t *v = *r->at++ == '[' ? read_list(r) : read_object(r);
        r->depth--;
        return v;
    }
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (take(r, words[i].word)) {
            json_t *v = words[i].make ? words[i].make() : qm_json_number_new(words[i].number);
            return v ? v : no_memory(r);
        }
    return read_number(r);
}

/* "line 2 column 7" of where the reader stands; columns count characters. */
static int not_json(const struct reader *r, const char *text, size_t len, const char *name, struct qm_error *err) {
    unsigned long long line = 1, column = 1;
    for (const char *s = text; s < r->at; s++) {
        line += *s == '\n';
        column = *s == '\n' ? 1 : column + (((unsigned char)*s & 0xC0) != 0x80);
    }
    char place[40] = "";
    if (memchr(text, '\n', len))
        snprintf(place, sizeof place, "line %llu ", line);
    return qm_fail(err, QM_INPUT, "%s: not valid JSON at %scolumn %llu: %s", name, place, column, r->wrong);
}

static int parse(const char *text, size_t len, bool strict, const char *name, json_t **out, struct qm_error *err) {
    struct reader r = {.at = text, .end = text + len, .strict = strict};
    take(&r, "\xEF\xBB\xBF");
    *out = read_value(&r);
    skip_blanks(&r);
    if (*out && r.at < r.end) {
        fail(&r, "end of file expected");
        json_decref(*out);
        *out = NULL;
    }
    qm_buf_free(&r.scratch);
    if (*out)
        return QM_OK;
    return r.memory ? qm_fail_memory(err, len, name) : not_json(&r, text, len, name, err);
}

int qm_json_parse(const char *text, size_t len, const char *name, json_t **out, struct qm_error *err) {
    return parse(text, len, false, name, out, err);
}

int qm_json_parse_strict(const char *text, size_t len, const char *name, json_t **out, struct qm_error *err) {
    return parse(text, len, true, name, out, err);
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
