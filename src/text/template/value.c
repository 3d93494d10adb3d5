/* Values: making them, equality, order, hashing, dictionaries; see value.h. Printing is in print.c. */
#include "text/template/value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"

struct tpl_val tpl_str_borrow(struct tpl *t, const char *s, size_t len) {
    struct tpl_str *o = tpl_alloc(t, sizeof *o);
    size_t chars = 0;
    for (size_t i = 0; i < len; i++)
        chars += ((unsigned char)s[i] & 0xC0) != 0x80;
    tpl_charge(t, len / 64);
    *o = (struct tpl_str){s, len, chars};
    return (struct tpl_val){.kind = TPL_STR, .s = o};
}

struct tpl_val tpl_str(struct tpl *t, const char *s, size_t len) {
    char *copy = tpl_alloc(t, len + 1);
    if (len)
        memcpy(copy, s, len);
    copy[len] = 0;
    return tpl_str_borrow(t, copy, len);
}

struct tpl_val tpl_strz(struct tpl *t, const char *s) {
    return tpl_str(t, s, strlen(s));
}

struct tpl_val tpl_seq(struct tpl *t, enum tpl_kind kind, const struct tpl_val *v, size_t n) {
    struct tpl_seq *q = tpl_alloc(t, sizeof *q);
    *q = (struct tpl_seq){.n = n, .v = v};
    return (struct tpl_val){.kind = (unsigned char)kind, .q = q};
}

struct tpl_val tpl_pair(struct tpl *t, struct tpl_val a, struct tpl_val b) {
    struct tpl_val *v = tpl_alloc_n(t, 2, sizeof *v);
    v[0] = a;
    v[1] = b;
    return tpl_seq(t, TPL_TUPLE, v, 2);
}

static struct tpl_val undefined(struct tpl *t, const char *hint, const char *object, struct tpl_val name) {
    struct tpl_undef *u = tpl_alloc(t, sizeof *u);
    *u = (struct tpl_undef){hint, object, name};
    return (struct tpl_val){.kind = TPL_UNDEF, .u = u};
}

struct tpl_val tpl_undefined(struct tpl *t, const char *hint) {
    return undefined(t, hint, NULL, tpl_none());
}

struct tpl_val tpl_undefined_name(struct tpl *t, const struct tpl_str *name) {
    return undefined(t, NULL, NULL, (struct tpl_val){.kind = TPL_STR, .s = name});
}

struct tpl_val tpl_undefined_of(struct tpl *t, struct tpl_val object, struct tpl_val name) {
    return undefined(t, NULL, tpl_type(object), name);
}

void tpl_fail_undefined(struct tpl *t, struct tpl_val u) {
    if (u.u->hint)
        tpl_fail(t, "%s", u.u->hint);
    struct tpl_sb b = {.t = t};
    if (u.u->name.kind != TPL_STR) {
        tpl_repr(&b, u.u->name);
        tpl_sb_add(&b, "", 1);
        tpl_fail(t, "%s object has no element %s", u.u->object ? u.u->object : "", b.s);
    }
    tpl_sb_str(&b, u.u->name.s);
    tpl_sb_add(&b, "", 1);
    if (u.u->object)
        tpl_fail(t, "'%s object' has no attribute '%s'", u.u->object, b.s);
    tpl_fail(t, "'%s' is undefined", b.s);
}

/* A number that jansson has no type for. */
static struct tpl_val from_number(struct tpl *t, const char *text) {
    if (strpbrk(text, "Ny"))
        return tpl_float(text[0] == 'N' ? NAN : text[0] == '-' ? -INFINITY : INFINITY);
    const tpl_int most = (tpl_int)(((unsigned __int128)1 << 127) - 1);
    bool minus = text[0] == '-';
    tpl_int x = 0;
    for (const char *c = text + minus; *c; c++) {
        int digit = *c - '0';
        if (x > (most - digit) / 10) {
            struct tpl_val big = tpl_str_borrow(t, text, strlen(text));
            big.kind = TPL_BIG;
            return big;
        }
        x = x * 10 + digit;
    }
    return tpl_num(minus ? -x : x);
}

