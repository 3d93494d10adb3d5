/* The pre-tokenizers: each step cuts a piece of text and hands every part straight to the next step, so
 * no list of parts is kept. After the last step comes the model (word.c). */
#include <string.h>

#include "text/tokenizer/internal.h"

/* The parts of one piece in order: matches and what is between them; the behavior says what becomes of
 * each. */
struct splitter {
    struct qm_call *c;
    size_t next_step;
    struct qm_text text;
    enum qm_behavior behavior;
    bool invert;
    bool pending, pending_match, merged;
    size_t start, end; /* of what is pending */
};

static int emit(struct splitter *s, size_t start, size_t end) {
    if (start == end)
        return QM_OK;
    size_t lead = s->text.lead > start ? s->text.lead - start : 0;
    return qm_pretokenize(s->c, s->next_step, (struct qm_text){s->text.p + start, end - start, lead});
}

static int finish(struct splitter *s) {
    bool had = s->pending;
    s->pending = false;
    return had ? emit(s, s->start, s->end) : QM_OK;
}

static int hold(struct splitter *s, size_t start, size_t end, bool match) {
    int rc = finish(s);
    s->pending = true;
    s->pending_match = match;
    s->start = start;
    s->end = end;
    return rc;
}

static int part(struct splitter *s, size_t start, size_t end, bool match) {
    match ^= s->invert;
    switch (s->behavior) {
    case QM_REMOVED: return match ? QM_OK : emit(s, start, end);
    case QM_ISOLATED: return emit(s, start, end);
    case QM_CONTIGUOUS:
        if (s->pending && s->pending_match == match) {
            s->end = end;
            return QM_OK;
        }
        return hold(s, start, end, match);
    case QM_MERGED_PREVIOUS:
        if (s->pending && match && !s->pending_match) {
            s->end = end;
            s->pending_match = true;
            return QM_OK;
        }
        return hold(s, start, end, match);
    case QM_MERGED_NEXT:
        if (s->pending && s->pending_match && !match) {
            s->end = end;
            s->pending_match = false;
            return QM_OK;
        }
        return hold(s, start, end, match);
    }
    return QM_OK;
}

static int split_by_regex(struct splitter *s, const struct qm_regex *pattern) {
    struct qm_match_state state = {0};
    size_t done = 0, start, end;
    bool found;
    for (;;) {
        int rc = qm_regex_next(pattern, s->c->matcher, s->text.p, s->text.len, &state, &start, &end, &found, s->c->err);
        if (rc)
            return rc;
        if (!found)
            break;
        if (done < start && (rc = part(s, done, start, false)))
            return rc;
        if ((rc = part(s, start, end, true)))
            return rc;
        done = end;
    }
    int rc = done < s->text.len ? part(s, done, s->text.len, false) : QM_OK;
    return rc ? rc : finish(s);
}

static bool matches(const struct qm_pretok *p, const char *at, size_t len, uint32_t cp) {
    return p->in_class ? p->in_class(cp) : len == p->mark_len && memcmp(at, p->mark, len) == 0;
}

/* Each matching character is a match of its own. */
static int split_by_char(struct splitter *s, const struct qm_pretok *p) {
    size_t done = 0, i = 0;
    int rc = QM_OK;
    while (!rc && i < s->text.len) {
        uint32_t cp;
        size_t k = qm_char_next(s->text.p + i, s->text.len - i, &cp);
        if (matches(p, s->text.p + i, k, cp)) {
            if (done < i)
                rc = part(s, done, i, false);
            if (!rc)
                rc = part(s, i, i + k, true);
            done = i + k;
        }
        i += k;
    }
    if (!rc && done < s->text.len)
        rc = part(s, done, s->text.len, false);
    return rc ? rc : finish(s);
}

