/* Expressions to values, and calls. The tree is walked; depth and steps are counted at each node. The
 * operators are in ops.c, attributes in attr.c, statements in exec.c. */
#include <string.h>

#include "text/template/eval.h"

static struct tpl_val eval_name(struct tpl *t, struct tpl_frame *f, const struct tpl_node *n) {
    for (int i = 0; i < n->hops; i++)
        f = f->parent;
    struct tpl_val v = f->slots[n->slot];
    return v.kind == TPL_MISSING ? tpl_undefined_name(t, n->name) : v;
}

static struct tpl_val eval_seq(struct tpl *t, struct tpl_frame *f, const struct tpl_node *n) {
    struct tpl_val *v = tpl_alloc_n(t, n->kids.n, sizeof *v);
    for (size_t i = 0; i < n->kids.n; i++)
        v[i] = tpl_eval(t, f, n->kids.v[i]);
    return tpl_seq(t, n->type == N_LIST ? TPL_LIST : TPL_TUPLE, v, n->kids.n);
}

static struct tpl_val eval_dict(struct tpl *t, struct tpl_frame *f, const struct tpl_node *n) {
    struct tpl_dict *d = tpl_dict_new(t);
    for (size_t i = 0; i + 1 < n->kids.n; i += 2) {
        struct tpl_val key = tpl_eval(t, f, n->kids.v[i]);
        tpl_dict_set(t, d, key, tpl_eval(t, f, n->kids.v[i + 1]));
    }
    return tpl_of_dict(d);
}

static struct tpl_val eval_cond(struct tpl *t, struct tpl_frame *f, const struct tpl_node *n) {
    if (tpl_truth(t, tpl_eval(t, f, n->b)))
        return tpl_eval(t, f, n->a);
    if (n->c)
        return tpl_eval(t, f, n->c);
    return tpl_undefined(t, "the inline if-expression evaluated to false and no else section was defined");
}

static bool compare(struct tpl *t, int op, struct tpl_val a, struct tpl_val b) {
    int c;
    switch (op) {
    case TOK_EQ: return tpl_equal(t, a, b);
    case TOK_NE: return !tpl_equal(t, a, b);
    case OP_IN: return tpl_contains(t, b, a);
    case OP_NOT_IN: return !tpl_contains(t, b, a);
    case '<': return tpl_compare(t, a, b, "<") == -1;
    case '>': return tpl_compare(t, a, b, ">") == 1;
    case TOK_LE: c = tpl_compare(t, a, b, "<="); return c == -1 || c == 0;
    default: c = tpl_compare(t, a, b, ">="); return c == 1 || c == 0;
    }
}

static struct tpl_val eval_compare(struct tpl *t, struct tpl_frame *f, const struct tpl_node *n) {
    struct tpl_val left = tpl_eval(t, f, n->a);
    for (size_t i = 0; i < n->kids.n; i++) {
        struct tpl_val right = tpl_eval(t, f, n->kids.v[i]->a);
        if (!compare(t, n->kids.v[i]->op, left, right))
            return tpl_bool(false);
        left = right;
    }
    return tpl_bool(true);
}

static struct tpl_val eval_concat(struct tpl *t, struct tpl_frame *f, const struct tpl_node *n) {
    struct tpl_val *v = tpl_alloc_n(t, n->kids.n, sizeof *v);
    struct tpl_sb b = {.t = t};
    for (size_t i = 0; i < n->kids.n; i++)
        v[i] = tpl_eval(t, f, n->kids.v[i]);
    for (size_t i = 0; i < n->kids.n; i++)
        tpl_print(&b, v[i]);
    return tpl_sb_done(&b);
}

static struct tpl_val eval_item(struct tpl *t, struct tpl_frame *f, const struct tpl_node *n) {
    struct tpl_val on = tpl_eval(t, f, n->a), part[3];
    if (n->b->type != N_SLICE)
        return tpl_getitem(t, on, tpl_eval(t, f, n->b));
    const struct tpl_node *each[3] = {n->b->a, n->b->b, n->b->c};
    for (int i = 0; i < 3; i++)
        part[i] = each[i] ? tpl_eval(t, f, each[i]) : tpl_none();
    return tpl_slice(t, on, part);
}

