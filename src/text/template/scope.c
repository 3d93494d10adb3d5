/* Which variable a name means. Jinja decides this when it compiles, per scope (the template, the body of a
 * for, a macro, a with, ...): a scope's variables are known before it runs, and each is on entry a
 * parameter, looked up in the context, copied from an outer scope, or not set. The same is done here, with
 * the same order of visits, so that the odd cases (set in one branch only, set after use in a loop) agree.
 * In the flow: after the parser, before anything runs. Filters and tests are found here too. */
#include <string.h>

#include "text/template/eval.h"

struct resolver {
    struct tpl *t;
    bool soft;    /* an unknown filter is an error only when it is reached: inside an if */
    bool in_loop; /* break and continue have a loop to leave */
    bool in_for;  /* anywhere inside one, where "loop" cannot be set */
};

static struct tpl_scope *new_scope(struct tpl *t, struct tpl_scope *parent) {
    struct tpl_scope *s = tpl_alloc(t, sizeof *s);
    *s = (struct tpl_scope){.parent = parent};
    return s;
}

static bool same_name(const struct tpl_str *a, const struct tpl_str *b) {
    return a->len == b->len && memcmp(a->s, b->s, a->len) == 0;
}

static struct tpl_symbol *find_here(struct tpl *t, const struct tpl_scope *s, const struct tpl_str *name) {
    tpl_charge(t, s->n / 4 + 1);
    for (size_t i = 0; i < s->n; i++)
        if (same_name(s->v[i].name, name))
            return &s->v[i];
    return NULL;
}

/* In s or a scope around it. */
static struct tpl_symbol *find(struct tpl *t, const struct tpl_scope *s, const struct tpl_str *name, int *hops,
                               int *slot) {
    *hops = 0;
    for (; s; s = s->parent, ++*hops) {
        struct tpl_symbol *symbol = find_here(t, s, name);
        if (symbol) {
            *slot = (int)(symbol - s->v);
            return symbol;
        }
    }
    return NULL;
}

static struct tpl_symbol *define(struct tpl *t, struct tpl_scope *s, const struct tpl_str *name, enum tpl_load load) {
    struct tpl_symbol *here = find_here(t, s, name);
    if (!here) {
        if (s->n == s->cap) {
            size_t cap = s->cap ? s->cap * 2 : 8;
            struct tpl_symbol *grown = tpl_alloc_n(t, cap, sizeof *grown);
            if (s->n)
                memcpy(grown, s->v, s->n * sizeof *grown);
            s->v = grown;
            s->cap = cap;
        }
        here = &s->v[s->n++];
        *here = (struct tpl_symbol){.name = name};
    }
    here->load = load;
    return here;
}

static void symbol_load(struct tpl *t, struct tpl_scope *s, const struct tpl_str *name) {
    int hops, slot;
    if (!find(t, s, name, &hops, &slot))
        define(t, s, name, TPL_FROM_CONTEXT);
}

/* From the scope around if it knows the name, else as `load`. */
static void from_outer(struct tpl *t, struct tpl_scope *s, struct tpl_symbol *symbol, enum tpl_load load) {
    int hops, slot;
    symbol->load = load;
    if (s->parent && find(t, s->parent, symbol->name, &hops, &slot)) {
        symbol->load = TPL_FROM_OUTER;
        symbol->hops = hops + 1;
        symbol->slot = slot;
    }
}

static void symbol_store(struct tpl *t, struct tpl_scope *s, const struct tpl_str *name) {
    struct tpl_symbol *symbol = find_here(t, s, name);
    if (!symbol) {
        symbol = define(t, s, name, TPL_NOT_SET);
        from_outer(t, s, symbol, TPL_NOT_SET);
    }
    symbol->stored = true;
}

/* Returns the variable's slot. */
static int declare(struct tpl *t, struct tpl_scope *s, const struct tpl_str *name) {
    struct tpl_symbol *symbol = define(t, s, name, TPL_BY_CALLER);
    symbol->stored = true;
    return (int)(symbol - s->v);
}

static void visit(struct tpl *t, struct tpl_scope *s, const struct tpl_node *n, bool as_param);

