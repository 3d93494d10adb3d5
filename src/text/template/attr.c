/* What x.name, x[key] and x[a:b:c] find, as Jinja's immutable sandbox does: attributes before items for a
 * dot, items before attributes for brackets, undefined for what is not there, and an undefined that
 * refuses to be called for methods that would change their object. */
#include <string.h>

#include "text/template/eval.h"

static struct tpl_val bound(struct tpl *t, struct tpl_val self, const struct tpl_builtin *b) {
    struct tpl_method *m = tpl_alloc(t, sizeof *m);
    *m = (struct tpl_method){self, b};
    return (struct tpl_val){.kind = TPL_METHOD, .method = m};
}

static struct tpl_val unsafe(struct tpl *t, struct tpl_val on, const struct tpl_str *name) {
    struct tpl_sb b = {.t = t};
    tpl_sb_z(&b, "access to attribute '");
    tpl_sb_str(&b, name);
    tpl_sb_z(&b, "' of '");
    tpl_sb_z(&b, tpl_type(on));
    tpl_sb_z(&b, "' object is unsafe.");
    tpl_sb_add(&b, "", 1);
    return tpl_undefined(t, b.s);
}

static bool one_of(const struct tpl_str *name, const char *const *names) {
    for (; *names; names++)
        if (tpl_str_is(name, *names))
            return true;
    return false;
}

static struct tpl_val number_attr(struct tpl_val on, const struct tpl_str *name) {
    bool real = on.kind == TPL_FLOAT;
    if (tpl_str_is(name, "imag"))
        return real ? tpl_float(0) : tpl_num(0);
    if (tpl_str_is(name, "real") || (!real && tpl_str_is(name, "numerator")))
        return real || on.kind == TPL_BIG ? on : tpl_num(tpl_to_int(on));
    return !real && tpl_str_is(name, "denominator") ? tpl_num(1) : tpl_missing();
}

static struct tpl_val macro_attr(struct tpl *t, const struct tpl_macro *m, const struct tpl_str *name) {
    const struct tpl_node *n = m->node;
    if (tpl_str_is(name, "name"))
        return n->name ? (struct tpl_val){.kind = TPL_STR, .s = n->name} : tpl_none();
    if (tpl_str_is(name, "caller"))
        return tpl_bool(n->special[0] >= 0);
    if (tpl_str_is(name, "catch_kwargs"))
        return tpl_bool(n->special[1] >= 0);
    if (tpl_str_is(name, "catch_varargs"))
        return tpl_bool(n->special[2] >= 0);
    if (!tpl_str_is(name, "arguments"))
        return tpl_missing();
    struct tpl_vec names = {.t = t};
    for (size_t i = 0; i < n->more.n; i++)
        tpl_push(&names, (struct tpl_val){.kind = TPL_STR, .s = n->more.v[i]->name});
    return tpl_vec_done(&names, TPL_TUPLE);
}

static struct tpl_val range_attr(const struct tpl_range *r, const struct tpl_str *name) {
    if (tpl_str_is(name, "start"))
        return tpl_num(r->start);
    if (tpl_str_is(name, "stop"))
        return tpl_num(r->stop);
    return tpl_str_is(name, "step") ? tpl_num(r->step) : tpl_missing();
}

static const struct tpl_builtin *method_of(struct tpl_val on, const struct tpl_str *name) {
    switch ((enum tpl_kind)on.kind) {
    case TPL_STR: return tpl_lookup(tpl_str_methods, name);
    case TPL_LIST: return tpl_lookup(tpl_list_methods, name);
    case TPL_TUPLE: return tpl_lookup(tpl_tuple_methods, name);
    case TPL_DICT: return tpl_lookup(tpl_dict_methods, name);
    case TPL_CYCLER: return tpl_lookup(tpl_cycler_methods, name);
    case TPL_LOOP: return tpl_lookup(tpl_loop_methods, name);
    default: return NULL;
    }
}

