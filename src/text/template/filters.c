/* Jinja's filters on single values and text, its tests and its global functions. Filters on sequences are
 * in filters_seq.c. In all of them `v` is the value the filter or test is applied to. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "text/template/eval.h"

#define FN(name)                                                                                                       \
    static struct tpl_val name(struct tpl *t, struct tpl_val v, const struct tpl_val *a, const struct tpl_args *raw)
#define UNUSED (void)t, (void)v, (void)a, (void)raw

bool tpl_given(struct tpl_val v) {
    return v.kind != TPL_MISSING && v.kind != TPL_NONE;
}

bool tpl_arg_bool(struct tpl *t, struct tpl_val v, bool otherwise) {
    return v.kind == TPL_MISSING ? otherwise : tpl_truth(t, v);
}

tpl_int tpl_arg_int(struct tpl *t, struct tpl_val v, tpl_int otherwise) {
    if (v.kind == TPL_MISSING)
        return otherwise;
    if (v.kind == TPL_BIG)
        tpl_fail_large(t);
    if (!tpl_is_int(v))
        tpl_fail(t, "'%s' object cannot be interpreted as an integer", tpl_type(v));
    return tpl_to_int(v);
}

struct tpl_val tpl_arg_str(struct tpl *t, struct tpl_val v, const char *otherwise) {
    if (v.kind == TPL_MISSING && otherwise)
        return tpl_strz(t, otherwise);
    if (v.kind != TPL_STR)
        tpl_fail(t, "expected a string, found %s", tpl_type(v));
    return v;
}

/* soft_str: a string as it is, Markup too; else str(). */
static struct tpl_val soft(struct tpl *t, struct tpl_val v) {
    return v.kind == TPL_STR ? v : tpl_to_str(t, v);
}

static struct tpl_val method(struct tpl *t, const char *name, struct tpl_val v, size_t n, const struct tpl_val *a) {
    struct tpl_str s = {name, strlen(name), 0};
    return tpl_call_builtin(t, tpl_lookup(tpl_str_methods, &s), soft(t, v), &(struct tpl_args){.n = n, .v = a});
}

FN(f_abs) {
    UNUSED;
    if (v.kind == TPL_UNDEF)
        tpl_fail_undefined(t, v);
    if (!tpl_is_num(v))
        tpl_fail(t, "bad operand type for abs(): '%s'", tpl_type(v));
    if (v.kind == TPL_FLOAT)
        return tpl_float(fabs(v.f));
    if (v.kind == TPL_BIG)
        return v.s->s[0] == '-' ? tpl_negate(t, v) : v;
    return tpl_to_int(v) < 0 ? tpl_negate(t, v) : tpl_num(tpl_to_int(v));
}

FN(f_attr) {
    UNUSED;
    if (v.kind == TPL_UNDEF)
        tpl_fail_undefined(t, v);
    struct tpl_val name = tpl_arg_str(t, a[0], NULL);
    struct tpl_val found = v.kind == TPL_DICT && !tpl_lookup(tpl_dict_methods, name.s)
                               ? tpl_undefined_of(t, v, name) /* attributes only, not items */
                               : tpl_getattr(t, v, name);
    return found;
}

FN(f_capitalize) {
    UNUSED;
    return method(t, "capitalize", v, 0, NULL);
}
FN(f_upper) {
    UNUSED;
    return method(t, "upper", v, 0, NULL);
}
FN(f_lower) {
    UNUSED;
    return method(t, "lower", v, 0, NULL);
}
FN(f_trim) {
    UNUSED;
    return tpl_strip(t, soft(t, v), a[0], true, true);
}
FN(f_center) {
    UNUSED;
    struct tpl_val width = tpl_num(tpl_arg_int(t, a[0], 80));
    return method(t, "center", v, 1, &width);
}
FN(f_string) {
    UNUSED;
    return soft(t, v);
}
FN(f_safe) {
    UNUSED;
    v = tpl_to_str(t, v);
    v.safe = true;
    return v;
}
FN(f_escape) {
    UNUSED;
    return tpl_escape(t, v);
}
FN(f_forceescape) {
    UNUSED;
    return tpl_escape(t, tpl_to_str(t, v));
}

