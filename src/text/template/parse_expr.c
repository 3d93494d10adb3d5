/* Tokens to expressions: Jinja's grammar, by recursive descent. Nesting is limited; the tree of a long chain
 * (a + b + ...) is as deep as it is long, and the evaluator limits that. Statements are in parse_stmt.c. */
#include <string.h>

#include "text/template/ast.h"

void tpl_append(struct tpl *t, struct tpl_list *l, struct tpl_node *n) {
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 4;
        struct tpl_node **grown = tpl_alloc_n(t, cap, sizeof *grown);
        if (l->n)
            memcpy(grown, l->v, l->n * sizeof *grown);
        l->v = grown;
        l->cap = cap;
    }
    l->v[l->n++] = n;
}

struct tpl_node *tpl_node(struct tpl *t, enum tpl_node_type type, int line) {
    struct tpl_node *n = tpl_alloc(t, sizeof *n);
    memset(n, 0, sizeof *n);
    n->type = type;
    n->line = line;
    return n;
}

struct tpl_token *tpl_peek(struct tpl_parser *p, size_t ahead) {
    size_t last = p->tokens.n - 1;
    return &p->tokens.v[p->at + ahead < last ? p->at + ahead : last];
}

struct tpl_token *tpl_take(struct tpl_parser *p) {
    struct tpl_token *k = tpl_peek(p, 0);
    if (p->at + 1 < p->tokens.n)
        p->at++;
    p->t->line = tpl_peek(p, 0)->line;
    return k;
}

bool tpl_is_name(const struct tpl_token *k, const char *name) {
    return k->type == TOK_NAME && tpl_str_is(k->value.s, name);
}

bool tpl_accept(struct tpl_parser *p, int type) {
    bool yes = tpl_peek(p, 0)->type == type;
    if (yes)
        tpl_take(p);
    return yes;
}

bool tpl_accept_name(struct tpl_parser *p, const char *name) {
    bool yes = tpl_is_name(tpl_peek(p, 0), name);
    if (yes)
        tpl_take(p);
    return yes;
}

void tpl_unexpected(struct tpl_parser *p, const char *expected) {
    struct tpl_token *k = tpl_peek(p, 0);
    struct tpl_sb b = {.t = p->t};
    p->t->line = k->line;
    switch (k->type) {
    case TOK_EOF: tpl_sb_z(&b, "the end of the template"); break;
    case TOK_VAR_END: tpl_sb_z(&b, "the end of a print statement"); break;
    case TOK_BLOCK_END: tpl_sb_z(&b, "the end of a statement"); break;
    case TOK_TEXT: tpl_sb_z(&b, "template text"); break;
    case TOK_NAME:
    case TOK_STRING:
    case TOK_NUMBER: tpl_repr(&b, k->value); break;
    case TOK_FLOORDIV: tpl_sb_z(&b, "'//'"); break;
    case TOK_POW: tpl_sb_z(&b, "'**'"); break;
    case TOK_EQ: tpl_sb_z(&b, "'=='"); break;
    case TOK_NE: tpl_sb_z(&b, "'!='"); break;
    case TOK_GE: tpl_sb_z(&b, "'>='"); break;
    case TOK_LE: tpl_sb_z(&b, "'<='"); break;
    default: tpl_sb_cp(&b, k->type < 128 ? (uint32_t)k->type : '{'); break;
    }
    tpl_sb_add(&b, "", 1);
    tpl_fail(p->t, "expected %s, found %s", expected, b.s);
}

struct tpl_token *tpl_expect(struct tpl_parser *p, int type) {
    struct tpl_token *k = tpl_peek(p, 0);
    char what[] = "'?'";
    if (k->type == type)
        return tpl_take(p);
    what[1] = (char)type;
    tpl_unexpected(p, type == TOK_NAME        ? "a name"
                      : type == TOK_BLOCK_END ? "the end of the statement"
                      : type == TOK_VAR_END   ? "the end of the print statement"
                                              : what);
}

void tpl_expect_name(struct tpl_parser *p, const char *name) {
    if (!tpl_accept_name(p, name))
        tpl_unexpected(p, name);
}

