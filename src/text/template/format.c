/* Python's text formatting: '%' with its conversions, str.format with positions, names, attributes, items
 * and the common format specifications, and strftime in the C locale. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/template/eval.h"

enum { MAX_WIDTH = 100000 };

struct spec {
    uint32_t fill;
    char align, sign, type;
    bool alternate, zero;
    char group;
    int width, precision; /* precision -1: none */
};

/* Pads the text of a value to its width. sign: bytes of a sign and prefix that '=' padding goes after. */
static void pad_out(struct tpl_sb *b, const struct spec *f, const struct tpl_str *s, size_t sign, char align) {
    size_t gap = f->width > 0 && (size_t)f->width > s->chars ? (size_t)f->width - s->chars : 0;
    size_t left = align == '>' ? gap : align == '^' ? gap / 2 : 0;
    size_t inside = align == '=' ? gap : 0;
    tpl_sb_fill(b, f->fill, left);
    tpl_sb_add(b, s->s, sign);
    tpl_sb_fill(b, f->fill, inside);
    tpl_sb_add(b, s->s + sign, s->len - sign);
    tpl_sb_fill(b, f->fill, gap - left - inside);
}

/* Separators between groups of digits of the whole part, which is digits[0..n). */
static void add_grouped(struct tpl_sb *b, const char *digits, size_t n, char separator, size_t per) {
    for (size_t i = 0; i < n; i++) {
        if (separator && i && (n - i) % per == 0)
            tpl_sb_add(b, &separator, 1);
        tpl_sb_add(b, digits + i, 1);
    }
}

static void put_sign(struct tpl_sb *b, const struct spec *f, bool negative) {
    if (negative)
        tpl_sb_z(b, "-");
    else if (f->sign == '+' || f->sign == ' ')
        tpl_sb_add(b, &f->sign, 1);
}

static void format_int(struct tpl_sb *out, const struct spec *f, tpl_int i) {
    struct tpl_sb digits = {.t = out->t}, b = {.t = out->t};
    char kind = (char)(f->type | 32);
    int base = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 10;
    tpl_print_int(&digits, i < 0 ? -i : i, base);
    for (size_t k = 0; f->type == 'X' && k < digits.len; k++)
        if (digits.s[k] >= 'a')
            digits.s[k] = (char)(digits.s[k] - 32);
    put_sign(&b, f, i < 0);
    if (f->alternate && base != 10) {
        tpl_sb_z(&b, "0");
        tpl_sb_add(&b, &f->type, 1);
    }
    size_t sign = b.len;
    if (f->precision > 0 && digits.len < (size_t)f->precision)
        tpl_sb_fill(&b, '0', (size_t)f->precision - digits.len);
    add_grouped(&b, digits.s, digits.len, f->group, base == 10 ? 3 : 4);
    pad_out(out, f, tpl_sb_done(&b).s, sign, f->align ? f->align : '>');
}

static void format_float(struct tpl_sb *out, const struct spec *f, double x) {
    struct tpl_sb b = {.t = out->t};
    char type = f->type ? f->type : 'g', format[8], *text;
    int precision = f->precision < 0 ? 6 : f->precision;
    put_sign(&b, f, signbit(x) && !isnan(x));
    size_t sign = b.len;
    if (!f->type && f->precision < 0) {
        struct tpl_sb plain = {.t = out->t};
        tpl_print_float(&plain, fabs(x));
        tpl_sb_add(&plain, "", 1);
        text = plain.s;
    } else {
        size_t size = (size_t)precision + 400;
        text = tpl_alloc(out->t, size);
        snprintf(format, sizeof format, "%%%s.*%c", f->alternate ? "#" : "",
                 type == '%'   ? 'f'
                 : type == 'n' ? 'g'
                               : type);
        int n = snprintf(text, size, format, precision, fabs(type == '%' ? x * 100 : x));
        /* Without a type Python's general format shows a whole number as a float. */
        if (!f->type && n > 0 && !strpbrk(text, ".en") && (size_t)n + 3 < size)
            memcpy(text + n, ".0", 3);
    }
    size_t whole = strspn(text, "0123456789");
    add_grouped(&b, text, whole, f->group, 3);
    tpl_sb_z(&b, text + whole);
    if (type == '%')
        tpl_sb_z(&b, "%");
    pad_out(out, f, tpl_sb_done(&b).s, sign, f->align ? f->align : '>');
}

static void format_text(struct tpl_sb *out, const struct spec *f, struct tpl_val s, char align) {
    if (f->precision >= 0 && (size_t)f->precision < s.s->chars)
        s = tpl_sub(out->t, s, 0, tpl_offset(s.s, (size_t)f->precision));
    pad_out(out, f, s.s, 0, f->align ? f->align : align);
}