FN(f_default) {
    UNUSED;
    bool use = v.kind == TPL_UNDEF || (tpl_arg_bool(t, a[1], false) && !tpl_truth(t, v));
    return !use ? v : a[0].kind == TPL_MISSING ? tpl_strz(t, "") : a[0];
}

FN(f_replace) {
    UNUSED;
    tpl_int count = a[2].kind == TPL_NONE ? -1 : tpl_arg_int(t, a[2], -1);
    return tpl_replace(t, tpl_to_str(t, v), tpl_to_str(t, a[0]), tpl_to_str(t, a[1]), count);
}

FN(f_title) {
    UNUSED;
    v = soft(t, v);
    struct tpl_sb b = {.t = t};
    bool start = true;
    uint32_t cp;
    for (size_t i = 0; i < v.s->len;) {
        i += tpl_next_cp(v.s->s + i, v.s->len - i, &cp);
        bool split = cp == '-' || cp == '(' || cp == '{' || cp == '[' || cp == '<' || tpl_cp_space(cp);
        if (split)
            tpl_sb_cp(&b, cp);
        else
            tpl_cp_case(&b, cp, start ? TPL_UPPER : TPL_LOWER);
        start = split;
    }
    return tpl_sb_done(&b);
}

FN(f_indent) {
    UNUSED;
    if (v.kind == TPL_UNDEF)
        tpl_fail_undefined(t, v);
    v = tpl_arg_str(t, v, NULL);
    struct tpl_val width = a[0].kind == TPL_STR ? a[0] : tpl_num(tpl_arg_int(t, a[0], 4));
    bool first = tpl_arg_bool(t, a[1], false), blank = tpl_arg_bool(t, a[2], false);
    struct tpl_sb pad = {.t = t}, b = {.t = t};
    if (width.kind == TPL_STR)
        tpl_sb_str(&pad, width.s);
    else
        tpl_sb_fill(&pad, ' ', width.i < 0 ? 0 : width.i > TPL_MAX_OUTPUT ? TPL_MAX_OUTPUT : (size_t)width.i);
    const char *s = v.s->s;
    size_t n = v.s->len, at = 0;
    for (bool line1 = true; line1 || at <= n; line1 = false) {
        size_t end = at;
        while (end < n && !tpl_cp_line_end(s + end, n - end))
            end++;
        if (line1 ? first : (end > at || blank))
            tpl_sb_add(&b, pad.s, pad.len);
        tpl_sb_add(&b, s + at, end - at);
        if (end >= n)
            break;
        at = end + tpl_cp_line_end(s + end, n - end);
        tpl_sb_z(&b, "\n");
    }
    struct tpl_val out = tpl_sb_done(&b);
    out.safe = v.safe;
    return out;
}

static double parse_float(struct tpl *t, struct tpl_val v, bool *ok) {
    struct tpl_val s = tpl_strip(t, v, tpl_none(), true, true);
    struct tpl_sb b = {.t = t};
    *ok = s.s->len > 0 && s.s->len < 1000;
    bool digit = false, letters = false;
    for (size_t i = 0; i < s.s->len && *ok; i++) {
        char c = s.s->s[i];
        bool under = c == '_' && digit && i + 1 < s.s->len && s.s->s[i + 1] >= '0' && s.s->s[i + 1] <= '9';
        digit = c >= '0' && c <= '9';
        letters |= (c | 32) == 'x' || (c | 32) == 'p' || c == '(' || c == 0; /* what strtod reads and Python does not */
        if (!under)
            tpl_sb_add(&b, &c, 1);
    }
    tpl_sb_add(&b, "", 1);
    char *end = NULL;
    double f = *ok && !letters ? strtod(b.s, &end) : 0;
    *ok = *ok && !letters && end != b.s && !*end;
    return f;
}

/* int(text, base) without exceptions. */
static bool parse_int(struct tpl *t, struct tpl_val v, tpl_int base, tpl_int *out) {
    struct tpl_val text = tpl_strip(t, v, tpl_none(), true, true);
    const char *s = text.s->s;
    size_t n = text.s->len, i = 0;
    bool minus = n && s[0] == '-';
    i += minus || (n && s[0] == '+');
    if (i + 1 < n && s[i] == '0') {
        char c = (char)(s[i + 1] | 32);
        tpl_int named = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 0;
        if (named && (base == named || base == 0)) {
            base = named;
            i += 2;
            i += i < n && s[i] == '_';
        }
    }
    bool any = false, under = false;
    tpl_int x = 0;
    for (base = base ? base : 10; i < n; i++) {
        if (s[i] == '_' && any && !under) {
            under = true;
            continue;
        }
        int c = s[i] | 32, d = s[i] >= '0' && s[i] <= '9' ? s[i] - '0' : c >= 'a' && c <= 'z' ? c - 'a' + 10 : 99;
        if (d >= base || x > ((tpl_int)1 << 120))
            return false;
        x = x * base + d;
        any = true;
        under = false;
    }
    *out = minus ? -x : x;
    return any && !under;
}