/* Python's getattr, or TPL_MISSING. */
static struct tpl_val attribute(struct tpl *t, struct tpl_val on, const struct tpl_str *name) {
    static const char *const list_changes[] = {"append", "clear",  "pop",    "reverse", "insert",
                                               "sort",   "extend", "remove", NULL};
    static const char *const dict_changes[] = {"clear", "pop", "popitem", "setdefault", "update", NULL};
    static const char *const everywhere[] = {"__class__", "__init__", "__doc__", "__dict__", "__str__", "__eq__", NULL};
    if (one_of(name, everywhere) || (on.kind == TPL_LIST && one_of(name, list_changes)) ||
        (on.kind == TPL_DICT && one_of(name, dict_changes)))
        return unsafe(t, on, name);
    const struct tpl_builtin *method = method_of(on, name);
    if (method)
        return bound(t, on, method);
    switch ((enum tpl_kind)on.kind) {
    case TPL_BOOL:
    case TPL_INT:
    case TPL_BIG:
    case TPL_FLOAT: return number_attr(on, name);
    case TPL_TUPLE:
        if (on.q->group && (tpl_str_is(name, "grouper") || tpl_str_is(name, "list")))
            return on.q->v[name->len == 4];
        return tpl_missing();
    case TPL_NS: {
        const struct tpl_val *v = tpl_dict_get(t, on.d, (struct tpl_val){.kind = TPL_STR, .s = name});
        return !v ? tpl_missing() : name->len && name->s[0] == '_' ? unsafe(t, on, name) : *v;
    }
    case TPL_LOOP: return tpl_loop_attr(t, on.loop, name);
    case TPL_MACRO: return macro_attr(t, on.m, name);
    case TPL_RANGE: return range_attr(on.r, name);
    case TPL_CYCLER: return tpl_str_is(name, "current") ? on.c->items->v[on.c->at] : tpl_missing();
    default: return tpl_missing();
    }
}

/* Python's on[key], or TPL_MISSING. */
static struct tpl_val item(struct tpl *t, struct tpl_val on, struct tpl_val key) {
    size_t n;
    if (on.kind == TPL_DICT) {
        const struct tpl_val *v = tpl_hashable(key) ? tpl_dict_get(t, on.d, key) : NULL;
        return v ? *v : tpl_missing();
    }
    bool indexed = on.kind == TPL_STR || tpl_is_seq(on) || on.kind == TPL_RANGE;
    if (!indexed || !tpl_is_int(key) || !tpl_length(on, &n))
        return tpl_missing();
    tpl_int i = tpl_to_int(key);
    i = i < 0 ? i + (tpl_int)n : i;
    if (i < 0 || i >= (tpl_int)n)
        return tpl_missing();
    if (tpl_is_seq(on))
        return on.q->v[i];
    if (on.kind == TPL_RANGE)
        return tpl_num(on.r->start + (tpl_int)on.r->step * i);
    size_t at = tpl_offset(on.s, (size_t)i);
    uint32_t cp;
    tpl_charge(t, on.s->chars == on.s->len ? 0 : at / 16);
    return tpl_sub(t, on, at, at + tpl_next_cp(on.s->s + at, on.s->len - at, &cp));
}

struct tpl_val tpl_getattr(struct tpl *t, struct tpl_val on, struct tpl_val name) {
    if (on.kind == TPL_UNDEF)
        tpl_fail_undefined(t, on);
    struct tpl_val v = attribute(t, on, name.s);
    if (v.kind == TPL_MISSING)
        v = item(t, on, name);
    return v.kind == TPL_MISSING ? tpl_undefined_of(t, on, name) : v;
}

struct tpl_val tpl_getitem(struct tpl *t, struct tpl_val on, struct tpl_val key) {
    if (on.kind == TPL_UNDEF)
        tpl_fail_undefined(t, on);
    struct tpl_val v = item(t, on, key);
    if (v.kind == TPL_MISSING && key.kind == TPL_STR)
        v = attribute(t, on, key.s);
    return v.kind == TPL_MISSING ? tpl_undefined_of(t, on, key) : v;
}

static tpl_int clamp(tpl_int i, tpl_int n, bool back) {
    if (i < 0)
        i += n;
    if (i < 0)
        return back ? -1 : 0;
    return i >= n ? (back ? n - 1 : n) : i;
}

/* The count of positions from, from + step, ... that a slice takes. */
static size_t slice_bounds(struct tpl *t, const struct tpl_val part[3], tpl_int n, tpl_int *from, tpl_int *to,
                           tpl_int *step) {
    for (int i = 0; i < 3; i++)
        if (part[i].kind != TPL_NONE && !tpl_is_int(part[i]))
            tpl_fail(t, "slice indices must be integers or None, found %s", tpl_type(part[i]));
    *step = part[2].kind == TPL_NONE ? 1 : tpl_to_int(part[2]);
    if (*step == 0)
        tpl_fail(t, "slice step cannot be zero");
    bool back = *step < 0;
    if (*step > n + 1 || *step < -n - 1)
        *step = back ? -n - 1 : n + 1; /* the same slice, and no overflow */
    *from = part[0].kind == TPL_NONE ? (back ? n - 1 : 0) : clamp(tpl_to_int(part[0]), n, back);
    *to = part[1].kind == TPL_NONE ? (back ? -1 : n) : clamp(tpl_to_int(part[1]), n, back);
    tpl_int span = back ? *from - *to : *to - *from;
    tpl_int size = back ? -*step : *step;
    return span <= 0 ? 0 : (size_t)((span + size - 1) / size);
}

