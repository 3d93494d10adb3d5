/* The two-way table between token text and id. Used by every model and by the added tokens; knows
 * nothing of either. */
#include "text/tokenizer/vocab.h"

#include <stdlib.h>
#include <string.h>

static uint64_t read64(const char *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

static uint64_t mix(uint64_t a, uint64_t b) {
    unsigned __int128 m = (unsigned __int128)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

uint64_t qm_hash_bytes(const char *p, size_t n) {
    const uint64_t k0 = 0x9E3779B97F4A7C15u, k1 = 0xD1B54A32D192ED03u;
    uint64_t h = n * k0;
    while (n > 16) {
        h = mix(read64(p) ^ k0, read64(p + 8) ^ h);
        p += 16;
        n -= 16;
    }
    uint64_t a = 0, b = 0;
    if (n >= 8) {
        a = read64(p);
        b = read64(p + n - 8);
    } else if (n >= 4) {
        uint32_t x, y;
        memcpy(&x, p, 4);
        memcpy(&y, p + n - 4, 4);
        a = x;
        b = y;
    } else if (n > 0) {
        a = (uint64_t)(unsigned char)p[0] << 16 | (uint64_t)(unsigned char)p[n / 2] << 8 | (unsigned char)p[n - 1];
    }
    return mix(a ^ k1 ^ h, b ^ k0 ^ (h << 1));
}

static bool same(const struct qm_vocab *v, int32_t id, const char *text, size_t len) {
    const struct qm_vocab_text *t = &v->text[id];
    return t->len == len && (len == 0 || memcmp(v->bytes.data + t->offset, text, len) == 0);
}

/* The slot that holds text, or the empty one where it belongs. */
static size_t slot_of(const struct qm_vocab *v, const char *text, size_t len) {
    size_t i = qm_hash_bytes(text, len) & (v->nslots - 1);
    while (v->slots[i] >= 0 && !same(v, v->slots[i], text, len))
        i = (i + 1) & (v->nslots - 1);
    return i;
}

static int grow_slots(struct qm_vocab *v, struct qm_error *err) {
    size_t n = v->nslots ? v->nslots * 2 : 256;
    int32_t *slots = malloc(n * sizeof *slots), *old = v->slots;
    if (!slots)
        return qm_fail_memory(err, n * sizeof *slots, "the vocabulary");
    memset(slots, 0xFF, n * sizeof *slots);
    size_t nold = v->nslots;
    v->slots = slots;
    v->nslots = n;
    for (size_t i = 0; i < nold; i++)
        if (old[i] >= 0) {
            const struct qm_vocab_text *t = &v->text[old[i]];
            v->slots[slot_of(v, v->bytes.data + t->offset, t->len)] = old[i];
        }
    free(old);
    return QM_OK;
}

static int grow_text(struct qm_vocab *v, size_t need, struct qm_error *err) {
    if (need > v->text_cap) {
        size_t cap = v->text_cap ? v->text_cap : 256;
        while (cap < need)
            cap *= 2;
        struct qm_vocab_text *p = realloc(v->text, cap * sizeof *p);
        if (!p)
            return qm_fail_memory(err, cap * sizeof *p, "the vocabulary");
        memset(p + v->text_cap, 0xFF, (cap - v->text_cap) * sizeof *p);
        v->text = p;
        v->text_cap = cap;
    }
    if (need > v->size)
        v->size = need;
    return QM_OK;
}

int qm_vocab_add(struct qm_vocab *v, const char *text, size_t len, int64_t id, const char *where,
                 struct qm_error *err) {
    if (id < 0 || id >= QM_VOCAB_MAX_ID)
        return qm_fail(err, QM_INPUT, "%s: token \"%.*s\" has id %lld, expected 0 to %d", where,
                       (int)(len < 64 ? len : 64), text, (long long)id, QM_VOCAB_MAX_ID - 1);
    if (v->bytes.len + len > UINT32_MAX - 1)
        return qm_fail(err, QM_INPUT, "%s: the vocabulary's text is longer than 4 GB", where);
    int rc = grow_text(v, (size_t)id + 1, err);
    if (!rc && v->count * 2 >= v->nslots)
        rc = grow_slots(v, err);
    if (rc)
        return rc;
    struct qm_vocab_text *t = &v->text[id];
    if (t->offset != UINT32_MAX && !same(v, (int32_t)id, text, len))
        return qm_fail(err, QM_INPUT, "%s: two tokens have id %lld: \"%.*s\" and \"%.*s\"", where, (long long)id,
                       (int)(t->len < 64 ? t->len : 64), v->bytes.data + t->offset, (int)(len < 64 ? len : 64), text);
    if (t->offset == UINT32_MAX) {
        t->offset = (uint32_t)v->bytes.len;
        t->len = (uint32_t)len;
        rc = qm_buf_add(&v->bytes, text, len, err);
        if (!rc)
            rc = qm_buf_add(&v->bytes, "", 1, err); /* each text is a C string too, for the callers of piece() */
        if (rc) {
            t->offset = UINT32_MAX;
            return rc;
        }
    }
    size_t s = slot_of(v, text, len);
    v->count += v->slots[s] < 0;
    v->slots[s] = (int32_t)id;
    if (len > v->longest)
        v->longest = len;
    return QM_OK;
}

int32_t qm_vocab_find(const struct qm_vocab *v, const char *text, size_t len) {
    if (!v->nslots || len > v->longest)
        return -1;
    return v->slots[slot_of(v, text, len)];
}

const char *qm_vocab_text(const struct qm_vocab *v, int64_t id, size_t *len) {
    if (id < 0 || (size_t)id >= v->size || v->text[id].offset == UINT32_MAX)
        return NULL;
    *len = v->text[id].len;
    return v->bytes.data + v->text[id].offset;
}

void qm_vocab_free(struct qm_vocab *v) {
    qm_buf_free(&v->bytes);
    free(v->text);
    free(v->slots);
    *v = (struct qm_vocab){0};
}
