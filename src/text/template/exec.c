/* Statements: output, loops, macros, assignments. What a statement prints goes to the buffer it is given,
 * so a macro or a set block only gives another one. */
#include <string.h>

#include "text/template/eval.h"

static enum tpl_flow exec(struct tpl *t, struct tpl_frame *f, const struct tpl_node *n, struct tpl_sb *out);

static enum tpl_flow exec_list(struct tpl *t, struct tpl_frame *f, const struct tpl_list *l, struct tpl_sb *out) {
    for (size_t i = 0; i < l->n; i++) {
        enum tpl_flow flow = exec(t, f, l->v[i], out);
        if (flow != TPL_GO_ON)
            return flow;
    }
    return TPL_GO_ON;
}

/* Gives the variables of the frame's scope their values on entry. */
static void enter_frame(struct tpl *t, struct tpl_frame *f) {
    for (size_t i = 0; i < f->scope->n; i++) {
        const struct tpl_symbol *symbol = &f->scope->v[i];
        f->slots[i] = tpl_missing();
        if (symbol->load == TPL_FROM_OUTER) {
            const struct tpl_frame *outer = f;
            for (int k = 0; k < symbol->hops; k++)
                outer = outer->parent;
            f->slots[i] = outer->slots[symbol->slot];
        } else if (symbol->load == TPL_FROM_CONTEXT) {
            const struct tpl_val *v = tpl_dict_get(t, t->context, (struct tpl_val){.kind = TPL_STR, .s = symbol->name});
            if (v)
                f->slots[i] = *v;
        }
    }
    tpl_charge(t, f->scope->n / 4);
}

static struct tpl_frame *new_frame(struct tpl *t, const struct tpl_scope *scope, struct tpl_frame *parent) {
    struct tpl_frame *f = tpl_alloc(t, sizeof *f);
    *f = (struct tpl_frame){parent, scope, tpl_alloc_n(t, scope->n, sizeof *f->slots)};
    enter_frame(t, f);
    return f;
}

static void assign(struct tpl *t, struct tpl_frame *f, const struct tpl_node *target, struct tpl_val v) {
    if (target->type == N_TUPLE) {
        struct tpl_val items = tpl_list_of(t, v);
        if (items.q->n != target->kids.n)
            tpl_fail(t, "expected %zu values to unpack, found %zu", target->kids.n, items.q->n);
        for (size_t i = 0; i < items.q->n; i++)
            assign(t, f, target->kids.v[i], items.q->v[i]);
        return;
    }
    for (int i = 0; i < target->hops; i++)
        f = f->parent;
    if (target->type == N_NAME) {
        f->slots[target->slot] = v;
        return;
    }
    struct tpl_val ns = f->slots[target->slot];
    if (ns.kind != TPL_NS)
        tpl_fail(t, "cannot assign attribute on non-namespace object");
    tpl_dict_set(t, ns.d, target->value, v);
}

bool tpl_for_test(struct tpl *t, const struct tpl_node *node, struct tpl_frame *frame, struct tpl_val item) {
    enter_frame(t, frame);
    assign(t, frame, node->a, item);
    return tpl_truth(t, tpl_eval(t, frame, node->c));
}

static struct tpl_val filtered(struct tpl *t, struct tpl_frame *f, const struct tpl_node *n, struct tpl_val iterable) {
    if (!n->c)
        return iterable;
    struct tpl_gen *g = tpl_alloc(t, sizeof *g);
    *g = (struct tpl_gen){
        .kind = TPL_GEN_FOR, .source = tpl_iterate(t, iterable), .node = n, .frame = new_frame(t, n->test, f)};
    return (struct tpl_val){.kind = TPL_GEN, .g = g};
}

static enum tpl_flow run_loop(struct tpl *t, struct tpl_frame *f, const struct tpl_node *n, struct tpl_val iterable,
                              int depth0, struct tpl_sb *out) {
    struct tpl_loop *loop = tpl_alloc(t, sizeof *loop);
    iterable = filtered(t, f, n, iterable);
    *loop = (struct tpl_loop){.node = n->flag ? n : NULL,
                              .frame = f,
                              .iterable = iterable,
                              .it = tpl_iterate(t, iterable),
                              .index0 = -1,
                              .length = -1,
                              .depth0 = depth0};
    struct tpl_frame *body = new_frame(t, n->scope, f);
    bool any = false; /* as Jinja counts: whether a body ran to its end */
    for (struct tpl_val item; tpl_loop_next(t, loop, &item);) {
        enter_frame(t, body);
        body->slots[n->slot] = (struct tpl_val){.kind = TPL_LOOP, .loop = loop};
        assign(t, body, n->a, item);
        enum tpl_flow flow = exec_list(t, body, &n->kids, out);
        any |= flow == TPL_GO_ON;
        if (flow == TPL_BREAK)
            break;
    }
    if (any || !n->other)
        return TPL_GO_ON;
    return exec_list(t, new_frame(t, n->other, f), &n->more, out);
}

