/* tokenizer.model: a strict reader of the protobuf wire format, and of the ModelProto in it. Fields that
 * do not change ids are skipped; what would change them and is not implemented is refused. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "text/tokenizer/internal.h"

struct reader {
    const unsigned char *p;
    size_t len, i;
    const char *name;
    struct qm_error *err;
};

/* One field: a number (varint, fixed) or bytes. */
struct field {
    uint32_t number, wire;
    uint64_t value;
    const char *bytes;
    size_t len;
};

static int damaged(const struct reader *r, const char *what) {
    return qm_fail(r->err, QM_INPUT, "%s: not a SentencePiece model: %s at byte %zu of %zu", r->name, what, r->i,
                   r->len);
}

static int varint(struct reader *r, uint64_t *out) {
    uint64_t v = 0;
    for (int shift = 0; shift < 70; shift += 7) {
        if (r->i == r->len)
            return damaged(r, "a number is cut");
        unsigned char b = r->p[r->i++];
        if (shift == 63 && b > 1)
            break;
        v |= (uint64_t)(b & 127) << shift;
        if (b < 128) {
            *out = v;
            return QM_OK;
        }
    }
    return damaged(r, "a number has more than 64 bits");
}

/* Reads the next field; *end at the end of the message. */
static int next_field(struct reader *r, struct field *f, bool *end) {
    uint64_t tag, n = 0;
    *end = r->i == r->len;
    if (*end)
        return QM_OK;
    int rc = varint(r, &tag);
    if (rc)
        return rc;
    if (tag >> 3 == 0 || tag >> 3 > (1u << 29) - 1)
        return damaged(r, "a field number is out of range");
    *f = (struct field){.number = (uint32_t)(tag >> 3), .wire = tag & 7};
    if (f->wire == 0)
        return varint(r, &f->value);
    if (f->wire == 1 || f->wire == 5)
        n = f->wire == 1 ? 8 : 4;
    else if (f->wire == 2)
        rc = varint(r, &n);
    else
        return damaged(r, "a field has an unknown wire type");
    if (rc)
        return rc;
    if (n > r->len - r->i)
        return damaged(r, "a field is longer than the file");
    f->bytes = (const char *)r->p + r->i;
    f->len = (size_t)n;
    for (size_t k = 0; f->wire != 2 && k < n; k++)
        f->value |= (uint64_t)r->p[r->i + k] << (8 * k);
    r->i += (size_t)n;
    return QM_OK;
}

static int expect(const struct reader *r, const struct field *f, uint32_t wire) {
    return f->wire == wire ? QM_OK : damaged(r, "a field has another wire type than SentencePiece's");
}

static float float_of(uint64_t bits) {
    uint32_t u = (uint32_t)bits;
    float x;
    memcpy(&x, &u, 4);
    return x;
}

/* What trainer_spec and normalizer_spec say, before the pieces are read. */
struct spec {
    uint64_t model_type;
    const char *bos, *eos, *map;
    size_t bos_len, eos_len, map_len;
    bool byte_fallback, suffix_space, dummy_prefix, remove_extra, escape;
};

static int read_trainer(const struct field *in, const struct reader *outer, struct spec *s) {
    struct reader r = {(const unsigned char *)in->bytes, in->len, 0, outer->name, outer->err};
    struct field f;
    bool end;
    int rc;
    while (!(rc = next_field(&r, &f, &end)) && !end) {
        if (f.number == 3 || f.number == 24 || f.number == 35)
            rc = expect(&r, &f, 0);
        if (f.number == 46 || f.number == 47)
            rc = expect(&r, &f, 2);
        if (rc)
            return rc;
        switch (f.number) {
        case 3: s->model_type = f.value; break;
        case 24: s->suffix_space = f.value != 0; break;
        case 35: s->byte_fallback = f.value != 0; break;
        case 46: s->bos = f.bytes, s->bos_len = f.len; break;
        case 47: s->eos = f.bytes, s->eos_len = f.len; break;
        default: break;
        }
    }
    return rc;
}

