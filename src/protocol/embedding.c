/* Embeddings: normalised, as numbers or as the bytes of floats. */
#include <math.h>
#include <stdlib.h>

#include "protocol/internal.h"

int qm_openai_take_embedding(struct qm_openai_part *p, const struct qm_outcome *o, struct qm_error *err) {
    double norm = 0;
    for (int64_t i = 0; i < o->n_embedding; i++)
        norm += (double)o->embedding[i] * (double)o->embedding[i];
    norm = sqrt(norm);
    if (!(norm > 0) || !isfinite(norm))
        return qm_fail(err, QM_INPUT, "the hidden state of the last token has length %g: it cannot be normalised",
                       norm);
    if (!(p->embedding = malloc((size_t)o->n_embedding * sizeof *p->embedding)))
        return qm_fail_memory(err, (size_t)o->n_embedding * sizeof *p->embedding, "an embedding");
    p->n_embedding = o->n_embedding;
    for (int64_t i = 0; i < o->n_embedding; i++)
        p->embedding[i] = (float)((double)o->embedding[i] / norm);
    return QM_OK;
}

/* RFC 4648. */
static json_t *base64(const void *bytes, size_t n) {
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *in = bytes;
    size_t len = (n + 2) / 3 * 4;
    char *out = malloc(len + 1);
    if (!out)
        return NULL;
    for (size_t i = 0, o = 0; i < n; i += 3, o += 4) {
        unsigned v = (unsigned)in[i] << 16 | (i + 1 < n ? in[i + 1] : 0u) << 8 | (i + 2 < n ? in[i + 2] : 0u);
        out[o] = digit[v >> 18];
        out[o + 1] = digit[v >> 12 & 63];
        out[o + 2] = i + 1 < n ? digit[v >> 6 & 63] : '=';
        out[o + 3] = i + 2 < n ? digit[v & 63] : '=';
    }
    json_t *text = json_stringn(out, len);
    free(out);
    return text;
}

json_t *qm_openai_embedding(const struct qm_openai_request *r, int index) {
    const struct qm_openai_part *p = &r->parts[index];
    json_t *vector;
    if (r->base64) {
        vector = base64(p->embedding, (size_t)p->n_embedding * sizeof *p->embedding);
    } else {
        vector = json_array();
        for (int64_t i = 0; i < p->n_embedding; i++)
            json_array_append_new(vector, json_real((double)p->embedding[i]));
    }
    return json_pack("{s:s, s:i, s:o}", "object", "embedding", "index", index, "embedding", vector);
}
