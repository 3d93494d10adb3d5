/* Streamed decoding: the bytes of one token after another, cut at whole UTF-8 characters. Holds back at
 * most three bytes. */
#include <stdlib.h>
#include <string.h>

#include "model/tokenizer/internal.h"

struct qm_stream {
    const struct qm_tokenizer *t;
    bool skip_special, drop_space, any;
    struct qm_buf pending;
};

int qm_stream_new(const struct qm_tokenizer *t, bool skip_special, struct qm_stream **out, struct qm_error *err) {
    *out = calloc(1, sizeof **out);
    if (!*out)
        return qm_fail_memory(err, sizeof **out, "a decoding stream");
    (*out)->t = t;
    (*out)->skip_special = skip_special;
    return QM_OK;
}

void qm_stream_drop_space(struct qm_stream *s) {
    s->drop_space = true;
}

int qm_stream_push(struct qm_stream *s, int32_t id, struct qm_buf *out, struct qm_error *err) {
    struct qm_buf *p = &s->pending;
    size_t rest = 0;
    if (s->skip_special && id >= 0 && (size_t)id < s->t->size && s->t->dropped[id])
        return QM_OK;
    /* Without a decoder the library puts a space between tokens. */
    int rc = s->any && s->t->kind != QM_KIND_SPM && !s->t->has_decoder ? qm_buf_add(p, " ", 1, err) : QM_OK;
    if (!rc)
        rc = qm_tokenizer_token_bytes(s->t, id, p, err);
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
    if (s)
        qm_buf_free(&s->pending);
    free(s);
}
