/* Jinja's filters on sequences and mappings. In all of them `v` is the value the filter is applied to. */
#include <string.h>

#include "text/template/eval.h"

#define FN(name)                                                                                                       \
    static struct tpl_val name(struct tpl *t, struct tpl_val v, const struct tpl_val *a, const struct tpl_args *raw)
#define UNUSED (void)t, (void)v, (void)a, (void)raw

static struct tpl_val fold_case(struct tpl *t, struct tpl_val v) {
    if (v.kind != TPL_STR)
        return v;
    struct tpl_sb b = {.t = t};
    tpl_lower_sigma(&b, v.s->s, v.s->len);
    return tpl_sb_done(&b);
}

static struct tpl_val *copy(struct tpl *t, struct tpl_val list) {
    struct tpl_val *v = tpl_alloc_n(t, list.q->n, sizeof *v);
    if (list.q->n)
        memcpy(v, list.q->v, list.q->n * sizeof *v);
    return v;
}

/* What each item is sorted or compared by. */
static struct tpl_val *keys_of(struct tpl *t, struct tpl_val list, const struct tpl_path *path, bool sensitive) {
    struct tpl_val *keys = copy(t, list);
    for (size_t i = 0; i < list.q->n; i++) {
        keys[i] = tpl_follow(t, path, keys[i]);
        if (!sensitive)
            keys[i] = fold_case(t, keys[i]);
    }
    return keys;
}

FN(f_first) {
    UNUSED;
    struct tpl_iter it = tpl_iterate(t, v);
    struct tpl_val out;
    return tpl_next(t, &it, &out) ? out : tpl_undefined(t, "No first item, sequence was empty.");
}

FN(f_last) {
    UNUSED;
    if (v.kind == TPL_GEN)
        tpl_fail(t, "'generator' object is not reversible");
    struct tpl_val list = tpl_list_of(t, v);
    return list.q->n ? list.q->v[list.q->n - 1] : tpl_undefined(t, "No last item, sequence was empty.");
}

FN(f_list) {
    UNUSED;
    return tpl_list_of(t, v);
}

FN(f_items) {
    UNUSED;
    if (v.kind == TPL_UNDEF)
        return tpl_gen_of(t, tpl_seq(t, TPL_LIST, NULL, 0));
    if (v.kind != TPL_DICT)
        tpl_fail(t, "Can only get item pairs from a mapping.");
    struct tpl_view *view = tpl_alloc(t, sizeof *view);
    *view = (struct tpl_view){TPL_ITEMS, v.d};
    return tpl_gen_of(t, (struct tpl_val){.kind = TPL_VIEW, .view = view});
}

FN(f_join) {
    UNUSED;
    struct tpl_path path = tpl_path_of(t, a[1], tpl_missing());
    struct tpl_val separator = a[0].kind == TPL_MISSING ? tpl_strz(t, "") : tpl_to_str(t, a[0]);
    struct tpl_sb b = {.t = t};
    struct tpl_iter it = tpl_iterate(t, v);
    bool first = true;
    for (struct tpl_val x; tpl_next(t, &it, &x); first = false) {
        if (!first)
            tpl_sb_str(&b, separator.s);
        tpl_print(&b, tpl_follow(t, &path, x));
    }
    return tpl_sb_done(&b);
}

FN(f_reverse) {
    UNUSED;
    static const struct tpl_val all_back[3] = {{.kind = TPL_NONE}, {.kind = TPL_NONE}, {.kind = TPL_INT, .i = -1}};
    if (v.kind == TPL_STR)
        return tpl_slice(t, v, all_back);
    struct tpl_val list = tpl_slice(t, tpl_list_of(t, v), all_back);
    return v.kind == TPL_GEN ? list : tpl_gen_of(t, list);
}

