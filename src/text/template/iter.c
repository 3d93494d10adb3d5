/* Iteration over any value, generators that run as they are read, and sorting. */
#include <string.h>

#include "text/template/eval.h"

bool tpl_iterable(struct tpl_val v) {
    switch ((enum tpl_kind)v.kind) {
    case TPL_UNDEF:
    case TPL_STR:
    case TPL_LIST:
    case TPL_TUPLE:
    case TPL_DICT:
    case TPL_VIEW:
    case TPL_RANGE:
    case TPL_GEN: return true;
    default: return false;
    }
}

struct tpl_iter tpl_iterate(struct tpl *t, struct tpl_val of) {
    if (!tpl_iterable(of))
        tpl_fail(t, "'%s' object is not iterable", tpl_type(of));
    return (struct tpl_iter){.of = of};
}

static bool gen_next(struct tpl *t, struct tpl_gen *g, struct tpl_val *out);

bool tpl_next(struct tpl *t, struct tpl_iter *it, struct tpl_val *out) {
    tpl_charge(t, 1);
    switch ((enum tpl_kind)it->of.kind) {
    case TPL_LIST:
    case TPL_TUPLE:
        if (it->at >= it->of.q->n)
            return false;
        *out = it->of.q->v[it->at++];
        return true;
    case TPL_STR: {
        const struct tpl_str *s = it->of.s;
        uint32_t cp;
        if (it->at >= s->len)
            return false;
        size_t len = tpl_next_cp(s->s + it->at, s->len - it->at, &cp);
        *out = tpl_str_borrow(t, s->s + it->at, len);
        it->at += len;
        return true;
    }
    case TPL_DICT:
    case TPL_VIEW: {
        const struct tpl_dict *d = it->of.kind == TPL_DICT ? it->of.d : it->of.view->d;
        enum tpl_view_kind kind = it->of.kind == TPL_DICT ? TPL_KEYS : it->of.view->kind;
        if (it->at >= d->n)
            return false;
        const struct tpl_entry *e = &d->e[it->at++];
        *out = kind == TPL_KEYS ? e->key : kind == TPL_VALUES ? e->value : tpl_pair(t, e->key, e->value);
        return true;
    }
    case TPL_RANGE:
        if (it->at >= it->of.r->n)
            return false;
        *out = tpl_num((tpl_int)it->of.r->start + (tpl_int)it->of.r->step * (tpl_int)it->at++);
        return true;
    case TPL_GEN: {
        tpl_enter(t);
        bool any = gen_next(t, it->of.g, out);
        tpl_exit(t);
        return any;
    }
    default: return false;
    }
}

static bool gen_next(struct tpl *t, struct tpl_gen *g, struct tpl_val *out) {
    struct tpl_val item;
    while (tpl_next(t, &g->source, &item)) {
        bool pass = true;
        *out = item;
        switch (g->kind) {
        case TPL_GEN_SEQ: break;
        case TPL_GEN_MAP_PATH: *out = tpl_follow(t, &g->path, item); break;
        case TPL_GEN_MAP: *out = tpl_call_builtin(t, g->fn, item, &g->args); break;
        case TPL_GEN_SELECT: {
            struct tpl_val v = g->by_path ? tpl_follow(t, &g->path, item) : item;
            if (g->fn)
                v = tpl_call_builtin(t, g->fn, v, &g->args);
            pass = tpl_truth(t, v) == g->keep;
            break;
        }
        case TPL_GEN_FOR: pass = tpl_for_test(t, g->node, g->frame, item); break;
        }
        if (pass)
            return true;
    }
    return false;
}

bool tpl_length(struct tpl_val v, size_t *n) {
    switch ((enum tpl_kind)v.kind) {
    case TPL_UNDEF: *n = 0; return true;
    case TPL_STR: *n = v.s->chars; return true;
    case TPL_LIST:
    case TPL_TUPLE: *n = v.q->n; return true;
    case TPL_DICT: *n = v.d->n; return true;
    case TPL_VIEW: *n = v.view->d->n; return true;
    case TPL_RANGE: *n = v.r->n; return true;
    default: return false;
    }
}

struct tpl_val tpl_list_of(struct tpl *t, struct tpl_val v) {
    if (v.kind == TPL_LIST)
        return v;
    if (v.kind == TPL_TUPLE)
        return tpl_seq(t, TPL_LIST, v.q->v, v.q->n);
    struct tpl_vec out = {.t = t};
    struct tpl_iter it = tpl_iterate(t, v);
    for (struct tpl_val x; tpl_next(t, &it, &x);)
        tpl_push(&out, x);
    return tpl_vec_done(&out, TPL_LIST);
}

struct tpl_val tpl_gen_of(struct tpl *t, struct tpl_val list) {
    struct tpl_gen *g = tpl_alloc(t, sizeof *g);
    *g = (struct tpl_gen){.kind = TPL_GEN_SEQ, .source = tpl_iterate(t, list)};
    return (struct tpl_val){.kind = TPL_GEN, .g = g};
}

void tpl_sort(struct tpl *t, struct tpl_val *keys, struct tpl_val *v, size_t n, bool reverse) {
    struct pair {
        struct tpl_val key, value;
    } *from = tpl_alloc_n(t, n, sizeof *from), *to = tpl_alloc_n(t, n, sizeof *to);
    for (size_t i = 0; i < n; i++)
        from[i] = (struct pair){keys[i], v[i]};
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t start = 0; start < n; start += 2 * width) {
            size_t mid = start + width < n ? start + width : n, end = mid + width < n ? mid + width : n;
            size_t a = start, b = mid;
            for (size_t k = start; k < end; k++) {
                bool right = a >= mid;
                if (!right && b < end) /* Python asks only whether one is less */
                    right = reverse ? tpl_compare(t, from[a].key, from[b].key, "<") == -1
                                    : tpl_compare(t, from[b].key, from[a].key, "<") == -1;
                to[k] = right ? from[b++] : from[a++];
            }
        }
        struct pair *swap = from;
        from = to;
        to = swap;
    }
    for (size_t i = 0; i < n; i++) {
        keys[i] = from[i].key;
        v[i] = from[i].value;
    }
}