/* The arguments of a call, a filter or a test. */
static struct tpl_args eval_args(struct tpl *t, struct tpl_frame *f, const struct tpl_node *n) {
    struct tpl_vec v = {.t = t};
    for (size_t i = 0; i < n->kids.n; i++)
        tpl_push(&v, tpl_eval(t, f, n->kids.v[i]));
    if (n->b) {
        struct tpl_iter it = tpl_iterate(t, tpl_eval(t, f, n->b));
        for (struct tpl_val x; tpl_next(t, &it, &x);)
            tpl_push(&v, x);
    }
    size_t nk = n->more.n;
    const struct tpl_dict *d = NULL;
    struct tpl_val keywords = n->c ? tpl_eval(t, f, n->c) : tpl_none();
    if (n->c) {
        if (keywords.kind != TPL_DICT)
            tpl_fail(t, "argument after ** must be a mapping, not %s", tpl_type(keywords));
        d = keywords.d;
        nk += d->n;
    }
    struct tpl_kwarg *k = nk ? tpl_alloc_n(t, nk, sizeof *k) : NULL;
    for (size_t i = 0; i < n->more.n; i++)
        k[i] = (struct tpl_kwarg){n->more.v[i]->name, tpl_eval(t, f, n->more.v[i]->a)};
    for (size_t i = 0; d && i < d->n; i++) {
        if (d->e[i].key.kind != TPL_STR)
            tpl_fail(t, "keywords must be strings");
        k[n->more.n + i] = (struct tpl_kwarg){d->e[i].key.s, d->e[i].value};
    }
    return (struct tpl_args){v.n, nk, v.v, k};
}

enum { MAX_PARAMS = 8 };

static size_t split_params(const char *params, struct tpl_str *names, bool *optional) {
    size_t n = 0;
    while (*params && n < MAX_PARAMS) {
        size_t len = strcspn(params, " ");
        optional[n] = params[len - 1] == '?';
        names[n] = (struct tpl_str){params, len - optional[n], 0};
        n++;
        params += len + (params[len] == ' ');
    }
    return n;
}

struct tpl_val tpl_call_builtin(struct tpl *t, const struct tpl_builtin *b, struct tpl_val self,
                                const struct tpl_args *args) {
    struct tpl_val a[MAX_PARAMS];
    struct tpl_str names[MAX_PARAMS];
    bool optional[MAX_PARAMS];
    tpl_charge(t, 2);
    if (!b->fn)
        tpl_fail(t, "%s() is not supported", b->name);
    if (!b->params)
        return b->fn(t, self, NULL, args);
    size_t n = split_params(b->params, names, optional);
    if (args->n > n)
        tpl_fail(t, "%s() takes at most %zu arguments, found %zu", b->name, n, args->n);
    for (size_t i = 0; i < n; i++)
        a[i] = i < args->n ? args->v[i] : tpl_missing();
    for (size_t k = 0; k < args->nk; k++) {
        const struct tpl_str *name = args->k[k].name;
        size_t i = 0;
        while (i < n && (names[i].len != name->len || memcmp(names[i].s, name->s, name->len) != 0))
            i++;
        if (i == n || a[i].kind != TPL_MISSING)
            tpl_fail(t, "%s() got an unexpected keyword argument '%.*s'", b->name,
                     (int)(name->len < 60 ? name->len : 60), name->s);
        a[i] = args->k[k].v;
    }
    for (size_t i = 0; i < n; i++)
        if (a[i].kind == TPL_MISSING && !optional[i])
            tpl_fail(t, "%s() is missing its argument '%.*s'", b->name, (int)names[i].len, names[i].s);
    return b->fn(t, self, a, args);
}

struct tpl_val tpl_call(struct tpl *t, struct tpl_val fn, const struct tpl_args *args) {
    switch ((enum tpl_kind)fn.kind) {
    case TPL_METHOD: return tpl_call_builtin(t, fn.method->b, fn.method->self, args);
    case TPL_MACRO: return tpl_call_macro(t, fn.m, args);
    case TPL_LOOP: return tpl_call_loop(t, fn.loop, args);
    case TPL_JOINER: {
        bool joined = fn.c->joined;
        fn.c->joined = true;
        return joined ? fn.c->items->v[0] : tpl_strz(t, "");
    }
    case TPL_UNDEF: tpl_fail_undefined(t, fn);
    default: tpl_fail(t, "'%s' object is not callable", tpl_type(fn));
    }
}

static struct tpl_val eval_call(struct tpl *t, struct tpl_frame *f, const struct tpl_node *n) {
    struct tpl_val fn = tpl_eval(t, f, n->a);
    struct tpl_args args = eval_args(t, f, n);
    t->line = n->line;
    return tpl_call(t, fn, &args);
}