struct tpl_val tpl_big_negated(struct tpl *t, struct tpl_val v) {
    bool minus = v.s->s[0] == '-';
    char *text = tpl_alloc(t, v.s->len + 2);
    text[0] = '-';
    strcpy(text + !minus, v.s->s + minus);
    struct tpl_val big = tpl_str_borrow(t, text, strlen(text));
    big.kind = TPL_BIG;
    return big;
}

void tpl_fail_large(struct tpl *t) {
    tpl_fail(t, "an integer is too large");
}

struct tpl_val tpl_from_json(struct tpl *t, const json_t *j, int depth) {
    if (depth > TPL_MAX_DEPTH)
        tpl_fail(t, "the context is nested more than %d levels deep", TPL_MAX_DEPTH);
    switch (json_typeof(j)) {
    case JSON_NULL: return tpl_none();
    case JSON_TRUE: return tpl_bool(true);
    case JSON_FALSE: return tpl_bool(false);
    case JSON_INTEGER: return tpl_num(json_integer_value(j));
    case JSON_REAL: return tpl_float(json_real_value(j));
    case JSON_STRING: return tpl_str_borrow(t, json_string_value(j), json_string_length(j));
    case JSON_ARRAY: {
        size_t n = json_array_size(j);
        struct tpl_val *v = tpl_alloc_n(t, n, sizeof *v);
        for (size_t i = 0; i < n; i++)
            v[i] = tpl_from_json(t, json_array_get(j, i), depth + 1);
        return tpl_seq(t, TPL_LIST, v, n);
    }
    case JSON_OBJECT: break;
    }
    const char *number = qm_json_number(j);
    if (number)
        return from_number(t, number);
    struct tpl_dict *d = tpl_dict_new(t);
    json_t *object = (json_t *)(uintptr_t)j; /* jansson's iterators take no const */
    for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it))
        tpl_dict_set(t, d, tpl_str_borrow(t, json_object_iter_key(it), json_object_iter_key_len(it)),
                     tpl_from_json(t, json_object_iter_value(it), depth + 1));
    return tpl_of_dict(d);
}

const char *tpl_type(struct tpl_val v) {
    switch ((enum tpl_kind)v.kind) {
    case TPL_MISSING: return "missing";
    case TPL_UNDEF: return "Undefined";
    case TPL_NONE: return "NoneType";
    case TPL_BOOL: return "bool";
    case TPL_INT:
    case TPL_BIG: return "int";
    case TPL_FLOAT: return "float";
    case TPL_STR: return v.safe ? "Markup" : "str";
    case TPL_LIST: return "list";
    case TPL_TUPLE: return "tuple";
    case TPL_DICT: return "dict";
    case TPL_VIEW:
        return v.view->kind == TPL_KEYS ? "dict_keys" : v.view->kind == TPL_VALUES ? "dict_values" : "dict_items";
    case TPL_RANGE: return "range";
    case TPL_GEN: return "generator";
    case TPL_NS: return "Namespace";
    case TPL_MACRO: return "Macro";
    case TPL_LOOP: return "LoopContext";
    case TPL_CYCLER: return "Cycler";
    case TPL_JOINER: return "Joiner";
    case TPL_METHOD: return "builtin_function_or_method";
    }
    return "object";
}

bool tpl_is_int(struct tpl_val v) {
    return v.kind == TPL_INT || v.kind == TPL_BOOL;
}

tpl_int tpl_to_int(struct tpl_val v) {
    return v.kind == TPL_BOOL ? v.b : v.i;
}

double tpl_to_float(struct tpl *t, struct tpl_val v) {
    if (v.kind == TPL_FLOAT)
        return v.f;
    if (v.kind == TPL_BIG) {
        double f = strtod(v.s->s, NULL);
        if (isinf(f))
            tpl_fail(t, "int too large to convert to float");
        return f;
    }
    if (!tpl_is_int(v))
        tpl_fail(t, "expected a number, found %s", tpl_type(v));
    return (double)tpl_to_int(v);
}