static void nest(struct tpl_parser *p) {
    if (++p->t->depth > TPL_MAX_EXPR_DEPTH)
        tpl_fail(p->t, "nested more than %d levels deep", TPL_MAX_EXPR_DEPTH);
}

static struct tpl_node *parse_unary(struct tpl_parser *p, bool with_filter);

static struct tpl_node *two(struct tpl_parser *p, enum tpl_node_type type, int op, struct tpl_node *a,
                            struct tpl_node *b) {
    struct tpl_node *n = tpl_node(p->t, type, a->line);
    n->op = op;
    n->a = a;
    n->b = b;
    return n;
}

static struct tpl_node *parse_pow(struct tpl_parser *p) {
    struct tpl_node *left = parse_unary(p, true);
    while (tpl_accept(p, TOK_POW))
        left = two(p, N_BINARY, TOK_POW, left, parse_unary(p, true));
    return left;
}

static struct tpl_node *parse_product(struct tpl_parser *p) {
    struct tpl_node *left = parse_pow(p);
    for (;;) {
        int op = tpl_peek(p, 0)->type;
        if (op != '*' && op != '/' && op != TOK_FLOORDIV && op != '%')
            return left;
        tpl_take(p);
        left = two(p, N_BINARY, op, left, parse_pow(p));
    }
}

static struct tpl_node *parse_concat(struct tpl_parser *p) {
    struct tpl_node *first = parse_product(p);
    if (tpl_peek(p, 0)->type != '~')
        return first;
    struct tpl_node *n = tpl_node(p->t, N_CONCAT, first->line);
    tpl_append(p->t, &n->kids, first);
    while (tpl_accept(p, '~'))
        tpl_append(p->t, &n->kids, parse_product(p));
    return n;
}

static struct tpl_node *parse_sum(struct tpl_parser *p) {
    struct tpl_node *left = parse_concat(p);
    for (;;) {
        int op = tpl_peek(p, 0)->type;
        if (op != '+' && op != '-')
            return left;
        tpl_take(p);
        left = two(p, N_BINARY, op, left, parse_concat(p));
    }
}

static struct tpl_node *parse_compare(struct tpl_parser *p) {
    struct tpl_node *first = parse_sum(p), *n = NULL;
    for (;;) {
        int op = tpl_peek(p, 0)->type;
        if (op == TOK_EQ || op == TOK_NE || op == TOK_GE || op == TOK_LE || op == '<' || op == '>') {
            tpl_take(p);
        } else if (tpl_accept_name(p, "in")) {
            op = OP_IN;
        } else if (tpl_is_name(tpl_peek(p, 0), "not") && tpl_is_name(tpl_peek(p, 1), "in")) {
            tpl_take(p);
            tpl_take(p);
            op = OP_NOT_IN;
        } else {
            return n ? n : first;
        }
        if (!n) {
            n = tpl_node(p->t, N_COMPARE, first->line);
            n->a = first;
        }
        struct tpl_node *right = parse_sum(p);
        tpl_append(p->t, &n->kids, two(p, N_OPERAND, op, right, NULL));
    }
}

static struct tpl_node *parse_not(struct tpl_parser *p) {
    int line = tpl_peek(p, 0)->line;
    if (!tpl_accept_name(p, "not"))
        return parse_compare(p);
    struct tpl_node *n = tpl_node(p->t, N_NOT, line);
    nest(p);
    n->a = parse_not(p);
    tpl_exit(p->t);
    return n;
}

static struct tpl_node *parse_and(struct tpl_parser *p) {
    struct tpl_node *left = parse_not(p);
    while (tpl_accept_name(p, "and"))
        left = two(p, N_AND, 0, left, parse_not(p));
    return left;
}

static struct tpl_node *parse_or(struct tpl_parser *p) {
    struct tpl_node *left = parse_and(p);
    while (tpl_accept_name(p, "or"))
        left = two(p, N_OR, 0, left, parse_and(p));
    return left;
}

struct tpl_node *tpl_parse_expr(struct tpl_parser *p, bool with_cond) {
    nest(p);
    struct tpl_node *e = parse_or(p);
    while (with_cond && tpl_accept_name(p, "if")) {
        struct tpl_node *n = tpl_node(p->t, N_COND, e->line);
        n->a = e;
        n->b = parse_or(p);
        if (tpl_accept_name(p, "else"))
            n->c = tpl_parse_expr(p, true);
        e = n;
    }
    tpl_exit(p->t);
    return e;
}