static int read_number(struct tpl *t, const char **s, const char *end) {
    int n = 0;
    for (; *s < end && **s >= '0' && **s <= '9'; ++*s) {
        n = n * 10 + (**s - '0');
        if (n > MAX_WIDTH)
            tpl_fail(t, "a width or precision in a format is too large");
    }
    return n;
}

/* Where '%' takes its values from. */
struct percent {
    struct tpl_val args;
    size_t at;
    bool tuple;
};

static struct tpl_val next_arg(struct tpl *t, struct percent *p) {
    if (!p->tuple && p->at == 0)
        return p->at++, p->args;
    if (!p->tuple || p->at >= p->args.q->n)
        tpl_fail(t, "not enough arguments for format string");
    return p->args.q->v[p->at++];
}

static void percent_number(struct tpl_sb *b, struct spec *f, struct tpl_val v) {
    struct tpl *t = b->t;
    bool whole = strchr("diuxXo", f->type) != NULL;
    if (!tpl_is_num(v) || (f->type != 'd' && f->type != 'i' && f->type != 'u' && whole && v.kind == TPL_FLOAT))
        tpl_fail(t, "%%%c format: a number is required, not %s", f->type, tpl_type(v));
    if (f->zero && f->align != '<') {
        f->fill = '0';
        f->align = '=';
    }
    if (!whole) {
        format_float(b, f, tpl_to_float(t, v));
        return;
    }
    if (f->type == 'i' || f->type == 'u')
        f->type = 'd';
    if (v.kind == TPL_BIG)
        tpl_fail_large(t);
    if (v.kind == TPL_FLOAT && (!isfinite(v.f) || fabs(v.f) > 1e37))
        tpl_fail(t, "cannot convert this float to an integer");
    format_int(b, f, v.kind == TPL_FLOAT ? (tpl_int)v.f : tpl_to_int(v));
}

static void percent_one(struct tpl_sb *b, struct spec *f, struct tpl_val v, bool safe) {
    struct tpl *t = b->t;
    switch (f->type) {
    case 's':
        if (safe)
            v = tpl_escape(t, v);
        format_text(b, f, tpl_to_str(t, v), '>');
        return;
    case 'r':
    case 'a': {
        struct tpl_sb text = {.t = t};
        tpl_repr(&text, v);
        format_text(b, f, tpl_sb_done(&text), '>');
        return;
    }
    case 'c': {
        struct tpl_sb text = {.t = t};
        if (tpl_is_int(v) && tpl_to_int(v) >= 0 && tpl_to_int(v) <= 0x10FFFF &&
            (tpl_to_int(v) < 0xD800 || tpl_to_int(v) > 0xDFFF))
            tpl_sb_cp(&text, (uint32_t)tpl_to_int(v));
        else if (v.kind == TPL_STR && v.s->chars == 1)
            tpl_sb_str(&text, v.s);
        else
            tpl_fail(t, "%%c requires int or char");
        format_text(b, f, tpl_sb_done(&text), '>');
        return;
    }
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o':
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G': percent_number(b, f, v); return;
    default: tpl_fail(t, "unsupported format character '%c'", f->type);
    }
}

/* One conversion after its '%'; where it ends. */
static const char *percent_spec(struct tpl_sb *b, struct percent *p, const char *s, const char *end, bool safe) {
    struct tpl *t = b->t;
    struct spec f = {.fill = ' ', .precision = -1};
    struct tpl_val named = tpl_missing();
    if (s < end && *s == '(') {
        const char *close = memchr(s, ')', (size_t)(end - s));
        if (!close || p->args.kind != TPL_DICT)
            tpl_fail(t, "format requires a mapping");
        const struct tpl_val *v = tpl_dict_get(t, p->args.d, tpl_str(t, s + 1, (size_t)(close - s - 1)));
        if (!v)
            tpl_fail(t, "the mapping has no such key as the format names");
        named = *v;
        s = close + 1;
    }
    for (; s < end && strchr("-+ #0", *s) && *s; s++) {
        f.align = *s == '-' ? '<' : f.align;
        f.sign = *s == '+' || (*s == ' ' && f.sign != '+') ? *s : f.sign;
        f.alternate |= *s == '#';
        f.zero |= *s == '0';
    }
    if (s < end && *s == '*') {
        tpl_int w = tpl_arg_int(t, next_arg(t, p), 0);
        f.align = w < 0 ? '<' : f.align;
        w = w < 0 ? -w : w;
        f.width = w > MAX_WIDTH ? MAX_WIDTH : (int)w;
        s++;
    } else {
        f.width = read_number(t, &s, end);
    }
    if (s < end && *s == '.') {
        s++;
        if (s < end && *s == '*') {
            tpl_int w = tpl_arg_int(t, next_arg(t, p), 0);
            f.precision = w < 0 ? 0 : w > MAX_WIDTH ? MAX_WIDTH : (int)w;
            s++;
        } else {
            f.precision = read_number(t, &s, end);
        }
    }
    while (s < end && (*s == 'l' || *s == 'h' || *s == 'L'))
        s++;
    if (s >= end)
        tpl_fail(t, "incomplete format");
    f.type = *s;
    if (f.type == '%')
        tpl_sb_z(b, "%");
    else
        percent_one(b, &f, named.kind == TPL_MISSING ? next_arg(t, p) : named, safe);
    return s + 1;
}

