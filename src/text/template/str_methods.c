/* The methods of Python's str that a template may call. `v` is the string. Those that have no place in a
 * prompt (encode, translate, ...) exist, since "is defined" sees them, but refuse to be called. */
#include <string.h>

#include "text/template/eval.h"

#define FN(name)                                                                                                       \
    static struct tpl_val name(struct tpl *t, struct tpl_val v, const struct tpl_val *a, const struct tpl_args *raw)
#define UNUSED (void)t, (void)v, (void)a, (void)raw

/* The text a method makes of a Markup string is Markup. */
static struct tpl_val like(struct tpl_val v, struct tpl_val made) {
    made.safe = v.safe;
    return made;
}

static struct tpl_val map_case(struct tpl *t, struct tpl_val v, enum tpl_case c) {
    struct tpl_sb b = {.t = t};
    uint32_t cp;
    for (size_t i = 0; i < v.s->len;) {
        i += tpl_next_cp(v.s->s + i, v.s->len - i, &cp);
        tpl_cp_case(&b, cp, c);
    }
    tpl_charge(t, v.s->len / 8);
    return like(v, tpl_sb_done(&b));
}

FN(m_upper) {
    UNUSED;
    return map_case(t, v, TPL_UPPER);
}
FN(m_casefold) {
    UNUSED;
    return map_case(t, v, TPL_FOLD);
}

FN(m_lower) {
    UNUSED;
    struct tpl_sb b = {.t = t};
    tpl_lower_sigma(&b, v.s->s, v.s->len);
    return like(v, tpl_sb_done(&b));
}

FN(m_capitalize) {
    UNUSED;
    struct tpl_sb b = {.t = t};
    uint32_t cp;
    if (!v.s->len)
        return v;
    size_t len = tpl_next_cp(v.s->s, v.s->len, &cp);
    tpl_cp_case(&b, cp, TPL_TITLE);
    tpl_lower_sigma(&b, v.s->s + len, v.s->len - len);
    return like(v, tpl_sb_done(&b));
}

static bool cased(uint32_t cp) {
    return tpl_cp_upper(cp) || tpl_cp_lower(cp) || tpl_cp_title(cp);
}

FN(m_title) {
    UNUSED;
    struct tpl_sb b = {.t = t};
    bool inside = false;
    uint32_t cp;
    for (size_t i = 0; i < v.s->len;) {
        i += tpl_next_cp(v.s->s + i, v.s->len - i, &cp);
        tpl_cp_case(&b, cp, inside ? TPL_LOWER : TPL_TITLE);
        inside = cased(cp);
    }
    return like(v, tpl_sb_done(&b));
}

FN(m_swapcase) {
    UNUSED;
    struct tpl_sb b = {.t = t};
    uint32_t cp;
    for (size_t i = 0; i < v.s->len;) {
        i += tpl_next_cp(v.s->s + i, v.s->len - i, &cp);
        if (tpl_cp_upper(cp))
            tpl_cp_case(&b, cp, TPL_LOWER);
        else if (tpl_cp_lower(cp))
            tpl_cp_case(&b, cp, TPL_UPPER);
        else
            tpl_sb_cp(&b, cp);
    }
    return like(v, tpl_sb_done(&b));
}

FN(m_strip) {
    UNUSED;
    return tpl_strip(t, v, a[0], true, true);
}
FN(m_lstrip) {
    UNUSED;
    return tpl_strip(t, v, a[0], true, false);
}
FN(m_rstrip) {
    UNUSED;
    return tpl_strip(t, v, a[0], false, true);
}

static struct tpl_val split_space(struct tpl *t, struct tpl_val v, tpl_int most, bool right) {
    struct tpl_vec out = {.t = t};
    struct tpl_val rest = tpl_strip(t, v, tpl_none(), !right, right);
    while (rest.s->len && most-- != 0) {
        const char *s = rest.s->s;
        size_t n = rest.s->len, at = 0, end = 0;
        uint32_t cp;
        for (size_t i = 0, len; i < n; i += len) {
            len = tpl_next_cp(s + i, n - i, &cp);
            if (!tpl_cp_space(cp))
                continue;
            at = i;
            end = i + len;
            if (!right)
                break;
        }
        tpl_charge(t, n / 64 + 1);
        if (!end)
            break;
        tpl_push(&out, right ? tpl_sub(t, rest, end, n) : tpl_sub(t, rest, 0, at));
        rest = right ? tpl_sub(t, rest, 0, end) : tpl_sub(t, rest, at, n);
        rest = tpl_strip(t, rest, tpl_none(), !right, right);
    }
    if (rest.s->len)
        tpl_push(&out, rest);
    return tpl_vec_done(&out, TPL_LIST);
}