FN(f_int) {
    UNUSED;
    struct tpl_val otherwise = a[0].kind == TPL_MISSING ? tpl_num(0) : a[0];
    tpl_int base = tpl_arg_int(t, a[1], 10), x;
    bool ok;
    if (v.kind == TPL_UNDEF)
        tpl_fail_undefined(t, v);
    if (v.kind == TPL_BIG)
        return v;
    if (tpl_is_int(v))
        return tpl_num(tpl_to_int(v));
    double f = v.kind == TPL_FLOAT ? v.f : 0;
    if (v.kind == TPL_STR) {
        if (base > 36 || base == 1 || base < 0)
            return otherwise;
        if (parse_int(t, v, base, &x))
            return tpl_num(x);
        f = parse_float(t, v, &ok);
        if (!ok)
            return otherwise;
    } else if (v.kind != TPL_FLOAT) {
        return otherwise;
    }
    return !isfinite(f) || fabs(f) > 1e37 ? otherwise : tpl_num((tpl_int)f);
}

FN(f_float) {
    UNUSED;
    bool ok = tpl_is_num(v);
    if (v.kind == TPL_UNDEF)
        tpl_fail_undefined(t, v);
    double f = v.kind == TPL_STR ? parse_float(t, v, &ok) : ok ? tpl_to_float(t, v) : 0;
    return ok ? tpl_float(f) : a[0].kind == TPL_MISSING ? tpl_float(0) : a[0];
}

FN(f_round) {
    UNUSED;
    tpl_int digits = tpl_arg_int(t, a[0], 0);
    struct tpl_val how = tpl_arg_str(t, a[1], "common");
    bool up = tpl_str_is(how.s, "ceil"), down = tpl_str_is(how.s, "floor");
    if (!up && !down && !tpl_str_is(how.s, "common"))
        tpl_fail(t, "method must be common, ceil or floor");
    if (v.kind == TPL_UNDEF)
        tpl_fail_undefined(t, v);
    double f = tpl_to_float(t, v);
    if (digits > 300 || digits < -300)
        tpl_fail(t, "round's precision is out of range");
    if (up || down) {
        double scale = pow(10, (double)digits), x = up ? ceil(f * scale) : floor(f * scale);
        if (v.kind != TPL_FLOAT && digits == 0)
            return tpl_float(x);
        return tpl_float(x / scale);
    }
    if (v.kind != TPL_FLOAT && digits >= 0)
        return v.kind == TPL_BIG ? v : tpl_num(tpl_to_int(v));
    if (v.kind == TPL_BIG)
        tpl_fail_large(t);
    char text[400];
    if (digits >= 0) { /* correctly rounded, half to even on the exact value, as Python's round */
        snprintf(text, sizeof text, "%.*f", (int)digits, f);
        return tpl_float(fabs(f) < 1e22 ? strtod(text, NULL) : f);
    }
    double scale = pow(10, (double)-digits), x = rint(f / scale) * scale;
    return v.kind == TPL_FLOAT ? tpl_float(x) : tpl_num((tpl_int)x);
}

FN(f_length) {
    UNUSED;
    size_t n;
    if (v.kind == TPL_LOOP) {
        struct tpl_str name = {"length", 6, 6};
        return tpl_loop_attr(t, v.loop, &name);
    }
    if (!tpl_length(v, &n))
        tpl_fail(t, "object of type '%s' has no len()", tpl_type(v));
    return tpl_num((tpl_int)n);
}