static int read_normalizer(const struct field *in, const struct reader *outer, struct spec *s) {
    struct reader r = {(const unsigned char *)in->bytes, in->len, 0, outer->name, outer->err};
    struct field f;
    bool end;
    int rc;
    while (!(rc = next_field(&r, &f, &end)) && !end) {
        if (f.number >= 2 && f.number <= 5)
            rc = expect(&r, &f, f.number == 2 ? 2 : 0);
        if (rc)
            return rc;
        switch (f.number) {
        case 2: s->map = f.bytes, s->map_len = f.len; break;
        case 3: s->dummy_prefix = f.value != 0; break;
        case 4: s->remove_extra = f.value != 0; break;
        case 5: s->escape = f.value != 0; break;
        default: break;
        }
    }
    return rc;
}

/* A denormalizer with rules would change decoded text. */
static int check_denormalizer(const struct field *in, const struct reader *outer) {
    struct reader r = {(const unsigned char *)in->bytes, in->len, 0, outer->name, outer->err};
    struct field f;
    bool end;
    int rc;
    while (!(rc = next_field(&r, &f, &end)) && !end)
        if (f.number == 2 && f.len)
            return qm_fail(r.err, QM_INPUT, "%s: denormalizer_spec has rules, which are not implemented", r.name);
    return rc;
}

static int check_byte_piece(const struct reader *r, struct qm_tokenizer *t, const char *text, size_t len, int32_t id) {
    int b = qm_byte_piece(text, len);
    if (!t->spm.byte_fallback || b < 0)
        return qm_fail(r->err, QM_INPUT, "%s: byte piece \"%.*s\" (id %d) %s", r->name, (int)(len < 64 ? len : 64),
                       text, id, b < 0 ? "is not of the form <0xNN>" : "in a model without byte_fallback");
    t->spm.byte_token[b] = id;
    return QM_OK;
}

/* One SentencePiece message: the piece with the next id. */
static int read_piece(const struct field *in, const struct reader *outer, struct qm_tokenizer *t, int32_t id) {
    struct reader r = {(const unsigned char *)in->bytes, in->len, 0, outer->name, outer->err};
    struct qm_spm *s = &t->spm;
    struct field f;
    const char *text = NULL;
    size_t len = 0;
    uint64_t type = QM_PIECE_NORMAL;
    float score = 0;
    bool end;
    int rc;
    while (!(rc = next_field(&r, &f, &end)) && !end) {
        if (f.number >= 1 && f.number <= 3)
            rc = expect(&r, &f, f.number == 1 ? 2 : f.number == 2 ? 5 : 0);
        if (rc)
            return rc;
        if (f.number == 1)
            text = f.bytes, len = f.len;
        else if (f.number == 2)
            score = float_of(f.value);
        else if (f.number == 3)
            type = f.value;
    }
    if (rc)
        return rc;
    if (len == 0 || len > QM_MAX_ADDED_BYTES || memchr(text, 0, len) || qm_utf8_check(text, len) != len)
        return qm_fail(r.err, QM_INPUT,
                       "%s: the text of piece %d has %zu bytes or is not UTF-8, expected 1 to %d bytes "
                       "of UTF-8 without NUL",
                       r.name, id, len, QM_MAX_ADDED_BYTES);
    if (type < QM_PIECE_NORMAL || type > QM_PIECE_BYTE)
        return qm_fail(r.err, QM_INPUT, "%s: piece %d has type %llu, expected 1 to 6", r.name, id,
                       (unsigned long long)type);
    if (!isfinite(score))
        return qm_fail(r.err, QM_INPUT, "%s: the score of piece %d is not a finite number", r.name, id);
    s->type[id] = (uint8_t)type;
    s->score[id] = score;
    bool normal = type == QM_PIECE_NORMAL || type == QM_PIECE_USER || type == QM_PIECE_UNUSED;
    struct qm_vocab *v = normal ? &s->pieces : &s->reserved;
    if (qm_vocab_find(v, text, len) >= 0)
        return qm_fail(r.err, QM_INPUT, "%s: piece \"%.*s\" is there twice, as %d and %d", r.name,
                       (int)(len < 64 ? len : 64), text, qm_vocab_find(v, text, len), id);
    s->has_unused |= type == QM_PIECE_UNUSED;
    if (type == QM_PIECE_UNKNOWN && s->unk >= 0)
        return qm_fail(r.err, QM_INPUT, "%s: pieces %d and %d are both of type UNKNOWN", r.name, s->unk, id);
    if (type == QM_PIECE_UNKNOWN)
        s->unk = id;
    if (type == QM_PIECE_BYTE)
        rc = check_byte_piece(&r, t, text, len, id);
    if (type == QM_PIECE_NORMAL) {
        s->min_score = score < s->min_score ? score : s->min_score;
    }
    if (!rc)
        rc = qm_vocab_add(v, text, len, id, r.name, r.err);
    return rc ? rc : qm_vocab_add(&t->vocab, text, len, id, r.name, r.err);
}