/* The last occurrence in s[0..n), or n + 1. */
static size_t find_last(struct tpl *t, const char *s, size_t n, const struct tpl_str *what) {
    if (what->len == 0)
        return n;
    for (size_t i = n; i >= what->len; i--)
        if (memcmp(s + i - what->len, what->s, what->len) == 0) {
            tpl_charge(t, (n - i) / 16);
            return i - what->len;
        }
    tpl_charge(t, n / 16);
    return n + 1;
}

static struct tpl_val reversed(struct tpl *t, struct tpl_vec *parts) {
    for (size_t i = 0; i < parts->n / 2; i++) {
        struct tpl_val swap = parts->v[i];
        parts->v[i] = parts->v[parts->n - 1 - i];
        parts->v[parts->n - 1 - i] = swap;
    }
    (void)t;
    return tpl_vec_done(parts, TPL_LIST);
}

static struct tpl_val split(struct tpl *t, struct tpl_val v, const struct tpl_val *a, bool right) {
    tpl_int most = tpl_arg_int(t, a[1], -1);
    struct tpl_vec out = {.t = t};
    if (!tpl_given(a[0])) {
        struct tpl_val parts = split_space(t, v, most, right);
        if (!right)
            return parts;
        for (size_t i = 0; i < parts.q->n; i++)
            tpl_push(&out, parts.q->v[i]);
        return reversed(t, &out);
    }
    const struct tpl_str *by = tpl_arg_str(t, a[0], NULL).s;
    if (!by->len)
        tpl_fail(t, "empty separator");
    size_t from = 0, to = v.s->len;
    while (most-- != 0) {
        size_t at = right ? find_last(t, v.s->s, to, by) : tpl_find_bytes(t, v.s->s, to, by->s, by->len, from);
        if (at > to)
            break;
        tpl_push(&out, right ? tpl_sub(t, v, at + by->len, to) : tpl_sub(t, v, from, at));
        if (right)
            to = at;
        else
            from = at + by->len;
        tpl_charge(t, 1);
    }
    tpl_push(&out, tpl_sub(t, v, from, to));
    return right ? reversed(t, &out) : tpl_vec_done(&out, TPL_LIST);
}

FN(m_split) {
    UNUSED;
    return split(t, v, a, false);
}
FN(m_rsplit) {
    UNUSED;
    return split(t, v, a, true);
}

FN(m_splitlines) {
    UNUSED;
    struct tpl_vec out = {.t = t};
    bool keep = tpl_arg_bool(t, a[0], false);
    for (size_t from = 0, i = 0; i <= v.s->len;) {
        size_t end = tpl_cp_line_end(v.s->s + i, v.s->len - i);
        if (end || (i == v.s->len && i > from)) {
            tpl_push(&out, tpl_sub(t, v, from, keep ? i + end : i));
            from = i + end;
        }
        i += end ? end : 1;
    }
    return tpl_vec_done(&out, TPL_LIST);
}

static struct tpl_val partition(struct tpl *t, struct tpl_val v, struct tpl_val by, bool right) {
    by = tpl_arg_str(t, by, NULL);
    if (!by.s->len)
        tpl_fail(t, "empty separator");
    struct tpl_val *three = tpl_alloc_n(t, 3, sizeof *three), none = like(v, tpl_strz(t, ""));
    size_t n = v.s->len;
    size_t at = right ? find_last(t, v.s->s, n, by.s) : tpl_find_bytes(t, v.s->s, n, by.s->s, by.s->len, 0);
    bool found = at <= n;
    three[0] = found ? tpl_sub(t, v, 0, at) : right ? none : v;
    three[1] = found ? like(v, by) : none;
    three[2] = found ? tpl_sub(t, v, at + by.s->len, n) : right ? v : none;
    return tpl_seq(t, TPL_TUPLE, three, 3);
}

FN(m_partition) {
    UNUSED;
    return partition(t, v, a[0], false);
}
FN(m_rpartition) {
    UNUSED;
    return partition(t, v, a[0], true);
}

