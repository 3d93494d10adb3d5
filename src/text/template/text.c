/* Text: building it, and the characters and string operations of Python's str that need Unicode. Strings
 * are valid UTF-8; positions are code points where Python's are. Methods are in str_methods.c. */
#include <string.h>

#include <utf8proc.h>

#include "base/utf8.h"
#include "text/template/special_case.h"
#include "text/template/value.h"

void tpl_sb_add(struct tpl_sb *b, const void *s, size_t n) {
    if (n > TPL_MAX_OUTPUT || b->len + n > TPL_MAX_OUTPUT)
        tpl_fail(b->t, "makes a text longer than %d MiB", TPL_MAX_OUTPUT >> 20);
    if (b->len + n > b->cap) {
        size_t cap = b->cap ? b->cap : 64;
        while (cap < b->len + n)
            cap *= 2;
        char *grown = tpl_alloc(b->t, cap);
        if (b->len)
            memcpy(grown, b->s, b->len);
        b->s = grown;
        b->cap = cap;
    }
    if (n)
        memcpy(b->s + b->len, s, n);
    b->len += n;
    tpl_charge(b->t, n / 64);
}

void tpl_sb_z(struct tpl_sb *b, const char *s) {
    tpl_sb_add(b, s, strlen(s));
}

void tpl_sb_str(struct tpl_sb *b, const struct tpl_str *s) {
    tpl_sb_add(b, s->s, s->len);
}

void tpl_sb_cp(struct tpl_sb *b, uint32_t cp) {
    char bytes[4];
    tpl_sb_add(b, bytes, qm_utf8_encode(cp, bytes));
}

void tpl_sb_fill(struct tpl_sb *b, uint32_t cp, size_t n) {
    char bytes[4];
    size_t len = qm_utf8_encode(cp, bytes);
    tpl_charge(b->t, n / 8);
    for (size_t i = 0; i < n; i++)
        tpl_sb_add(b, bytes, len);
}

struct tpl_val tpl_sb_done(struct tpl_sb *b) {
    return tpl_str_borrow(b->t, b->len ? b->s : "", b->len);
}

static utf8proc_category_t category(uint32_t cp) {
    return utf8proc_category((utf8proc_int32_t)cp);
}

bool tpl_cp_space(uint32_t cp) {
    return (cp >= 9 && cp <= 13) || (cp >= 28 && cp <= 32) || cp == 0x85 || cp == 0x2028 || cp == 0x2029 ||
           (cp >= 0xA0 && category(cp) == UTF8PROC_CATEGORY_ZS);
}

bool tpl_cp_alpha(uint32_t cp) {
    utf8proc_category_t c = category(cp);
    return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}

bool tpl_cp_decimal(uint32_t cp) {
    return category(cp) == UTF8PROC_CATEGORY_ND;
}

bool tpl_cp_digit(uint32_t cp) {
    return tpl_cp_decimal(cp) || cp == 0xB2 || cp == 0xB3 || cp == 0xB9 || cp == 0x2070 ||
           (cp >= 0x2074 && cp <= 0x2079) || (cp >= 0x2080 && cp <= 0x2089) || (cp >= 0x2460 && cp <= 0x2468) ||
           (cp >= 0x2474 && cp <= 0x247C) || (cp >= 0x2488 && cp <= 0x2490) || cp == 0x24EA ||
           (cp >= 0x24F5 && cp <= 0x24FD) || cp == 0x24FF || (cp >= 0x2776 && cp <= 0x277E) ||
           (cp >= 0x2780 && cp <= 0x2788) || (cp >= 0x278A && cp <= 0x2792);
}

/* The ideographs that Unicode gives a numeric value. */
static bool han_number(uint32_t cp) {
    static const uint32_t numbers[] = {0x4E00, 0x4E8C, 0x4E09, 0x56DB, 0x4E94, 0x516D, 0x4E03, 0x516B, 0x4E5D, 0x5341,
                                       0x767E, 0x5343, 0x4E07, 0x5104, 0x96F6, 0x5146, 0x5EFE, 0x5EFF, 0x5345, 0x4EBF,
                                       0x58F9, 0x8CB3, 0x8D30, 0x53C1, 0x8086, 0x4F0D, 0x9678, 0x9646, 0x67D2, 0x634C,
                                       0x7396, 0x62FE, 0x4F70, 0x4EDF, 0x842C, 0x5169, 0x4E24, 0x53C2, 0x53C4};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i] == cp)
            return true;
    return false;
}

bool tpl_cp_numeric(uint32_t cp) {
    utf8proc_category_t c = category(cp);
    return c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_NO || han_number(cp);
}

bool tpl_cp_word(uint32_t cp) {
    return cp == '_' || tpl_cp_alpha(cp) || tpl_cp_numeric(cp);
}