FN(f_format) {
    UNUSED;
    if (raw->n && raw->nk)
        tpl_fail(t, "can't handle positional and keyword arguments at the same time");
    if (!raw->nk)
        return tpl_percent(t, soft(t, v), tpl_seq(t, TPL_TUPLE, raw->v, raw->n));
    struct tpl_dict *d = tpl_dict_new(t);
    for (size_t i = 0; i < raw->nk; i++)
        tpl_dict_set(t, d, (struct tpl_val){.kind = TPL_STR, .s = raw->k[i].name}, raw->k[i].v);
    return tpl_percent(t, soft(t, v), tpl_of_dict(d));
}

FN(f_tojson) {
    UNUSED;
    struct tpl_json o = {.ascii = tpl_arg_bool(t, a[0], false), .sort = tpl_arg_bool(t, a[3], false)};
    if (tpl_given(a[1]) && a[1].kind == TPL_STR) {
        o.indent = a[1].s;
    } else if (tpl_given(a[1])) {
        struct tpl_sb pad = {.t = t};
        tpl_int n = tpl_arg_int(t, a[1], 0);
        tpl_sb_fill(&pad, ' ', n < 0 ? 0 : n > 10000 ? 10000 : (size_t)n);
        o.indent = tpl_sb_done(&pad).s;
    }
    o.comma = tpl_strz(t, o.indent ? "," : ", ").s;
    o.colon = tpl_strz(t, ": ").s;
    if (tpl_given(a[2])) {
        struct tpl_val two = tpl_list_of(t, a[2]);
        if (two.q->n != 2)
            tpl_fail(t, "separators must be two strings");
        o.comma = tpl_arg_str(t, two.q->v[0], NULL).s;
        o.colon = tpl_arg_str(t, two.q->v[1], NULL).s;
    }
    struct tpl_sb b = {.t = t};
    tpl_json_dump(&b, v, &o, 0);
    return tpl_sb_done(&b);
}

FN(f_truncate) {
    UNUSED;
    struct tpl_val end = tpl_arg_str(t, a[2], "...");
    tpl_int length = tpl_arg_int(t, a[0], 255), leeway = tpl_given(a[3]) ? tpl_arg_int(t, a[3], 0) : 5;
    size_t n;
    if (length < (tpl_int)end.s->chars || leeway < 0)
        tpl_fail(t, "expected length >= %zu", end.s->chars);
    if (tpl_length(v, &n) && (tpl_int)n <= length + leeway)
        return v; /* whatever it is */
    struct tpl_val s = tpl_arg_str(t, v, NULL);
    struct tpl_val cut = tpl_sub(t, s, 0, tpl_offset(s.s, (size_t)length - end.s->chars));
    const char *space = tpl_arg_bool(t, a[1], false) ? NULL : memrchr(cut.s->s, ' ', cut.s->len);
    if (space)
        cut = tpl_sub(t, cut, 0, (size_t)(space - cut.s->s));
    return tpl_add(t, cut, end);
}

FN(f_wordcount) {
    UNUSED;
    v = soft(t, v);
    size_t words = 0;
    bool in = false;
    uint32_t cp;
    for (size_t i = 0; i < v.s->len;) {
        i += tpl_next_cp(v.s->s + i, v.s->len - i, &cp);
        bool word = tpl_cp_word(cp);
        words += word && !in;
        in = word;
    }
    return tpl_num((tpl_int)words);
}