struct tpl_val tpl_call_loop(struct tpl *t, struct tpl_loop *loop, const struct tpl_args *args) {
    if (!loop->node)
        tpl_fail(t, "The loop must have the 'recursive' marker to be called recursively.");
    if (args->n != 1 || args->nk)
        tpl_fail(t, "loop() takes one argument");
    struct tpl_sb out = {.t = t};
    tpl_enter(t);
    run_loop(t, loop->frame, loop->node, args->v[0], loop->depth0 + 1, &out);
    tpl_exit(t);
    return tpl_sb_done(&out);
}

static bool take_keyword(const struct tpl_args *args, bool *used, const struct tpl_str *name, struct tpl_val *out) {
    for (size_t i = 0; i < args->nk; i++)
        if (!used[i] && args->k[i].name->len == name->len && memcmp(args->k[i].name->s, name->s, name->len) == 0) {
            used[i] = true;
            *out = args->k[i].v;
            return true;
        }
    return false;
}

/* What a macro gets beyond its parameters: the keywords and positions left over, and its caller. */
static void bind_rest(struct tpl *t, const struct tpl_node *n, struct tpl_frame *f, const struct tpl_args *args,
                      bool *used) {
    struct tpl_str caller = {"caller", 6, 6};
    if (n->special[0] >= 0) {
        struct tpl_val *slot = &f->slots[n->special[0]];
        if (!take_keyword(args, used, &caller, slot))
            *slot = tpl_undefined(t, "No caller defined");
    }
    struct tpl_dict *rest = tpl_dict_new(t);
    for (size_t i = 0; i < args->nk; i++) {
        if (used[i])
            continue;
        if (n->special[1] < 0)
            tpl_fail(t, "the macro takes no keyword argument '%.*s'",
                     (int)(args->k[i].name->len < 60 ? args->k[i].name->len : 60), args->k[i].name->s);
        tpl_dict_set(t, rest, (struct tpl_val){.kind = TPL_STR, .s = args->k[i].name}, args->k[i].v);
    }
    if (n->special[1] >= 0)
        f->slots[n->special[1]] = tpl_of_dict(rest);
    size_t over = args->n > n->more.n ? args->n - n->more.n : 0;
    if (n->special[2] >= 0)
        f->slots[n->special[2]] = tpl_seq(t, TPL_TUPLE, over ? args->v + (args->n - over) : NULL, over);
    else if (over)
        tpl_fail(t, "the macro takes not more than %zu argument(s)", n->more.n);
}

struct tpl_val tpl_call_macro(struct tpl *t, const struct tpl_macro *m, const struct tpl_args *args) {
    const struct tpl_node *n = m->node;
    tpl_enter(t);
    struct tpl_frame *f = new_frame(t, n->scope, m->frame);
    bool *used = tpl_alloc_n(t, args->nk, sizeof *used);
    memset(used, 0, args->nk);
    size_t first_default = n->more.n - n->a->kids.n;
    for (size_t i = 0; i < n->more.n; i++) {
        struct tpl_val *slot = &f->slots[n->more.v[i]->slot];
        *slot = tpl_missing();
        if (i < args->n)
            *slot = args->v[i];
        else
            take_keyword(args, used, n->more.v[i]->name, slot);
    }
    bind_rest(t, n, f, args, used);
    for (size_t i = 0; i < n->more.n; i++) {
        struct tpl_val *slot = &f->slots[n->more.v[i]->slot];
        if (slot->kind == TPL_MISSING && i >= first_default)
            *slot = tpl_eval(t, f, n->a->kids.v[i - first_default]);
    }
    struct tpl_sb out = {.t = t};
    exec_list(t, f, &n->kids, &out);
    tpl_exit(t);
    return tpl_sb_done(&out);
}

void tpl_repr_macro(struct tpl_sb *b, const struct tpl_macro *m) {
    tpl_sb_z(b, "<Macro ");
    if (m->node->name)
        tpl_repr(b, (struct tpl_val){.kind = TPL_STR, .s = m->node->name});
    else
        tpl_sb_z(b, "anonymous");
    tpl_sb_z(b, ">");
}