struct scored {
    float score;
    int32_t id;
};

static int by_score(const void *a, const void *b) {
    const struct scored *x = a, *y = b;
    return x->score > y->score ? -1 : x->score < y->score;
}

/* Ranks of scores, for the heap, and the tries. */
static int index_pieces(struct qm_tokenizer *t, int32_t n, struct qm_error *err) {
    struct qm_spm *s = &t->spm;
    struct scored *order = malloc(((size_t)n + 1) * sizeof *order);
    struct qm_trie_key *keys = malloc(((size_t)n + 1) * sizeof *keys), *user = malloc(((size_t)n + 1) * sizeof *user);
    size_t nkeys = 0, nuser = 0;
    int rc = order && keys && user ? QM_OK : qm_fail_memory(err, (size_t)n * 60, "the pieces");
    for (int32_t i = 0; !rc && i < n; i++) {
        size_t len;
        const char *text = qm_vocab_text(&t->vocab, i, &len);
        struct qm_trie_key key = {text, len, i, (uint32_t)i};
        order[i] = (struct scored){s->score[i], i};
        if (s->type[i] == QM_PIECE_NORMAL || s->type[i] == QM_PIECE_USER || s->type[i] == QM_PIECE_UNUSED)
            keys[nkeys++] = key;
        if (s->type[i] == QM_PIECE_USER)
            user[nuser++] = key;
    }
    if (!rc)
        qsort(order, (size_t)n, sizeof *order, by_score);
    uint32_t rank = 0;
    for (int32_t i = 0; !rc && i < n; i++) {
        rank += i > 0 && order[i].score != order[i - 1].score;
        s->rank[order[i].id] = rank;
    }
    if (!rc && nuser)
        rc = qm_trie_build(&s->user, user, nuser, err);
    if (!rc && !s->bpe)
        rc = qm_trie_build(&s->trie, keys, nkeys, err);
    free(order);
    free(keys);
    free(user);
    return rc;
}

static int apply_spec(struct qm_tokenizer *t, const struct spec *s, const struct reader *r) {
    struct qm_spm *m = &t->spm;
    if (s->model_type != 1 && s->model_type != 2)
        return qm_fail(r->err, QM_INPUT, "%s: model_type %llu is not implemented, expected 1 (Unigram) or 2 (BPE)",
                       r->name, (unsigned long long)s->model_type);
    m->bpe = s->model_type == 2;
    m->byte_fallback = s->byte_fallback;
    m->suffix_space = s->suffix_space;
    m->dummy_prefix = s->dummy_prefix;
    m->remove_extra = s->remove_extra;
    m->escape = s->escape;
    m->has_map = s->map_len > 0;
    return m->has_map ? qm_charsmap_load(&m->map, s->map, s->map_len, r->err) : QM_OK;
}