FN(f_sort) {
    UNUSED;
    struct tpl_val list = tpl_list_of(t, v);
    struct tpl_val *items = copy(t, list);
    bool sensitive = tpl_arg_bool(t, a[1], false);
    size_t n = list.q->n;
    if (a[2].kind == TPL_STR && memchr(a[2].s->s, ',', a[2].s->len)) { /* by several attributes */
        struct tpl_val names = tpl_call_builtin(t, tpl_lookup(tpl_str_methods, &(struct tpl_str){"split", 5, 5}), a[2],
                                                &(struct tpl_args){.n = 1, .v = (struct tpl_val[]){tpl_strz(t, ",")}});
        struct tpl_val *keys = copy(t, list);
        for (size_t i = 0; i < n; i++) {
            struct tpl_vec parts = {.t = t};
            for (size_t k = 0; k < names.q->n; k++) {
                struct tpl_path path = tpl_path_of(t, names.q->v[k], tpl_missing());
                struct tpl_val key = tpl_follow(t, &path, items[i]);
                tpl_push(&parts, sensitive ? key : fold_case(t, key));
            }
            keys[i] = tpl_vec_done(&parts, TPL_LIST);
        }
        tpl_sort(t, keys, items, n, tpl_arg_bool(t, a[0], false));
        return tpl_seq(t, TPL_LIST, items, n);
    }
    struct tpl_path path = tpl_path_of(t, a[2], tpl_missing());
    tpl_sort(t, keys_of(t, list, &path, sensitive), items, n, tpl_arg_bool(t, a[0], false));
    return tpl_seq(t, TPL_LIST, items, n);
}

FN(f_dictsort) {
    UNUSED;
    struct tpl_val by = tpl_arg_str(t, a[1], "key");
    bool value = tpl_str_is(by.s, "value");
    if (!value && !tpl_str_is(by.s, "key"))
        tpl_fail(t, "You can only sort by either \"key\" or \"value\"");
    if (v.kind != TPL_DICT)
        tpl_fail(t, "dictsort needs a mapping, found %s", tpl_type(v));
    struct tpl_vec items = {.t = t}, keys = {.t = t};
    for (size_t i = 0; i < v.d->n; i++) {
        struct tpl_val key = value ? v.d->e[i].value : v.d->e[i].key;
        tpl_push(&items, tpl_pair(t, v.d->e[i].key, v.d->e[i].value));
        tpl_push(&keys, tpl_arg_bool(t, a[0], false) ? key : fold_case(t, key));
    }
    tpl_sort(t, keys.v, items.v, items.n, tpl_arg_bool(t, a[2], false));
    return tpl_vec_done(&items, TPL_LIST);
}

FN(f_unique) {
    UNUSED;
    struct tpl_val list = tpl_list_of(t, v);
    struct tpl_path path = tpl_path_of(t, a[1], tpl_missing());
    struct tpl_val *keys = keys_of(t, list, &path, tpl_arg_bool(t, a[0], false));
    struct tpl_dict *seen = tpl_dict_new(t);
    struct tpl_vec out = {.t = t};
    for (size_t i = 0; i < list.q->n; i++)
        if (!tpl_dict_get(t, seen, keys[i])) {
            tpl_dict_set(t, seen, keys[i], tpl_none());
            tpl_push(&out, list.q->v[i]);
        }
    return tpl_gen_of(t, tpl_vec_done(&out, TPL_LIST));
}

static struct tpl_val extreme(struct tpl *t, struct tpl_val v, const struct tpl_val *a, bool most) {
    struct tpl_val list = tpl_list_of(t, v);
    struct tpl_path path = tpl_path_of(t, a[1], tpl_missing());
    struct tpl_val *keys = keys_of(t, list, &path, tpl_arg_bool(t, a[0], false));
    if (!list.q->n)
        return tpl_undefined(t, "No aggregated item, sequence was empty.");
    size_t best = 0;
    for (size_t i = 1; i < list.q->n; i++)
        if (tpl_compare(t, keys[i], keys[best], most ? ">" : "<") == (most ? 1 : -1))
            best = i;
    return list.q->v[best];
}

FN(f_min) {
    UNUSED;
    return extreme(t, v, a, false);
}

