/* Encoding and decoding as the SentencePiece library does with tokenizer.model: its normalizer, its BPE
 * (merges by the score of the joined piece) and its Unigram (single-precision scores). Loading is in
 * proto.c. It sees what is between added tokens, which control pieces are (added.c); user-defined symbols are always
 * kept whole. */
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "text/tokenizer/internal.h"

static const char space_mark[] = "\xE2\x96\x81";
enum { MARK = 3 };

/* ---- normalizer ---- */

/* What the text at p becomes and how much of it is consumed. */
static struct qm_str next_part(const struct qm_spm *s, const char *p, size_t n, size_t *consumed) {
    size_t matched = 0;
    if (s->user.nodes && qm_trie_longest(&s->user, p, n, &matched) >= 0) {
        *consumed = matched;
        return (struct qm_str){(char *)p, matched};
    }
    const char *r = s->has_map ? qm_charsmap_find(&s->map, p, n, 1, &matched) : NULL;
    if (r) {
        *consumed = matched;
        return (struct qm_str){(char *)r, strlen(r)};
    }
    uint32_t cp;
    *consumed = qm_char_next(p, n, &cp);
    return (struct qm_str){(char *)p, *consumed};
}

static int add_space(const struct qm_spm *s, struct qm_buf *out, struct qm_error *err) {
    return s->escape ? qm_buf_add(out, space_mark, MARK, err) : qm_buf_add(out, " ", 1, err);
}

static int normalize(struct qm_call *c, const char *p, size_t n, bool prefix, struct qm_buf *out) {
    const struct qm_spm *s = &c->t->spm;
    size_t i = 0, k = 0;
    while (s->remove_extra && i < n) {
        struct qm_str part = next_part(s, p + i, n - i, &k);
        if (part.len != 1 || part.data[0] != ' ')
            break;
        i += k;
    }
    if (i == n)
        return QM_OK;
    int rc = !s->suffix_space && s->dummy_prefix && prefix ? add_space(s, out, c->err) : QM_OK;
    bool after_space = s->remove_extra;
    for (; !rc && i < n; i += k) {
        struct qm_str part = next_part(s, p + i, n - i, &k);
        while (after_space && part.len && part.data[0] == ' ') {
            part.data++;
            part.len--;
        }
        for (size_t j = 0; !rc && j < part.len; j++)
            rc = part.data[j] == ' ' ? add_space(s, out, c->err) : qm_buf_add(out, part.data + j, 1, c->err);
        if (part.len)
            after_space = part.data[part.len - 1] == ' ';
        after_space &= s->remove_extra;
    }
    const char *space = s->escape ? space_mark : " ";
    size_t width = s->escape ? MARK : 1;
    while (s->remove_extra && out->len >= width && memcmp(out->data + out->len - width, space, width) == 0)
        out->len -= width;
    if (!rc && s->suffix_space && s->dummy_prefix)
        rc = add_space(s, out, c->err);
    return rc;
}

/* ---- pieces to ids ---- */

struct sink {
    struct qm_call *c;
    bool after_unknown;
};

/* One piece of text whose id is known: an unknown one becomes bytes, or one id for a run of them. */
static int write_piece(struct sink *k, const char *p, size_t n, int32_t id) {
    const struct qm_spm *s = &k->c->t->spm;
    bool unknown = s->type[id] == QM_PIECE_UNKNOWN;
    int rc = QM_OK;
    if (unknown && s->byte_fallback) {
        for (size_t i = 0; !rc && i < n; i++)
            rc = qm_ids_push(k->c->out, s->byte_token[(unsigned char)p[i]], k->c->err);
    } else if (!unknown || !k->after_unknown) {
        rc = qm_ids_push(k->c->out, id, k->c->err);
    }
    k->after_unknown = unknown;
    return rc;
}

static int32_t piece_id(const struct qm_spm *s, const char *p, size_t n) {
    int32_t id = qm_vocab_find(&s->reserved, p, n);
    if (id < 0)
        id = qm_vocab_find(&s->pieces, p, n);
    return id < 0 ? s->unk : id;
}

/* ---- BPE ---- */

/* For each unused piece that was formed, where its last forming split it (0: never formed). */
static int push_pair(struct qm_call *c, const char *text, uint32_t left, uint32_t right, uint32_t *splits) {
    const struct qm_spm *s = &c->t->spm;
    const struct qm_symbol *l = &c->symbols[left], *r = &c->symbols[right];
    if (l->frozen || r->frozen)
        return QM_OK;
    int32_t id = qm_vocab_find(&s->pieces, text + l->start, (size_t)l->len + r->len);
    if (id < 0)
        return QM_OK;
    if (splits && s->type[id] == QM_PIECE_UNUSED)
        splits[id] = l->len;
    return qm_heap_push(c, (uint64_t)s->rank[id] << 32 | left, l->len + r->len);
}