static struct tpl_node *constant(struct tpl_parser *p, int line, struct tpl_val v) {
    struct tpl_node *n = tpl_node(p->t, N_CONST, line);
    n->value = v;
    return n;
}

static struct tpl_node *parse_name(struct tpl_parser *p, bool namespaces) {
    struct tpl_token *k = tpl_take(p);
    if (tpl_is_name(k, "true") || tpl_is_name(k, "True"))
        return constant(p, k->line, tpl_bool(true));
    if (tpl_is_name(k, "false") || tpl_is_name(k, "False"))
        return constant(p, k->line, tpl_bool(false));
    if (tpl_is_name(k, "none") || tpl_is_name(k, "None"))
        return constant(p, k->line, tpl_none());
    struct tpl_node *n = tpl_node(p->t, N_NAME, k->line);
    n->name = k->value.s;
    if (namespaces && tpl_accept(p, '.')) {
        n->type = N_NSREF;
        n->value = tpl_expect(p, TOK_NAME)->value;
    }
    return n;
}

static struct tpl_node *parse_list(struct tpl_parser *p) {
    struct tpl_node *n = tpl_node(p->t, N_LIST, tpl_take(p)->line);
    while (tpl_peek(p, 0)->type != ']') {
        if (n->kids.n)
            tpl_expect(p, ',');
        if (tpl_peek(p, 0)->type == ']')
            break;
        tpl_append(p->t, &n->kids, tpl_parse_expr(p, true));
    }
    tpl_expect(p, ']');
    return n;
}

static struct tpl_node *parse_dict(struct tpl_parser *p) {
    struct tpl_node *n = tpl_node(p->t, N_DICT, tpl_take(p)->line);
    while (tpl_peek(p, 0)->type != '}') {
        if (n->kids.n)
            tpl_expect(p, ',');
        if (tpl_peek(p, 0)->type == '}')
            break;
        tpl_append(p->t, &n->kids, tpl_parse_expr(p, true));
        tpl_expect(p, ':');
        tpl_append(p->t, &n->kids, tpl_parse_expr(p, true));
    }
    tpl_expect(p, '}');
    return n;
}

static struct tpl_node *parse_strings(struct tpl_parser *p) {
    struct tpl_token *k = tpl_take(p);
    if (tpl_peek(p, 0)->type != TOK_STRING)
        return constant(p, k->line, k->value);
    struct tpl_sb b = {.t = p->t};
    tpl_sb_str(&b, k->value.s);
    while (tpl_peek(p, 0)->type == TOK_STRING)
        tpl_sb_str(&b, tpl_take(p)->value.s);
    return constant(p, k->line, tpl_sb_done(&b));
}

/* A tuple, or the one expression that stands in its place. each: how an element is read. */
static struct tpl_node *tuple_of(struct tpl_parser *p, struct tpl_node *(*each)(struct tpl_parser *, bool), bool with,
                                 const char *until, bool parentheses) {
    struct tpl_node *n = tpl_node(p->t, N_TUPLE, tpl_peek(p, 0)->line);
    bool is_tuple = false;
    for (;;) {
        if (n->kids.n)
            tpl_expect(p, ',');
        int type = tpl_peek(p, 0)->type;
        if (type == TOK_VAR_END || type == TOK_BLOCK_END || type == ')' ||
            (until && tpl_is_name(tpl_peek(p, 0), until)))
            break;
        tpl_append(p->t, &n->kids, each(p, with));
        if (tpl_peek(p, 0)->type != ',')
            break;
        is_tuple = true;
    }
    if (is_tuple)
        return n;
    if (n->kids.n)
        return n->kids.v[0];
    if (!parentheses)
        tpl_unexpected(p, "an expression");
    return n;
}

