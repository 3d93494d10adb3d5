/* Source to tokens: Jinja's delimiters, with trim_blocks and lstrip_blocks on, raw blocks, comments, the
 * signs of whitespace control, and the literals. Knows no grammar beyond matching brackets. */
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "text/template/ast.h"

struct lexer {
    struct tpl *t;
    const char *s;
    size_t n, at;
    struct tpl_tokens *out;
};

static struct tpl_token *emit(struct lexer *x, int type, struct tpl_val value) {
    if (x->out->n == x->out->cap) {
        size_t cap = x->out->cap ? x->out->cap * 2 : 64;
        struct tpl_token *grown = tpl_alloc_n(x->t, cap, sizeof *grown);
        if (x->out->n)
            memcpy(grown, x->out->v, x->out->n * sizeof *grown);
        x->out->v = grown;
        x->out->cap = cap;
    }
    struct tpl_token *k = &x->out->v[x->out->n++];
    *k = (struct tpl_token){type, x->t->line, value};
    return k;
}

static bool here(const struct lexer *x, size_t at, const char *what) {
    size_t m = strlen(what);
    return at <= x->n && m <= x->n - at && memcmp(x->s + at, what, m) == 0;
}

/* Moves to `to`, counting lines. */
static void advance(struct lexer *x, size_t to) {
    for (; x->at < to; x->at++)
        x->t->line += x->s[x->at] == '\n';
}

static size_t skip_space(const struct lexer *x, size_t at) {
    uint32_t cp;
    while (at < x->n) {
        size_t len = tpl_next_cp(x->s + at, x->n - at, &cp);
        if (!tpl_cp_space(cp))
            break;
        at += len;
    }
    return at;
}

/* The end of a tag at `at`: "-%}" and the space after it, "+%}", or "%}" and one newline; 0: not here. */
static size_t tag_end(const struct lexer *x, size_t at, const char *close) {
    if (here(x, at, "-") && here(x, at + 1, close))
        return skip_space(x, at + 3);
    if (here(x, at, "+") && here(x, at + 1, close))
        return at + 3;
    if (here(x, at, close))
        return at + 2 + here(x, at + 2, "\n");
    return 0;
}

/* Emits the text before a tag, without the space the tag takes away. */
static void text(struct lexer *x, size_t to, char sign, bool strip_line) {
    size_t from = x->at, end = to;
    if (sign == '-') {
        struct tpl_val v = tpl_strip(x->t, tpl_str_borrow(x->t, x->s + from, to - from), tpl_none(), false, true);
        end = from + v.s->len;
    } else if (sign != '+' && strip_line) {
        size_t line = to;
        while (line > from && x->s[line - 1] != '\n')
            line--;
        bool starts = line > 0 ? x->s[line - 1] == '\n' : true;
        if (starts && skip_space(x, line) >= to)
            end = line;
    }
    if (end > from)
        emit(x, TOK_TEXT, tpl_str_borrow(x->t, x->s + from, end - from));
    advance(x, to);
}

static char sign_at(const struct lexer *x, size_t at) {
    return at < x->n && (x->s[at] == '-' || x->s[at] == '+') ? x->s[at] : 0;
}

/* Where `{% raw %}` or `{% endraw %}` at x ends, or 0. Only endraw's end takes a newline. */
static size_t raw_tag(const struct lexer *x, size_t at, const char *word) {
    if (!here(x, at, "{%"))
        return 0;
    at = skip_space(x, at + 2 + (sign_at(x, at + 2) != 0));
    if (!here(x, at, word))
        return 0;
    at = skip_space(x, at + strlen(word));
    size_t end = tag_end(x, at, "%}");
    if (strcmp(word, "raw") != 0 || !end)
        return end;
    return here(x, at, "%}") ? at + 2 : here(x, at, "-") ? end : 0;
}

static void lex_raw(struct lexer *x, size_t body) {
    int line = x->t->line;
    advance(x, body);
    for (size_t i = body; i < x->n; i++) {
        size_t end = x->s[i] == '{' ? raw_tag(x, i, "endraw") : 0;
        if (!end)
            continue;
        text(x, i, sign_at(x, i + 2), true);
        advance(x, end);
        return;
    }
    x->t->line = line;
    tpl_fail(x->t, "Missing end of raw directive");
}

static void lex_comment(struct lexer *x) {
    size_t from = x->at + 2 + (sign_at(x, x->at + 2) != 0);
    for (size_t i = from; i + 1 < x->n; i++) {
        size_t end = tag_end(x, i, "#}");
        if (end) {
            advance(x, end);
            return;
        }
    }
    tpl_fail(x->t, "Missing end of comment tag");
}

static bool digit(int c, int base) {
    if (c >= '0' && c <= '9')
        return c - '0' < base;
    c |= 32;
    return base == 16 && c >= 'a' && c <= 'f';
}

