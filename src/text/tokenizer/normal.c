/* The normalizers of tokenizer.json, applied in their order to each stretch between added tokens (and
 * once to each "normalized" added token). Text in, text out: offsets are not kept, but for the one
 * question asked later, whether a piece begins at the start of the original text. */
#include <string.h>
#include <utf8proc.h>

#include "base/utf8.h"
#include "text/tokenizer/internal.h"
#include "text/tokenizer/unicode.h"

typedef size_t (*char_map)(uint32_t cp, char *out);

static bool is_nmt_dropped(uint32_t c) {
    return (c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F;
}

static size_t nmt_char(uint32_t c, char *out) {
    if (is_nmt_dropped(c))
        return 0;
    if (c == 9 || c == 10 || c == 12 || c == 13 || c == 0x1680 || (c >= 0x200B && c <= 0x200F) || c == 0x2028 ||
        c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD)
        c = ' ';
    return qm_utf8_encode(c, out);
}

static size_t drop_mark(uint32_t c, char *out) {
    return qm_is_mark(c) ? 0 : qm_utf8_encode(c, out);
}

static size_t drop_nonspacing(uint32_t c, char *out) {
    return qm_is_mark_nonspacing(c) ? 0 : qm_utf8_encode(c, out);
}

static size_t bert_clean(uint32_t c, char *out) {
    if (c == 0 || c == 0xFFFD || qm_is_bert_control(c))
        return 0;
    return qm_utf8_encode(qm_is_space(c) ? ' ' : c, out);
}

static size_t bert_chinese(uint32_t c, char *out) {
    if (!qm_is_han_block(c))
        return qm_utf8_encode(c, out);
    out[0] = ' ';
    size_t n = 1 + qm_utf8_encode(c, out + 1);
    out[n] = ' ';
    return n + 1;
}

/* Each character by map, whose result has at most 8 bytes. A dropped first character takes the start of
 * the text with it. */
static int by_char(struct qm_call *c, struct qm_text in, char_map map, struct qm_buf *out, size_t *lead) {
    size_t kept = 0;
    for (size_t i = 0; i < in.len;) {
        uint32_t cp;
        char bytes[8];
        size_t from = i;
        i += qm_char_next(in.p + i, in.len - i, &cp);
        size_t n = map(cp, bytes);
        if (from < in.lead)
            kept += n;
        int rc = qm_buf_add(out, bytes, n, c->err);
        if (rc)
            return rc;
    }
    *lead = kept;
    return QM_OK;
}

static int replace(struct qm_call *c, const struct qm_normal *n, struct qm_text in, struct qm_buf *out, size_t *lead) {
    struct qm_match_state state = {0};
    size_t done = 0, start, end, kept = 0;
    bool found = true;
    while (found) {
        int rc = qm_regex_next(n->pattern, c->matcher, in.p, in.len, &state, &start, &end, &found, c->err);
        size_t upto = found ? start : in.len;
        if (!rc)
            rc = qm_buf_add(out, in.p + done, upto - done, c->err);
        if (done < in.lead)
            kept += (upto < in.lead ? upto : in.lead) - done;
        if (!rc && found) {
            rc = qm_buf_add(out, n->text.data, n->text.len, c->err);
            if (end <= in.lead) /* new text takes the place of the last character that it replaces */
                kept += n->text.len;
            done = end;
        }
        if (rc)
            return rc;
    }
    *lead = kept;
    return QM_OK;
}

static struct qm_text strip(const struct qm_normal *n, struct qm_text in) {
    uint32_t cp;
    size_t from = 0, to = in.len;
    while (n->left && from < to) {
        size_t k = qm_char_next(in.p + from, to - from, &cp);
        if (!qm_is_space(cp))
            break;
        from += k;
    }
    while (n->right && to > from) {
        size_t s = qm_char_before(in.p, to, &cp);
        if (!qm_is_space(cp))
            break;
        to = s;
    }
    return (struct qm_text){in.p + from, to - from, in.lead > from ? in.lead - from : 0};
}

/* The library applies the map to whole grapheme clusters of fewer than six bytes first, and takes the
 * shortest rule that the cluster begins with; only then to its characters. */

static int charsmap_part(struct qm_call *c, const struct qm_normal *n, const char *p, size_t len, bool *done,
                         struct qm_buf *out) {
    size_t matched;
    const char *r = qm_charsmap_find(&n->map, p, len, 0, &matched);
    *done = r != NULL;
    return r ? qm_buf_str(out, r, c->err) : QM_OK;
}

static int charsmap(struct qm_call *c, const struct qm_normal *n, struct qm_text in, struct qm_buf *out) {
    int rc = QM_OK;
    for (size_t i = 0; !rc && i < in.len;) {
        uint32_t cp, next;
        utf8proc_int32_t state = 0;
        size_t end = i + qm_char_next(in.p + i, in.len - i, &cp);
        while (end < in.len) {
            size_t k = qm_char_next(in.p + end, in.len - end, &next);
            if (cp != '\r' && next < 0x80)
                break;
            if (utf8proc_grapheme_break_stateful((utf8proc_int32_t)cp, (utf8proc_int32_t)next, &state))
                break;
            end += k;
            cp = next;
        }
        bool done = false;
        if (end - i < 6)
            rc = charsmap_part(c, n, in.p + i, end - i, &done, out);
        while (!rc && !done && i < end) {
            size_t k = qm_char_next(in.p + i, end - i, &cp);
            bool one = false;
            rc = charsmap_part(c, n, in.p + i, k, &one, out);
            if (!rc && !one)
                rc = qm_buf_add(out, in.p + i, k, c->err);
            i += k;
        }
        i = end;
    }
    return rc;
}

static int bert(struct qm_call *c, const struct qm_normal *n, struct qm_text in, struct qm_buf *out, size_t *lead) {
    struct qm_buf a = {0}, b = {0};
    int rc = QM_OK;
    *lead = in.lead;
    if (n->clean) {
        rc = by_char(c, in, bert_clean, &a, lead);
        in = (struct qm_text){a.data ? a.data : "", a.len, *lead};
    }
    if (!rc && n->chinese) {
        rc = by_char(c, in, bert_chinese, &b, lead);
        in = (struct qm_text){b.data ? b.data : "", b.len, *lead};
    }
    if (!rc && n->strip_accents) {
        struct qm_buf *to = in.p == a.data ? &b : &a;
        struct qm_buf d = {0};
        rc = qm_normal_form(in.p, in.len, false, false, &d, c->err);
        to->len = 0;
        if (!rc)
            rc = by_char(c, (struct qm_text){d.data ? d.data : "", d.len, *lead ? 1 : 0}, drop_nonspacing, to, lead);
        qm_buf_free(&d);
        in = (struct qm_text){to->data ? to->data : "", to->len, *lead};
    }
    if (!rc)
        rc = n->lower ? qm_lowercase(in.p, in.len, out, c->err) : qm_buf_add(out, in.p, in.len, c->err);
    qm_buf_free(&a);
    qm_buf_free(&b);
    return rc;
}

/* One step; *text moves to out where it changes. */
static int apply(struct qm_call *c, const struct qm_normal *n, struct qm_text *text, struct qm_buf *out) {
    struct qm_text in = *text;
    size_t lead = in.lead ? 1 : 0; /* the first character of the text, however long it becomes */
    int rc = QM_OK;
    out->len = 0;
    switch (n->type) {
    case QM_NORMAL_FORM:
        if (n->compose && !n->compat ? qm_is_plain_nfc(in.p, in.len) : qm_is_ascii(in.p, in.len))
            return QM_OK;
        rc = qm_normal_form(in.p, in.len, n->compose, n->compat, out, c->err);
        break;
    case QM_NORMAL_LOWER: rc = qm_lowercase(in.p, in.len, out, c->err); break;
    case QM_NORMAL_STRIP: *text = strip(n, in); return QM_OK;
    case QM_NORMAL_STRIP_ACCENTS: rc = by_char(c, in, drop_mark, out, &lead); break;
    case QM_NORMAL_NMT: rc = by_char(c, in, nmt_char, out, &lead); break;
    case QM_NORMAL_REPLACE: rc = replace(c, n, in, out, &lead); break;
    case QM_NORMAL_PREPEND:
        if (in.len == 0)
            return QM_OK;
        rc = qm_buf_add(out, n->text.data, n->text.len, c->err);
        if (!rc)
            rc = qm_buf_add(out, in.p, in.len, c->err);
        lead = in.lead ? n->text.len + in.lead : 0;
        break;
    case QM_NORMAL_CHARSMAP: rc = charsmap(c, n, in, out); break;
    case QM_NORMAL_BERT: rc = bert(c, n, in, out, &lead); break;
    case QM_NORMAL_BYTES: rc = qm_map_bytes(in.p, in.len, out, c->err); break;
    }
    *text = (struct qm_text){out->data ? out->data : "", out->len, out->len ? lead : 0};
    return rc;
}

int qm_normalize(struct qm_call *c, struct qm_text in, struct qm_text *out) {
    const struct qm_tokenizer *t = c->t;
    size_t which = 0;
    *out = in;
    for (size_t i = 0; i < t->nnormals; i++) {
        int rc = apply(c, &t->normals[i], out, &c->normal[which]);
        if (rc)
            return rc;
        if (out->len > QM_MAX_TEXT)
            return qm_fail(c->err, QM_INPUT, "normalized text of %zu bytes, expected at most %zu", out->len,
                           QM_MAX_TEXT);
        const struct qm_buf *b = &c->normal[which];
        if (b->data && out->p >= b->data && out->p <= b->data + b->len)
            which ^= 1;
    }
    return QM_OK;
}