/* The part of v from a[0] to a[1] (positions); false if a[0] is beyond the end. */
static bool window(struct tpl *t, struct tpl_val v, const struct tpl_val *a, size_t *from, size_t *to) {
    tpl_int n = (tpl_int)v.s->chars, i = tpl_given(a[0]) ? tpl_arg_int(t, a[0], 0) : 0;
    tpl_int j = tpl_given(a[1]) ? tpl_arg_int(t, a[1], 0) : n;
    i = i < 0 ? (i + n < 0 ? 0 : i + n) : i;
    j = j < 0 ? (j + n < 0 ? 0 : j + n) : j > n ? n : j;
    if (i > n || i > j)
        return false;
    *from = tpl_offset(v.s, (size_t)i);
    *to = tpl_offset(v.s, (size_t)j);
    return true;
}

static bool affix_one(struct tpl *t, const char *s, size_t n, struct tpl_val with, bool end) {
    const struct tpl_str *w = tpl_arg_str(t, with, NULL).s;
    return w->len <= n && memcmp(end ? s + n - w->len : s, w->s, w->len) == 0;
}

static struct tpl_val affix(struct tpl *t, struct tpl_val v, const struct tpl_val *a, bool end) {
    size_t from, to;
    bool in = window(t, v, a + 1, &from, &to), yes = false;
    if (a[0].kind != TPL_TUPLE)
        return tpl_bool(in && affix_one(t, v.s->s + from, to - from, a[0], end));
    for (size_t i = 0; in && i < a[0].q->n && !yes; i++)
        yes = affix_one(t, v.s->s + from, to - from, a[0].q->v[i], end);
    return tpl_bool(yes);
}

FN(m_startswith) {
    UNUSED;
    return affix(t, v, a, false);
}
FN(m_endswith) {
    UNUSED;
    return affix(t, v, a, true);
}

static tpl_int find(struct tpl *t, struct tpl_val v, const struct tpl_val *a, bool last) {
    size_t from, to;
    const struct tpl_str *what = tpl_arg_str(t, a[0], NULL).s;
    if (!window(t, v, a + 1, &from, &to))
        return -1;
    const char *s = v.s->s + from;
    size_t n = to - from;
    size_t at = last ? find_last(t, s, n, what) : tpl_find_bytes(t, s, n, what->s, what->len, 0);
    if (at > n)
        return -1;
    tpl_int position = 0;
    for (size_t i = 0; i < from + at; i++)
        position += ((unsigned char)v.s->s[i] & 0xC0) != 0x80;
    return position;
}

static tpl_int must_find(struct tpl *t, tpl_int at) {
    if (at < 0)
        tpl_fail(t, "substring not found");
    return at;
}

FN(m_find) {
    UNUSED;
    return tpl_num(find(t, v, a, false));
}
FN(m_rfind) {
    UNUSED;
    return tpl_num(find(t, v, a, true));
}
FN(m_index) {
    UNUSED;
    return tpl_num(must_find(t, find(t, v, a, false)));
}
FN(m_rindex) {
    UNUSED;
    return tpl_num(must_find(t, find(t, v, a, true)));
}

FN(m_count) {
    UNUSED;
    size_t from, to, n = 0;
    const struct tpl_str *what = tpl_arg_str(t, a[0], NULL).s;
    if (!window(t, v, a + 1, &from, &to))
        return tpl_num(0);
    if (!what->len) {
        for (size_t i = from; i < to; i++)
            n += ((unsigned char)v.s->s[i] & 0xC0) != 0x80;
        return tpl_num((tpl_int)n + 1);
    }
    for (size_t at = from; (at = tpl_find_bytes(t, v.s->s, to, what->s, what->len, at)) <= to; at += what->len) {
        tpl_charge(t, 1);
        n++;
    }
    return tpl_num((tpl_int)n);
}

FN(m_replace) {
    UNUSED;
    struct tpl_val old = tpl_arg_str(t, a[0], NULL), by = tpl_arg_str(t, a[1], NULL);
    return tpl_replace(t, v, old, v.safe ? tpl_escape(t, by) : by, tpl_arg_int(t, a[2], -1));
}

FN(m_join) {
    UNUSED;
    struct tpl_sb b = {.t = t};
    struct tpl_iter it = tpl_iterate(t, a[0]);
    bool first = true;
    for (struct tpl_val x; tpl_next(t, &it, &x); first = false) {
        if (!first)
            tpl_sb_str(&b, v.s);
        if (x.kind != TPL_STR && !v.safe)
            tpl_fail(t, "sequence item: expected str instance, %s found", tpl_type(x));
        tpl_sb_str(&b, v.safe ? tpl_escape(t, x).s : x.s);
    }
    return like(v, tpl_sb_done(&b));
}