/* Digits with single underscores between them; where they end. */
static size_t digits(const struct lexer *x, size_t at, int base) {
    size_t end = at;
    while (end < x->n &&
           (digit(x->s[end], base) || (end > at && x->s[end] == '_' && end + 1 < x->n && digit(x->s[end + 1], base))))
        end++;
    return end;
}

static bool lex_float(struct lexer *x) {
    size_t i = digits(x, x->at, 10), whole = i;
    if (i == x->at || (x->at > 0 && x->s[x->at - 1] == '.'))
        return false;
    if (here(x, i, ".") && digits(x, i + 1, 10) > i + 1)
        i = digits(x, i + 1, 10);
    size_t e = i;
    if (e < x->n && (x->s[e] | 32) == 'e') {
        e += 1 + (sign_at(x, e + 1) != 0);
        if (digits(x, e, 10) > e)
            i = digits(x, e, 10);
    }
    if (i == whole)
        return false;
    char *plain = tpl_alloc(x->t, i - x->at + 1);
    size_t n = 0;
    for (size_t k = x->at; k < i; k++)
        if (x->s[k] != '_')
            plain[n++] = x->s[k];
    plain[n] = 0;
    emit(x, TOK_NUMBER, tpl_float(strtod(plain, NULL)));
    x->at = i;
    return true;
}

static bool lex_int(struct lexer *x) {
    size_t from = x->at, end;
    int base = 10;
    if (x->s[from] == '0') {
        char c = from + 1 < x->n ? (char)(x->s[from + 1] | 32) : 0;
        int b = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 0;
        size_t first = from + 2 + (b && here(x, from + 2, "_"));
        if (b && digits(x, first, b) > first) {
            base = b;
            from = first;
            end = digits(x, first, b);
        } else {
            for (end = from + 1; here(x, end, "0") || here(x, end, "_0"); end++)
                ;
        }
    } else {
        end = digits(x, from, 10);
        if (end == from)
            return false;
    }
    tpl_int value = 0;
    for (size_t i = from; i < end; i++) {
        char c = (char)(x->s[i] | 32);
        if (x->s[i] == '_')
            continue;
        if (value > ((tpl_int)1 << 122))
            tpl_fail(x->t, "an integer literal is too large");
        value = value * base + (x->s[i] <= '9' ? x->s[i] - '0' : c - 'a' + 10);
    }
    emit(x, TOK_NUMBER, tpl_num(value));
    x->at = end;
    return true;
}

/* One escape of a string literal at s[0] == '\\', as Python's unicode-escape reads it; bytes read. */
static size_t escape(struct lexer *x, struct tpl_sb *b, const char *s, size_t n) {
    static const char plain[] = "\\\\''\"\"a\ab\bf\fn\nr\rt\tv\v";
    char c = s[1];
    if (c == '\n')
        return 2;
    for (const char *p = plain; *p; p += 2)
        if (*p == c) {
            tpl_sb_add(b, p + 1, 1);
            return 2;
        }
    uint32_t cp = 0;
    if (c >= '0' && c <= '7') {
        size_t i = 1;
        for (; i < 4 && i < n && s[i] >= '0' && s[i] <= '7'; i++)
            cp = cp * 8 + (uint32_t)(s[i] - '0');
        tpl_sb_cp(b, cp);
        return i;
    }
    size_t want = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (!want) {
        if (c == 'N')
            tpl_fail(x->t, "\\N{...} escapes are not supported");
        tpl_sb_add(b, s, 1); /* an unknown escape stays as it is */
        if ((unsigned char)c < 0x80)
            return tpl_sb_add(b, &c, 1), 2;
        char hex[12];
        size_t len = tpl_next_cp(s + 1, n - 1, &cp);
        snprintf(hex, sizeof hex, cp < 0x100 ? "x%02x" : cp < 0x10000 ? "u%04x" : "U%08x", (unsigned)cp);
        tpl_sb_z(b, hex); /* Jinja writes such characters as escapes first */
        return 1 + len;
    }
    for (size_t i = 2; i < 2 + want; i++) {
        if (i >= n || !digit(s[i], 16))
            tpl_fail(x->t, "truncated \\%c escape in a string", c);
        cp = cp * 16 + (uint32_t)(s[i] <= '9' ? s[i] - '0' : (s[i] | 32) - 'a' + 10);
    }
    if (cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000))
        tpl_fail(x->t, "\\%c escape in a string is no Unicode character", c);
    tpl_sb_cp(b, cp);
    return 2 + want;
}

static void lex_string(struct lexer *x) {
    char quote = x->s[x->at];
    size_t from = x->at + 1, end = from;
    bool plain = true;
    for (; end < x->n && x->s[end] != quote; end++)
        if (x->s[end] == '\\') {
            plain = false;
            end++;
        }
    if (end >= x->n)
        tpl_fail(x->t, "unexpected char %s: a string without an end", quote == '"' ? "'\"'" : "\"'\"");
    struct tpl_sb b = {.t = x->t};
    for (size_t i = from; !plain && i < end;) {
        if (x->s[i] == '\\')
            i += escape(x, &b, x->s + i, end - i);
        else
            tpl_sb_add(&b, x->s + i++, 1);
    }
    emit(x, TOK_STRING, plain ? tpl_str_borrow(x->t, x->s + from, end - from) : tpl_sb_done(&b));
    advance(x, end + 1);
}

