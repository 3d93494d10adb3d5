/* The methods of Python's dict, list and tuple that do not change them. `v` is the object. */
#include "text/template/eval.h"

#define FN(name)                                                                                                       \
    static struct tpl_val name(struct tpl *t, struct tpl_val v, const struct tpl_val *a, const struct tpl_args *raw)
#define UNUSED (void)t, (void)v, (void)a, (void)raw

FN(d_get) {
    UNUSED;
    const struct tpl_val *found = tpl_dict_get(t, v.d, a[0]);
    return found ? *found : a[1].kind == TPL_MISSING ? tpl_none() : a[1];
}

static struct tpl_val view(struct tpl *t, struct tpl_val v, enum tpl_view_kind kind) {
    struct tpl_view *made = tpl_alloc(t, sizeof *made);
    *made = (struct tpl_view){kind, v.d};
    return (struct tpl_val){.kind = TPL_VIEW, .view = made};
}

FN(d_keys) {
    UNUSED;
    return view(t, v, TPL_KEYS);
}
FN(d_values) {
    UNUSED;
    return view(t, v, TPL_VALUES);
}
FN(d_items) {
    UNUSED;
    return view(t, v, TPL_ITEMS);
}

/* Nothing can change either of the two. */
FN(m_copy) {
    UNUSED;
    return v;
}

FN(d_fromkeys) {
    UNUSED;
    struct tpl_dict *d = tpl_dict_new(t);
    struct tpl_iter it = tpl_iterate(t, a[0]);
    for (struct tpl_val key; tpl_next(t, &it, &key);)
        tpl_dict_set(t, d, key, a[1].kind == TPL_MISSING ? tpl_none() : a[1]);
    return tpl_of_dict(d);
}

FN(l_index) {
    UNUSED;
    tpl_int n = (tpl_int)v.q->n, from = tpl_arg_int(t, a[1], 0), to = tpl_arg_int(t, a[2], n);
    from = from < 0 ? (from + n < 0 ? 0 : from + n) : from;
    to = to < 0 ? to + n : to > n ? n : to;
    for (tpl_int i = from; i < to; i++)
        if (tpl_equal(t, v.q->v[i], a[0]))
            return tpl_num(i);
    tpl_fail(t, "the value is not in the %s", tpl_type(v));
}

FN(l_count) {
    UNUSED;
    size_t n = 0;
    for (size_t i = 0; i < v.q->n; i++)
        n += tpl_equal(t, v.q->v[i], a[0]);
    return tpl_num((tpl_int)n);
}

const struct tpl_builtin tpl_dict_methods[] = {
    {"get", d_get, "key default?"},
    {"keys", d_keys, ""},
    {"values", d_values, ""},
    {"items", d_items, ""},
    {"copy", m_copy, ""},
    {"fromkeys", d_fromkeys, "iterable value?"},
    {0},
};
const struct tpl_builtin tpl_list_methods[] = {
    {"index", l_index, "value start? stop?"}, {"count", l_count, "value"}, {"copy", m_copy, ""}, {0}};
const struct tpl_builtin tpl_tuple_methods[] = {
    {"index", l_index, "value start? stop?"}, {"count", l_count, "value"}, {0}};