bool tpl_truth(struct tpl *t, struct tpl_val v) {
    (void)t;
    switch ((enum tpl_kind)v.kind) {
    case TPL_MISSING:
    case TPL_UNDEF:
    case TPL_NONE: return false;
    case TPL_BOOL: return v.b;
    case TPL_INT: return v.i != 0;
    case TPL_FLOAT: return v.f != 0;
    case TPL_STR: return v.s->len != 0;
    case TPL_LIST:
    case TPL_TUPLE: return v.q->n != 0;
    case TPL_DICT: return v.d->n != 0;
    case TPL_VIEW: return v.view->d->n != 0;
    case TPL_RANGE: return v.r->n != 0;
    default: return true;
    }
}

/* The decimal text of a TPL_BIG, or of a number to compare with one: of other integers the sign is enough. */
static const char *decimal(struct tpl_val v, char text[400]) {
    if (v.kind == TPL_BIG)
        return v.s->s;
    if (v.kind == TPL_FLOAT)
        snprintf(text, 400, "%.0f", v.f); /* at most 309 digits */
    else
        strcpy(text, tpl_to_int(v) < 0 ? "-1" : "1");
    return text;
}

static int compare_big(struct tpl_val a, struct tpl_val b) {
    double f = a.kind == TPL_FLOAT ? a.f : b.kind == TPL_FLOAT ? b.f : 0;
    if (!isfinite(f))
        return isnan(f) ? 2 : (a.kind == TPL_FLOAT) == (f > 0) ? 1 : -1;
    char text[2][400];
    const char *x = decimal(a, text[0]), *y = decimal(b, text[1]);
    bool minus = x[0] == '-';
    if (minus != (y[0] == '-'))
        return minus ? -1 : 1;
    size_t n = strlen(x), m = strlen(y);
    int c = n != m ? (n > m) - (n < m) : strcmp(x, y);
    c = (c > 0) - (c < 0);
    return minus ? -c : c;
}

/* -1, 0, 1, or 2 where one is NaN. Integers are compared with reals in long double: exact to 64 bits. */
static int compare_numbers(struct tpl_val a, struct tpl_val b) {
    if (a.kind == TPL_BIG || b.kind == TPL_BIG)
        return compare_big(a, b);
    if (a.kind != TPL_FLOAT && b.kind != TPL_FLOAT) {
        tpl_int x = tpl_to_int(a), y = tpl_to_int(b);
        return (x > y) - (x < y);
    }
    long double x = a.kind == TPL_FLOAT ? (long double)a.f : (long double)tpl_to_int(a);
    long double y = b.kind == TPL_FLOAT ? (long double)b.f : (long double)tpl_to_int(b);
    return isnan(x) || isnan(y) ? 2 : (x > y) - (x < y);
}

static int compare_str(struct tpl *t, const struct tpl_str *a, const struct tpl_str *b) {
    size_t n = a->len < b->len ? a->len : b->len;
    tpl_charge(t, n / 64);
    int c = n ? memcmp(a->s, b->s, n) : 0; /* UTF-8 keeps the order of code points */
    return c ? (c > 0) - (c < 0) : (a->len > b->len) - (a->len < b->len);
}

static bool equal_dicts(struct tpl *t, const struct tpl_dict *a, const struct tpl_dict *b) {
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++) {
        const struct tpl_val *v = tpl_dict_get(t, b, a->e[i].key);
        if (!v || !tpl_equal(t, a->e[i].value, *v))
            return false;
    }
    return true;
}

static bool equal_ranges(const struct tpl_range *a, const struct tpl_range *b) {
    return a->n == b->n && (!a->n || (a->start == b->start && (a->n == 1 || a->step == b->step)));
}

