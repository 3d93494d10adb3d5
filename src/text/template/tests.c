/* Jinja's tests (x is NAME) and global functions. `v` is the value tested. */
#include <string.h>

#include "text/template/eval.h"

#define FN(name)                                                                                                       \
    static struct tpl_val name(struct tpl *t, struct tpl_val v, const struct tpl_val *a, const struct tpl_args *raw)
#define UNUSED (void)t, (void)v, (void)a, (void)raw
#define TEST(name, condition)                                                                                          \
    FN(name) {                                                                                                         \
        UNUSED;                                                                                                        \
        return tpl_bool(condition);                                                                                    \
    }

static bool remainder_is(struct tpl *t, struct tpl_val v, tpl_int by, tpl_int is) {
    return tpl_equal(t, tpl_binary(t, '%', v, tpl_num(by)), tpl_num(is));
}

static bool same(struct tpl_val a, struct tpl_val b) {
    if (a.kind != b.kind)
        return false;
    switch ((enum tpl_kind)a.kind) {
    case TPL_UNDEF:
    case TPL_NONE: return true;
    case TPL_BOOL: return a.b == b.b;
    case TPL_INT: return a.i == b.i && a.i >= -5 && a.i <= 256; /* the integers Python keeps one of */
    case TPL_STR: return a.s == b.s;
    default: return a.g == b.g;
    }
}

static bool is_sequence(struct tpl_val v) {
    return v.kind == TPL_STR || tpl_is_seq(v) || v.kind == TPL_DICT || v.kind == TPL_RANGE || v.kind == TPL_UNDEF;
}

static bool is_callable(struct tpl_val v) {
    return v.kind == TPL_METHOD || v.kind == TPL_MACRO || v.kind == TPL_LOOP || v.kind == TPL_JOINER ||
           v.kind == TPL_UNDEF;
}

static bool str_is(struct tpl *t, struct tpl_val v, const char *method) {
    struct tpl_str name = {method, strlen(method), 0};
    return tpl_call_builtin(t, tpl_lookup(tpl_str_methods, &name), tpl_to_str(t, v), &(struct tpl_args){0}).b;
}

static bool ordered(struct tpl *t, struct tpl_val v, struct tpl_val w, const char *op) {
    int c = tpl_compare(t, v, w, op);
    return (op[0] == '<' ? c == -1 : c == 1) || (op[1] && c == 0);
}

TEST(t_odd, remainder_is(t, v, 2, 1))
TEST(t_even, remainder_is(t, v, 2, 0))
TEST(t_divisibleby, tpl_equal(t, tpl_binary(t, '%', v, a[0]), tpl_num(0)))
TEST(t_defined, v.kind != TPL_UNDEF)
TEST(t_undefined, v.kind == TPL_UNDEF)
TEST(t_filter, v.kind == TPL_STR && tpl_find_filter(v.s))
TEST(t_test, v.kind == TPL_STR && tpl_lookup(tpl_tests, v.s))
TEST(t_none, v.kind == TPL_NONE)
TEST(t_boolean, v.kind == TPL_BOOL)
TEST(t_false, v.kind == TPL_BOOL && !v.b)
TEST(t_true, v.kind == TPL_BOOL && v.b)
TEST(t_integer, v.kind == TPL_INT || v.kind == TPL_BIG)
TEST(t_float, v.kind == TPL_FLOAT)
TEST(t_lower, str_is(t, v, "islower"))
TEST(t_upper, str_is(t, v, "isupper"))
TEST(t_string, v.kind == TPL_STR)
TEST(t_mapping, v.kind == TPL_DICT)
TEST(t_number, tpl_is_num(v))
TEST(t_sequence, is_sequence(v))
TEST(t_iterable, tpl_iterable(v))
TEST(t_callable, is_callable(v))
TEST(t_sameas, same(v, a[0]))
TEST(t_escaped, v.kind == TPL_STR && v.safe)
TEST(t_in, tpl_contains(t, a[0], v))
TEST(t_eq, tpl_equal(t, v, a[0]))
TEST(t_ne, !tpl_equal(t, v, a[0]))
TEST(t_gt, ordered(t, v, a[0], ">"))
TEST(t_ge, ordered(t, v, a[0], ">="))
TEST(t_lt, ordered(t, v, a[0], "<"))
TEST(t_le, ordered(t, v, a[0], "<="))

const struct tpl_builtin tpl_tests[] = {
    {"odd", t_odd, ""},
    {"even", t_even, ""},
    {"divisibleby", t_divisibleby, "num"},
    {"defined", t_defined, ""},
    {"undefined", t_undefined, ""},
    {"filter", t_filter, ""},
    {"test", t_test, ""},
    {"none", t_none, ""},
    {"boolean", t_boolean, ""},
    {"false", t_false, ""},
    {"true", t_true, ""},
    {"integer", t_integer, ""},
    {"float", t_float, ""},
    {"lower", t_lower, ""},
    {"upper", t_upper, ""},
    {"string", t_string, ""},
    {"mapping", t_mapping, ""},
    {"number", t_number, ""},
    {"sequence", t_sequence, ""},
    {"iterable", t_iterable, ""},
    {"callable", t_callable, ""},
    {"sameas", t_sameas, "other"},
    {"escaped", t_escaped, ""},
    {"in", t_in, "seq"},
    {"==", t_eq, "other"},
    {"eq", t_eq, "other"},
    {"equalto", t_eq, "other"},
    {"!=", t_ne, "other"},
    {"ne", t_ne, "other"},
    {">", t_gt, "other"},
    {"gt", t_gt, "other"},
    {"greaterthan", t_gt, "other"},
    {"ge", t_ge, "other"},
    {">=", t_ge, "other"},
    {"<", t_lt, "other"},
    {"lt", t_lt, "other"},
    {"lessthan", t_lt, "other"},
    {"<=", t_le, "other"},
    {"le", t_le, "other"},
    {0},
};

