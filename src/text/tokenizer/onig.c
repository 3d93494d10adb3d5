/* Translates regular expressions from Oniguruma's Ruby syntax, in which tokenizer.json is written, to
 * PCRE2's: the escapes \s \w \b \h \v \u, the Unicode reach of \s and \w, nested character classes and
 * their intersection (&&), intervals that are never possessive, and (?m). Everything else is the same in
 * both and passes through; PCRE2 reports what it does not know. Runs nothing. */
#include "text/tokenizer/newer.h"
#include "text/tokenizer/regex.h"

#include <string.h>

#include "base/utf8.h"

enum { MAX_GROUPS = 200, MAX_CLASS_DEPTH = 12 };

/* Class members. PCRE2's own \s holds U+180E, its own \w lacks marks and connectors. */
#define SPACE                                                                                                          \
    "\\x{9}-\\x{D}\\x{20}\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}"
#define NOT_SPACE                                                                                                      \
    "\\x{0}-\\x{8}\\x{E}-\\x{1F}\\x{21}-\\x{84}\\x{86}-\\x{9F}\\x{A1}-\\x{167F}\\x{1681}-\\x{1FFF}"                    \
    "\\x{200B}-\\x{2027}\\x{202A}-\\x{202E}\\x{2030}-\\x{205E}\\x{2060}-\\x{2FFF}\\x{3001}-\\x{D7FF}\\x{E000}-\\x{"    \
    "10FFFF}"
#define LETTER "\\p{L}" NEWER_L
#define MARK "\\p{M}" NEWER_M
#define WORD                                                                                                           \
    LETTER MARK "\\p{Nd}" NEWER_ND "\\p{Nl}\\p{Pc}\\x{24B6}-\\x{24E9}"                                                 \
                "\\x{1F130}-\\x{1F149}\\x{1F150}-\\x{1F169}\\x{1F170}-\\x{1F189}"
#define HEX "0-9a-fA-F"
/* Outside a class Oniguruma's \w and \b take the digits and fractions of Latin-1 for letters as well. */
#define BARE_WORD WORD "\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}"
#define BOUNDARY "(?:(?<=[" BARE_WORD "])(?![" BARE_WORD "])|(?<![" BARE_WORD "])(?=[" BARE_WORD "]))"
#define NO_BOUNDARY "(?:(?<=[" BARE_WORD "])(?=[" BARE_WORD "])|(?<![" BARE_WORD "])(?![" BARE_WORD "]))"

struct translate {
    const char *p;
    size_t len, i;
    struct qm_buf *out;
    struct qm_error *err;
    size_t atom; /* where the last atom begins in out, SIZE_MAX: there is none */
    size_t groups[MAX_GROUPS];
    unsigned depth;
};

static int refuse(struct translate *t, const char *what) {
    return qm_fail(t->err, QM_INPUT, "regular expression \"%.*s\": %s at offset %zu is not supported",
                   (int)(t->len < 200 ? t->len : 200), t->p, what, t->i);
}