bool tpl_cp_upper(uint32_t cp) {
    return category(cp) == UTF8PROC_CATEGORY_LU || (cp >= 0x2160 && cp <= 0x216F) || (cp >= 0x24B6 && cp <= 0x24CF);
}

bool tpl_cp_lower(uint32_t cp) {
    return category(cp) == UTF8PROC_CATEGORY_LL || cp == 0xAA || cp == 0xBA || (cp >= 0x2B0 && cp <= 0x2B8) ||
           cp == 0x2C0 || cp == 0x2C1 || (cp >= 0x2170 && cp <= 0x217F) || (cp >= 0x24D0 && cp <= 0x24E9);
}

bool tpl_cp_title(uint32_t cp) {
    return category(cp) == UTF8PROC_CATEGORY_LT;
}

bool tpl_cp_printable(uint32_t cp) {
    switch (category(cp)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return false;
    case UTF8PROC_CATEGORY_ZS: return cp == ' ';
    default: return true;
    }
}

size_t tpl_cp_line_end(const char *s, size_t n) {
    const unsigned char *u = (const unsigned char *)s;
    if (!n)
        return 0;
    if (u[0] == '\r')
        return n > 1 && u[1] == '\n' ? 2 : 1;
    if ((u[0] >= 10 && u[0] <= 12) || (u[0] >= 28 && u[0] <= 30))
        return 1;
    if (n > 1 && u[0] == 0xC2 && u[1] == 0x85)
        return 2;
    return n > 2 && u[0] == 0xE2 && u[1] == 0x80 && (u[2] == 0xA8 || u[2] == 0xA9) ? 3 : 0;
}

void tpl_cp_case(struct tpl_sb *b, uint32_t cp, enum tpl_case c) {
    if (cp < 0x80) {
        bool up = c == TPL_UPPER || c == TPL_TITLE;
        char ch = (char)cp;
        if (up && ch >= 'a' && ch <= 'z')
            ch = (char)(ch - 32);
        else if (!up && ch >= 'A' && ch <= 'Z')
            ch = (char)(ch + 32);
        tpl_sb_add(b, &ch, 1);
        return;
    }
    if (c == TPL_LOWER) {
        if (cp == 0x130) /* I with dot above, the only one that becomes two */
            tpl_sb_z(b, "i\xCC\x87");
        else
            tpl_sb_cp(b, (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp));
        return;
    }
    if (c == TPL_FOLD) {
        utf8proc_int32_t to[8];
        int boundary = 0;
        utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)cp, to, 8, UTF8PROC_CASEFOLD, &boundary);
        for (utf8proc_ssize_t i = 0; i < n && i < 8; i++)
            tpl_sb_cp(b, (uint32_t)to[i]);
        return;
    }
    const struct tpl_special_case *special = tpl_special_case(cp);
    if (special)
        tpl_sb_z(b, c == TPL_UPPER ? special->upper : special->title);
    else
        tpl_sb_cp(b, (uint32_t)(c == TPL_UPPER ? utf8proc_toupper((utf8proc_int32_t)cp)
                                               : utf8proc_totitle((utf8proc_int32_t)cp)));
}

static bool case_ignorable(uint32_t cp) {
    utf8proc_category_t c = category(cp);
    return cp == '\'' || cp == '.' || cp == ':' || cp == 0xB7 || cp == 0x2019 || c == UTF8PROC_CATEGORY_MN ||
           c == UTF8PROC_CATEGORY_ME || c == UTF8PROC_CATEGORY_CF || c == UTF8PROC_CATEGORY_LM ||
           c == UTF8PROC_CATEGORY_SK;
}

/* Capital sigma at the end of a word is the final one. */
static bool final_sigma(const char *s, size_t n, size_t at) {
    uint32_t cp;
    bool before = false;
    for (size_t i = at; i > 0;) {
        do
            i--;
        while (((unsigned char)s[i] & 0xC0) == 0x80);
        tpl_next_cp(s + i, n - i, &cp);
        if (!case_ignorable(cp)) {
            before = tpl_cp_upper(cp) || tpl_cp_lower(cp) || tpl_cp_title(cp);
            break;
        }
    }
    for (size_t i = at + 2; before && i < n;) {
        i += tpl_next_cp(s + i, n - i, &cp);
        if (!case_ignorable(cp))
            return !(tpl_cp_upper(cp) || tpl_cp_lower(cp) || tpl_cp_title(cp));
    }
    return before;
}

void tpl_lower_sigma(struct tpl_sb *b, const char *s, size_t n) {
    uint32_t cp;
    for (size_t i = 0, len; i < n; i += len) {
        len = tpl_next_cp(s + i, n - i, &cp);
        if (cp == 0x3A3)
            tpl_sb_cp(b, final_sigma(s, n, i) ? 0x3C2 : 0x3C3);
        else
            tpl_cp_case(b, cp, TPL_LOWER);
    }
}

