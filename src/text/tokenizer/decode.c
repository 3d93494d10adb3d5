/* Ids to text. With tokenizer.json: the decoder's steps over the list of tokens, as the `tokenizers`
 * library runs them; one buffer holds all tokens' text, a list their ends. */
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "text/tokenizer/internal.h"

struct tokens {
    struct qm_buf text;
    size_t *end; /* of each token */
    size_t n, cap;
};

static int end_token(struct tokens *t, struct qm_error *err) {
    if (t->n == t->cap) {
        size_t cap = t->cap ? t->cap * 2 : 64;
        size_t *p = realloc(t->end, cap * sizeof *p);
        if (!p)
            return qm_fail_memory(err, cap * sizeof *p, "decoded tokens");
        t->end = p;
        t->cap = cap;
    }
    t->end[t->n++] = t->text.len;
    return QM_OK;
}

static void tokens_free(struct tokens *t) {
    qm_buf_free(&t->text);
    free(t->end);
}

/* The length of the character at p; 0 where it is invalid, whose maximal part is then *part bytes and
 * which *cut says might still become valid with more bytes. */
static size_t one_char(const unsigned char *p, size_t n, size_t *part, bool *cut) {
    uint32_t cp;
    size_t k = qm_utf8_decode((const char *)p, n, &cp);
    *part = 1;
    *cut = false;
    if (k || p[0] < 0xC2 || p[0] > 0xF4)
        return k;
    size_t need = p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    unsigned char low = p[0] == 0xE0 ? 0xA0 : p[0] == 0xF0 ? 0x90 : 0x80;
    unsigned char high = p[0] == 0xED ? 0x9F : p[0] == 0xF4 ? 0x8F : 0xBF;
    for (size_t i = 1; i < need; i++, low = 0x80, high = 0xBF) {
        if (i == n) {
            *cut = true;
            return 0;
        }
        if (p[i] < low || p[i] > high)
            return 0;
        *part = i + 1;
    }
    return 0;
}

int qm_lossy(const char *p, size_t n, bool whole, struct qm_buf *out, size_t *rest, struct qm_error *err) {
    size_t i = 0, part;
    bool cut;
    int rc = QM_OK;
    *rest = 0;
    while (!rc && i < n) {
        size_t good = qm_utf8_check(p + i, n - i);
        rc = qm_buf_add(out, p + i, good, err);
        i += good;
        if (rc || i == n)
            break;
        one_char((const unsigned char *)p + i, n - i, &part, &cut);
        if (cut && !whole) {
            *rest = n - i;
            break;
        }
        rc = qm_buf_add(out, "\xEF\xBF\xBD", 3, err);
        i += part;
    }
    return rc;
}

/* ---- the steps on one token ---- */

static int add_byte_level(const char *p, size_t n, struct qm_buf *out, struct qm_error *err) {
    size_t start = out->len;
    int rc = qm_buf_reserve(out, n, err);
    for (size_t i = 0; !rc && i < n;) {
        uint32_t cp;
        i += qm_char_next(p + i, n - i, &cp);
        int b = qm_char_byte(cp);
        if (b < 0) { /* one character outside the alphabet: the token stands for itself */
            out->len = start;
            return qm_buf_add(out, p, n, err);
        }
        out->data[out->len++] = (char)b;
    }
    return rc;
}

static int add_replaced(const struct qm_decode *d, struct qm_matcher *m, const char *p, size_t n, struct qm_buf *out,
                        struct qm_error *err) {
    struct qm_match_state state = {0};
    size_t done = 0, start, end;
    bool found = true;
    int rc = QM_OK;
    while (!rc && found) {
        rc = qm_regex_next(d->pattern, m, p, n, &state, &start, &end, &found, err);
        if (!rc)
            rc = qm_buf_add(out, p + done, (found ? start : n) - done, err);
        if (!rc && found)
            rc = qm_buf_add(out, d->text.data, d->text.len, err);
        done = found ? end : done;
    }
    return rc;
}

static int add_unmarked(const struct qm_decode *d, const char *p, size_t n, bool first, struct qm_buf *out,
                        struct qm_error *err) {
    int rc = QM_OK;
    for (size_t i = 0; !rc && i < n;) {
        if (n - i >= d->text.len && memcmp(p + i, d->text.data, d->text.len) == 0) {
            if (!first || !d->drop_first)
                rc = qm_buf_add(out, " ", 1, err);
            i += d->text.len;
        } else {
            rc = qm_buf_add(out, p + i++, 1, err);
        }
    }
    return rc;
}