static bool equal_inner(struct tpl *t, struct tpl_val a, struct tpl_val b) {
    switch ((enum tpl_kind)a.kind) {
    case TPL_MISSING:
    case TPL_UNDEF:
    case TPL_NONE: return true;
    case TPL_STR: return a.s->len == b.s->len && compare_str(t, a.s, b.s) == 0;
    case TPL_LIST:
    case TPL_TUPLE:
        if (a.q->n != b.q->n)
            return false;
        for (size_t i = 0; i < a.q->n; i++)
            if (!tpl_equal(t, a.q->v[i], b.q->v[i]))
                return false;
        return true;
    case TPL_DICT: return equal_dicts(t, a.d, b.d);
    case TPL_RANGE: return equal_ranges(a.r, b.r);
    case TPL_VIEW:
        return a.view->kind == b.view->kind && a.view->kind != TPL_VALUES && equal_dicts(t, a.view->d, b.view->d);
    default: return a.g == b.g; /* the same object */
    }
}

bool tpl_equal(struct tpl *t, struct tpl_val a, struct tpl_val b) {
    tpl_charge(t, 1);
    if (tpl_is_num(a) && tpl_is_num(b))
        return compare_numbers(a, b) == 0;
    if (a.kind != b.kind)
        return false;
    tpl_enter(t);
    bool same = equal_inner(t, a, b);
    tpl_exit(t);
    return same;
}

int tpl_compare(struct tpl *t, struct tpl_val a, struct tpl_val b, const char *op) {
    tpl_charge(t, 1);
    if (tpl_is_num(a) && tpl_is_num(b))
        return compare_numbers(a, b);
    if (a.kind == TPL_STR && b.kind == TPL_STR)
        return compare_str(t, a.s, b.s);
    if (a.kind == TPL_UNDEF)
        tpl_fail_undefined(t, a);
    if (b.kind == TPL_UNDEF)
        tpl_fail_undefined(t, b);
    if (!tpl_is_seq(a) || a.kind != b.kind)
        tpl_fail(t, "'%s' not supported between instances of '%s' and '%s'", op, tpl_type(a), tpl_type(b));
    tpl_enter(t);
    int c = (a.q->n > b.q->n) - (a.q->n < b.q->n);
    for (size_t i = 0; i < a.q->n && i < b.q->n; i++)
        if (!tpl_equal(t, a.q->v[i], b.q->v[i])) {
            c = tpl_compare(t, a.q->v[i], b.q->v[i], op);
            break;
        }
    tpl_exit(t);
    return c;
}

bool tpl_str_is(const struct tpl_str *s, const char *z) {
    return s->len == strlen(z) && memcmp(s->s, z, s->len) == 0;
}

bool tpl_hashable(struct tpl_val v) {
    if (v.kind == TPL_TUPLE)
        for (size_t i = 0; i < v.q->n; i++)
            if (!tpl_hashable(v.q->v[i]))
                return false;
    return v.kind != TPL_LIST && v.kind != TPL_DICT && v.kind != TPL_VIEW;
}

static uint64_t mix(uint64_t h, uint64_t x) {
    h = (h ^ x) * 0x9E3779B97F4A7C15u;
    return h ^ h >> 29;
}

static uint64_t hash(struct tpl *t, struct tpl_val v) {
    uint64_t h = 1469598103934665603u;
    switch ((enum tpl_kind)v.kind) {
    case TPL_STR:
        for (size_t i = 0; i < v.s->len; i++)
            h = (h ^ (unsigned char)v.s->s[i]) * 1099511628211u;
        tpl_charge(t, v.s->len / 32);
        return h;
    case TPL_BOOL:
    case TPL_INT: return mix(h, (uint64_t)tpl_to_int(v));
    case TPL_BIG: return mix(h, 7);
    case TPL_FLOAT: return fabs(v.f) < 9e18 && v.f == floor(v.f) ? mix(h, (uint64_t)(int64_t)v.f) : mix(h, 7);
    case TPL_TUPLE:
        tpl_enter(t);
        for (size_t i = 0; i < v.q->n; i++)
            h = mix(h, hash(t, v.q->v[i]));
        tpl_exit(t);
        return h;
    case TPL_LIST:
    case TPL_DICT:
    case TPL_VIEW: tpl_fail(t, "unhashable type: '%s'", tpl_type(v));
    default: return mix(h, v.kind);
    }
}

