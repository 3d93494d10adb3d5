/* Tokens to statements: the blocks of Jinja that need no other template, loop controls and the generation
 * tag. extends, include, import and block are refused: a chat template stands alone. */
#include <string.h>

#include "text/template/ast.h"

static void parse_body(struct tpl_parser *p, struct tpl_list *into, const char *const *ends, const char *inside);

static struct tpl_node *start(struct tpl_parser *p, enum tpl_node_type type) {
    return tpl_node(p->t, type, tpl_take(p)->line);
}

/* The statements up to one of `ends` (at most three names), whose name is left to be read. */
static void parse_statements(struct tpl_parser *p, struct tpl_list *into, const char *const *ends, const char *tag) {
    tpl_accept(p, ':');
    tpl_expect(p, TOK_BLOCK_END);
    parse_body(p, into, ends, tag);
}

static void parse_until(struct tpl_parser *p, struct tpl_list *into, const char *end, const char *tag) {
    parse_statements(p, into, (const char *const[]){end, NULL}, tag);
    tpl_take(p);
}

static struct tpl_node *parse_for(struct tpl_parser *p) {
    struct tpl_node *n = start(p, N_FOR);
    n->a = tpl_parse_target(p, false, "in");
    tpl_expect_name(p, "in");
    n->b = tpl_parse_tuple(p, false, "recursive");
    if (tpl_accept_name(p, "if"))
        n->c = tpl_parse_expr(p, true);
    n->flag = tpl_accept_name(p, "recursive");
    parse_statements(p, &n->kids, (const char *const[]){"endfor", "else", NULL}, "for");
    if (tpl_is_name(tpl_take(p), "else"))
        parse_until(p, &n->more, "endfor", "for");
    return n;
}

static struct tpl_node *parse_if(struct tpl_parser *p) {
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    struct tpl_node *first = start(p, N_IF), *n = first;
    for (;;) {
        n->b = tpl_node(p->t, N_BLOCK, n->line);
        n->c = tpl_node(p->t, N_BLOCK, n->line);
        n->a = tpl_parse_tuple(p, false, NULL);
        parse_statements(p, &n->kids, ends, "if");
        struct tpl_token *k = tpl_take(p);
        if (tpl_is_name(k, "elif")) {
            n = tpl_node(p->t, N_IF, k->line);
            tpl_append(p->t, &first->b->kids, n);
            continue;
        }
        if (tpl_is_name(k, "else"))
            parse_until(p, &first->c->kids, "endif", "if");
        return first;
    }
}

static struct tpl_node *parse_set(struct tpl_parser *p) {
    struct tpl_node *n = start(p, N_SET);
    n->a = tpl_parse_target(p, true, NULL);
    if (tpl_accept(p, '=')) {
        n->b = tpl_parse_tuple(p, true, NULL);
        return n;
    }
    n->type = N_SETBLOCK;
    n->b = tpl_parse_filter(p, NULL, false);
    parse_until(p, &n->kids, "endset", "set");
    return n;
}

static struct tpl_node *parse_with(struct tpl_parser *p) {
    struct tpl_node *n = start(p, N_WITH);
    n->a = tpl_node(p->t, N_BLOCK, n->line);
    while (tpl_peek(p, 0)->type != TOK_BLOCK_END) {
        if (n->more.n)
            tpl_expect(p, ',');
        struct tpl_node *target = tpl_parse_target(p, false, NULL);
        tpl_use_as(p, target, TPL_PARAM);
        tpl_append(p->t, &n->more, target);
        tpl_expect(p, '=');
        tpl_append(p->t, &n->a->kids, tpl_parse_expr(p, true));
    }
    parse_until(p, &n->kids, "endwith", "with");
    return n;
}

static void parse_signature(struct tpl_parser *p, struct tpl_node *n) {
    tpl_expect(p, '(');
    while (tpl_peek(p, 0)->type != ')') {
        if (n->more.n)
            tpl_expect(p, ',');
        struct tpl_node *arg = tpl_node(p->t, N_NAME, n->line);
        arg->name = tpl_expect(p, TOK_NAME)->value.s;
        arg->op = TPL_PARAM;
        if (tpl_accept(p, '='))
            tpl_append(p->t, &n->a->kids, tpl_parse_expr(p, true));
        else if (n->a->kids.n)
            tpl_fail(p->t, "non-default argument follows default argument");
        tpl_append(p->t, &n->more, arg);
    }
    tpl_expect(p, ')');
}

static struct tpl_node *parse_macro(struct tpl_parser *p) {
    struct tpl_node *n = start(p, N_MACRO);
    n->a = tpl_node(p->t, N_BLOCK, n->line);
    n->name = tpl_expect(p, TOK_NAME)->value.s;
    parse_signature(p, n);
    parse_until(p, &n->kids, "endmacro", "macro");
    return n;
}

