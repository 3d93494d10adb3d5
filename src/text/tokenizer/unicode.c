/* Normalization forms over utf8proc's tables. utf8proc's own ordering of marks is quadratic in a run of
 * marks, so decomposition and ordering are done here and only composition is left to it. */
#include "text/tokenizer/unicode.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/utf8.h"
#include "text/tokenizer/chars.h"

bool qm_is_ascii(const char *text, size_t len) {
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        uint64_t v;
        memcpy(&v, text + i, 8);
        if (v & 0x8080808080808080u)
            return false;
    }
    for (; i < len; i++)
        if ((unsigned char)text[i] >= 0x80)
            return false;
    return true;
}

/* Starters that nothing before composes with, and that are in NFC themselves. */
static bool is_inert_before(uint32_t cp) {
    return cp < 0x300 || (cp >= 0x400 && cp <= 0x482) || (cp >= 0x2010 && cp <= 0x2027) ||
           (cp >= 0x3001 && cp <= 0x3029) || (cp >= 0x3041 && cp <= 0x3096) || (cp >= 0x30A1 && cp <= 0x30FA) ||
           (cp >= 0x3400 && cp <= 0x4DBF) || (cp >= 0x4E00 && cp <= 0x9FFF) || (cp >= 0xAC00 && cp <= 0xD7A3) ||
           (cp >= 0xFF01 && cp <= 0xFF5E) || (cp >= 0x1F300 && cp <= 0x1FAFF);
}

/* Cased letters newer than utf8proc's tables. */
static uint32_t lower(uint32_t cp) {
    static const struct {
        uint32_t first, last, to, step; /* step: every how many there is a capital */
    } newer[] = {{0x1C89, 0x1C89, 0x1C8A, 1},    {0x2C2F, 0x2C2F, 0x2C5F, 1},    {0xA7C0, 0xA7C0, 0xA7C1, 1},
                 {0xA7CB, 0xA7CB, 0x264, 1},     {0xA7CC, 0xA7DA, 0xA7CD, 2},    {0xA7DC, 0xA7DC, 0x19B, 1},
                 {0x10570, 0x10595, 0x10597, 1}, {0x10D50, 0x10D65, 0x10D70, 1}, {0x16EA0, 0x16EB8, 0x16EBB, 1}};
    utf8proc_int32_t known = utf8proc_tolower((utf8proc_int32_t)cp);
    for (size_t i = 0; known == (utf8proc_int32_t)cp && i < sizeof newer / sizeof *newer; i++)
        if (cp >= newer[i].first && cp <= newer[i].last && (cp - newer[i].first) % newer[i].step == 0)
            return newer[i].to + (cp - newer[i].first);
    return (uint32_t)known;
}

bool qm_is_plain_nfc(const char *text, size_t len) {
    if (qm_is_ascii(text, len))
        return true;
    uint32_t cp;
    for (size_t i = 0; i < len; i += qm_char_next(text + i, len - i, &cp)) {
        if ((unsigned char)text[i] < 0x80)
            continue;
        qm_char_next(text + i, len - i, &cp);
        if (!is_inert_before(cp))
            return false;
    }
    return true;
}

struct points {
    utf8proc_int32_t *cp;
    size_t len, cap;
    utf8proc_int32_t *other; /* room for the ordering of one run of marks */
    size_t other_cap;
};

static int reserve(utf8proc_int32_t **p, size_t *cap, size_t need, struct qm_error *err) {
    if (need <= *cap)
        return QM_OK;
    size_t n = *cap ? *cap : 256;
    while (n < need)
        n *= 2;
    utf8proc_int32_t *q = realloc(*p, n * sizeof *q);
    if (!q)
        return qm_fail_memory(err, n * sizeof *q, "a text being normalized");
    *p = q;
    *cap = n;
    return QM_OK;
}

static int combining_class(utf8proc_int32_t cp) {
    return cp < 0x300 ? 0 : utf8proc_get_property(cp)->combining_class;
}

/* Orders a run of marks by combining class, stable: a counting sort. */
static int order_run(struct points *p, size_t from, size_t to, struct qm_error *err) {
    if (to - from < 2)
        return QM_OK;
    size_t n = to - from, count[257] = {0};
    int rc = reserve(&p->other, &p->other_cap, n, err);
    if (rc)
        return rc;
    for (size_t i = from; i < to; i++)
        count[combining_class(p->cp[i]) + 1]++;
    for (int c = 1; c < 257; c++)
        count[c] += count[c - 1];
    for (size_t i = from; i < to; i++)
        p->other[count[combining_class(p->cp[i])]++] = p->cp[i];
    memcpy(p->cp + from, p->other, n * sizeof *p->cp);
    return QM_OK;
}