static int metaspace(struct qm_call *c, size_t step, struct qm_text text) {
    const struct qm_pretok *p = &c->t->pretoks[step];
    struct qm_buf *b = &c->step[step];
    b->len = 0;
    /* Reserved before the loop: each byte becomes at most mark_len, and one mark goes before. */
    int rc = qm_buf_reserve(b, (text.len + 1) * p->mark_len, c->err);
    if (rc)
        return rc;
    size_t lead = text.lead;
    bool has_mark = text.p[0] == ' ' || (text.len >= p->mark_len && memcmp(text.p, p->mark, p->mark_len) == 0);
    if (!has_mark && (p->scheme == QM_SCHEME_ALWAYS || (p->scheme == QM_SCHEME_FIRST && text.lead > 0))) {
        memcpy(b->data, p->mark, p->mark_len);
        b->len = p->mark_len;
        lead += lead ? p->mark_len : 0;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.p[i] == ' ') {
            memcpy(b->data + b->len, p->mark, p->mark_len);
            b->len += p->mark_len;
            lead += i < text.lead ? p->mark_len - 1 : 0;
        } else {
            b->data[b->len++] = text.p[i];
        }
    }
    struct qm_text out = {b->data, b->len, lead};
    if (!p->split)
        return qm_pretokenize(c, step + 1, out);
    struct splitter s = {.c = c, .next_step = step + 1, .text = out, .behavior = QM_MERGED_NEXT};
    return split_by_char(&s, p);
}

/* ByteLevel that is not the last step: the next one sees the mapped characters. */
static int mapped(struct qm_call *c, size_t step, struct qm_text text) {
    struct qm_buf *b = &c->step[step];
    b->len = 0;
    int rc = qm_map_bytes(text.p, text.lead, b, c->err);
    size_t lead = b->len;
    if (!rc)
        rc = qm_map_bytes(text.p + text.lead, text.len - text.lead, b, c->err);
    return rc ? rc : qm_pretokenize(c, step + 1, (struct qm_text){b->data, b->len, lead});
}

static int byte_level(struct qm_call *c, size_t step, struct qm_text text) {
    const struct qm_pretok *p = &c->t->pretoks[step];
    if (p->prefix_space && text.p[0] != ' ') {
        struct qm_buf *b = &c->step[step];
        b->len = 0;
        int rc = qm_buf_str(b, " ", c->err);
        if (!rc)
            rc = qm_buf_add(b, text.p, text.len, c->err);
        if (rc)
            return rc;
        text = (struct qm_text){b->data, b->len, text.lead ? text.lead + 1 : 0};
    }
    if (!p->pattern)
        return qm_pretokenize(c, step + 1, text);
    struct splitter s = {.c = c, .next_step = step + 1, .text = text, .behavior = QM_ISOLATED};
    return split_by_regex(&s, p->pattern);
}

static int fixed_length(struct qm_call *c, size_t step, struct qm_text text) {
    struct splitter s = {.c = c, .next_step = step + 1, .text = text};
    size_t start = 0, count = 0, i = 0;
    int rc = QM_OK;
    while (!rc && i < text.len) {
        uint32_t cp;
        i += qm_char_next(text.p + i, text.len - i, &cp);
        if (++count == c->t->pretoks[step].length || i == text.len) {
            rc = emit(&s, start, i);
            start = i;
            count = 0;
        }
    }
    return rc;
}

int qm_pretokenize(struct qm_call *c, size_t step, struct qm_text text) {
    if (text.len == 0)
        return QM_OK;
    if (step == c->t->npretoks)
        return qm_word_encode(c, text.p, text.len);
    const struct qm_pretok *p = &c->t->pretoks[step];
    struct splitter s = {.c = c, .next_step = step + 1, .text = text, .behavior = p->behavior, .invert = p->invert};
    switch (p->type) {
    case QM_PRETOK_BYTES: return byte_level(c, step, text);
    case QM_PRETOK_MAP: return mapped(c, step, text);
    case QM_PRETOK_METASPACE: return metaspace(c, step, text);
    case QM_PRETOK_REGEX: return split_by_regex(&s, p->pattern);
    case QM_PRETOK_CLASS:
    case QM_PRETOK_CHAR: return split_by_char(&s, p);
    case QM_PRETOK_LENGTH: return fixed_length(c, step, text);
    }
    return QM_OK;
}
