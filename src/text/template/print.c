/* How values print: Python's str() and repr(), the shortest digits of a float, json.dumps(). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "text/template/eval.h"
#include "text/template/value.h"

void tpl_print_int(struct tpl_sb *b, tpl_int i, int base) {
    char text[136];
    size_t at = sizeof text;
    unsigned __int128 u = i < 0 ? -(unsigned __int128)i : (unsigned __int128)i;
    do
        text[--at] = "0123456789abcdef"[u % (unsigned)base];
    while (u /= (unsigned)base);
    if (i < 0)
        text[--at] = '-';
    tpl_sb_add(b, text + at, sizeof text - at);
}

void tpl_print_float(struct tpl_sb *b, double f) {
    if (isnan(f) || isinf(f)) {
        tpl_sb_z(b, isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
        return;
    }
    char text[QM_JSON_REAL_SIZE];
    qm_json_real(f, text);
    tpl_sb_z(b, text);
}

static void repr_str(struct tpl_sb *b, const struct tpl_str *s) {
    bool single = memchr(s->s, '\'', s->len) && !memchr(s->s, '"', s->len);
    char quote = single ? '"' : '\'';
    tpl_sb_add(b, &quote, 1);
    for (size_t i = 0; i < s->len;) {
        uint32_t cp;
        char text[12];
        size_t n = tpl_next_cp(s->s + i, s->len - i, &cp);
        if (cp == '\\' || cp == (unsigned char)quote)
            snprintf(text, sizeof text, "\\%c", (char)cp);
        else if (cp == '\n' || cp == '\r' || cp == '\t')
            snprintf(text, sizeof text, "\\%c", cp == '\n' ? 'n' : cp == '\r' ? 'r' : 't');
        else if (tpl_cp_printable(cp))
            text[0] = 0;
        else
            snprintf(text, sizeof text, cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)cp);
        if (text[0])
            tpl_sb_z(b, text);
        else
            tpl_sb_add(b, s->s + i, n);
        i += n;
    }
    tpl_charge(b->t, s->len / 8);
    tpl_sb_add(b, &quote, 1);
}

static void repr_dict(struct tpl_sb *b, const struct tpl_dict *d) {
    tpl_sb_z(b, "{");
    for (size_t i = 0; i < d->n; i++) {
        if (i)
            tpl_sb_z(b, ", ");
        tpl_repr(b, d->e[i].key);
        tpl_sb_z(b, ": ");
        tpl_repr(b, d->e[i].value);
    }
    tpl_sb_z(b, "}");
}

static void repr_view(struct tpl_sb *b, const struct tpl_view *view) {
    tpl_sb_z(b, view->kind == TPL_KEYS ? "dict_keys([" : view->kind == TPL_VALUES ? "dict_values([" : "dict_items([");
    for (size_t i = 0; i < view->d->n; i++) {
        const struct tpl_entry *e = &view->d->e[i];
        if (i)
            tpl_sb_z(b, ", ");
        if (view->kind == TPL_ITEMS)
            tpl_repr(b, tpl_pair(b->t, e->key, e->value));
        else
            tpl_repr(b, view->kind == TPL_KEYS ? e->key : e->value);
    }
    tpl_sb_z(b, "])");
}

static void repr_range(struct tpl_sb *b, const struct tpl_range *r) {
    tpl_sb_z(b, "range(");
    tpl_print_int(b, r->start, 10);
    tpl_sb_z(b, ", ");
    tpl_print_int(b, r->stop, 10);
    if (r->step != 1) {
        tpl_sb_z(b, ", ");
        tpl_print_int(b, r->step, 10);
    }
    tpl_sb_z(b, ")");
}

static void repr_inner(struct tpl_sb *b, struct tpl_val v) {
    switch ((enum tpl_kind)v.kind) {
    case TPL_MISSING: tpl_sb_z(b, "missing"); return;
    case TPL_UNDEF: tpl_sb_z(b, "Undefined"); return;
    case TPL_NONE: tpl_sb_z(b, "None"); return;
    case TPL_BOOL: tpl_sb_z(b, v.b ? "True" : "False"); return;
    case TPL_INT: tpl_print_int(b, v.i, 10); return;
    case TPL_BIG: tpl_sb_str(b, v.s); return;
    case TPL_FLOAT: tpl_print_float(b, v.f); return;
    case TPL_STR:
        if (v.safe)
            tpl_sb_z(b, "Markup(");
        repr_str(b, v.s);
        if (v.safe)
            tpl_sb_z(b, ")");
        return;
    case TPL_LIST:
    case TPL_TUPLE:
        tpl_sb_z(b, v.kind == TPL_LIST ? "[" : "(");
        for (size_t i = 0; i < v.q->n; i++) {
            if (i)
                tpl_sb_z(b, ", ");
            tpl_repr(b, v.q->v[i]);
        }
        tpl_sb_z(b, v.kind == TPL_LIST ? "]" : v.q->n == 1 ? ",)" : ")");
        return;
    case TPL_DICT: repr_dict(b, v.d); return;
    case TPL_VIEW: repr_view(b, v.view); return;
    case TPL_RANGE: repr_range(b, v.r); return;
    case TPL_NS:
        tpl_sb_z(b, "<Namespace ");
        repr_dict(b, v.d);
        tpl_sb_z(b, ">");
        return;
    case TPL_LOOP: tpl_repr_loop(b, v.loop); return;
    case TPL_MACRO: tpl_repr_macro(b, v.m); return;
    default:
        tpl_sb_z(b, "<");
        tpl_sb_z(b, tpl_type(v));
        tpl_sb_z(b, " object>");
        return;
    }
}

void tpl_repr(struct tpl_sb *b, struct tpl_val v) {
    tpl_enter(b->t);
    tpl_charge(b->t, 1);
    repr_inner(b, v);
    tpl_exit(b->t);
}

void tpl_print(struct tpl_sb *b, struct tpl_val v) {
    if (v.kind == TPL_STR)
        tpl_sb_str(b, v.s);
    else if (v.kind != TPL_UNDEF)
        tpl_repr(b, v);
}

struct tpl_val tpl_to_str(struct tpl *t, struct tpl_val v) {
    if (v.kind == TPL_STR) {
        v.safe = false;
        return v;
    }
    struct tpl_sb b = {.t = t};
    tpl_print(&b, v);
    return tpl_sb_done(&b);
}

static void json_str(struct tpl_sb *b, const struct tpl_str *s, bool ascii) {
    static const char short_for[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    tpl_sb_z(b, "\"");
    size_t plain = 0; /* where the text not yet copied begins */
    for (size_t i = 0; i < s->len;) {
        uint32_t cp;
        size_t n = tpl_next_cp(s->s + i, s->len - i, &cp);
        if (cp >= ' ' && cp != '"' && cp != '\\' && (!ascii || cp < 0x7F)) {
            i += n;
            continue;
        }
        char text[16];
        const char *e = NULL;
        for (const char *p = short_for; *p; p += 2)
            if ((unsigned char)*p == cp)
                e = p + 1;
        if (e)
            snprintf(text, sizeof text, "\\%c", *e);
        else if (cp < 0x10000)
            snprintf(text, sizeof text, "\\u%04x", (unsigned)cp);
        else
            snprintf(text, sizeof text, "\\u%04x\\u%04x", 0xD7C0u + (unsigned)(cp >> 10),
                     0xDC00u + (unsigned)(cp & 0x3FF));
        tpl_sb_add(b, s->s + plain, i - plain);
        tpl_sb_z(b, text);
        i += n;
        plain = i;
    }
    tpl_sb_add(b, s->s + plain, s->len - plain);
    tpl_charge(b->t, s->len / 16);
    tpl_sb_z(b, "\"");
}