struct tpl_val tpl_percent(struct tpl *t, struct tpl_val format, struct tpl_val args) {
    struct tpl_sb b = {.t = t};
    struct percent p = {.args = args, .tuple = args.kind == TPL_TUPLE};
    const char *s = format.s->s, *end = s + format.s->len;
    while (s < end) {
        const char *mark = memchr(s, '%', (size_t)(end - s));
        tpl_sb_add(&b, s, (size_t)((mark ? mark : end) - s));
        s = mark ? percent_spec(&b, &p, mark + 1, end, format.safe) : end;
    }
    bool mapping = args.kind == TPL_DICT || args.kind == TPL_LIST || args.kind == TPL_UNDEF;
    if (p.tuple ? p.at < args.q->n : !p.at && !mapping)
        tpl_fail(t, "not all arguments converted during string formatting");
    struct tpl_val v = tpl_sb_done(&b);
    v.safe = format.safe;
    return v;
}

/* [[fill]align][sign][#][0][width][,][.precision][type] */
static struct spec read_spec(struct tpl *t, const struct tpl_str *text) {
    struct spec f = {.precision = -1}; /* fill 0: not given */
    const char *s = text->s, *end = s + text->len;
    uint32_t cp = 0;
    size_t len = s < end ? tpl_next_cp(s, (size_t)(end - s), &cp) : 0;
    if (len && s + len < end && strchr("<>^=", s[len]) && s[len]) {
        f.fill = cp;
        f.align = s[len];
        s += len + 1;
    } else if (len && strchr("<>^=", *s) && *s) {
        f.align = *s++;
    }
    if (s < end && strchr("+- ", *s) && *s)
        f.sign = *s++;
    if (s < end && *s == '#') {
        f.alternate = true;
        s++;
    }
    if (s < end && *s == '0') {
        f.zero = true;
        s++;
    }
    f.width = read_number(t, &s, end);
    if (s < end && (*s == ',' || *s == '_'))
        f.group = *s++;
    if (s < end && *s == '.') {
        s++;
        f.precision = read_number(t, &s, end);
    }
    if (s < end)
        f.type = *s++;
    if (s < end)
        tpl_fail(t, "Invalid format specifier");
    return f;
}

static void format_value(struct tpl_sb *b, struct tpl_val v, const struct tpl_str *spec_text) {
    struct tpl *t = b->t;
    if (!spec_text->len) {
        tpl_print(b, v);
        return;
    }
    struct spec f = read_spec(t, spec_text);
    bool number = tpl_is_num(v);
    if (f.zero && !f.fill)
        f.fill = '0';
    if (f.zero && !f.align && number)
        f.align = '=';
    f.fill = f.fill ? f.fill : ' ';
    if (!number) {
        if (v.kind != TPL_STR || (f.type && f.type != 's'))
            tpl_fail(t, "unsupported format string for %s", tpl_type(v));
        format_text(b, &f, tpl_to_str(t, v), '<');
        return;
    }
    bool real = v.kind == TPL_FLOAT || (f.type && strchr("eEfFgG%", f.type));
    if (f.type && !strchr(v.kind == TPL_FLOAT ? "eEfFgGn%" : "dxXobneEfFgG%c", f.type))
        tpl_fail(t, "Unknown format code '%c' for %s", f.type, tpl_type(v));
    if (v.kind == TPL_BIG && !real)
        tpl_fail_large(t);
    if (f.type == 'c')
        percent_one(b, &f, v, false);
    else if (real)
        format_float(b, &f, tpl_to_float(t, v));
    else
        format_int(b, &f, tpl_to_int(v));
}

struct formatter {
    const struct tpl_args *args;
    size_t next;
    bool manual; /* fields name their positions */
    bool safe;
};