static struct tpl_node *parse_primary(struct tpl_parser *p, bool namespaces) {
    switch (tpl_peek(p, 0)->type) {
    case TOK_NAME: return parse_name(p, namespaces);
    case TOK_STRING: return parse_strings(p);
    case TOK_NUMBER: {
        struct tpl_token *k = tpl_take(p);
        return constant(p, k->line, k->value);
    }
    case '(': {
        tpl_take(p);
        struct tpl_node *n = tuple_of(p, tpl_parse_expr, true, NULL, true);
        tpl_expect(p, ')');
        return n;
    }
    case '[': return parse_list(p);
    case '{': return parse_dict(p);
    default: tpl_unexpected(p, "an expression");
    }
}

struct tpl_node *tpl_parse_tuple(struct tpl_parser *p, bool with_cond, const char *until) {
    return tuple_of(p, tpl_parse_expr, with_cond, until, false);
}

void tpl_use_as(struct tpl_parser *p, struct tpl_node *target, int use) {
    if (target->type == N_TUPLE) {
        for (size_t i = 0; i < target->kids.n; i++)
            tpl_use_as(p, target->kids.v[i], use);
        return;
    }
    if (target->type != N_NAME && target->type != N_NSREF)
        tpl_fail(p->t, "can't assign to this expression");
    target->op = use;
}

struct tpl_node *tpl_parse_target(struct tpl_parser *p, bool namespaces, const char *until) {
    nest(p);
    struct tpl_node *n = tuple_of(p, parse_primary, namespaces, until, false);
    tpl_use_as(p, n, TPL_STORE);
    tpl_exit(p->t);
    return n;
}

static struct tpl_node *parse_subscribed(struct tpl_parser *p) {
    struct tpl_node *part[3] = {0};
    int line = tpl_peek(p, 0)->line;
    if (tpl_peek(p, 0)->type != ':') {
        part[0] = tpl_parse_expr(p, true);
        if (tpl_peek(p, 0)->type != ':')
            return part[0];
    }
    for (int i = 1; i < 3 && tpl_accept(p, ':'); i++) {
        int type = tpl_peek(p, 0)->type;
        if (type != ':' && type != ']' && type != ',')
            part[i] = tpl_parse_expr(p, true);
    }
    struct tpl_node *n = tpl_node(p->t, N_SLICE, line);
    n->a = part[0];
    n->b = part[1];
    n->c = part[2];
    return n;
}

static struct tpl_node *parse_subscript(struct tpl_parser *p, struct tpl_node *on) {
    struct tpl_token *k = tpl_take(p);
    if (k->type == '.') {
        struct tpl_token *name = tpl_take(p);
        if (name->type == TOK_NAME) {
            struct tpl_node *n = tpl_node(p->t, N_GETATTR, k->line);
            n->a = on;
            n->name = name->value.s;
            return n;
        }
        if (name->type != TOK_NUMBER || name->value.kind != TPL_INT)
            tpl_fail(p->t, "expected a name or a number after '.'");
        return two(p, N_GETITEM, 0, on, constant(p, name->line, name->value));
    }
    struct tpl_node *args = tpl_node(p->t, N_TUPLE, k->line);
    while (tpl_peek(p, 0)->type != ']') {
        if (args->kids.n)
            tpl_expect(p, ',');
        tpl_append(p->t, &args->kids, parse_subscribed(p));
    }
    tpl_expect(p, ']');
    return two(p, N_GETITEM, 0, on, args->kids.n == 1 ? args->kids.v[0] : args);
}

/* (a, b, *c, k=v, **d) into n's kids, more, b and c. */
static void parse_args(struct tpl_parser *p, struct tpl_node *n) {
    tpl_expect(p, '(');
    for (bool comma = false; tpl_peek(p, 0)->type != ')'; comma = true) {
        if (comma) {
            tpl_expect(p, ',');
            if (tpl_peek(p, 0)->type == ')')
                break;
        }
        bool ok;
        if (tpl_accept(p, '*')) {
            ok = !n->b && !n->c;
            n->b = tpl_parse_expr(p, true);
        } else if (tpl_accept(p, TOK_POW)) {
            ok = !n->c;
            n->c = tpl_parse_expr(p, true);
        } else if (tpl_peek(p, 0)->type == TOK_NAME && tpl_peek(p, 1)->type == '=') {
            ok = !n->c;
            struct tpl_node *k = tpl_node(p->t, N_KEYWORD, tpl_peek(p, 0)->line);
            k->name = tpl_take(p)->value.s;
            tpl_take(p);
            k->a = tpl_parse_expr(p, true);
            tpl_append(p->t, &n->more, k);
        } else {
            ok = !n->b && !n->c && !n->more.n;
            tpl_append(p->t, &n->kids, tpl_parse_expr(p, true));
        }
        if (!ok)
            tpl_fail(p->t, "invalid syntax for function call expression");
    }
    tpl_expect(p, ')');
}