FN(f_max) {
    UNUSED;
    return extreme(t, v, a, true);
}

FN(f_sum) {
    UNUSED;
    struct tpl_path path = tpl_path_of(t, a[0], tpl_missing());
    struct tpl_val sum = a[1].kind == TPL_MISSING ? tpl_num(0) : a[1];
    if (sum.kind == TPL_STR)
        tpl_fail(t, "sum() can't sum strings [use ''.join(seq) instead]");
    struct tpl_iter it = tpl_iterate(t, v);
    for (struct tpl_val x; tpl_next(t, &it, &x);)
        sum = tpl_binary(t, '+', sum, tpl_follow(t, &path, x));
    return sum;
}

FN(f_batch) {
    UNUSED;
    struct tpl_vec out = {.t = t}, row = {.t = t};
    tpl_int per = tpl_arg_int(t, a[0], 0);
    struct tpl_iter it = tpl_iterate(t, v);
    for (struct tpl_val x; tpl_next(t, &it, &x);) {
        if ((tpl_int)row.n == per) {
            tpl_push(&out, tpl_vec_done(&row, TPL_LIST));
            row = (struct tpl_vec){.t = t};
        }
        tpl_push(&row, x);
    }
    if (row.n) {
        if (per > TPL_MAX_RANGE)
            tpl_fail(t, "batch's count is too large");
        while (tpl_given(a[1]) && (tpl_int)row.n < per)
            tpl_push(&row, a[1]);
        tpl_push(&out, tpl_vec_done(&row, TPL_LIST));
    }
    return tpl_gen_of(t, tpl_vec_done(&out, TPL_LIST));
}

FN(f_slice) {
    UNUSED;
    struct tpl_val list = tpl_list_of(t, v);
    tpl_int slices = tpl_arg_int(t, a[0], 0);
    if (slices == 0)
        tpl_fail(t, "integer division or modulo by zero");
    if (slices > TPL_MAX_RANGE)
        tpl_fail(t, "slice's count is too large");
    struct tpl_vec out = {.t = t};
    tpl_int n = (tpl_int)list.q->n, at = 0;
    for (tpl_int i = 0; i < slices; i++) {
        struct tpl_vec row = {.t = t};
        tpl_int size = n / slices + (i < n % slices);
        for (; size; size--)
            tpl_push(&row, list.q->v[at++]);
        if (tpl_given(a[1]) && i >= n % slices)
            tpl_push(&row, a[1]);
        tpl_push(&out, tpl_vec_done(&row, TPL_LIST));
    }
    return tpl_gen_of(t, tpl_vec_done(&out, TPL_LIST));
}

FN(f_groupby) {
    UNUSED;
    struct tpl_val list = tpl_list_of(t, v);
    bool sensitive = tpl_arg_bool(t, a[2], false);
    struct tpl_path path = tpl_path_of(t, a[0], a[1]);
    struct tpl_val *keys = keys_of(t, list, &path, sensitive), *items = copy(t, list);
    tpl_sort(t, keys, items, list.q->n, false);
    struct tpl_vec out = {.t = t};
    for (size_t i = 0, end; i < list.q->n; i = end) {
        for (end = i + 1; end < list.q->n && tpl_equal(t, keys[i], keys[end]); end++)
            ;
        struct tpl_val *pair = tpl_alloc_n(t, 2, sizeof *pair);
        pair[0] = tpl_follow(t, &path, items[i]);
        pair[1] = tpl_seq(t, TPL_LIST, items + i, end - i);
        struct tpl_seq *q = tpl_alloc(t, sizeof *q);
        *q = (struct tpl_seq){2, pair, true};
        tpl_push(&out, (struct tpl_val){.kind = TPL_TUPLE, .q = q});
    }
    return tpl_vec_done(&out, TPL_LIST);
}

static struct tpl_val generator(struct tpl *t, struct tpl_gen from) {
    struct tpl_gen *g = tpl_alloc(t, sizeof *g);
    *g = from;
    return (struct tpl_val){.kind = TPL_GEN, .g = g};
}