static int add_stripped(const struct qm_decode *d, const char *p, size_t n, struct qm_buf *out, struct qm_error *err) {
    size_t k = d->text.len;
    for (size_t i = 0; i < d->start && n >= k && memcmp(p, d->text.data, k) == 0; i++) {
        p += k;
        n -= k;
    }
    for (size_t i = 0; i < d->stop && n >= k && memcmp(p + n - k, d->text.data, k) == 0; i++)
        n -= k;
    return qm_buf_add(out, p, n, err);
}

/* ---- the steps on all tokens ---- */

/* Runs of byte tokens become one token of text, or one U+FFFD for each byte if the run is not UTF-8. */
static int byte_fallback(const struct tokens *in, struct tokens *out, struct qm_error *err) {
    struct qm_buf bytes = {0};
    size_t start = 0;
    int rc = QM_OK;
    for (size_t i = 0; !rc && i <= in->n; i++) {
        const char *p = in->text.data + start;
        size_t n = i < in->n ? in->end[i] - start : 0;
        int b = i < in->n ? qm_byte_piece(p, n) : -1;
        if (b >= 0) {
            char c = (char)b;
            rc = qm_buf_add(&bytes, &c, 1, err);
        } else {
            bool good = qm_utf8_check(bytes.data, bytes.len) == bytes.len;
            if (bytes.len && good)
                rc = qm_buf_add(&out->text, bytes.data, bytes.len, err);
            for (size_t j = 0; !rc && !good && j < bytes.len; j++) {
                rc = qm_buf_add(&out->text, "\xEF\xBF\xBD", 3, err);
                if (!rc && j + 1 < bytes.len)
                    rc = end_token(out, err);
            }
            if (!rc && bytes.len)
                rc = end_token(out, err);
            bytes.len = 0;
            if (!rc && i < in->n)
                rc = qm_buf_add(&out->text, p, n, err);
            if (!rc && i < in->n)
                rc = end_token(out, err);
        }
        start += n;
    }
    qm_buf_free(&bytes);
    return rc;
}

static int byte_level(const struct tokens *in, struct tokens *out, struct qm_error *err) {
    struct qm_buf bytes = {0};
    size_t start = 0, rest;
    int rc = QM_OK;
    for (size_t i = 0; !rc && i < in->n; start = in->end[i++])
        rc = add_byte_level(in->text.data + start, in->end[i] - start, &bytes, err);
    if (!rc)
        rc = qm_lossy(bytes.data, bytes.len, true, &out->text, &rest, err);
    qm_buf_free(&bytes);
    return rc ? rc : end_token(out, err);
}

static int each(const struct qm_decode *d, struct qm_matcher *m, const struct tokens *in, struct tokens *out,
                struct qm_error *err) {
    size_t start = 0;
    int rc = QM_OK;
    for (size_t i = 0; !rc && i < in->n; start = in->end[i++]) {
        const char *p = in->text.data + start;
        size_t n = in->end[i] - start;
        if (d->type == QM_DECODE_REPLACE)
            rc = add_replaced(d, m, p, n, &out->text, err);
        else if (d->type == QM_DECODE_STRIP)
            rc = add_stripped(d, p, n, &out->text, err);
        else
            rc = add_unmarked(d, p, n, i == 0, &out->text, err);
        if (!rc)
            rc = end_token(out, err);
    }
    return rc;
}

static int apply(const struct qm_decode *d, struct qm_matcher *m, struct tokens *t, struct qm_error *err) {
    struct tokens out = {0};
    int rc;
    switch (d->type) {
    case QM_DECODE_BYTES: rc = byte_level(t, &out, err); break;
    case QM_DECODE_BYTE_FALLBACK: rc = byte_fallback(t, &out, err); break;
    case QM_DECODE_FUSE: t->n = 0; return end_token(t, err);
    default: rc = each(d, m, t, &out, err); break;
    }
    tokens_free(t);
    *t = out;
    return rc;
}

/* What the decoder gets to see of a token. */
static const char *decoded_text(const struct qm_tokenizer *t, int32_t id, size_t *len) {
    const char *p = qm_vocab_text(&t->added_text, id, len);
    return p ? p : qm_tokenizer_piece(t, id, len);
}

