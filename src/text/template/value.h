/* The values a template computes with, as Python sees them, and the one object (struct tpl) that a compile
 * or a render runs in: its memory, its limits and its way out on failure.
 * In the flow: below the parser and the evaluator; knows nothing of either.
 * Everything is allocated in the arena of a struct tpl and lives as long as it. A failure writes the
 * caller's error and leaves by longjmp to the entry point, which frees the arena; no other resource is
 * held meanwhile. Strings, lists and dictionaries never change once another value can see them. */
#ifndef QM_TEXT_TEMPLATE_VALUE_H
#define QM_TEXT_TEMPLATE_VALUE_H

#include <jansson.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/error.h"

/* Wide enough for 2**100 and for any literal a template prints. What computes beyond it is an error; an integer of the
 * context beyond it (TPL_BIG) is compared and printed. */
typedef __int128 tpl_int;

enum {
    TPL_MAX_SOURCE = 1 << 20,
    TPL_MAX_MEMORY = 256 << 20,
    TPL_MAX_OUTPUT = 64 << 20,
    TPL_MAX_STEPS = 10 * 1000 * 1000,
    TPL_MAX_DEPTH = 1000,     /* nested evaluations */
    TPL_MAX_EXPR_DEPTH = 200, /* nested expressions or blocks in the source */
    TPL_MAX_RANGE = 100000,   /* as Jinja's sandbox */
};

struct tpl_chunk;
struct tpl {
    jmp_buf leave;
    struct qm_error *err;
    struct tpl_chunk *chunks;
    char *at, *end;
    size_t memory;
    uint64_t steps;
    int depth, line;
    const char *name;
    const struct tm *now;
    const struct tpl_dict *context;
};

