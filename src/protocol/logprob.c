/* Log-probabilities as JSON. */
#include "protocol/logprob.h"

#include "base/utf8.h"

enum { LEAST_LOGPROB = -9999 }; /* JSON has no -infinity; as vLLM writes it */

/* Bytes as text: U+FFFD for each byte that is in no character. */
static json_t *readable(const struct qm_buf *bytes, struct qm_error *err) {
    struct qm_buf text = {0};
    int rc = QM_OK;
    for (size_t at = 0, n; at < bytes->len && !rc; at += n) {
        uint32_t cp;
        n = qm_utf8_decode(bytes->data + at, bytes->len - at, &cp);
        rc = n ? qm_buf_add(&text, bytes->data + at, n, err) : qm_buf_str(&text, "\xEF\xBF\xBD", err);
        n = n ? n : 1;
    }
    json_t *out = rc ? NULL : json_stringn(text.len ? text.data : "", text.len);
    qm_buf_free(&text);
    return out;
}

/* {id, token, bytes, logprob}, or NULL with err set. */
static json_t *one_logprob(const struct qm_logprob *p, const struct qm_tokenizer *tokenizer, struct qm_error *err) {
    double logprob = p->logprob > LEAST_LOGPROB ? (double)p->logprob : LEAST_LOGPROB;
    json_t *entry = json_pack("{s:i, s:f}", "id", (int)p->id, "logprob", logprob);
    struct qm_buf bytes = {0};
    if (entry && tokenizer) {
        if (qm_tokenizer_token_bytes(tokenizer, p->id, &bytes, err)) {
            json_decref(entry);
            qm_buf_free(&bytes);
            return NULL;
        }
        json_t *text = readable(&bytes, err), *list = json_array();
        for (size_t i = 0; i < bytes.len; i++)
            json_array_append_new(list, json_integer((unsigned char)bytes.data[i]));
        json_object_set_new(entry, "token", text);
        json_object_set_new(entry, "bytes", list);
    }
    qm_buf_free(&bytes);
    if (!entry)
        qm_fail_memory(err, 256, "a log-probability");
    return entry;
}

int qm_protocol_logprob(json_t *list, const struct qm_generate_token *token, const struct qm_tokenizer *tokenizer,
                        struct qm_error *err) {
    json_t *entry = one_logprob(&token->logprob, tokenizer, err), *top = json_array();
    for (int i = 0; entry && i < token->n_top; i++) {
        json_t *one = one_logprob(&token->top[i], tokenizer, err);
        if (!one) {
            json_decref(entry);
            entry = NULL;
        } else {
            json_array_append_new(top, one);
        }
    }
    if (!entry) {
        json_decref(top);
        return err->code;
    }
    json_object_set_new(entry, "top_logprobs", top);
    return json_array_append_new(list, entry) ? qm_fail_memory(err, 256, "a log-probability") : QM_OK;
}