static struct tpl_val field_start(struct tpl *t, struct formatter *f, const char *s, size_t n) {
    bool digits = n < 10;
    size_t index = 0;
    for (size_t i = 0; i < n && digits; i++) {
        digits = s[i] >= '0' && s[i] <= '9';
        index = index * 10 + (size_t)(s[i] - '0');
    }
    if (digits) {
        if (n ? f->next > 0 : f->manual)
            tpl_fail(t, "cannot mix numbered fields with automatic numbering");
        f->manual |= n > 0;
        index = n ? index : f->next++;
        if (index >= f->args->n)
            tpl_fail(t, "Replacement index %zu out of range for positional args tuple", index);
        return f->args->v[index];
    }
    for (size_t i = 0; i < f->args->nk; i++)
        if (f->args->k[i].name->len == n && memcmp(f->args->k[i].name->s, s, n) == 0)
            return f->args->k[i].v;
    tpl_fail(t, "format: no argument named '%.*s'", (int)(n < 60 ? n : 60), s);
}

/* "0.name[key]" */
static struct tpl_val field(struct tpl *t, struct formatter *f, const char *s, size_t n) {
    size_t i = 0;
    while (i < n && s[i] != '.' && s[i] != '[')
        i++;
    struct tpl_val v = field_start(t, f, s, i);
    while (i < n) {
        bool attribute = s[i] == '.';
        size_t from = ++i;
        while (i < n && (attribute ? s[i] != '.' && s[i] != '[' : s[i] != ']'))
            i++;
        struct tpl_path path = tpl_path_of(t, tpl_str(t, s + from, i - from), tpl_missing());
        v = attribute ? tpl_getattr(t, v, tpl_str(t, s + from, i - from)) : tpl_follow(t, &path, v);
        i += !attribute;
        if (v.kind == TPL_UNDEF)
            tpl_fail_undefined(t, v);
    }
    return v;
}

static void format_text_into(struct tpl_sb *b, struct formatter *f, const char *s, const char *end, int depth);

/* A replacement field from after its '{' to its '}'. */
static void replacement(struct tpl_sb *b, struct formatter *f, const char *s, const char *end, int depth) {
    struct tpl *t = b->t;
    const char *name = s, *brackets = NULL;
    while (s < end && (brackets || (*s != ':' && *s != '!'))) {
        brackets = *s == '[' ? s : *s == ']' ? NULL : brackets;
        s++;
    }
    struct tpl_val v = field(t, f, name, (size_t)(s - name));
    if (s < end && *s == '!') {
        struct tpl_sb text = {.t = t};
        if (s + 1 >= end || !strchr("rsa", s[1]) || (s + 2 < end && s[2] != ':'))
            tpl_fail(t, "Unknown conversion specifier");
        if (s[1] == 's')
            tpl_print(&text, v);
        else
            tpl_repr(&text, v);
        v = tpl_sb_done(&text);
        s += 2;
    }
    struct tpl_sb spec = {.t = t};
    if (s < end)
        format_text_into(&spec, f, s + 1, end, depth + 1);
    if (f->safe) {
        struct tpl_sb text = {.t = t};
        format_value(&text, v, tpl_sb_done(&spec).s);
        tpl_sb_str(b, v.kind == TPL_STR && v.safe ? tpl_sb_done(&text).s : tpl_escape(t, tpl_sb_done(&text)).s);
        return;
    }
    format_value(b, v, tpl_sb_done(&spec).s);
}

static void format_text_into(struct tpl_sb *b, struct formatter *f, const char *s, const char *end, int depth) {
    if (depth > 2)
        tpl_fail(b->t, "Max string recursion exceeded");
    while (s < end) {
        char c = *s;
        if (c != '{' && c != '}') {
            tpl_sb_add(b, s++, 1);
            continue;
        }
        if (s + 1 < end && s[1] == c && depth == 1) {
            tpl_sb_add(b, s, 1);
            s += 2;
            continue;
        }
        if (c == '}')
            tpl_fail(b->t, "Single '}' encountered in format string");
        int nested = 1;
        const char *from = ++s;
        for (; s < end && nested; s++)
            nested += *s == '{' ? 1 : *s == '}' ? -1 : 0;
        if (nested)
            tpl_fail(b->t, "expected '}' before end of string");
        replacement(b, f, from, s - 1, depth);
    }
}

struct tpl_val tpl_format(struct tpl *t, struct tpl_val format, const struct tpl_args *args) {
    struct tpl_sb b = {.t = t};
    struct formatter f = {.args = args, .safe = format.safe};
    format_text_into(&b, &f, format.s->s, format.s->s + format.s->len, 1);
    struct tpl_val v = tpl_sb_done(&b);
    v.safe = format.safe;
    return v;
}