static void visit_list(struct tpl *t, struct tpl_scope *s, const struct tpl_list *l, bool as_param) {
    for (size_t i = 0; i < l->n; i++)
        visit(t, s, l->v[i], as_param);
}

static struct tpl_scope copy_scope(struct tpl *t, const struct tpl_scope *s) {
    struct tpl_scope copy = *s;
    copy.v = tpl_alloc_n(t, s->cap, sizeof *s->v);
    tpl_charge(t, s->n / 4);
    if (s->n)
        memcpy(copy.v, s->v, s->n * sizeof *s->v);
    return copy;
}

/* The three branches are analysed apart from each other, then joined: a variable that any of them sets
 * first is, on entry of the scope, what it is outside. */
static void visit_if(struct tpl *t, struct tpl_scope *s, const struct tpl_node *n) {
    visit(t, s, n->a, false);
    const struct tpl_list *branch[3] = {&n->kids, &n->b->kids, &n->c->kids};
    struct tpl_scope before = copy_scope(t, s), after[3];
    for (int i = 0; i < 3; i++) {
        after[i] = copy_scope(t, s);
        visit_list(t, &after[i], branch[i], false);
    }
    for (int i = 0; i < 3; i++)
        for (size_t k = 0; k < after[i].n; k++) {
            const struct tpl_symbol *from = &after[i].v[k];
            struct tpl_symbol *symbol = find_here(t, s, from->name);
            bool stored = symbol && symbol->stored;
            if (!symbol)
                symbol = define(t, s, from->name, from->load);
            symbol->load = from->load;
            symbol->hops = from->hops;
            symbol->slot = from->slot;
            symbol->stored = stored || from->stored;
        }
    for (size_t k = 0; k < s->n; k++)
        if (s->v[k].stored && !(k < before.n && before.v[k].stored))
            from_outer(t, s, &s->v[k], TPL_FROM_CONTEXT);
}

static void visit_inner(struct tpl *t, struct tpl_scope *s, const struct tpl_node *n, bool as_param) {
    switch (n->type) {
    case N_NAME:
        if (as_param || n->op == TPL_PARAM)
            declare(t, s, n->name);
        else if (n->op == TPL_STORE)
            symbol_store(t, s, n->name);
        else
            symbol_load(t, s, n->name);
        return;
    case N_NSREF: symbol_load(t, s, n->name); return;
    case N_IF: visit_if(t, s, n); return;
    case N_MACRO: symbol_store(t, s, n->name); return;
    case N_CALLBLOCK:
    case N_FILTERBLOCK:
        if (n->b)
            visit(t, s, n->b, false);
        return;
    case N_WITH: visit_list(t, s, &n->a->kids, false); return;
    case N_SETBLOCK: visit(t, s, n->a, false); return;
    case N_FOR: visit(t, s, n->b, false); return;
    case N_SET:
        visit(t, s, n->b, false);
        visit(t, s, n->a, false);
        return;
    default: break;
    }
    if (n->a)
        visit(t, s, n->a, as_param);
    if (n->type != N_CALL && n->type != N_FILTER && n->type != N_TEST && n->b)
        visit(t, s, n->b, as_param);
    visit_list(t, s, &n->kids, as_param);
    visit_list(t, s, &n->more, as_param);
    if ((n->type == N_CALL || n->type == N_FILTER || n->type == N_TEST) && n->b)
        visit(t, s, n->b, as_param);
    if (n->c)
        visit(t, s, n->c, as_param);
}

static void visit(struct tpl *t, struct tpl_scope *s, const struct tpl_node *n, bool as_param) {
    tpl_enter(t);
    tpl_charge(t, 1);
    t->line = n->line;
    visit_inner(t, s, n, as_param);
    tpl_exit(t);
}

/* Whether `name` is read somewhere in n before anything there sets it: 1 read, -1 set, 0 neither. */
static int first_use(struct tpl *t, const struct tpl_node *n, const char *name);

static int first_use_list(struct tpl *t, const struct tpl_list *l, const char *name) {
    int use = 0;
    for (size_t i = 0; i < l->n && !use; i++)
        use = first_use(t, l->v[i], name);
    return use;
}

