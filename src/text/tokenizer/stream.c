/* Streamed decoding: the bytes of one token after another, cut at whole UTF-8 characters. Holds back at
 * most three bytes, and allocates nothing for a token unless it is longer than any before. */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer/internal.h"

enum { TOKEN_BYTES = 256 }; /* room from the start: few tokens are longer */

struct qm_stream {
    const struct qm_tokenizer *t;
    bool skip_special, drop_space, any;
    struct qm_buf pending;
    struct qm_token_scratch scratch;
};

int qm_stream_new(const struct qm_tokenizer *t, bool skip_special, struct qm_stream **out, struct qm_error *err) {
    *out = calloc(1, sizeof **out);
    if (!*out)
        return qm_fail_memory(err, sizeof **out, "a decoding stream");
    (*out)->t = t;
    (*out)->skip_special = skip_special;
    int rc = qm_buf_reserve(&(*out)->pending, TOKEN_BYTES, err);
    if (!rc)
        rc = qm_buf_reserve(&(*out)->scratch.a, TOKEN_BYTES, err);
    if (!rc)
        rc = qm_buf_reserve(&(*out)->scratch.b, TOKEN_BYTES, err);
    if (rc) {
        qm_stream_free(*out);
        *out = NULL;
    }
    return rc;
}

void qm_stream_drop_space(struct qm_stream *s) {
    s->drop_space = true;
}

int qm_stream_push(struct qm_stream *s, int32_t id, struct qm_buf *out, struct qm_error *err) {
    struct qm_buf *p = &s->pending;
    size_t rest = 0, len;
    if (id >= 0 && !qm_tokenizer_piece(s->t, id, &len))
        return QM_OK;
    if (s->skip_special && id >= 0 && (size_t)id < s->t->size && s->t->dropped[id])
        return QM_OK;
    /* Without a decoder the library puts a space between tokens. */
    int rc = s->any && s->t->kind != QM_KIND_SPM && !s->t->has_decoder ? qm_buf_add(p, " ", 1, err) : QM_OK;
    if (!rc)
        rc = qm_token_bytes(s->t, id, &s->scratch, p, err);
    if (rc)
        return rc;
    s->any = true;
    if (s->drop_space && p->len) {
        s->drop_space = false;
        if (p->data[0] == ' ')
            memmove(p->data, p->data + 1, --p->len);
    }
    rc = qm_lossy(p->data, p->len, false, out, &rest, err);
    if (!rc && rest)
        memmove(p->data, p->data + p->len - rest, rest);
    p->len = rest;
    return rc;
}

int qm_stream_flush(struct qm_stream *s, struct qm_buf *out, struct qm_error *err) {
    size_t rest;
    int rc = qm_lossy(s->pending.data, s->pending.len, true, out, &rest, err);
    s->pending.len = 0;
    return rc;
}

void qm_stream_free(struct qm_stream *s) {
    if (!s)
        return;
    qm_buf_free(&s->pending);
    qm_token_scratch_free(&s->scratch);
    free(s);
}