FN(m_removeprefix) {
    UNUSED;
    const struct tpl_str *w = tpl_arg_str(t, a[0], NULL).s;
    return affix_one(t, v.s->s, v.s->len, a[0], false) ? tpl_sub(t, v, w->len, v.s->len) : v;
}

FN(m_removesuffix) {
    UNUSED;
    const struct tpl_str *w = tpl_arg_str(t, a[0], NULL).s;
    return affix_one(t, v.s->s, v.s->len, a[0], true) ? tpl_sub(t, v, 0, v.s->len - w->len) : v;
}

/* v with left and right fill characters around it. */
static struct tpl_val pad(struct tpl *t, struct tpl_val v, const struct tpl_val *a, int where) {
    tpl_int width = tpl_arg_int(t, a[0], 0), over = width - (tpl_int)v.s->chars;
    struct tpl_val fill = tpl_arg_str(t, a[1], " ");
    if (fill.s->chars != 1)
        tpl_fail(t, "The fill character must be exactly one character long");
    if (over <= 0)
        return v;
    if (over > TPL_MAX_OUTPUT)
        tpl_fail(t, "the width is too large");
    uint32_t cp;
    tpl_next_cp(fill.s->s, fill.s->len, &cp);
    tpl_int left = where > 0 ? over : where < 0 ? 0 : over / 2 + (over & width & 1);
    struct tpl_sb b = {.t = t};
    tpl_sb_fill(&b, cp, (size_t)left);
    tpl_sb_str(&b, v.s);
    tpl_sb_fill(&b, cp, (size_t)(over - left));
    return like(v, tpl_sb_done(&b));
}

FN(m_center) {
    UNUSED;
    return pad(t, v, a, 0);
}
FN(m_ljust) {
    UNUSED;
    return pad(t, v, a, -1);
}
FN(m_rjust) {
    UNUSED;
    return pad(t, v, a, 1);
}

FN(m_zfill) {
    UNUSED;
    bool sign = v.s->len && (v.s->s[0] == '-' || v.s->s[0] == '+');
    struct tpl_val zero[2] = {tpl_num(tpl_arg_int(t, a[0], 0) - sign), tpl_strz(t, "0")};
    struct tpl_val padded = pad(t, tpl_sub(t, v, sign, v.s->len), zero, 1);
    return sign ? like(v, tpl_add(t, tpl_sub(t, v, 0, 1), padded)) : padded;
}

FN(m_expandtabs) {
    UNUSED;
    tpl_int size = tpl_arg_int(t, a[0], 8), column = 0;
    struct tpl_sb b = {.t = t};
    uint32_t cp;
    if (size > 1000)
        tpl_fail(t, "the tab size is too large");
    for (size_t i = 0; i < v.s->len;) {
        i += tpl_next_cp(v.s->s + i, v.s->len - i, &cp);
        if (cp == '\t') {
            tpl_int gap = size > 0 ? size - column % size : 0;
            tpl_sb_fill(&b, ' ', (size_t)gap);
            column += gap;
            continue;
        }
        column = cp == '\n' || cp == '\r' ? 0 : column + 1;
        tpl_sb_cp(&b, cp);
    }
    return like(v, tpl_sb_done(&b));
}

FN(m_format) {
    UNUSED;
    return tpl_format(t, v, raw);
}

/* Whether there is a character and all pass. */
static struct tpl_val all(struct tpl *t, struct tpl_val v, bool (*pass)(uint32_t)) {
    uint32_t cp;
    bool yes = v.s->len > 0;
    for (size_t i = 0; i < v.s->len && yes;) {
        i += tpl_next_cp(v.s->s + i, v.s->len - i, &cp);
        yes = pass(cp);
    }
    tpl_charge(t, v.s->len / 16);
    return tpl_bool(yes);
}

static bool alnum(uint32_t cp) {
    return tpl_cp_alpha(cp) || tpl_cp_numeric(cp);
}
static bool ascii(uint32_t cp) {
    return cp < 128;
}