struct tpl_dict *tpl_dict_new(struct tpl *t) {
    struct tpl_dict *d = tpl_alloc(t, sizeof *d);
    *d = (struct tpl_dict){0};
    return d;
}

static void reindex(struct tpl *t, struct tpl_dict *d) {
    d->slots = d->cap * 2;
    d->index = tpl_alloc_n(t, d->slots, sizeof *d->index);
    memset(d->index, 0, d->slots * sizeof *d->index);
    for (size_t i = 0; i < d->n; i++) {
        size_t at = d->e[i].hash & (d->slots - 1);
        while (d->index[at])
            at = (at + 1) & (d->slots - 1);
        d->index[at] = (uint32_t)i + 1;
    }
}

static struct tpl_entry *find(struct tpl *t, const struct tpl_dict *d, struct tpl_val key, uint64_t h) {
    if (!d->index) {
        for (size_t i = 0; i < d->n; i++)
            if (d->e[i].hash == h && tpl_equal(t, d->e[i].key, key))
                return &d->e[i];
        return NULL;
    }
    for (size_t at = h & (d->slots - 1); d->index[at]; at = (at + 1) & (d->slots - 1)) {
        struct tpl_entry *e = &d->e[d->index[at] - 1];
        tpl_charge(t, 1);
        if (e->hash == h && tpl_equal(t, e->key, key))
            return e;
    }
    return NULL;
}

const struct tpl_val *tpl_dict_get(struct tpl *t, const struct tpl_dict *d, struct tpl_val key) {
    struct tpl_entry *e = find(t, d, key, hash(t, key));
    return e ? &e->value : NULL;
}

const struct tpl_val *tpl_dict_getz(struct tpl *t, const struct tpl_dict *d, const char *key) {
    struct tpl_str s = {key, strlen(key), 0};
    return tpl_dict_get(t, d, (struct tpl_val){.kind = TPL_STR, .s = &s});
}

void tpl_dict_set(struct tpl *t, struct tpl_dict *d, struct tpl_val key, struct tpl_val value) {
    uint64_t h = hash(t, key);
    struct tpl_entry *e = find(t, d, key, h);
    if (e) {
        e->value = value;
        return;
    }
    if (d->n == d->cap) {
        size_t cap = d->cap ? d->cap * 2 : 8;
        struct tpl_entry *grown = tpl_alloc_n(t, cap, sizeof *grown);
        if (d->n)
            memcpy(grown, d->e, d->n * sizeof *grown);
        d->e = grown;
        d->cap = cap;
        if (cap > 8)
            reindex(t, d);
    }
    d->e[d->n] = (struct tpl_entry){key, value, h};
    if (d->index) {
        size_t at = h & (d->slots - 1);
        while (d->index[at])
            at = (at + 1) & (d->slots - 1);
        d->index[at] = (uint32_t)d->n + 1;
    }
    d->n++;
}

void tpl_push(struct tpl_vec *vec, struct tpl_val v) {
    if (vec->n == vec->cap) {
        size_t cap = vec->cap ? vec->cap * 2 : 8;
        struct tpl_val *grown = tpl_alloc_n(vec->t, cap, sizeof *grown);
        if (vec->n)
            memcpy(grown, vec->v, vec->n * sizeof *grown);
        vec->v = grown;
        vec->cap = cap;
    }
    vec->v[vec->n++] = v;
}

struct tpl_val tpl_vec_done(struct tpl_vec *vec, enum tpl_kind kind) {
    return tpl_seq(vec->t, kind, vec->v, vec->n);
}

const struct tpl_builtin *tpl_lookup(const struct tpl_builtin *table, const struct tpl_str *name) {
    for (; table->name; table++)
        if (tpl_str_is(name, table->name))
            return table;
    return NULL;
}