FN(g_range) {
    UNUSED;
    static const tpl_int most = (tpl_int)1 << 40; /* sums and products of these fit */
    if (raw->n < 1 || raw->n > 3 || raw->nk)
        tpl_fail(t, "range() takes 1 to 3 arguments");
    tpl_int x[3] = {0, 0, 1};
    for (size_t i = 0; i < raw->n; i++) {
        x[i] = tpl_arg_int(t, raw->v[i], 0);
        if (x[i] > most || x[i] < -most)
            tpl_fail(t, "range() of too large a number");
    }
    if (raw->n == 1) {
        x[1] = x[0];
        x[0] = 0;
    }
    if (x[2] == 0)
        tpl_fail(t, "range() arg 3 must not be zero");
    tpl_int span = x[2] > 0 ? x[1] - x[0] : x[0] - x[1], step = x[2] > 0 ? x[2] : -x[2];
    tpl_int n = span > 0 ? (span + step - 1) / step : 0;
    if (n > TPL_MAX_RANGE)
        tpl_fail(t, "Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).", TPL_MAX_RANGE);
    struct tpl_range *r = tpl_alloc(t, sizeof *r);
    *r = (struct tpl_range){(int64_t)x[0], (int64_t)x[1], (int64_t)x[2], (size_t)n};
    return (struct tpl_val){.kind = TPL_RANGE, .r = r};
}

/* dict() and namespace(): pairs or a mapping, then keywords. */
static struct tpl_dict *dict_from(struct tpl *t, const struct tpl_args *raw) {
    struct tpl_dict *d = tpl_dict_new(t);
    if (raw->n > 1)
        tpl_fail(t, "dict expected at most 1 argument, got %zu", raw->n);
    if (raw->n && raw->v[0].kind == TPL_DICT) {
        for (size_t i = 0; i < raw->v[0].d->n; i++)
            tpl_dict_set(t, d, raw->v[0].d->e[i].key, raw->v[0].d->e[i].value);
    } else if (raw->n) {
        struct tpl_iter it = tpl_iterate(t, raw->v[0]);
        for (struct tpl_val x; tpl_next(t, &it, &x);) {
            x = tpl_list_of(t, x);
            if (x.q->n != 2)
                tpl_fail(t, "dictionary update sequence element has length %zu; 2 is required", x.q->n);
            tpl_dict_set(t, d, x.q->v[0], x.q->v[1]);
        }
    }
    for (size_t i = 0; i < raw->nk; i++)
        tpl_dict_set(t, d, (struct tpl_val){.kind = TPL_STR, .s = raw->k[i].name}, raw->k[i].v);
    return d;
}

FN(g_dict) {
    UNUSED;
    return tpl_of_dict(dict_from(t, raw));
}

FN(g_namespace) {
    UNUSED;
    return (struct tpl_val){.kind = TPL_NS, .d = dict_from(t, raw)};
}

static struct tpl_val cycler(struct tpl *t, enum tpl_kind kind, const struct tpl_val *v, size_t n) {
    struct tpl_cycler *c = tpl_alloc(t, sizeof *c);
    *c = (struct tpl_cycler){.items = tpl_seq(t, TPL_TUPLE, v, n).q};
    return (struct tpl_val){.kind = (unsigned char)kind, .c = c};
}

FN(g_cycler) {
    UNUSED;
    if (!raw->n || raw->nk)
        tpl_fail(t, "at least one item has to be provided");
    return cycler(t, TPL_CYCLER, raw->v, raw->n);
}

FN(g_joiner) {
    UNUSED;
    struct tpl_val *separator = tpl_alloc(t, sizeof *separator);
    *separator = a[0].kind == TPL_MISSING ? tpl_strz(t, ", ") : a[0];
    return cycler(t, TPL_JOINER, separator, 1);
}

FN(c_next) {
    UNUSED;
    struct tpl_val now = v.c->items->v[v.c->at];
    v.c->at = (v.c->at + 1) % v.c->items->n;
    return now;
}

FN(c_reset) {
    UNUSED;
    v.c->at = 0;
    return tpl_none();
}

FN(g_raise_exception) {
    UNUSED;
    struct tpl_sb b = {.t = t};
    tpl_print(&b, a[0]);
    tpl_sb_add(&b, "", 1);
    tpl_fail_exact(t, b.s);
}

FN(g_strftime_now) {
    UNUSED;
    return tpl_strftime(t, tpl_arg_str(t, a[0], NULL).s);
}

const struct tpl_builtin tpl_cycler_methods[] = {{"next", c_next, ""}, {"reset", c_reset, ""}, {0}};
const struct tpl_builtin tpl_globals[] = {
    {"range", g_range, NULL},
    {"dict", g_dict, NULL},
    {"namespace", g_namespace, NULL},
    {"cycler", g_cycler, NULL},
    {"joiner", g_joiner, "sep?"},
    {"lipsum", NULL, NULL}, /* random text: there, but not to be called */
    {"raise_exception", g_raise_exception, "message"},
    {"strftime_now", g_strftime_now, "format"},
    {0},
};