size_t tpl_next_cp(const char *s, size_t n, uint32_t *cp) {
    if (n && (unsigned char)*s < 0x80) {
        *cp = (unsigned char)*s;
        return 1;
    }
    size_t len = qm_utf8_decode(s, n, cp);
    if (len)
        return len;
    *cp = 0xFFFD;
    return 1;
}

size_t tpl_offset(const struct tpl_str *s, size_t position) {
    if (position >= s->chars)
        return s->len;
    if (s->chars == s->len)
        return position;
    size_t at = 0;
    for (; position; position--)
        do
            at++;
        while (((unsigned char)s->s[at] & 0xC0) == 0x80);
    return at;
}

size_t tpl_find_bytes(struct tpl *t, const char *s, size_t n, const char *what, size_t m, size_t from) {
    if (m == 0)
        return from <= n ? from : n + 1;
    if (from > n || m > n - from)
        return n + 1;
    const char *at = memmem(s + from, n - from, what, m);
    size_t found = at ? (size_t)(at - s) : n + 1;
    tpl_charge(t, ((at ? found : n) - from) / 64);
    return found;
}

struct tpl_val tpl_sub(struct tpl *t, struct tpl_val s, size_t from, size_t to) {
    if (from == 0 && to == s.s->len)
        return s;
    struct tpl_val v = tpl_str_borrow(t, s.s->s + from, to - from);
    v.safe = s.safe;
    return v;
}

static bool to_strip(uint32_t cp, struct tpl_val chars) {
    if (chars.kind != TPL_STR)
        return tpl_cp_space(cp);
    uint32_t c;
    for (size_t i = 0; i < chars.s->len;) {
        i += tpl_next_cp(chars.s->s + i, chars.s->len - i, &c);
        if (c == cp)
            return true;
    }
    return false;
}

struct tpl_val tpl_strip(struct tpl *t, struct tpl_val s, struct tpl_val chars, bool left, bool right) {
    if (chars.kind != TPL_STR && chars.kind != TPL_MISSING && chars.kind != TPL_NONE)
        tpl_fail(t, "strip arg must be None or str, not %s", tpl_type(chars));
    size_t from = 0, to = s.s->len;
    size_t per = chars.kind == TPL_STR ? chars.s->len / 8 : 0;
    uint32_t cp;
    while (left && from < to) {
        size_t n = tpl_next_cp(s.s->s + from, to - from, &cp);
        if (!to_strip(cp, chars))
            break;
        tpl_charge(t, per);
        from += n;
    }
    while (right && to > from) {
        size_t at = to - 1;
        while (at > from && ((unsigned char)s.s->s[at] & 0xC0) == 0x80)
            at--;
        tpl_next_cp(s.s->s + at, to - at, &cp);
        if (!to_strip(cp, chars))
            break;
        tpl_charge(t, per);
        to = at;
    }
    return tpl_sub(t, s, from, to);
}

struct tpl_val tpl_replace(struct tpl *t, struct tpl_val s, struct tpl_val old, struct tpl_val by, tpl_int count) {
    struct tpl_sb b = {.t = t};
    size_t at = 0, n = s.s->len, m = old.s->len;
    bool any = false;
    for (; count; count--) {
        size_t found = tpl_find_bytes(t, s.s->s, n, old.s->s, m, at);
        if (found > n)
            break;
        tpl_charge(t, 1);
        if (m == 0) { /* between all characters */
            tpl_sb_str(&b, by.s);
            any = true;
            if (at == n) {
                at = n + 1;
                break;
            }
            uint32_t cp;
            size_t len = tpl_next_cp(s.s->s + at, n - at, &cp);
            tpl_sb_add(&b, s.s->s + at, len);
            at += len;
            continue;
        }
        tpl_sb_add(&b, s.s->s + at, found - at);
        tpl_sb_str(&b, by.s);
        at = found + m;
        any = true;
    }
    if (!any)
        return s;
    if (at < n)
        tpl_sb_add(&b, s.s->s + at, n - at);
    struct tpl_val v = tpl_sb_done(&b);
    v.safe = s.safe;
    return v;
}

struct tpl_val tpl_escape(struct tpl *t, struct tpl_val v) {
    if (v.kind == TPL_STR && v.safe)
        return v;
    struct tpl_val s = tpl_to_str(t, v);
    struct tpl_sb b = {.t = t};
    for (size_t i = 0; i < s.s->len; i++) {
        const char *c = s.s->s + i;
        const char *e = *c == '&'    ? "&amp;"
                        : *c == '<'  ? "&lt;"
                        : *c == '>'  ? "&gt;"
                        : *c == '"'  ? "&#34;"
                        : *c == '\'' ? "&#39;"
                                     : NULL;
        tpl_sb_add(&b, e ? e : c, e ? strlen(e) : 1);
    }
    tpl_charge(t, s.s->len / 8);
    s = tpl_sb_done(&b);
    s.safe = true;
    return s;
}
