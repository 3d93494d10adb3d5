/* The tokens and the syntax tree of a template, and its scopes: what lex.c, parse_expr.c, parse_stmt.c and
 * scope.c make of the source, in this order, and what the evaluator reads. Immutable once compiled. */
#ifndef QM_TEXT_TEMPLATE_AST_H
#define QM_TEXT_TEMPLATE_AST_H

#include "text/template/value.h"

enum tpl_token_type {
    TOK_EOF = 0, /* single-character operators are their own type */
    TOK_TEXT = 256,
    TOK_VAR_BEGIN,
    TOK_VAR_END,
    TOK_BLOCK_BEGIN,
    TOK_BLOCK_END,
    TOK_NAME,
    TOK_NUMBER, /* value: integer or float */
    TOK_STRING,
    TOK_FLOORDIV,
    TOK_POW,
    TOK_EQ,
    TOK_NE,
    TOK_GE,
    TOK_LE,
};

struct tpl_token {
    int type, line;
    struct tpl_val value; /* of names, numbers, strings and text */
};

struct tpl_tokens {
    struct tpl_token *v;
    size_t n, cap;
};

void tpl_lex(struct tpl *t, const char *source, size_t len, struct tpl_tokens *out);

enum tpl_node_type {
    /* Expressions. */
    N_CONST,   /* value */
    N_NAME,    /* name, op: how it is used; hops and slot */
    N_NSREF,   /* name.value as the target of set */
    N_TUPLE,   /* kids */
    N_LIST,    /* kids */
    N_DICT,    /* kids: key, value, key, ... */
    N_COND,    /* a if b else c (or NULL) */
    N_OR,      /* a or b */
    N_AND,     /* a and b */
    N_NOT,     /* not a */
    N_COMPARE, /* a, kids: N_OPERAND */
    N_OPERAND, /* op a */
    N_BINARY,  /* a op b */
    N_CONCAT,  /* kids */
    N_NEG,     /* -a */
    N_POS,     /* +a */
    N_GETATTR, /* a.name */
    N_GETITEM, /* a[b] */
    N_SLICE,   /* a:b:c, each may be NULL */
    N_CALL,    /* a(kids, more: N_KEYWORD, *b, **c) */
    N_FILTER,  /* a|name(...) with the arguments as a call's; a NULL in a filter block */
    N_TEST,    /* a is name(...) */
    N_KEYWORD, /* name=a */
    /* Statements. */
    N_TEXT,        /* value */
    N_PRINT,       /* kids */
    N_FOR,         /* for a in b if c: kids, else more; flag: recursive */
    N_IF,          /* if a: kids; b: N_BLOCK of the elifs, each an N_IF; c: N_BLOCK of else */
    N_BLOCK,       /* kids */
    N_SET,         /* a = b */
    N_SETBLOCK,    /* a = kids, through the filter b or NULL */
    N_MACRO,       /* name(more: N_NAME, defaults of the last ones: a's kids): kids */
    N_CALLBLOCK,   /* call b with a macro as N_MACRO's fields; b NULL: the generation tag, only the body */
    N_FILTERBLOCK, /* kids through b */
    N_WITH,        /* more: targets, a's kids: values; kids */
    N_BREAK,
    N_CONTINUE,
};

enum { TPL_LOAD, TPL_STORE, TPL_PARAM };
enum { OP_IN = 512, OP_NOT_IN };

struct tpl_list {
    struct tpl_node **v;
    size_t n, cap;
};

/* How a variable of a scope gets its value on entry. */
enum tpl_load { TPL_BY_CALLER, TPL_FROM_CONTEXT, TPL_FROM_OUTER, TPL_NOT_SET };

struct tpl_symbol {
    const struct tpl_str *name;
    enum tpl_load load;
    int hops, slot; /* of TPL_FROM_OUTER */
    bool stored;
};

struct tpl_scope {
    struct tpl_scope *parent;
    struct tpl_symbol *v;
    size_t n, cap;
};

struct tpl_node {
    enum tpl_node_type type;
    int op, line;
    int hops, slot; /* of a name; slot: of a for, its loop */
    bool flag;
    int special[3]; /* of a macro: the slots of caller, kwargs and varargs, -1 where it does not read them */
    struct tpl_node *a, *b, *c;
    struct tpl_list kids, more;
    const struct tpl_str *name;
    struct tpl_val value;
    const struct tpl_builtin *builtin;      /* of a filter or a test; NULL: unknown, an error if reached */
    struct tpl_scope *scope, *test, *other; /* of the body, a for's condition, a for's else */
};

struct tpl_parser {
    struct tpl *t;
    struct tpl_tokens tokens;
    size_t at;
};

void tpl_append(struct tpl *t, struct tpl_list *l, struct tpl_node *n);
struct tpl_node *tpl_node(struct tpl *t, enum tpl_node_type type, int line);

/* The parser's hands: tokens. */
struct tpl_token *tpl_peek(struct tpl_parser *p, size_t ahead);
struct tpl_token *tpl_take(struct tpl_parser *p);
bool tpl_is_name(const struct tpl_token *k, const char *name);
bool tpl_accept(struct tpl_parser *p, int type);
bool tpl_accept_name(struct tpl_parser *p, const char *name);
struct tpl_token *tpl_expect(struct tpl_parser *p, int type);
void tpl_expect_name(struct tpl_parser *p, const char *name);
_Noreturn void tpl_unexpected(struct tpl_parser *p, const char *expected);

struct tpl_node *tpl_parse_expr(struct tpl_parser *p, bool with_cond);
/* until: a name that ends the tuple, or NULL. */
struct tpl_node *tpl_parse_tuple(struct tpl_parser *p, bool with_cond, const char *until);
struct tpl_node *tpl_parse_target(struct tpl_parser *p, bool namespaces, const char *until);
struct tpl_node *tpl_parse_filter(struct tpl_parser *p, struct tpl_node *on, bool inline_start);
void tpl_use_as(struct tpl_parser *p, struct tpl_node *target, int use);

/* The whole template as an N_BLOCK. */
struct tpl_node *tpl_parse(struct tpl *t, const char *source, size_t len);
/* Gives every name its variable, as Jinja's compiler does, and finds the filters and tests. */
void tpl_resolve(struct tpl *t, struct tpl_node *root);

#endif