void tpl_free_memory(struct tpl *t);
void *tpl_alloc(struct tpl *t, size_t n);
void *tpl_alloc_n(struct tpl *t, size_t n, size_t size);
/* Counts work; too much is an error. */
void tpl_charge(struct tpl *t, size_t n);
/* Fails with "NAME:LINE: ..." */
_Noreturn void tpl_fail(struct tpl *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Fails with exactly this message. */
_Noreturn void tpl_fail_exact(struct tpl *t, const char *message);
void tpl_enter(struct tpl *t);
static inline void tpl_exit(struct tpl *t) {
    t->depth--;
}

enum tpl_kind {
    TPL_MISSING, /* no value at all: an argument not given, a variable not set */
    TPL_UNDEF,
    TPL_NONE,
    TPL_BOOL,
    TPL_INT,
    TPL_BIG, /* an integer beyond tpl_int, as its decimal digits */
    TPL_FLOAT,
    TPL_STR,
    TPL_LIST,
    TPL_TUPLE,
    TPL_DICT,
    TPL_VIEW, /* keys(), values() or items() of a dictionary */
    TPL_RANGE,
    TPL_GEN, /* an iterator that is used up as it is read */
    TPL_NS,
    TPL_MACRO,
    TPL_LOOP,
    TPL_CYCLER,
    TPL_JOINER,
    TPL_METHOD, /* a built-in function, bound to an object if it is a method */
};

struct tpl_str {
    const char *s;
    size_t len;   /* bytes */
    size_t chars; /* code points */
};

struct tpl_val {
    unsigned char kind;
    bool safe; /* of a string: Markup, whose + and % escape the other side */
    union {
        bool b;
        tpl_int i;
        double f;
        const struct tpl_str *s; /* of TPL_BIG too */
        const struct tpl_seq *q;
        const struct tpl_undef *u;
        struct tpl_dict *d; /* TPL_DICT, TPL_NS */
        const struct tpl_view *view;
        const struct tpl_range *r;
        struct tpl_gen *g;
        const struct tpl_macro *m;
        struct tpl_loop *loop;
        struct tpl_cycler *c;
        const struct tpl_method *method;
    };
};

struct tpl_seq {
    size_t n;
    const struct tpl_val *v;
    bool group; /* groupby's pair, with the attributes grouper and list */
};

struct tpl_undef {
    const char *hint;   /* the whole message, or NULL */
    const char *object; /* "'dict object'" or NULL for a variable */
    struct tpl_val name;
};

struct tpl_entry {
    struct tpl_val key, value;
    uint64_t hash;
};

struct tpl_dict {
    size_t n, cap;
    struct tpl_entry *e;
    uint32_t *index; /* open addressing over 1 + entry, once there are more than a few */
    size_t slots;
};

enum tpl_view_kind { TPL_KEYS, TPL_VALUES, TPL_ITEMS };
struct tpl_view {
    enum tpl_view_kind kind;
    struct tpl_dict *d;
};

struct tpl_range {
    int64_t start, stop, step;
    size_t n;
};

/* cycler() and joiner(): `at` is the next item, `joined` whether the first call was made. */
struct tpl_cycler {
    const struct tpl_seq *items;
    size_t at;
    bool joined;
};

struct tpl_kwarg {
    const struct tpl_str *name;
    struct tpl_val v;
};

struct tpl_args {
    size_t n, nk;
    const struct tpl_val *v;
    const struct tpl_kwarg *k;
};

/* a: the arguments as `params` declares them, TPL_MISSING where not given. */
typedef struct tpl_val tpl_fn(struct tpl *t, struct tpl_val self, const struct tpl_val *a, const struct tpl_args *raw);

/* params: names separated by spaces, those with '?' may be left out; NULL: any arguments, read from raw. */
struct tpl_builtin {
    const char *name;
    tpl_fn *fn;
    const char *params;
};

struct tpl_method {
    struct tpl_val self;
    const struct tpl_builtin *b;
};

/* Making values. */
struct tpl_val tpl_str(struct tpl *t, const char *s, size_t len);
struct tpl_val tpl_strz(struct tpl *t, const char *s);
struct tpl_val tpl_str_borrow(struct tpl *t, const char *s, size_t len); /* s outlives t */
struct tpl_val tpl_seq(struct tpl *t, enum tpl_kind kind, const struct tpl_val *v, size_t n);
struct tpl_val tpl_pair(struct tpl *t, struct tpl_val a, struct tpl_val b);
struct tpl_val tpl_undefined(struct tpl *t, const char *hint);
struct tpl_val tpl_undefined_name(struct tpl *t, const struct tpl_str *name);
struct tpl_val tpl_undefined_of(struct tpl *t, struct tpl_val object, struct tpl_val name);
struct tpl_val tpl_from_json(struct tpl *t, const json_t *j, int depth);
struct tpl_dict *tpl_dict_new(struct tpl *t);
static inline struct tpl_val tpl_none(void) {
    return (struct tpl_val){.kind = TPL_NONE};
}
static inline struct tpl_val tpl_missing(void) {
    return (struct tpl_val){.kind = TPL_MISSING};
}
static inline struct tpl_val tpl_bool(bool b) {
    return (struct tpl_val){.kind = TPL_BOOL, .b = b};
}
static inline struct tpl_val tpl_num(tpl_int i) {
    return (struct tpl_val){.kind = TPL_INT, .i = i};
}
static inline struct tpl_val tpl_float(double f) {
    return (struct tpl_val){.kind = TPL_FLOAT, .f = f};
}
static inline struct tpl_val tpl_of_dict(struct tpl_dict *d) {
    return (struct tpl_val){.kind = TPL_DICT, .d = d};
}

/* Asking. */
bool tpl_truth(struct tpl *t, struct tpl_val v);
bool tpl_equal(struct tpl *t, struct tpl_val a, struct tpl_val b);
int tpl_compare(struct tpl *t, struct tpl_val a, struct tpl_val b, const char *op); /* fails if unordered */
const char *tpl_type(struct tpl_val v);                                             /* Python's name of the type */
bool tpl_is_int(struct tpl_val v);                                                  /* int or bool, and no TPL_BIG */
tpl_int tpl_to_int(struct tpl_val v);
double tpl_to_float(struct tpl *t, struct tpl_val v); /* of a number */
struct tpl_val tpl_big_negated(struct tpl *t, struct tpl_val v);
_Noreturn void tpl_fail_large(struct tpl *t);
_Noreturn void tpl_fail_undefined(struct tpl *t, struct tpl_val u);
bool tpl_str_is(const struct tpl_str *s, const char *z);
static inline bool tpl_is_seq(struct tpl_val v) {
    return v.kind == TPL_LIST || v.kind == TPL_TUPLE;
}
static inline bool tpl_is_num(struct tpl_val v) {
    return v.kind == TPL_BOOL || v.kind == TPL_INT || v.kind == TPL_BIG || v.kind == TPL_FLOAT;
}

/* Dictionaries; an unhashable key fails (tpl_hashable asks first). */
bool tpl_hashable(struct tpl_val v);
const struct tpl_val *tpl_dict_get(struct tpl *t, const struct tpl_dict *d, struct tpl_val key);
const struct tpl_val *tpl_dict_getz(struct tpl *t, const struct tpl_dict *d, const char *key);
void tpl_dict_set(struct tpl *t, struct tpl_dict *d, struct tpl_val key, struct tpl_val value);

/* Text being built. */
struct tpl_sb {
    struct tpl *t;
    char *s;
    size_t len, cap;
};
void tpl_sb_add(struct tpl_sb *b, const void *s, size_t n);
void tpl_sb_z(struct tpl_sb *b, const char *s);
void tpl_sb_str(struct tpl_sb *b, const struct tpl_str *s);
void tpl_sb_cp(struct tpl_sb *b, uint32_t cp);
void tpl_sb_fill(struct tpl_sb *b, uint32_t cp, size_t n);
struct tpl_val tpl_sb_done(struct tpl_sb *b);

/* Lists being built. */
struct tpl_vec {
    struct tpl *t;
    struct tpl_val *v;
    size_t n, cap;
};
void tpl_push(struct tpl_vec *vec, struct tpl_val v);
struct tpl_val tpl_vec_done(struct tpl_vec *vec, enum tpl_kind kind);

/* Python's str(), repr() and json.dumps(). */
struct tpl_json {
    bool ascii, sort;
    const struct tpl_str *indent; /* NULL: on one line */
    const struct tpl_str *comma, *colon;
};
void tpl_print(struct tpl_sb *b, struct tpl_val v);
void tpl_repr(struct tpl_sb *b, struct tpl_val v);
struct tpl_val tpl_to_str(struct tpl *t, struct tpl_val v);
void tpl_json_dump(struct tpl_sb *b, struct tpl_val v, const struct tpl_json *o, int level);
void tpl_print_int(struct tpl_sb *b, tpl_int i, int base);
void tpl_print_float(struct tpl_sb *b, double f);

/* Characters, as Python's str knows them. */
bool tpl_cp_space(uint32_t cp);
bool tpl_cp_alpha(uint32_t cp);
bool tpl_cp_decimal(uint32_t cp);
bool tpl_cp_digit(uint32_t cp);
bool tpl_cp_numeric(uint32_t cp);
bool tpl_cp_word(uint32_t cp);
bool tpl_cp_upper(uint32_t cp);
bool tpl_cp_lower(uint32_t cp);
bool tpl_cp_title(uint32_t cp);
bool tpl_cp_printable(uint32_t cp);
size_t tpl_cp_line_end(const char *s, size_t n); /* bytes of the line end at s, 0 if none */
enum tpl_case { TPL_UPPER, TPL_LOWER, TPL_TITLE, TPL_FOLD };
void tpl_cp_case(struct tpl_sb *b, uint32_t cp, enum tpl_case c);
void tpl_lower_sigma(struct tpl_sb *b, const char *s, size_t n);

/* Strings: offsets are bytes, positions code points. */
size_t tpl_next_cp(const char *s, size_t n, uint32_t *cp); /* of text known to be valid */
size_t tpl_offset(const struct tpl_str *s, size_t position);
size_t tpl_find_bytes(struct tpl *t, const char *s, size_t n, const char *what, size_t m, size_t from); /* or n + 1 */
struct tpl_val tpl_strip(struct tpl *t, struct tpl_val s, struct tpl_val chars, bool left, bool right);
struct tpl_val tpl_sub(struct tpl *t, struct tpl_val s, size_t from, size_t to); /* a slice by bytes */
struct tpl_val tpl_replace(struct tpl *t, struct tpl_val s, struct tpl_val old, struct tpl_val by, tpl_int count);
struct tpl_val tpl_escape(struct tpl *t, struct tpl_val v);

/* A name in a table sorted or not, or NULL. */
const struct tpl_builtin *tpl_lookup(const struct tpl_builtin *table, const struct tpl_str *name);

#endif