static int put(struct translate *t, const char *s) {
    return qm_buf_str(t->out, s, t->err);
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

struct named {
    const char *name, *members;
};

/* What stands for a name, written in lower case without separators; NULL: nothing special. */
static const char *members_of(const char *name, bool posix) {
    static const struct named known[] = {{"l", LETTER},
                                         {"letter", LETTER},
                                         {"lu", "\\p{Lu}" NEWER_LU},
                                         {"uppercaseletter", "\\p{Lu}" NEWER_LU},
                                         {"ll", "\\p{Ll}" NEWER_LL},
                                         {"lowercaseletter", "\\p{Ll}" NEWER_LL},
                                         {"lt", "\\p{Lt}"},
                                         {"titlecaseletter", "\\p{Lt}"},
                                         {"lm", "\\p{Lm}"},
                                         {"modifierletter", "\\p{Lm}"},
                                         {"lo", "\\p{Lo}" NEWER_LO},
                                         {"otherletter", "\\p{Lo}" NEWER_LO},
                                         {"m", MARK},
                                         {"mark", MARK},
                                         {"n", "\\p{N}" NEWER_N},
                                         {"number", "\\p{N}" NEWER_N},
                                         {"nd", "\\p{Nd}" NEWER_ND},
                                         {"digit", "\\p{Nd}" NEWER_ND},
                                         {"decimalnumber", "\\p{Nd}" NEWER_ND},
                                         {"p", "\\p{P}" NEWER_P},
                                         {"punct", "\\p{P}" NEWER_P},
                                         {"punctuation", "\\p{P}" NEWER_P},
                                         {"s", "\\p{S}" NEWER_S},
                                         {"symbol", "\\p{S}" NEWER_S},
                                         {"separator", "\\p{Z}"},
                                         {"other", "\\p{C}"},
                                         {"han", "\\p{sc:Han}" NEWER_HAN},
                                         {"space", SPACE},
                                         {"whitespace", SPACE},
                                         {"alpha", "\\p{Alphabetic}" NEWER_L},
                                         {"alphabetic", "\\p{Alphabetic}" NEWER_L},
                                         {"upper", "\\p{Uppercase}" NEWER_LU},
                                         {"lower", "\\p{Lowercase}" NEWER_LL},
                                         {"word", WORD},
                                         {"alnum", "\\p{Alphabetic}" NEWER_L "\\p{Nd}" NEWER_ND},
                                         {"xdigit", HEX},
                                         {"cntrl", "\\p{Cc}"},
                                         {"blank", "\\t\\p{Zs}"},
                                         {"any", "\\x{0}-\\x{10FFFF}"}};
    if (posix && strcmp(name, "punct") == 0) /* [:punct:] has the symbols too, \p{Punct} has not */
        return "\\p{P}" NEWER_P "\\p{S}" NEWER_S;
    for (size_t k = 0; k < sizeof known / sizeof *known; k++)
        if (strcmp(known[k].name, name) == 0)
            return known[k].members;
    return NULL;
}

/* Scripts, which PCRE2 would take with their extensions, from all other properties. */
static bool is_script(const char *name) {
    static const char *const others[] = {"alphabetic",
                                         "uppercase",
                                         "lowercase",
                                         "emoji",
                                         "emojipresentation",
                                         "emojimodifier",
                                         "emojimodifierbase",
                                         "emojicomponent",
                                         "extendedpictographic",
                                         "ideographic",
                                         "unifiedideograph",
                                         "math",
                                         "hexdigit",
                                         "asciihexdigit",
                                         "cased",
                                         "caseignorable",
                                         "dash",
                                         "diacritic",
                                         "extender",
                                         "idstart",
                                         "idcontinue",
                                         "xidstart",
                                         "xidcontinue",
                                         "ascii",
                                         "quotationmark",
                                         "radical",
                                         "variationselector",
                                         "regionalindicator",
                                         "joincontrol",
                                         "defaultignorablecodepoint",
                                         "noncharactercodepoint",
                                         "softdotted",
                                         "graphemebase",
                                         "graphemeextend",
                                         "patternsyntax",
                                         "patternwhitespace",
                                         "terminalpunctuation",
                                         "sentenceterminal"};
    for (size_t k = 0; k < sizeof others / sizeof *others; k++)
        if (strcmp(others[k], name) == 0)
            return false;
    return strlen(name) > 2; /* a general category has one letter or two */
}

/* Reads the name of \p{...}, i at its '{'. As in Oniguruma case and separators do not count. */
static int property(struct translate *t, bool negated, struct qm_buf *members) {
    size_t close = t->i;
    while (close < t->len && t->p[close] != '}')
        close++;
    if (close == t->len || close - t->i > 60)
        return refuse(t, "a \\p without its \"}\"");
    size_t from = t->i + 1;
    if (from < close && t->p[from] == '^') {
        negated = !negated;
        from++;
    }
    char name[64];
    size_t n = 0;
    for (size_t k = from; k < close; k++) {
        char c = t->p[k];
        if (c != ' ' && c != '_' && c != '-')
            name[n++] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
    }
    name[n] = 0;
    int width = (int)(close - from);
    const char *found = members_of(name, false);
    t->i = close + 1;
    if (!found)
        return qm_buf_printf(members, t->err, "\\%c{%s%.*s}", negated ? 'P' : 'p', is_script(name) ? "sc:" : "", width,
                             t->p + from);
    /* Members are alternatives, so a negated set of several is not one member: "not these" goes by '!'. */
    return qm_buf_printf(members, t->err, "%s%s", negated ? "!" : "", found);
}

/* One escape as members of a class, i after the backslash. A set that can only be given by what it is
 * not is returned as "!members". */
static int escape_members(struct translate *t, struct qm_buf *members) {
    char c = t->p[t->i];
    static const struct {
        char c;
        const char *members;
    } known[] = {{'s', SPACE},
                 {'S', NOT_SPACE},
                 {'w', WORD},
                 {'W', "!" WORD},
                 {'h', HEX},
                 {'H', "!" HEX},
                 {'d', "\\p{Nd}" NEWER_ND},
                 {'D', "!\\p{Nd}" NEWER_ND},
                 {'v', "\\x{B}"},
                 {'b', "\\x{8}"}};
    for (size_t k = 0; k < sizeof known / sizeof *known; k++)
        if (known[k].c == c) {
            t->i++;
            return qm_buf_str(members, known[k].members, t->err);
        }
    if ((c == 'p' || c == 'P') && t->i + 1 < t->len && t->p[t->i + 1] == '{') {
        t->i++;
        return property(t, c == 'P', members);
    }
    if (c == 'u') {
        unsigned v = 0;
        if (t->i + 5 > t->len)
            return refuse(t, "a \\u without four digits");
        for (int k = 1; k <= 4; k++) {
            int d = hex_value(t->p[t->i + (size_t)k]);
            if (d < 0)
                return refuse(t, "a \\u without four digits");
            v = v * 16 + (unsigned)d;
        }
        t->i += 5;
        return qm_buf_printf(members, t->err, "\\x{%X}", v);
    }
    if (strchr("yYOKRXGkgNzZAQEB", c))
        return refuse(t, "this escape");
    uint32_t cp;
    size_t k = qm_utf8_decode(t->p + t->i, t->len - t->i, &cp);
    int rc = put(t, "");
    if (!rc)
        rc = qm_buf_str(members, "\\", t->err);
    if (!rc)
        rc = qm_buf_add(members, t->p + t->i, k ? k : 1, t->err);
    t->i += k ? k : 1;
    return rc;
}

/* Ends one operand of && : plain members and "not" sets become one alternation, appended to expr. */
static int finish_operand(struct translate *t, struct qm_buf *plain, struct qm_buf *sets, struct qm_buf *expr) {
    int rc = QM_OK;
    if (sets->len == 0)
        rc = plain->len ? qm_buf_printf(expr, t->err, "[%s]", plain->data) : refuse(t, "an empty class");
    else if (plain->len)
        rc = qm_buf_printf(expr, t->err, "(?:[%s]%s)", plain->data, sets->data);
    else
        rc = qm_buf_printf(expr, t->err, "(?:%s)", sets->data + 1);
    plain->len = sets->len = 0;
    if (plain->data)
        plain->data[0] = 0;
    if (sets->data)
        sets->data[0] = 0;
    return rc;
}

static int class_body(struct translate *t, unsigned depth, struct qm_buf *expr);

/* [:name:] or [:^name:], i at its '[', end at its ":]". */
static int posix_class(struct translate *t, const char *end, struct qm_buf *plain, struct qm_buf *sets) {
    const char *from = t->p + t->i + 2;
    bool negated = from < end && *from == '^';
    from += negated;
    char name[16];
    size_t n = from <= end ? (size_t)(end - from) : sizeof name;
    if (n >= sizeof name)
        return refuse(t, "this class by name");
    memcpy(name, from, n);
    name[n] = 0;
    const char *found = members_of(name, true);
    t->i = (size_t)(end + 2 - t->p);
    if (!found)
        return qm_buf_printf(plain, t->err, "[:%s%s:]", negated ? "^" : "", name);
    return negated ? qm_buf_printf(sets, t->err, "|[^%s]", found) : qm_buf_str(plain, found, t->err);
}

/* One member at i into plain ("a", "a-z", "\\p{L}") or sets ("|[^...]"). */
static int class_member(struct translate *t, unsigned depth, struct qm_buf *plain, struct qm_buf *sets) {
    char c = t->p[t->i];
    if (c == '[' && t->i + 1 < t->len && t->p[t->i + 1] == ':') {
        const char *end = memmem(t->p + t->i, t->len - t->i, ":]", 2);
        if (end)
            return posix_class(t, end, plain, sets);
    }
    if (c == '[') {
        int rc = qm_buf_str(sets, "|", t->err);
        t->i++;
        return rc ? rc : class_body(t, depth + 1, sets);
    }
    if (c == '\\' && t->i + 1 < t->len) {
        struct qm_buf m = {0};
        t->i++;
        int rc = escape_members(t, &m);
        if (!rc && m.data[0] == '!')
            rc = qm_buf_printf(sets, t->err, "|[^%s]", m.data + 1);
        else if (!rc)
            rc = qm_buf_add(plain, m.data, m.len, t->err);
        qm_buf_free(&m);
        return rc;
    }
    uint32_t cp;
    size_t k = qm_utf8_decode(t->p + t->i, t->len - t->i, &cp);
    t->i += k ? k : 1;
    return qm_buf_add(plain, t->p + t->i - (k ? k : 1), k ? k : 1, t->err);
}

/* A class, i after its '[', to an expression that matches one character. */
static int class_body(struct translate *t, unsigned depth, struct qm_buf *expr) {
    struct qm_buf plain = {0}, sets = {0}, operands = {0};
    bool negated = t->i < t->len && t->p[t->i] == '^', closed = false;
    unsigned count = 0;
    int rc = depth > MAX_CLASS_DEPTH ? refuse(t, "a class nested this deep") : QM_OK;
    t->i += negated;
    if (!rc && t->i < t->len && t->p[t->i] == ']') { /* a first ] is itself */
        rc = qm_buf_str(&plain, "\\]", t->err);
        t->i++;
    }
    while (!rc && t->i < t->len && !closed) {
        if (t->p[t->i] == ']') {
            closed = true;
            t->i++;
        } else if (t->p[t->i] == '&' && t->i + 1 < t->len && t->p[t->i + 1] == '&') {
            t->i += 2;
            count++;
            rc = qm_buf_str(&operands, "(?=", t->err);
            if (!rc)
                rc = finish_operand(t, &plain, &sets, &operands);
            if (!rc)
                rc = qm_buf_str(&operands, ")", t->err);
        } else {
            rc = class_member(t, depth, &plain, &sets);
        }
    }
    if (!rc && !closed)
        rc = refuse(t, "a class without its \"]\"");
    if (!rc && !count && !sets.len && plain.len) {
        rc = qm_buf_printf(expr, t->err, negated ? "[^%s]" : "[%s]", plain.data);
    } else if (!rc) {
        rc = finish_operand(t, &plain, &sets, &operands);
        if (!rc)
            rc = qm_buf_printf(expr, t->err, negated ? "(?:(?!%s)[\\x{0}-\\x{10FFFF}])" : "(?:%s)", operands.data);
    }
    qm_buf_free(&plain);
    qm_buf_free(&sets);
    qm_buf_free(&operands);
    return rc;
}

static int escape(struct translate *t) {
    if (++t->i >= t->len)
        return refuse(t, "a \\ at the end");
    char c = t->p[t->i];
    if (c == 'b' || c == 'B') {
        t->i++;
        return put(t, c == 'b' ? BOUNDARY : NO_BOUNDARY);
    }
    if (c == 'v') {
        t->i++;
        return put(t, "\\x{B}");
    }
    if (c == 'w' || c == 'W') {
        t->i++;
        return put(t, c == 'w' ? "[" BARE_WORD "]" : "[^" BARE_WORD "]");
    }
    if (strchr("dDshSHpPu", c)) {
        struct qm_buf m = {0};
        int rc = escape_members(t, &m);
        if (!rc)
            rc = m.data[0] == '!' ? qm_buf_printf(t->out, t->err, "[^%s]", m.data + 1)
                 : m.data[0] == '\\' && strchr("pP", m.data[1]) && strchr(m.data, '}') == m.data + m.len - 1
                     ? put(t, m.data)
                     : qm_buf_printf(t->out, t->err, "[%s]", m.data);
        qm_buf_free(&m);
        return rc;
    }
    if (strchr("yYOQE", c))
        return refuse(t, "this escape");
    uint32_t cp;
    size_t k = qm_utf8_decode(t->p + t->i, t->len - t->i, &cp);
    int rc = put(t, "\\");
    if (!rc)
        rc = qm_buf_add(t->out, t->p + t->i, k, t->err);
    t->i += k;
    if (!rc && strchr("xkgo", c) && t->i < t->len && strchr("{<", t->p[t->i])) { /* the braced argument belongs to it */
        char close = t->p[t->i] == '{' ? '}' : '>';
        do
            rc = qm_buf_add(t->out, t->p + t->i, 1, t->err);
        while (!rc && t->p[t->i++] != close && t->i < t->len);
    }
    return rc;
}

/* "(" and what says the group's kind. */
static int open_group(struct translate *t) {
    if (t->depth == MAX_GROUPS)
        return refuse(t, "a group nested this deep");
    t->groups[t->depth++] = t->out->len;
    t->i++;
    int rc = put(t, "(");
    if (rc || t->i >= t->len || t->p[t->i] != '?')
        return rc;
    size_t k = t->i + 1;
    if (k < t->len && (t->p[k] == '~' || t->p[k] == '#'))
        return refuse(t, "this kind of group");
    while (k < t->len && strchr("imx-", t->p[k]))
        k++;
    if (k == t->i + 1 || k >= t->len || (t->p[k] != ':' && t->p[k] != ')'))
        return QM_OK; /* look-around, name, atomic: the same in both */
    rc = put(t, "?");
    for (t->i++; !rc && t->i < k; t->i++) {
        if (t->p[t->i] == 'x')
            return refuse(t, "the option x");
        char one[2] = {t->p[t->i] == 'm' ? 's' : t->p[t->i], 0}; /* Ruby's m is "dot matches newline" */
        rc = put(t, one);
    }
    return rc;
}

/* "{...}": an interval (Ruby's {,n} is {0,n}; what follows is a further quantifier, but for the lazy "?"
 * of a range), or literal. */
static int interval(struct translate *t) {
    size_t k = t->i + 1, low = k;
    while (k < t->len && t->p[k] >= '0' && t->p[k] <= '9')
        k++;
    bool has_low = k > low, range = k < t->len && t->p[k] == ',';
    size_t high = k + range, j = high;
    while (range && j < t->len && t->p[j] >= '0' && t->p[j] <= '9')
        j++;
    bool has_high = j > high;
    if (j >= t->len || t->p[j] != '}' || (!has_low && !has_high) || t->atom == SIZE_MAX) {
        t->i++;
        t->atom = t->out->len;
        return put(t, "\\{");
    }
    int rc = has_low ? QM_OK : put(t, "{0");
    if (!rc)
        rc = qm_buf_add(t->out, t->p + (has_low ? t->i : t->i + 1), j + 1 - (has_low ? t->i : t->i + 1), t->err);
    t->i = j + 1;
    if (rc || t->i >= t->len)
        return rc;
    char next = t->p[t->i];
    if (range && next == '?') {
        t->i++;
        return put(t, "?");
    }
    if (next != '+' && next != '?' && next != '*')
        return QM_OK;
    /* X{n,m}+ is (X{n,m})+ here, not possessive. */
    struct qm_buf atom = {0};
    rc = qm_buf_add(&atom, t->out->data + t->atom, t->out->len - t->atom, t->err);
    t->out->len = t->atom;
    if (!rc)
        rc = qm_buf_printf(t->out, t->err, "(?:%s)", atom.data);
    qm_buf_free(&atom);
    return rc;
}

static int one(struct translate *t) {
    char c = t->p[t->i];
    size_t here = t->out->len;
    switch (c) {
    case '\\': t->atom = here; return escape(t);
    case '[':
        t->atom = here;
        t->i++;
        return class_body(t, 0, t->out);
    case '(': t->atom = SIZE_MAX; return open_group(t);
    case ')':
        if (t->depth == 0)
            return refuse(t, "a \")\" without its \"(\"");
        t->atom = t->groups[--t->depth];
        t->i++;
        return put(t, ")");
    case '{': return interval(t);
    case '|': t->atom = SIZE_MAX; break;
    case '*':
    case '+':
    case '?': break; /* the atom stays: a second sign makes it lazy or possessive, as in PCRE2 */
    default: t->atom = here;
    }
    uint32_t cp;
    size_t k = qm_utf8_decode(t->p + t->i, t->len - t->i, &cp);
    t->i += k;
    return qm_buf_add(t->out, t->p + t->i - k, k, t->err);
}

int qm_onig_translate(const char *pattern, size_t len, struct qm_buf *out, struct qm_error *err) {
    struct translate t = {.p = pattern, .len = len, .out = out, .err = err, .atom = SIZE_MAX};
    int rc = memchr(pattern, 0, len) ? refuse(&t, "a NUL") : put(&t, "");
    while (!rc && t.i < len) {
        rc = one(&t);
        if (!rc && out->len > 1 << 20)
            rc = refuse(&t, "an expression this long");
    }
    return rc;
}