FN(m_isalpha) {
    UNUSED;
    return all(t, v, tpl_cp_alpha);
}
FN(m_isalnum) {
    UNUSED;
    return all(t, v, alnum);
}
FN(m_isdigit) {
    UNUSED;
    return all(t, v, tpl_cp_digit);
}
FN(m_isdecimal) {
    UNUSED;
    return all(t, v, tpl_cp_decimal);
}
FN(m_isnumeric) {
    UNUSED;
    return all(t, v, tpl_cp_numeric);
}
FN(m_isspace) {
    UNUSED;
    return all(t, v, tpl_cp_space);
}
FN(m_isascii) {
    UNUSED;
    return tpl_bool(!v.s->len || all(t, v, ascii).b);
}
FN(m_isprintable) {
    UNUSED;
    return tpl_bool(!v.s->len || all(t, v, tpl_cp_printable).b);
}

static struct tpl_val all_cased(struct tpl_val v, bool upper) {
    bool any = false;
    uint32_t cp;
    for (size_t i = 0; i < v.s->len;) {
        i += tpl_next_cp(v.s->s + i, v.s->len - i, &cp);
        bool up = tpl_cp_upper(cp), low = tpl_cp_lower(cp);
        if (tpl_cp_title(cp) || (upper ? low : up))
            return tpl_bool(false);
        any |= up || low;
    }
    return tpl_bool(any);
}

FN(m_isupper) {
    UNUSED;
    return all_cased(v, true);
}
FN(m_islower) {
    UNUSED;
    return all_cased(v, false);
}

FN(m_istitle) {
    UNUSED;
    bool any = false, inside = false;
    uint32_t cp;
    for (size_t i = 0; i < v.s->len;) {
        i += tpl_next_cp(v.s->s + i, v.s->len - i, &cp);
        bool up = tpl_cp_upper(cp) || tpl_cp_title(cp), low = tpl_cp_lower(cp);
        if ((up && inside) || (low && !inside))
            return tpl_bool(false);
        inside = up || low;
        any |= inside;
    }
    return tpl_bool(any);
}

FN(m_isidentifier) {
    UNUSED;
    bool digit_first = v.s->len && v.s->s[0] >= '0' && v.s->s[0] <= '9';
    return tpl_bool(!digit_first && all(t, v, tpl_cp_word).b);
}

const struct tpl_builtin tpl_str_methods[] = {
    {"capitalize", m_capitalize, ""},
    {"casefold", m_casefold, ""},
    {"center", m_center, "width fillchar?"},
    {"count", m_count, "sub start? end?"},
    {"encode", NULL, NULL},
    {"endswith", m_endswith, "suffix start? end?"},
    {"expandtabs", m_expandtabs, "tabsize?"},
    {"find", m_find, "sub start? end?"},
    {"format", m_format, NULL},
    {"format_map", NULL, NULL},
    {"index", m_index, "sub start? end?"},
    {"isalnum", m_isalnum, ""},
    {"isalpha", m_isalpha, ""},
    {"isascii", m_isascii, ""},
    {"isdecimal", m_isdecimal, ""},
    {"isdigit", m_isdigit, ""},
    {"isidentifier", m_isidentifier, ""},
    {"islower", m_islower, ""},
    {"isnumeric", m_isnumeric, ""},
    {"isprintable", m_isprintable, ""},
    {"isspace", m_isspace, ""},
    {"istitle", m_istitle, ""},
    {"isupper", m_isupper, ""},
    {"join", m_join, "iterable"},
    {"ljust", m_ljust, "width fillchar?"},
    {"lower", m_lower, ""},
    {"lstrip", m_lstrip, "chars?"},
    {"maketrans", NULL, NULL},
    {"partition", m_partition, "sep"},
    {"removeprefix", m_removeprefix, "prefix"},
    {"removesuffix", m_removesuffix, "suffix"},
    {"replace", m_replace, "old new count?"},
    {"rfind", m_rfind, "sub start? end?"},
    {"rindex", m_rindex, "sub start? end?"},
    {"rjust", m_rjust, "width fillchar?"},
    {"rpartition", m_rpartition, "sep"},
    {"rsplit", m_rsplit, "sep? maxsplit?"},
    {"rstrip", m_rstrip, "chars?"},
    {"split", m_split, "sep? maxsplit?"},
    {"splitlines", m_splitlines, "keepends?"},
    {"startswith", m_startswith, "prefix start? end?"},
    {"strip", m_strip, "chars?"},
    {"swapcase", m_swapcase, ""},
    {"title", m_title, ""},
    {"translate", NULL, NULL},
    {"upper", m_upper, ""},
    {"zfill", m_zfill, "width"},
    {0},
};