static bool lex_name(struct lexer *x) {
    size_t end = x->at;
    uint32_t cp;
    while (end < x->n) {
        size_t len = tpl_next_cp(x->s + end, x->n - end, &cp);
        if (!tpl_cp_word(cp))
            break;
        end += len;
    }
    if (end == x->at)
        return false;
    emit(x, TOK_NAME, tpl_str_borrow(x->t, x->s + x->at, end - x->at));
    x->at = end;
    return true;
}

static int lex_operator(struct lexer *x) {
    static const struct {
        const char *text;
        int type;
    } two[] = {{"//", TOK_FLOORDIV}, {"**", TOK_POW}, {"==", TOK_EQ}, {"!=", TOK_NE}, {">=", TOK_GE}, {"<=", TOK_LE}};
    for (size_t i = 0; i < sizeof two / sizeof *two; i++)
        if (here(x, x->at, two[i].text)) {
            emit(x, two[i].type, tpl_none());
            x->at += 2;
            return two[i].type;
        }
    char c = x->s[x->at];
    if (!c || !strchr("+-/*%~[](){}><=.:|,;", c))
        tpl_fail(x->t, "unexpected char '%c'", c);
    emit(x, c, tpl_none());
    x->at++;
    return c;
}

/* The inside of {{ }} or {% %}, up to and with its end. */
static void lex_code(struct lexer *x, bool block) {
    char open[TPL_MAX_EXPR_DEPTH];
    size_t nested = 0;
    while (x->at < x->n) {
        if (!nested) {
            size_t end = block                   ? tag_end(x, x->at, "%}")
                         : here(x, x->at, "-}}") ? skip_space(x, x->at + 3)
                         : here(x, x->at, "}}")  ? x->at + 2
                                                 : 0;
            if (end) {
                emit(x, block ? TOK_BLOCK_END : TOK_VAR_END, tpl_none());
                advance(x, end);
                return;
            }
        }
        size_t space = skip_space(x, x->at);
        if (space > x->at) {
            advance(x, space);
            continue;
        }
        char c = x->s[x->at];
        if (c == '"' || c == '\'') {
            lex_string(x);
            continue;
        }
        if ((c >= '0' && c <= '9' && (lex_float(x) || lex_int(x))) || lex_name(x))
            continue;
        int op = lex_operator(x);
        if (op == '(' || op == '[' || op == '{') {
            if (nested == sizeof open)
                tpl_fail(x->t, "brackets are nested more than %zu levels deep", sizeof open);
            open[nested++] = op == '(' ? ')' : op == '[' ? ']' : '}';
        } else if (op == ')' || op == ']' || op == '}') {
            if (!nested || open[--nested] != op)
                tpl_fail(x->t, "unexpected '%c'", op);
        }
    }
}

/* Newlines as "\n", and without the last one. */
static void normalize(struct lexer *x, const char *source, size_t len) {
    char *s = tpl_alloc(x->t, len + 1);
    for (size_t i = 0; i < len; i++) {
        if (source[i] == '\r' && i + 1 < len && source[i + 1] == '\n')
            continue;
        s[x->n++] = source[i] == '\r' ? '\n' : source[i];
    }
    if (x->n && s[x->n - 1] == '\n')
        x->n--;
    s[x->n] = 0;
    x->s = s;
}

void tpl_lex(struct tpl *t, const char *source, size_t len, struct tpl_tokens *out) {
    struct lexer x = {.t = t, .out = out};
    t->line = 1;
    if (len > TPL_MAX_SOURCE)
        tpl_fail(t, "a template of %zu bytes; at most %d are read", len, TPL_MAX_SOURCE);
    size_t bad = qm_utf8_check(source, len);
    if (bad != len)
        tpl_fail(t, "byte %zu is not valid UTF-8", bad);
    normalize(&x, source, len);
    for (size_t i = 0; i + 1 < x.n;) {
        if (x.s[i] != '{' || !strchr("{%#", x.s[i + 1]) || !x.s[i + 1]) {
            i++;
            continue;
        }
        char kind = x.s[i + 1], sign = sign_at(&x, i + 2);
        size_t raw = kind == '%' ? raw_tag(&x, i, "raw") : 0;
        text(&x, i, sign, kind != '{');
        if (raw) {
            lex_raw(&x, raw);
        } else if (kind == '#') {
            lex_comment(&x);
        } else {
            emit(&x, kind == '%' ? TOK_BLOCK_BEGIN : TOK_VAR_BEGIN, tpl_none());
            x.at += 2 + (sign != 0);
            lex_code(&x, kind == '%');
        }
        i = x.at;
    }
    text(&x, x.n, '+', false);
    emit(&x, TOK_EOF, tpl_none());
}