static int32_t control_id(const struct qm_spm *s, const char *text, size_t len) {
    int32_t id = qm_vocab_find(&s->reserved, text, len);
    return id >= 0 && s->type[id] == QM_PIECE_CONTROL ? id : -1;
}

/* All of the file: first the specs (they may stand after the pieces), then the pieces. */
static int read_model(struct reader *r, struct qm_tokenizer *t) {
    struct spec s = {.model_type = 1,
                     .bos = "<s>",
                     .bos_len = 3,
                     .eos = "</s>",
                     .eos_len = 4,
                     .dummy_prefix = true,
                     .remove_extra = true,
                     .escape = true};
    struct qm_spm *m = &t->spm;
    struct field f;
    bool end;
    int32_t n = 0;
    int rc;
    while (!(rc = next_field(r, &f, &end)) && !end) {
        if (f.number <= 5)
            rc = expect(r, &f, 2);
        if (!rc && f.number == 2)
            rc = read_trainer(&f, r, &s);
        if (!rc && f.number == 3)
            rc = read_normalizer(&f, r, &s);
        if (!rc && f.number == 5)
            rc = check_denormalizer(&f, r);
        if (!rc && f.number == 1 && ++n > QM_VOCAB_MAX_ID)
            rc = damaged(r, "there are more than 4 million pieces");
        if (rc)
            return rc;
    }
    if (!rc)
        rc = apply_spec(t, &s, r);
    if (rc)
        return rc;
    m->type = calloc((size_t)n + 1, 1);
    m->score = calloc((size_t)n + 1, sizeof *m->score);
    m->rank = calloc((size_t)n + 1, sizeof *m->rank);
    if (!m->type || !m->score || !m->rank)
        return qm_fail_memory(r->err, (size_t)n * 9, "the pieces");
    r->i = 0;
    n = 0;
    while (!(rc = next_field(r, &f, &end)) && !end)
        if (f.number == 1 && (rc = read_piece(&f, r, t, n++)))
            return rc;
    if (!rc && m->unk < 0)
        rc = qm_fail(r->err, QM_INPUT, "%s: none of the %d pieces is of type UNKNOWN", r->name, n);
    for (int b = 0; !rc && m->byte_fallback && b < 256; b++)
        if (m->byte_token[b] < 0)
            rc = qm_fail(r->err, QM_INPUT, "%s: byte_fallback without the piece <0x%02X>", r->name, b);
    m->bos = control_id(m, s.bos, s.bos_len);
    t->eos = control_id(m, s.eos, s.eos_len);
    m->n = (size_t)n;
    return rc ? rc : index_pieces(t, n, r->err);
}

int qm_tokenizer_load_model(const char *bytes, size_t len, const char *name, const struct qm_token_files *beside,
                            struct qm_tokenizer **out, struct qm_error *err) {
    const struct qm_token_files none = {0};
    struct qm_settings s = {0};
    *out = NULL;
    struct qm_tokenizer *t = calloc(1, sizeof *t);
    if (!t)
        return qm_fail_memory(err, sizeof *t, "a tokenizer");
    t->kind = QM_KIND_SPM;
    t->spm.unk = -1;
    t->spm.min_score = FLT_MAX;
    memset(t->spm.byte_token, 0xFF, sizeof t->spm.byte_token);
    struct reader r = {(const unsigned char *)bytes, len, 0, name, err};
    int rc = len ? read_model(&r, t) : qm_fail(err, QM_INPUT, "%s: the file is empty", name);
    if (!rc)
        rc = qm_settings_read(beside ? beside : &none, &s, err);
    if (!rc)
        rc = qm_settings_apply(t, &s, err);
    if (!rc)
        rc = qm_tokenizer_finish(t, err);
    qm_settings_free(&s);
    if (rc) {
        qm_tokenizer_free(t);
        return rc;
    }
    *out = t;
    return QM_OK;
}