static struct tpl_node *parse_call_block(struct tpl_parser *p) {
    struct tpl_node *n = start(p, N_CALLBLOCK);
    n->a = tpl_node(p->t, N_BLOCK, n->line);
    if (tpl_peek(p, 0)->type == '(')
        parse_signature(p, n);
    n->b = tpl_parse_expr(p, true);
    if (n->b->type != N_CALL)
        tpl_fail(p->t, "expected a call after call");
    parse_until(p, &n->kids, "endcall", "call");
    return n;
}

static struct tpl_node *parse_generation(struct tpl_parser *p) {
    struct tpl_node *n = start(p, N_CALLBLOCK);
    n->a = tpl_node(p->t, N_BLOCK, n->line);
    parse_until(p, &n->kids, "endgeneration", "generation");
    return n;
}

static struct tpl_node *parse_filter_block(struct tpl_parser *p) {
    struct tpl_node *n = start(p, N_FILTERBLOCK);
    n->b = tpl_parse_filter(p, NULL, true);
    parse_until(p, &n->kids, "endfilter", "filter");
    return n;
}

static struct tpl_node *parse_print(struct tpl_parser *p) {
    struct tpl_node *n = start(p, N_PRINT);
    while (tpl_peek(p, 0)->type != TOK_BLOCK_END) {
        if (n->kids.n)
            tpl_expect(p, ',');
        tpl_append(p->t, &n->kids, tpl_parse_expr(p, true));
    }
    return n;
}

static struct tpl_node *parse_break(struct tpl_parser *p) {
    return start(p, N_BREAK);
}

static struct tpl_node *parse_continue(struct tpl_parser *p) {
    return start(p, N_CONTINUE);
}

static struct tpl_node *parse_statement(struct tpl_parser *p, const char *inside) {
    static const struct {
        const char *tag;
        struct tpl_node *(*parse)(struct tpl_parser *);
    } tags[] = {
        {"if", parse_if},
        {"for", parse_for},
        {"set", parse_set},
        {"macro", parse_macro},
        {"generation", parse_generation},
        {"call", parse_call_block},
        {"with", parse_with},
        {"filter", parse_filter_block},
        {"print", parse_print},
        {"break", parse_break},
        {"continue", parse_continue},
    };
    struct tpl_token *k = tpl_peek(p, 0);
    if (k->type != TOK_NAME)
        tpl_unexpected(p, "a tag name");
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        if (tpl_is_name(k, tags[i].tag))
            return tags[i].parse(p);
    p->t->line = k->line;
    tpl_fail(p->t, "unknown or misplaced tag '%.*s'%s%s%s", (int)(k->value.s->len < 60 ? k->value.s->len : 60),
             k->value.s->s, inside ? " inside '" : "", inside ? inside : "", inside ? "'" : "");
}

static bool at_end(struct tpl_parser *p, const char *const *ends) {
    for (; ends && *ends; ends++)
        if (tpl_is_name(tpl_peek(p, 0), *ends))
            return true;
    return false;
}

/* ends NULL: the whole template. inside: the tag to name when its end is missing. */
static void parse_body(struct tpl_parser *p, struct tpl_list *into, const char *const *ends, const char *inside) {
    struct tpl *t = p->t;
    int line = tpl_peek(p, 0)->line;
    if (++t->depth > TPL_MAX_EXPR_DEPTH)
        tpl_fail(t, "blocks are nested more than %d levels deep", TPL_MAX_EXPR_DEPTH);
    for (;;) {
        struct tpl_token *k = tpl_take(p);
        if (k->type == TOK_TEXT) {
            struct tpl_node *n = tpl_node(t, N_TEXT, k->line);
            n->value = k->value;
            tpl_append(t, into, n);
        } else if (k->type == TOK_VAR_BEGIN) {
            struct tpl_node *n = tpl_node(t, N_PRINT, k->line);
            tpl_append(t, &n->kids, tpl_parse_tuple(p, true, NULL));
            tpl_append(t, into, n);
            tpl_expect(p, TOK_VAR_END);
        } else if (k->type == TOK_BLOCK_BEGIN) {
            if (at_end(p, ends))
                break;
            tpl_append(t, into, parse_statement(p, inside));
            tpl_expect(p, TOK_BLOCK_END);
        } else if (ends) {
            tpl_fail(t, "the end of '%s', opened at line %d, is missing", inside, line);
        } else {
            break;
        }
    }
    t->depth--;
}

struct tpl_node *tpl_parse(struct tpl *t, const char *source, size_t len) {
    struct tpl_parser p = {.t = t};
    tpl_lex(t, source, len, &p.tokens);
    struct tpl_node *root = tpl_node(t, N_BLOCK, 1);
    parse_body(&p, &root->kids, NULL, NULL);
    return root;
}