static struct tpl_node *parse_call(struct tpl_parser *p, struct tpl_node *on) {
    struct tpl_node *n = tpl_node(p->t, N_CALL, tpl_peek(p, 0)->line);
    n->a = on;
    parse_args(p, n);
    return n;
}

static const struct tpl_str *dotted_name(struct tpl_parser *p) {
    struct tpl_token *first = tpl_expect(p, TOK_NAME);
    if (tpl_peek(p, 0)->type != '.')
        return first->value.s;
    struct tpl_sb b = {.t = p->t};
    tpl_sb_str(&b, first->value.s);
    while (tpl_accept(p, '.')) {
        tpl_sb_z(&b, ".");
        tpl_sb_str(&b, tpl_expect(p, TOK_NAME)->value.s);
    }
    return tpl_sb_done(&b).s;
}

struct tpl_node *tpl_parse_filter(struct tpl_parser *p, struct tpl_node *on, bool inline_start) {
    while (inline_start || tpl_peek(p, 0)->type == '|') {
        if (!inline_start)
            tpl_take(p);
        struct tpl_node *n = tpl_node(p->t, N_FILTER, tpl_peek(p, 0)->line);
        n->name = dotted_name(p);
        n->a = on;
        if (tpl_peek(p, 0)->type == '(')
            parse_args(p, n);
        on = n;
        inline_start = false;
    }
    return on;
}

static struct tpl_node *parse_postfix(struct tpl_parser *p, struct tpl_node *n) {
    for (;;) {
        int type = tpl_peek(p, 0)->type;
        if (type == '.' || type == '[')
            n = parse_subscript(p, n);
        else if (type == '(')
            n = parse_call(p, n);
        else
            return n;
    }
}

static struct tpl_node *parse_test(struct tpl_parser *p, struct tpl_node *on) {
    int line = tpl_take(p)->line;
    bool negated = tpl_accept_name(p, "not");
    struct tpl_node *n = tpl_node(p->t, N_TEST, line);
    n->name = dotted_name(p);
    n->a = on;
    struct tpl_token *k = tpl_peek(p, 0);
    bool starts =
        k->type == TOK_NAME || k->type == TOK_STRING || k->type == TOK_NUMBER || k->type == '[' || k->type == '{';
    if (k->type == '(') {
        parse_args(p, n);
    } else if (starts && !tpl_is_name(k, "else") && !tpl_is_name(k, "or") && !tpl_is_name(k, "and")) {
        if (tpl_is_name(k, "is"))
            tpl_fail(p->t, "You cannot chain multiple tests with is");
        tpl_append(p->t, &n->kids, parse_postfix(p, parse_primary(p, false)));
    }
    if (!negated)
        return n;
    struct tpl_node *not = tpl_node(p->t, N_NOT, line);
    not ->a = n;
    return not ;
}

static struct tpl_node *parse_unary(struct tpl_parser *p, bool with_filter) {
    struct tpl_node *n;
    int type = tpl_peek(p, 0)->type;
    nest(p);
    if (type == '-' || type == '+') {
        n = tpl_node(p->t, type == '-' ? N_NEG : N_POS, tpl_take(p)->line);
        n->a = parse_unary(p, false);
    } else {
        n = parse_primary(p, false);
    }
    n = parse_postfix(p, n);
    while (with_filter) {
        type = tpl_peek(p, 0)->type;
        if (type == '|')
            n = tpl_parse_filter(p, n, false);
        else if (type == '(')
            n = parse_call(p, n);
        else if (tpl_is_name(tpl_peek(p, 0), "is"))
            n = parse_test(p, n);
        else
            break;
    }
    tpl_exit(p->t);
    return n;
}