static void quote(struct tpl_sb *b, struct tpl_val v, bool query) {
    struct tpl_val s = tpl_to_str(b->t, v);
    for (size_t i = 0; i < s.s->len; i++) {
        unsigned char c = (unsigned char)s.s->s[i];
        char text[4];
        bool plain =
            (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || strchr("_.-~", c) || (c == '/' && !query);
        if (query && c == ' ') {
            tpl_sb_z(b, "+");
        } else if (c && plain) {
            tpl_sb_add(b, &c, 1);
        } else {
            snprintf(text, sizeof text, "%%%02X", c);
            tpl_sb_z(b, text);
        }
    }
}

FN(f_urlencode) {
    UNUSED;
    struct tpl_sb b = {.t = t};
    if (v.kind == TPL_STR || !tpl_iterable(v)) {
        quote(&b, v, false);
        return tpl_sb_done(&b);
    }
    struct tpl_view view = {TPL_ITEMS, v.kind == TPL_DICT ? v.d : NULL};
    struct tpl_iter it = tpl_iterate(t, view.d ? (struct tpl_val){.kind = TPL_VIEW, .view = &view} : v);
    for (struct tpl_val pair; tpl_next(t, &it, &pair);) {
        pair = tpl_list_of(t, pair);
        if (pair.q->n != 2)
            tpl_fail(t, "expected pairs, found %zu values", pair.q->n);
        if (b.len)
            tpl_sb_z(&b, "&");
        quote(&b, pair.q->v[0], true);
        tpl_sb_z(&b, "=");
        quote(&b, pair.q->v[1], true);
    }
    return tpl_sb_done(&b);
}

FN(f_filesizeformat) {
    UNUSED;
    static const char units[] = "kMGTPEZY";
    bool ok = true, binary = tpl_arg_bool(t, a[0], false);
    double f = v.kind == TPL_STR ? parse_float(t, v, &ok) : tpl_to_float(t, v), base = binary ? 1024 : 1000;
    char text[64];
    if (!ok)
        tpl_fail(t, "could not convert string to float");
    if (f == 1)
        return tpl_strz(t, "1 Byte");
    if (f < base) {
        snprintf(text, sizeof text, "%.0f Bytes", trunc(f));
        return tpl_strz(t, text);
    }
    double unit = base * base;
    int i = 0;
    for (; i < 7 && f >= unit; i++)
        unit *= base;
    char prefix = units[i] == 'k' && binary ? 'K' : units[i];
    snprintf(text, sizeof text, "%.1f %c%s", base * f / unit, prefix, binary ? "iB" : "B");
    return tpl_strz(t, text);
}

FN(f_pprint) {
    UNUSED;
    struct tpl_sb b = {.t = t};
    tpl_repr(&b, v);
    return tpl_sb_done(&b);
}

FN(f_xmlattr) {
    UNUSED;
    struct tpl_sb b = {.t = t};
    if (v.kind != TPL_DICT)
        tpl_fail(t, "xmlattr needs a mapping, found %s", tpl_type(v));
    for (size_t i = 0; i < v.d->n; i++) {
        if (v.d->e[i].value.kind == TPL_UNDEF || v.d->e[i].value.kind == TPL_NONE)
            continue;
        struct tpl_val key = tpl_arg_str(t, v.d->e[i].key, NULL);
        if (strcspn(key.s->s, " \t\n\r\f\v/>=") < key.s->len)
            tpl_fail(t, "Invalid character in attribute name");
        if (b.len || tpl_arg_bool(t, a[0], true))
            tpl_sb_z(&b, " ");
        tpl_sb_str(&b, tpl_escape(t, key).s);
        tpl_sb_z(&b, "=\"");
        tpl_sb_str(&b, tpl_escape(t, v.d->e[i].value).s);
        tpl_sb_z(&b, "\"");
    }
    return tpl_sb_done(&b);
}

const struct tpl_builtin tpl_filters[] = {
    {"abs", f_abs, ""},
    {"attr", f_attr, "name"},
    {"capitalize", f_capitalize, ""},
    {"center", f_center, "width?"},
    {"count", f_length, ""},
    {"d", f_default, "default_value? boolean?"},
    {"default", f_default, "default_value? boolean?"},
    {"e", f_escape, ""},
    {"escape", f_escape, ""},
    {"filesizeformat", f_filesizeformat, "binary?"},
    {"float", f_float, "default?"},
    {"forceescape", f_forceescape, ""},
    {"format", f_format, NULL},
    {"indent", f_indent, "width? first? blank?"},
    {"int", f_int, "default? base?"},
    {"length", f_length, ""},
    {"lower", f_lower, ""},
    {"pprint", f_pprint, ""},
    {"replace", f_replace, "old new count?"},
    {"round", f_round, "precision? method?"},
    {"safe", f_safe, ""},
    {"string", f_string, ""},
    {"title", f_title, ""},
    {"tojson", f_tojson, "ensure_ascii? indent? separators? sort_keys?"},
    {"trim", f_trim, "chars?"},
    {"truncate", f_truncate, "length? killwords? end? leeway?"},
    {"upper", f_upper, ""},
    {"urlencode", f_urlencode, ""},
    {"wordcount", f_wordcount, ""},
    {"xmlattr", f_xmlattr, "autospace?"},
    {0},
};

const struct tpl_builtin *tpl_find_filter(const struct tpl_str *name) {
    const struct tpl_builtin *b = tpl_lookup(tpl_filters, name);
    return b ? b : tpl_lookup(tpl_filters_seq, name);
}