static struct tpl_args rest(const struct tpl_args *raw, size_t skip) {
    return (struct tpl_args){raw->n - skip, raw->nk, raw->v + skip, raw->k};
}

static struct tpl_iter source(struct tpl *t, struct tpl_val v) {
    return tpl_iterate(t, tpl_truth(t, v) ? v : tpl_seq(t, TPL_LIST, NULL, 0));
}

FN(f_map) {
    UNUSED;
    struct tpl_val attribute = tpl_missing(), missing = tpl_missing();
    if (raw->n) {
        struct tpl_val name = tpl_arg_str(t, raw->v[0], NULL);
        const struct tpl_builtin *fn = tpl_find_filter(name.s);
        if (!fn)
            tpl_fail(t, "map: there is no such filter");
        return generator(t,
                         (struct tpl_gen){.kind = TPL_GEN_MAP, .source = source(t, v), .fn = fn, .args = rest(raw, 1)});
    }
    for (size_t i = 0; i < raw->nk; i++) {
        if (tpl_str_is(raw->k[i].name, "attribute"))
            attribute = raw->k[i].v;
        else if (tpl_str_is(raw->k[i].name, "default"))
            missing = raw->k[i].v;
        else
            tpl_fail(t, "map got an unexpected keyword argument");
    }
    if (attribute.kind == TPL_MISSING)
        tpl_fail(t, "map requires a filter argument");
    return generator(
        t,
        (struct tpl_gen){.kind = TPL_GEN_MAP_PATH, .source = source(t, v), .path = tpl_path_of(t, attribute, missing)});
}

static struct tpl_val select_or_reject(struct tpl *t, struct tpl_val v, const struct tpl_args *raw, bool by_path,
                                       bool keep) {
    struct tpl_gen g = {.kind = TPL_GEN_SELECT, .source = source(t, v), .by_path = by_path, .keep = keep};
    if (by_path && !raw->n)
        tpl_fail(t, "Missing parameter for attribute name");
    if (by_path)
        g.path = tpl_path_of(t, raw->v[0], tpl_missing());
    if (raw->n > by_path) {
        g.fn = tpl_lookup(tpl_tests, tpl_arg_str(t, raw->v[by_path], NULL).s);
        g.args = rest(raw, 1u + by_path);
        if (!g.fn)
            tpl_fail(t, "there is no such test");
    }
    return generator(t, g);
}

FN(f_select) {
    UNUSED;
    return select_or_reject(t, v, raw, false, true);
}
FN(f_reject) {
    UNUSED;
    return select_or_reject(t, v, raw, false, false);
}
FN(f_selectattr) {
    UNUSED;
    return select_or_reject(t, v, raw, true, true);
}
FN(f_rejectattr) {
    UNUSED;
    return select_or_reject(t, v, raw, true, false);
}

const struct tpl_builtin tpl_filters_seq[] = {
    {"batch", f_batch, "linecount fill_with?"},
    {"dictsort", f_dictsort, "case_sensitive? by? reverse?"},
    {"first", f_first, ""},
    {"groupby", f_groupby, "attribute default? case_sensitive?"},
    {"items", f_items, ""},
    {"join", f_join, "d? attribute?"},
    {"last", f_last, ""},
    {"list", f_list, ""},
    {"map", f_map, NULL},
    {"max", f_max, "case_sensitive? attribute?"},
    {"min", f_min, "case_sensitive? attribute?"},
    {"reject", f_reject, NULL},
    {"rejectattr", f_rejectattr, NULL},
    {"reverse", f_reverse, ""},
    {"select", f_select, NULL},
    {"selectattr", f_selectattr, NULL},
    {"slice", f_slice, "slices fill_with?"},
    {"sort", f_sort, "reverse? case_sensitive? attribute?"},
    {"sum", f_sum, "attribute? start?"},
    {"unique", f_unique, "case_sensitive? attribute?"},
    {0},
};