struct tpl_val tpl_call_with_caller(struct tpl *t, struct tpl_frame *f, const struct tpl_node *n,
                                    struct tpl_val caller) {
    struct tpl_val fn = tpl_eval(t, f, n->a);
    struct tpl_args args = eval_args(t, f, n);
    struct tpl_kwarg *k = tpl_alloc_n(t, args.nk + 1, sizeof *k);
    if (args.nk)
        memcpy(k, args.k, args.nk * sizeof *k);
    k[args.nk++] = (struct tpl_kwarg){tpl_strz(t, "caller").s, caller};
    args.k = k;
    return tpl_call(t, fn, &args);
}

static const struct tpl_builtin *builtin_of(struct tpl *t, const struct tpl_node *n) {
    t->line = n->line;
    if (!n->builtin)
        tpl_fail(t, "No %s named '%.*s' found", n->type == N_FILTER ? "filter" : "test",
                 (int)(n->name->len < 60 ? n->name->len : 60), n->name->s);
    return n->builtin;
}

/* on: the text of a filter or set block, for a chain that has no value of its own. */
struct tpl_val tpl_apply_filter(struct tpl *t, struct tpl_frame *f, const struct tpl_node *n, struct tpl_val on) {
    tpl_enter(t);
    if (n->a)
        on = n->a->type == N_FILTER ? tpl_apply_filter(t, f, n->a, on) : tpl_eval(t, f, n->a);
    struct tpl_args args = eval_args(t, f, n);
    struct tpl_val v = tpl_call_builtin(t, builtin_of(t, n), on, &args);
    tpl_exit(t);
    return v;
}

static struct tpl_val eval_test(struct tpl *t, struct tpl_frame *f, const struct tpl_node *n) {
    struct tpl_val on = tpl_eval(t, f, n->a);
    struct tpl_args args = eval_args(t, f, n);
    return tpl_call_builtin(t, builtin_of(t, n), on, &args);
}

static struct tpl_val eval_binary(struct tpl *t, struct tpl_frame *f, const struct tpl_node *n) {
    struct tpl_val a = tpl_eval(t, f, n->a);
    struct tpl_val b = tpl_eval(t, f, n->b);
    t->line = n->line;
    return tpl_binary(t, n->op, a, b);
}

static struct tpl_val eval_sign(struct tpl *t, struct tpl_frame *f, const struct tpl_node *n) {
    struct tpl_val v = tpl_eval(t, f, n->a);
    if (v.kind == TPL_UNDEF)
        tpl_fail_undefined(t, v);
    if (!tpl_is_num(v))
        tpl_fail(t, "bad operand type for unary %c: '%s'", n->type == N_NEG ? '-' : '+', tpl_type(v));
    return n->type == N_NEG ? tpl_negate(t, v) : v.kind == TPL_BOOL ? tpl_num(v.b) : v;
}

static struct tpl_val eval_logic(struct tpl *t, struct tpl_frame *f, const struct tpl_node *n) {
    struct tpl_val v = tpl_eval(t, f, n->a);
    return tpl_truth(t, v) == (n->type == N_OR) ? v : tpl_eval(t, f, n->b);
}

static struct tpl_val eval_inner(struct tpl *t, struct tpl_frame *f, const struct tpl_node *n) {
    switch (n->type) {
    case N_CONST: return n->value;
    case N_NAME: return eval_name(t, f, n);
    case N_TUPLE:
    case N_LIST: return eval_seq(t, f, n);
    case N_DICT: return eval_dict(t, f, n);
    case N_COND: return eval_cond(t, f, n);
    case N_OR:
    case N_AND: return eval_logic(t, f, n);
    case N_NOT: return tpl_bool(!tpl_truth(t, tpl_eval(t, f, n->a)));
    case N_COMPARE: return eval_compare(t, f, n);
    case N_BINARY: return eval_binary(t, f, n);
    case N_CONCAT: return eval_concat(t, f, n);
    case N_NEG:
    case N_POS: return eval_sign(t, f, n);
    case N_GETATTR: return tpl_getattr(t, tpl_eval(t, f, n->a), (struct tpl_val){.kind = TPL_STR, .s = n->name});
    case N_GETITEM: return eval_item(t, f, n);
    case N_CALL: return eval_call(t, f, n);
    case N_FILTER: return tpl_apply_filter(t, f, n, tpl_none());
    case N_TEST: return eval_test(t, f, n);
    default: tpl_fail(t, "unexpected slice");
    }
}

struct tpl_val tpl_eval(struct tpl *t, struct tpl_frame *f, const struct tpl_node *n) {
    tpl_enter(t);
    tpl_charge(t, 1);
    t->line = n->line;
    struct tpl_val v = eval_inner(t, f, n);
    tpl_exit(t);
    return v;
}