static void newline(struct tpl_sb *b, const struct tpl_json *o, int level) {
    if (!o->indent)
        return;
    tpl_sb_z(b, "\n");
    for (int i = 0; i < level; i++)
        tpl_sb_str(b, o->indent);
}

static void json_float(struct tpl_sb *b, double f) {
    char text[QM_JSON_REAL_SIZE];
    qm_json_real(f, text);
    tpl_sb_z(b, text);
}

static void json_scalar(struct tpl_sb *b, struct tpl_val v) {
    switch ((enum tpl_kind)v.kind) {
    case TPL_NONE: tpl_sb_z(b, "null"); return;
    case TPL_BOOL: tpl_sb_z(b, v.b ? "true" : "false"); return;
    case TPL_INT: tpl_print_int(b, v.i, 10); return;
    case TPL_BIG: tpl_sb_str(b, v.s); return;
    case TPL_FLOAT: json_float(b, v.f); return;
    default: tpl_fail(b->t, "Object of type %s is not JSON serializable", tpl_type(v));
    }
}

static void json_dict(struct tpl_sb *b, const struct tpl_dict *d, const struct tpl_json *o, int level) {
    struct tpl *t = b->t;
    struct tpl_val *items = tpl_alloc_n(t, d->n, sizeof *items);
    for (size_t i = 0; i < d->n; i++)
        items[i] = tpl_pair(t, d->e[i].key, d->e[i].value);
    if (o->sort)
        tpl_sort(t, items, items, d->n, false);
    tpl_sb_z(b, "{");
    for (size_t i = 0; i < d->n; i++) {
        struct tpl_val key = items[i].q->v[0];
        if (i)
            tpl_sb_str(b, o->comma);
        newline(b, o, level + 1);
        if (key.kind == TPL_STR) {
            json_str(b, key.s, o->ascii);
        } else {
            struct tpl_sb text = {.t = t};
            if (key.kind == TPL_TUPLE || key.kind > TPL_STR)
                tpl_fail(t, "keys must be str, int, float, bool or None, not %s", tpl_type(key));
            json_scalar(&text, key);
            json_str(b, tpl_sb_done(&text).s, o->ascii);
        }
        tpl_sb_str(b, o->colon);
        tpl_json_dump(b, items[i].q->v[1], o, level + 1);
    }
    if (d->n)
        newline(b, o, level);
    tpl_sb_z(b, "}");
}

void tpl_json_dump(struct tpl_sb *b, struct tpl_val v, const struct tpl_json *o, int level) {
    tpl_enter(b->t);
    tpl_charge(b->t, 1);
    if (v.kind == TPL_STR) {
        json_str(b, v.s, o->ascii);
    } else if (v.kind == TPL_DICT) {
        json_dict(b, v.d, o, level);
    } else if (tpl_is_seq(v)) {
        tpl_sb_z(b, "[");
        for (size_t i = 0; i < v.q->n; i++) {
            if (i)
                tpl_sb_str(b, o->comma);
            newline(b, o, level + 1);
            tpl_json_dump(b, v.q->v[i], o, level + 1);
        }
        if (v.q->n)
            newline(b, o, level);
        tpl_sb_z(b, "]");
    } else {
        json_scalar(b, v);
    }
    tpl_exit(b->t);
}
