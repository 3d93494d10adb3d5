/* What runs a template: frames of variables, iterators, macros, calls, and the tables of built-ins. Between
 * the syntax tree (ast.h) and the values (value.h). */
#ifndef QM_TEXT_TEMPLATE_EVAL_H
#define QM_TEXT_TEMPLATE_EVAL_H

#include "text/template/ast.h"

/* The variables of a scope that is running. */
struct tpl_frame {
    struct tpl_frame *parent;
    const struct tpl_scope *scope;
    struct tpl_val *slots;
};

/* Reads any iterable; `at` is a byte offset in a string, else an index. */
struct tpl_iter {
    struct tpl_val of;
    size_t at;
};

/* The part of an attribute path: "a.0.b" is three. */
struct tpl_path {
    size_t n;
    const struct tpl_val *parts;
    struct tpl_val missing; /* in place of what is undefined, or TPL_MISSING */
};

enum tpl_gen_kind { TPL_GEN_SEQ, TPL_GEN_MAP_PATH, TPL_GEN_MAP, TPL_GEN_SELECT, TPL_GEN_FOR };
struct tpl_gen {
    enum tpl_gen_kind kind;
    struct tpl_iter source;
    struct tpl_path path;
    const struct tpl_builtin *fn; /* filter of a map, test of a select (NULL: its truth) */
    struct tpl_args args;
    bool by_path, keep;          /* a select: of the path's value; keep what passes, or what does not */
    const struct tpl_node *node; /* TPL_GEN_FOR: the loop whose condition it is */
    struct tpl_frame *frame;
};

struct tpl_macro {
    const struct tpl_node *node; /* N_MACRO or N_CALLBLOCK */
    struct tpl_frame *frame;     /* around it */
};

struct tpl_loop {
    const struct tpl_node *node; /* NULL unless recursive */
    struct tpl_frame *frame;
    struct tpl_val iterable;
    struct tpl_iter it;
    struct tpl_val current, before, after, changed; /* TPL_MISSING where none */
    tpl_int index0, length;                         /* length -1: not known yet */
    int depth0;
};

enum tpl_flow { TPL_GO_ON, TPL_BREAK, TPL_CONTINUE };

/* exec.c */
void tpl_run(struct tpl *t, const struct tpl_node *root, struct tpl_sb *out);
struct tpl_val tpl_call_macro(struct tpl *t, const struct tpl_macro *m, const struct tpl_args *args);
struct tpl_val tpl_call_loop(struct tpl *t, struct tpl_loop *loop, const struct tpl_args *args);
bool tpl_for_test(struct tpl *t, const struct tpl_node *node, struct tpl_frame *frame, struct tpl_val item);
void tpl_repr_macro(struct tpl_sb *b, const struct tpl_macro *m);

/* eval.c */
struct tpl_val tpl_eval(struct tpl *t, struct tpl_frame *f, const struct tpl_node *n);
/* n with one more keyword: caller. */
struct tpl_val tpl_call_with_caller(struct tpl *t, struct tpl_frame *f, const struct tpl_node *n,
                                    struct tpl_val caller);
struct tpl_val tpl_apply_filter(struct tpl *t, struct tpl_frame *f, const struct tpl_node *n, struct tpl_val on);
struct tpl_val tpl_call(struct tpl *t, struct tpl_val fn, const struct tpl_args *args);
/* Binds args to b's parameters and runs it; self is what a method, filter or test is of. */
struct tpl_val tpl_call_builtin(struct tpl *t, const struct tpl_builtin *b, struct tpl_val self,
                                const struct tpl_args *args);

/* ops.c: Python's operators. op: a token's type. */
struct tpl_val tpl_binary(struct tpl *t, int op, struct tpl_val a, struct tpl_val b);
struct tpl_val tpl_add(struct tpl *t, struct tpl_val a, struct tpl_val b);
struct tpl_val tpl_negate(struct tpl *t, struct tpl_val a);
bool tpl_contains(struct tpl *t, struct tpl_val in, struct tpl_val what);

/* attr.c: what . and [] find. */
struct tpl_val tpl_getattr(struct tpl *t, struct tpl_val on, struct tpl_val name);
struct tpl_val tpl_getitem(struct tpl *t, struct tpl_val on, struct tpl_val key);
struct tpl_val tpl_slice(struct tpl *t, struct tpl_val on, const struct tpl_val part[3]);
struct tpl_path tpl_path_of(struct tpl *t, struct tpl_val attribute, struct tpl_val missing);
struct tpl_val tpl_follow(struct tpl *t, const struct tpl_path *path, struct tpl_val on);

/* iter.c */
bool tpl_iterable(struct tpl_val v);
struct tpl_iter tpl_iterate(struct tpl *t, struct tpl_val of);
bool tpl_next(struct tpl *t, struct tpl_iter *it, struct tpl_val *out);
bool tpl_length(struct tpl_val v, size_t *n); /* of what has one */
struct tpl_val tpl_list_of(struct tpl *t, struct tpl_val v);
struct tpl_val tpl_gen_of(struct tpl *t, struct tpl_val list);
/* Stable; by keys[i], moving v[i] with it. */
void tpl_sort(struct tpl *t, struct tpl_val *keys, struct tpl_val *v, size_t n, bool reverse);

/* loop.c */
bool tpl_loop_next(struct tpl *t, struct tpl_loop *loop, struct tpl_val *out);
struct tpl_val tpl_loop_attr(struct tpl *t, struct tpl_loop *loop, const struct tpl_str *name); /* or TPL_MISSING */
void tpl_repr_loop(struct tpl_sb *b, struct tpl_loop *loop);

/* format.c */
struct tpl_val tpl_percent(struct tpl *t, struct tpl_val format, struct tpl_val args);
struct tpl_val tpl_format(struct tpl *t, struct tpl_val format, const struct tpl_args *args);
struct tpl_val tpl_strftime(struct tpl *t, const struct tpl_str *format);

/* The tables of built-ins, ended by a NULL name. */
extern const struct tpl_builtin tpl_filters[], tpl_filters_seq[], tpl_tests[], tpl_globals[], tpl_str_methods[],
    tpl_dict_methods[], tpl_list_methods[], tpl_tuple_methods[], tpl_cycler_methods[], tpl_loop_methods[];
const struct tpl_builtin *tpl_find_filter(const struct tpl_str *name);

/* Arguments of built-ins. */
bool tpl_given(struct tpl_val v);
bool tpl_arg_bool(struct tpl *t, struct tpl_val v, bool otherwise);
tpl_int tpl_arg_int(struct tpl *t, struct tpl_val v, tpl_int otherwise);
struct tpl_val tpl_arg_str(struct tpl *t, struct tpl_val v, const char *otherwise); /* must be a string */

#endif