static int cut_symbols(struct qm_call *c, const char *text, size_t len, size_t *n) {
    const struct qm_spm *s = &c->t->spm;
    for (size_t i = 0; i < len;) {
        int rc = qm_symbols_reserve(c, *n + 1);
        if (rc)
            return rc;
        uint32_t cp;
        size_t k = 0;
        bool frozen = s->user.nodes && qm_trie_longest(&s->user, text + i, len - i, &k) >= 0;
        if (!frozen)
            k = qm_char_next(text + i, len - i, &cp);
        c->symbols[*n] = (struct qm_symbol){.start = (uint32_t)i,
                                            .len = (uint32_t)k,
                                            .prev = (uint32_t)*n - 1,
                                            .next = (uint32_t)*n + 1,
                                            .frozen = frozen};
        ++*n;
        i += k;
    }
    c->symbols[*n - 1].next = UINT32_MAX;
    return QM_OK;
}

/* Writes a symbol; unused pieces fall apart into what they were made of, left part first. The stack
 * holds the right parts still to come: each is shorter than the piece before, so it stays small. */
static int write_symbol(struct sink *k, const char *text, const struct qm_symbol *sym, const uint32_t *splits) {
    const struct qm_spm *s = &k->c->t->spm;
    uint32_t stack[256], depth = 0, start = sym->start, end = sym->start + sym->len;
    int rc = QM_OK;
    for (;;) {
        int32_t id = piece_id(s, text + start, end - start);
        uint32_t at = splits && s->type[id] == QM_PIECE_UNUSED ? splits[id] : 0;
        if (at && at < end - start && depth < 256) {
            stack[depth++] = end;
            end = start + at;
            continue;
        }
        rc = write_piece(k, text + start, end - start, id);
        if (rc || depth == 0)
            return rc;
        start = end;
        end = stack[--depth];
    }
}

static int encode_bpe_part(struct sink *k, const char *text, size_t len, uint32_t *splits) {
    struct qm_call *c = k->c;
    size_t n = 0;
    int rc = cut_symbols(c, text, len, &n);
    struct qm_symbol *sym = c->symbols;
    c->heap_len = 0;
    for (size_t i = 0; !rc && i + 1 < n; i++)
        rc = push_pair(c, text, (uint32_t)i, (uint32_t)i + 1, splits);
    while (!rc && c->heap_len) {
        struct qm_heap_item top = qm_heap_pop(c);
        uint32_t left = (uint32_t)top.key, right = sym[left].next;
        if (!sym[left].len || right == UINT32_MAX || sym[left].len + sym[right].len != top.size)
            continue;
        sym[left].len += sym[right].len;
        sym[left].next = sym[right].next;
        sym[right].len = 0;
        if (sym[left].next != UINT32_MAX)
            sym[sym[left].next].prev = left;
        if (sym[left].prev != UINT32_MAX)
            rc = push_pair(c, text, sym[left].prev, left, splits);
        if (!rc && sym[left].next != UINT32_MAX)
            rc = push_pair(c, text, left, sym[left].next, splits);
    }
    for (uint32_t i = 0; !rc && i != UINT32_MAX; i = sym[i].next)
        rc = write_symbol(k, text, &sym[i], splits);
    return rc;
}

static int encode_bpe(struct qm_call *c, const char *text, size_t len) {
    const struct qm_spm *s = &c->t->spm;
    uint32_t *splits = s->has_unused ? calloc(c->t->vocab.size, sizeof *splits) : NULL;
    struct sink k = {.c = c};
    int rc = s->has_unused && !splits ? qm_fail_memory(c->err, c->t->vocab.size * 4, "unused pieces") : QM_OK;
    for (size_t n; !rc && len; text += n, len -= n) {
        n = qm_word_cut(c->t, text, len);
        if ((rc = qm_call_look(c)))
            break;
        size_t count, before = c->out->len;
        const int32_t *ids = qm_word_cached(c, text, n, &count);
        for (size_t i = 0; !rc && ids && i < count; i++)
            rc = qm_ids_push(c->out, ids[i], c->err);
        if (ids) {
            k.after_unknown = false;
            continue;
        }
        bool after = k.after_unknown;
        rc = encode_bpe_part(&k, text, n, splits);
        /* A run of unknown pieces may go on over the cut, so a part with one at an end is not like others. */
        bool joins = after || k.after_unknown;
        for (size_t i = before; i < c->out->len; i++)
            joins |= c->out->data[i] == s->unk;
        if (!rc && !joins && !splits)
            qm_word_remember(c, text, n, c->out->data + before, c->out->len - before);
    }
    free(splits);
    return rc;
}

/* ---- Unigram ---- */

struct node {
    float score;
    uint32_t start; /* UINT32_MAX: no path ends here */
    int32_t id;
};

/* The library adds scores in single precision; ties fall by its rounding. */
static void offer(struct node *to, float score, size_t start, int32_t id) {
    if (to->start == UINT32_MAX || score > to->score)
        *to = (struct node){score, (uint32_t)start, id};
}