static int first_use(struct tpl *t, const struct tpl_node *n, const char *name) {
    if (!n)
        return 0;
    tpl_enter(t);
    tpl_charge(t, 1);
    int use = 0;
    if (n->type == N_NAME && tpl_str_is(n->name, name))
        use = n->op == TPL_LOAD ? 1 : -1;
    /* The order of the fields in Jinja's nodes: only it matters for a name that is also set. */
    bool body_first = n->type == N_FILTERBLOCK || n->type == N_FOR || n->type == N_MACRO;
    if (!use && n->type == N_SETBLOCK)
        use = first_use(t, n->a, name);
    if (!use && (n->type == N_WITH || n->type == N_MACRO || n->type == N_CALLBLOCK)) {
        if (n->type == N_CALLBLOCK)
            use = first_use(t, n->b, name);
        use = use ? use : first_use_list(t, &n->more, name);
    }
    if (!use && (n->type != N_FILTERBLOCK))
        use = first_use(t, n->a, name);
    if (!use && n->type != N_FILTERBLOCK && n->type != N_IF)
        use = first_use(t, n->b, name);
    if (!use)
        use = first_use_list(t, &n->kids, name);
    if (!use && (body_first || n->type == N_IF))
        use = first_use(t, n->b, name);
    if (!use)
        use = first_use_list(t, &n->more, name);
    if (!use)
        use = first_use(t, n->c, name);
    tpl_exit(t);
    return use;
}

static void emit(struct resolver *r, struct tpl_scope *s, struct tpl_node *n);

static void emit_list(struct resolver *r, struct tpl_scope *s, const struct tpl_list *l) {
    for (size_t i = 0; i < l->n; i++)
        emit(r, s, l->v[i]);
}

static void emit_name(struct resolver *r, struct tpl_scope *s, const struct tpl_str *name, struct tpl_node *n) {
    if (!find(r->t, s, name, &n->hops, &n->slot)) { /* only in places Jinja does not look at either */
        define(r->t, s, name, TPL_FROM_CONTEXT);
        find(r->t, s, name, &n->hops, &n->slot);
    }
}

/* The body of n in its own scope, which has been analysed. */
static void emit_body(struct resolver *r, struct tpl_scope *s, const struct tpl_list *body, bool in_loop) {
    struct resolver inner = {.t = r->t, .in_loop = in_loop, .in_for = r->in_for};
    emit_list(&inner, s, body);
}

static const struct tpl_str *name_of(struct tpl *t, const char *z) {
    return tpl_strz(t, z).s;
}

static void emit_for(struct resolver *r, struct tpl_scope *s, struct tpl_node *n) {
    struct tpl *t = r->t;
    struct resolver hard = {.t = t, .in_for = true};
    emit(r, s, n->b);
    n->scope = new_scope(t, s);
    visit(t, n->scope, n->a, true);
    visit_list(t, n->scope, &n->kids, false);
    n->slot = declare(t, n->scope, name_of(t, "loop"));
    emit(&hard, n->scope, n->a);
    if (n->c) {
        n->test = new_scope(t, s);
        visit(t, n->test, n->a, true);
        visit(t, n->test, n->c, false);
        emit(&hard, n->test, n->c);
    }
    if (n->more.n) {
        n->other = new_scope(t, s);
        visit_list(t, n->other, &n->more, false);
        emit_body(&hard, n->other, &n->more, r->in_loop);
    }
    emit_body(&hard, n->scope, &n->kids, true);
}