int qm_decode_tokens(const struct qm_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, struct qm_buf *out,
                     struct qm_error *err) {
    struct tokens tokens = {0};
    struct qm_matcher *m = NULL;
    int rc = qm_matcher_new(&m, err);
    for (size_t i = 0; !rc && i < n; i++) {
        size_t len;
        if (skip_special && (size_t)ids[i] < t->size && t->dropped[ids[i]])
            continue;
        const char *p = decoded_text(t, ids[i], &len);
        if (!p)
            continue;
        if (!t->has_decoder && tokens.n)
            rc = qm_buf_add(&tokens.text, " ", 1, err);
        if (!rc)
            rc = qm_buf_add(&tokens.text, p, len, err);
        if (!rc)
            rc = end_token(&tokens, err);
    }
    if (!rc)
        rc = qm_buf_reserve(&tokens.text, 0, err);
    for (size_t i = 0; !rc && i < t->ndecodes; i++) {
        rc = apply(&t->decodes[i], m, &tokens, err);
        if (!rc)
            rc = qm_buf_reserve(&tokens.text, 0, err);
    }
    if (!rc)
        rc = qm_buf_add(out, tokens.text.data, tokens.text.len, err);
    tokens_free(&tokens);
    qm_matcher_free(m);
    return rc;
}

/* ---- one token by itself ---- */

static int spm_bytes(const struct qm_tokenizer *t, int32_t id, const char *p, size_t len, struct qm_buf *out,
                     struct qm_error *err) {
    const struct qm_decode space = {.text = {(char *)"\xE2\x96\x81", 3}};
    switch (qm_spm_type(t, id)) {
    case QM_PIECE_CONTROL: return qm_buf_add(out, p, len, err);
    case QM_PIECE_BYTE: {
        char b = (char)qm_byte_piece(p, len);
        return qm_buf_add(out, &b, 1, err);
    }
    default: return add_unmarked(&space, p, len, false, out, err);
    }
}

/* What a step makes of a token wherever it stands in a text; Strip after Fuse is about the whole text. */
static int step_bytes(const struct qm_decode *d, struct qm_matcher *m, bool fused, const struct qm_buf *in,
                      struct qm_buf *out, bool *done, struct qm_error *err) {
    int b;
    switch (d->type) {
    case QM_DECODE_BYTES: *done = true; return add_byte_level(in->data, in->len, out, err);
    case QM_DECODE_BYTE_FALLBACK:
        b = qm_byte_piece(in->data, in->len);
        if (b >= 0) {
            char c = (char)b;
            *done = true;
            return qm_buf_add(out, &c, 1, err);
        }
        break;
    case QM_DECODE_REPLACE: return add_replaced(d, m, in->data, in->len, out, err);
    case QM_DECODE_METASPACE: return add_unmarked(d, in->data, in->len, false, out, err);
    case QM_DECODE_STRIP:
        if (!fused)
            return add_stripped(d, in->data, in->len, out, err);
        break;
    case QM_DECODE_FUSE: break;
    }
    return qm_buf_add(out, in->data, in->len, err);
}

int qm_token_bytes(const struct qm_tokenizer *t, int32_t id, struct qm_token_scratch *scratch, struct qm_buf *out,
                   struct qm_error *err) {
    size_t len;
    const char *p = decoded_text(t, id, &len);
    if (!p)
        return id < 0 ? qm_fail(err, QM_INPUT, "token id %d: expected 0 or more", id) : QM_OK;
    if (t->kind == QM_KIND_SPM)
        return spm_bytes(t, id, p, len, out, err);
    struct qm_buf *a = &scratch->a, *b = &scratch->b;
    bool done = false, fused = false;
    a->len = 0;
    int rc = qm_buf_add(a, p, len, err);
    for (size_t i = 0; !rc && !done && i < t->ndecodes; i++) {
        if (t->decodes[i].type == QM_DECODE_REPLACE && !scratch->matcher)
            rc = qm_matcher_new(&scratch->matcher, err);
        b->len = 0;
        if (!rc)
            rc = qm_buf_reserve(b, 0, err);
        if (!rc)
            rc = step_bytes(&t->decodes[i], scratch->matcher, fused, a, b, &done, err);
        fused |= t->decodes[i].type == QM_DECODE_FUSE;
        struct qm_buf *swap = a;
        a = b;
        b = swap;
    }
    return rc ? rc : qm_buf_add(out, a->data, a->len, err);
}

void qm_token_scratch_free(struct qm_token_scratch *s) {
    qm_buf_free(&s->a);
    qm_buf_free(&s->b);
    qm_matcher_free(s->matcher);
}

int qm_tokenizer_token_bytes(const struct qm_tokenizer *t, int32_t id, struct qm_buf *out, struct qm_error *err) {
    struct qm_token_scratch scratch = {0};
    int rc = qm_token_bytes(t, id, &scratch, out, err);
    qm_token_scratch_free(&scratch);
    return rc;
}