static struct tpl_val new_macro(struct tpl *t, struct tpl_frame *f, const struct tpl_node *n) {
    struct tpl_macro *m = tpl_alloc(t, sizeof *m);
    *m = (struct tpl_macro){n, f};
    return (struct tpl_val){.kind = TPL_MACRO, .m = m};
}

static void exec_call_block(struct tpl *t, struct tpl_frame *f, const struct tpl_node *n, struct tpl_sb *out) {
    struct tpl_val caller = new_macro(t, f, n);
    if (n->b)
        tpl_print(out, tpl_call_with_caller(t, f, n->b, caller));
    else
        tpl_print(out, tpl_call_macro(t, caller.m, &(struct tpl_args){0}));
}

/* A block whose text is kept, and perhaps filtered: filter, set. */
static enum tpl_flow exec_captured(struct tpl *t, struct tpl_frame *f, const struct tpl_node *n, struct tpl_sb *out) {
    struct tpl_frame *inner = new_frame(t, n->scope, f);
    struct tpl_sb text = {.t = t};
    enum tpl_flow flow = exec_list(t, inner, &n->kids, &text);
    if (flow != TPL_GO_ON)
        return flow;
    struct tpl_val v = tpl_sb_done(&text);
    if (n->b)
        v = tpl_apply_filter(t, inner, n->b, v);
    if (n->type == N_SETBLOCK)
        assign(t, f, n->a, v);
    else
        tpl_print(out, v);
    return TPL_GO_ON;
}

static enum tpl_flow exec_with(struct tpl *t, struct tpl_frame *f, const struct tpl_node *n, struct tpl_sb *out) {
    struct tpl_frame *inner = new_frame(t, n->scope, f);
    for (size_t i = 0; i < n->more.n; i++)
        assign(t, inner, n->more.v[i], tpl_eval(t, f, n->a->kids.v[i]));
    return exec_list(t, inner, &n->kids, out);
}

static enum tpl_flow exec_if(struct tpl *t, struct tpl_frame *f, const struct tpl_node *n, struct tpl_sb *out) {
    if (tpl_truth(t, tpl_eval(t, f, n->a)))
        return exec_list(t, f, &n->kids, out);
    for (size_t i = 0; i < n->b->kids.n; i++)
        if (tpl_truth(t, tpl_eval(t, f, n->b->kids.v[i]->a)))
            return exec_list(t, f, &n->b->kids.v[i]->kids, out);
    return exec_list(t, f, &n->c->kids, out);
}

static enum tpl_flow exec_inner(struct tpl *t, struct tpl_frame *f, const struct tpl_node *n, struct tpl_sb *out) {
    switch (n->type) {
    case N_TEXT: tpl_sb_str(out, n->value.s); return TPL_GO_ON;
    case N_PRINT:
        for (size_t i = 0; i < n->kids.n; i++)
            tpl_print(out, tpl_eval(t, f, n->kids.v[i]));
        return TPL_GO_ON;
    case N_FOR: return run_loop(t, f, n, tpl_eval(t, f, n->b), 0, out);
    case N_IF: return exec_if(t, f, n, out);
    case N_SET: assign(t, f, n->a, tpl_eval(t, f, n->b)); return TPL_GO_ON;
    case N_SETBLOCK:
    case N_FILTERBLOCK: return exec_captured(t, f, n, out);
    case N_MACRO: f->slots[n->slot] = new_macro(t, f, n); return TPL_GO_ON;
    case N_CALLBLOCK: exec_call_block(t, f, n, out); return TPL_GO_ON;
    case N_WITH: return exec_with(t, f, n, out);
    case N_BREAK: return TPL_BREAK;
    case N_CONTINUE: return TPL_CONTINUE;
    default: return exec_list(t, f, &n->kids, out);
    }
}

static enum tpl_flow exec(struct tpl *t, struct tpl_frame *f, const struct tpl_node *n, struct tpl_sb *out) {
    tpl_enter(t);
    tpl_charge(t, 1);
    t->line = n->line;
    enum tpl_flow flow = exec_inner(t, f, n, out);
    tpl_exit(t);
    return flow;
}

void tpl_run(struct tpl *t, const struct tpl_node *root, struct tpl_sb *out) {
    exec_list(t, new_frame(t, root->scope, NULL), &root->kids, out);
}