static void search(const struct qm_spm *s, const char *text, size_t len, struct node *nodes) {
    const float unknown = s->min_score - 10.0f;
    for (size_t i = 0; i < len;) {
        uint32_t cp, at = 0;
        size_t k = qm_char_next(text + i, len - i, &cp);
        float here = nodes[i].score;
        bool single = false;
        for (size_t j = i; j < len; j++) {
            at = qm_trie_step(&s->trie, at, (uint8_t)text[j]);
            if (!at)
                break;
            int32_t id = s->trie.value[at];
            if (id < 0 || s->type[id] == QM_PIECE_UNUSED)
                continue;
            size_t length = j + 1 - i;
            /* user-defined symbols have no score of their own: the library prefers long ones */
            float score = s->type[id] == QM_PIECE_USER ? (float)((double)length * 0.1 - 0.1) : s->score[id];
            offer(&nodes[j + 1], score + here, i, id);
            single |= length == k;
        }
        if (!single)
            offer(&nodes[i + k], unknown + here, i, s->unk);
        i += k;
    }
}

static int encode_unigram(struct qm_call *c, const char *text, size_t len) {
    struct node *nodes = malloc((len + 1) * sizeof *nodes);
    if (!nodes)
        return qm_fail_memory(c->err, (len + 1) * sizeof *nodes, "the paths of a text");
    for (size_t i = 0; i <= len; i++)
        nodes[i] = (struct node){0, UINT32_MAX, -1};
    search(&c->t->spm, text, len, nodes);
    /* Back along the best path, leaving in each node's start where the next piece ends. */
    uint32_t end = (uint32_t)len, next = UINT32_MAX;
    while (end > 0) {
        uint32_t start = nodes[end].start;
        nodes[end].start = next;
        next = end;
        end = start;
    }
    struct sink k = {.c = c};
    int rc = QM_OK;
    uint32_t from = 0;
    for (uint32_t e = next; !rc && e != UINT32_MAX; e = nodes[e].start) {
        rc = write_piece(&k, text + from, e - from, nodes[e].id);
        from = e;
    }
    free(nodes);
    return rc;
}

int qm_spm_encode(struct qm_call *c, const char *text, size_t len, bool prefix) {
    struct qm_buf *b = &c->normal[0];
    b->len = 0;
    int rc = normalize(c, text, len, prefix, b);
    if (rc || b->len == 0)
        return rc;
    if (b->len > QM_MAX_TEXT)
        return qm_fail(c->err, QM_INPUT, "normalized text of %zu bytes, expected at most %zu", b->len, QM_MAX_TEXT);
    return c->t->spm.bpe ? encode_bpe(c, b->data, b->len) : encode_unigram(c, b->data, b->len);
}

/* ---- decoding ---- */

/* A run of byte pieces: whole characters, U+FFFD for each byte that is in none. */
static int write_bytes(const char *p, size_t n, struct qm_buf *out, struct qm_error *err) {
    int rc = QM_OK;
    for (size_t i = 0; !rc && i < n;) {
        uint32_t cp;
        size_t k = qm_utf8_decode(p + i, n - i, &cp);
        rc = k ? qm_buf_add(out, p + i, k, err) : qm_buf_add(out, "\xEF\xBF\xBD", 3, err);
        i += k ? k : 1;
    }
    return rc;
}

static int write_spaced(const char *p, size_t n, struct qm_buf *out, struct qm_error *err) {
    int rc = QM_OK;
    while (!rc && n) {
        const char *mark = memmem(p, n, space_mark, MARK);
        size_t upto = mark ? (size_t)(mark - p) : n;
        rc = qm_buf_add(out, p, upto, err);
        if (!rc && mark)
            rc = qm_buf_add(out, " ", 1, err);
        upto += mark ? MARK : 0;
        p += upto;
        n -= upto;
    }
    return rc;
}

int qm_spm_decode(const struct qm_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, struct qm_buf *out,
                  struct qm_error *err) {
    const struct qm_spm *s = &t->spm;
    struct qm_buf bytes = {0};
    size_t begin = out->len;
    bool at_start = true, dropped = false;
    int rc = QM_OK;
    for (size_t i = 0; !rc && i < n; i++) {
        size_t len;
        const char *p = qm_tokenizer_piece(t, ids[i], &len);
        if (!p || (skip_special && t->dropped[ids[i]]))
            continue;
        int type = qm_spm_type(t, ids[i]);
        if (type == QM_PIECE_BYTE) {
            char b = (char)qm_byte_piece(p, len);
            rc = qm_buf_add(&bytes, &b, 1, err);
            continue;
        }
        rc = write_bytes(bytes.data, bytes.len, out, err);
        bytes.len = 0;
        if (dropped || out->len > begin)
            at_start = false;
        dropped = false;
        if (rc)
            break;
        if (type == QM_PIECE_CONTROL) {
            rc = qm_buf_add(out, p, len, err);
            continue;
        }
        if (at_start && (s->dummy_prefix || s->remove_extra) && len >= MARK && memcmp(p, space_mark, MARK) == 0) {
            p += MARK;
            len -= MARK;
            dropped = !s->remove_extra;
        }
        rc = write_spaced(p, len, out, err);
    }
    if (!rc)
        rc = write_bytes(bytes.data, bytes.len, out, err);
    qm_buf_free(&bytes);
    return rc;
}