static struct tpl_val slice_str(struct tpl *t, struct tpl_val s, tpl_int from, tpl_int step, size_t n) {
    tpl_charge(t, s.s->len / 16);
    if (step == 1) {
        size_t at = tpl_offset(s.s, (size_t)from);
        return tpl_sub(t, s, at, tpl_offset(s.s, (size_t)from + n));
    }
    size_t *at = tpl_alloc_n(t, s.s->chars + 1, sizeof *at), k = 0;
    for (size_t i = 0; i < s.s->len; i++)
        if (((unsigned char)s.s->s[i] & 0xC0) != 0x80)
            at[k++] = i;
    at[k] = s.s->len;
    struct tpl_sb b = {.t = t};
    for (tpl_int i = from; n; n--, i += step)
        tpl_sb_add(&b, s.s->s + at[i], at[i + 1] - at[i]);
    struct tpl_val v = tpl_sb_done(&b);
    v.safe = s.safe;
    return v;
}

struct tpl_val tpl_slice(struct tpl *t, struct tpl_val on, const struct tpl_val part[3]) {
    size_t n;
    tpl_int from, to, step;
    if (on.kind == TPL_UNDEF)
        tpl_fail_undefined(t, on);
    if ((on.kind != TPL_STR && !tpl_is_seq(on) && on.kind != TPL_RANGE) || !tpl_length(on, &n))
        tpl_fail(t, "'%s' object cannot be sliced", tpl_type(on));
    n = slice_bounds(t, part, (tpl_int)n, &from, &to, &step);
    if (on.kind == TPL_STR)
        return slice_str(t, on, n ? from : 0, n ? step : 1, n);
    if (on.kind == TPL_RANGE) {
        struct tpl_range *r = tpl_alloc(t, sizeof *r);
        *r = (struct tpl_range){(int64_t)(on.r->start + from * on.r->step), (int64_t)(on.r->start + to * on.r->step),
                                (int64_t)(on.r->step * step), n};
        return (struct tpl_val){.kind = TPL_RANGE, .r = r};
    }
    struct tpl_val *v = tpl_alloc_n(t, n, sizeof *v);
    for (size_t i = 0; i < n; i++)
        v[i] = on.q->v[from + (tpl_int)i * step];
    tpl_charge(t, n / 4);
    return tpl_seq(t, on.kind, v, n);
}

struct tpl_path tpl_path_of(struct tpl *t, struct tpl_val attribute_name, struct tpl_val missing) {
    struct tpl_vec parts = {.t = t};
    if (attribute_name.kind != TPL_STR) {
        if (tpl_given(attribute_name))
            tpl_push(&parts, attribute_name);
        return (struct tpl_path){parts.n, parts.v, missing};
    }
    const struct tpl_str *s = attribute_name.s;
    for (size_t at = 0; at <= s->len;) {
        const char *dot = memchr(s->s + at, '.', s->len - at);
        size_t len = dot ? (size_t)(dot - s->s) - at : s->len - at;
        tpl_int number = 0;
        bool digits = len > 0 && len < 19;
        for (size_t i = 0; i < len && digits; i++) {
            digits = s->s[at + i] >= '0' && s->s[at + i] <= '9';
            number = number * 10 + (s->s[at + i] - '0');
        }
        tpl_push(&parts, digits ? tpl_num(number) : tpl_str_borrow(t, s->s + at, len));
        at += len + 1;
    }
    return (struct tpl_path){parts.n, parts.v, missing};
}

struct tpl_val tpl_follow(struct tpl *t, const struct tpl_path *path, struct tpl_val on) {
    for (size_t i = 0; i < path->n; i++) {
        on = tpl_getitem(t, on, path->parts[i]);
        if (on.kind == TPL_UNDEF && tpl_given(path->missing))
            on = path->missing;
    }
    return on;
}