/* Orders, composes and writes what has been decomposed, and empties it. */
static int flush(struct points *p, bool compose, struct qm_buf *out, struct qm_error *err) {
    size_t run = SIZE_MAX;
    int rc = QM_OK;
    for (size_t i = 0; !rc && i <= p->len; i++) {
        bool mark = i < p->len && combining_class(p->cp[i]) != 0;
        if (mark && run == SIZE_MAX)
            run = i;
        if (!mark && run != SIZE_MAX) {
            rc = order_run(p, run, i, err);
            run = SIZE_MAX;
        }
    }
    utf8proc_ssize_t n = (utf8proc_ssize_t)p->len;
    if (!rc && compose && n > 0)
        n = utf8proc_normalize_utf32(p->cp, n, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (!rc && n < 0)
        return qm_fail(err, QM_SYSTEM, "normalizing text failed: %s", utf8proc_errmsg(n));
    if (!rc)
        rc = qm_buf_reserve(out, (size_t)n * 4, err);
    for (utf8proc_ssize_t i = 0; !rc && i < n; i++)
        out->len += qm_utf8_encode((uint32_t)p->cp[i], out->data + out->len);
    if (!rc && out->data)
        out->data[out->len] = 0;
    p->len = 0;
    return rc;
}

/* Decompositions newer than the library's tables, which leave these characters as they are. */
static bool is_left_alone(uint32_t cp) {
    static const uint32_t ranges[][2] = {{0x32FF, 0x32FF},   {0xA7F2, 0xA7F4},   {0xAB69, 0xAB69},
                                         {0x10781, 0x107BA}, {0x11938, 0x11938}, {0x1E030, 0x1E06D},
                                         {0x1F16C, 0x1F16C}, {0x1FBF0, 0x1FBF9}};
    for (size_t i = 0; cp >= ranges[0][0] && i < sizeof ranges / sizeof *ranges; i++)
        if (cp >= ranges[i][0] && cp <= ranges[i][1])
            return true;
    return false;
}

int qm_normal_form(const char *text, size_t len, bool compose, bool compat, struct qm_buf *out, struct qm_error *err) {
    struct points p = {0};
    int options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (compat ? UTF8PROC_COMPAT : 0), bound = 0;
    int rc = qm_buf_reserve(out, len, err);
    for (size_t i = 0; !rc && i < len;) {
        uint32_t cp;
        size_t k = qm_char_next(text + i, len - i, &cp);
        if (p.len > 4096 && is_inert_before(cp))
            rc = flush(&p, compose, out, err);
        if (!rc)
            rc = reserve(&p.cp, &p.cap, p.len + 32, err);
        if (rc)
            break;
        utf8proc_ssize_t n = 1;
        if (cp < 0x80 || is_left_alone(cp))
            p.cp[p.len] = (utf8proc_int32_t)cp;
        else
            n = utf8proc_decompose_char((utf8proc_int32_t)cp, p.cp + p.len, 32, options, &bound);
        if (n < 0 || n > 32)
            rc = qm_fail(err, QM_SYSTEM, "normalizing U+%04X failed", (unsigned)cp);
        else
            p.len += (size_t)n;
        i += k;
    }
    if (!rc)
        rc = flush(&p, compose, out, err);
    free(p.cp);
    free(p.other);
    return rc;
}

int qm_lowercase(const char *text, size_t len, struct qm_buf *out, struct qm_error *err) {
    int rc = qm_buf_reserve(out, len * 2, err); /* no lowercase is more than 3 / 2 of its character */
    for (size_t i = 0; !rc && i < len;) {
        uint32_t cp;
        i += qm_char_next(text + i, len - i, &cp);
        if (cp < 0x80) {
            out->data[out->len++] = (char)(cp >= 'A' && cp <= 'Z' ? cp + 32 : cp);
        } else if (cp == 0x130) { /* the one character whose full lowercase is two */
            memcpy(out->data + out->len, "i\xCC\x87", 3);
            out->len += 3;
        } else {
            out->len += qm_utf8_encode(lower(cp), out->data + out->len);
        }
    }
    if (!rc)
        out->data[out->len] = 0;
    return rc;
}