/* A macro or the body of a call block. */
static void emit_macro(struct resolver *r, struct tpl_scope *s, struct tpl_node *n) {
    struct tpl *t = r->t;
    struct tpl_scope *inner = n->scope = new_scope(t, s);
    visit_list(t, inner, &n->more, false);
    visit_list(t, inner, &n->a->kids, false);
    visit_list(t, inner, &n->kids, false);
    bool takes_caller = false, takes_kwargs = false, takes_varargs = false;
    for (size_t i = 0; i < n->more.n; i++) {
        const struct tpl_str *name = n->more.v[i]->name;
        if (tpl_str_is(name, "caller") && i < n->more.n - n->a->kids.n)
            tpl_fail(t, "the special \"caller\" argument must be omitted or be given a default");
        takes_caller |= tpl_str_is(name, "caller");
        takes_kwargs |= tpl_str_is(name, "kwargs");
        takes_varargs |= tpl_str_is(name, "varargs");
    }
    static const char *const special[] = {"caller", "kwargs", "varargs"};
    bool taken[] = {takes_caller, takes_kwargs, takes_varargs};
    for (int i = 0; i < 3; i++) {
        n->special[i] = -1;
        if (!taken[i] && first_use_list(t, &n->kids, special[i]) > 0)
            n->special[i] = declare(t, inner, name_of(t, special[i]));
    }
    emit_body(r, inner, &n->more, false);
    emit_body(r, inner, &n->a->kids, false);
    emit_body(r, inner, &n->kids, false);
}

static void emit_scoped(struct resolver *r, struct tpl_scope *s, struct tpl_node *n) {
    struct tpl *t = r->t;
    n->scope = new_scope(t, s);
    if (n->type == N_WITH) {
        emit_list(r, s, &n->a->kids);
        visit_list(t, n->scope, &n->more, false);
    }
    visit_list(t, n->scope, &n->kids, false);
    if (n->type == N_FILTERBLOCK || (n->type == N_SETBLOCK && n->b)) {
        visit(t, n->scope, n->b, false);
        emit(r, n->scope, n->b);
    }
    if (n->type == N_SETBLOCK)
        emit(r, s, n->a);
    if (n->type == N_WITH)
        emit_list(r, n->scope, &n->more);
    emit_body(r, n->scope, &n->kids, r->in_loop);
}

static void emit_builtin(struct resolver *r, struct tpl_node *n) {
    n->builtin = n->type == N_FILTER ? tpl_find_filter(n->name) : tpl_lookup(tpl_tests, n->name);
    if (!n->builtin && !r->soft)
        tpl_fail(r->t, "No %s named '%.*s'", n->type == N_FILTER ? "filter" : "test",
                 (int)(n->name->len < 60 ? n->name->len : 60), n->name->s);
}

static void emit_inner(struct resolver *r, struct tpl_scope *s, struct tpl_node *n) {
    struct resolver soft = {.t = r->t, .soft = true, .in_loop = r->in_loop, .in_for = r->in_for};
    switch (n->type) {
    case N_NAME:
        if (r->in_for && n->op == TPL_STORE && tpl_str_is(n->name, "loop"))
            tpl_fail(r->t, "Can't assign to special loop variable in for-loop target");
        emit_name(r, s, n->name, n);
        return;
    case N_NSREF: emit_name(r, s, n->name, n); return;
    case N_FOR: emit_for(r, s, n); return;
    case N_MACRO:
        emit_name(r, s, n->name, n);
        emit_macro(r, s, n);
        return;
    case N_CALLBLOCK:
        emit_macro(r, s, n);
        if (n->b)
            emit(r, s, n->b);
        return;
    case N_FILTERBLOCK:
    case N_WITH:
    case N_SETBLOCK: emit_scoped(r, s, n); return;
    case N_BREAK:
    case N_CONTINUE:
        if (!r->in_loop)
            tpl_fail(r->t, "'%s' outside loop", n->type == N_BREAK ? "break" : "continue");
        return;
    case N_FILTER:
    case N_TEST: emit_builtin(r, n); break;
    case N_IF:
    case N_COND: r = &soft; break;
    default: break;
    }
    if (n->a)
        emit(r, s, n->a);
    if (n->b)
        emit(r, s, n->b);
    if (n->c)
        emit(r, s, n->c);
    emit_list(r, s, &n->kids);
    emit_list(r, s, &n->more);
}

static void emit(struct resolver *r, struct tpl_scope *s, struct tpl_node *n) {
    tpl_enter(r->t);
    r->t->line = n->line;
    emit_inner(r, s, n);
    tpl_exit(r->t);
}

void tpl_resolve(struct tpl *t, struct tpl_node *root) {
    struct resolver r = {.t = t};
    root->scope = new_scope(t, NULL);
    visit_list(t, root->scope, &root->kids, false);
    emit_list(&r, root->scope, &root->kids);
}
