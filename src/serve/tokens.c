/* Text and tokens, without generating: /tokenize, /detokenize, /apply-template, in vLLM's form ("prompt" or "messages")
 * and in llama-server's ("content"). */
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "protocol/failure.h"
#include "serve/exchange.h"
#include "text/chat_prompt.h"

static void fail(struct qm_exchange *x, const struct qm_error *err) {
    qm_exchange_fail(x, err, qm_failure_status(err), NULL);
}

/* A template's prompt, appended. */
static int render(const struct qm_served_model *m, const json_t *body, struct qm_buf *out, struct qm_error *err) {
    time_t now = time(NULL);
    struct tm local;
    if (!m->context.chat)
        return qm_fail(err, QM_INPUT, "the model has no chat template");
    return qm_chat_prompt(m->context.chat, body, localtime_r(&now, &local), out, err);
}

/* The text of a body, and whether tokens that begin one are added. *form: the field that has it. */
static int text_of(const struct qm_served_model *m, const json_t *body, const char **form, bool *special,
                   struct qm_buf *out, struct qm_error *err) {
    const char *text = NULL;
    *form = json_object_get(body, "messages") ? "messages" : json_object_get(body, "content") ? "content" : "prompt";
    *special = !strcmp(*form, "prompt"); /* as each of the others' servers does */
    if (!strcmp(*form, "messages")) {
        int rc = render(m, body, out, err);
        return rc ? qm_about(err, "messages", rc)
                  : qm_json_bool(body, "add_special_tokens", "the request", special, err);
    }
    int rc = qm_json_string(body, *form, "the request", &text, err);
    if (!rc && !text)
        rc = qm_about(err, "prompt",
                      qm_fail(err, QM_INPUT, "the request: expected \"prompt\", \"messages\" or \"content\""));
    if (!rc)
        rc = qm_json_bool(body, "add_special", "the request", special, err);
    if (!rc)
        rc = qm_json_bool(body, "add_special_tokens", "the request", special, err);
    return rc ? rc : qm_buf_str(out, text, err);
}

static json_t *pieces(const struct qm_tokenizer *t, const struct qm_ids *ids) {
    json_t *list = json_array();
    for (size_t i = 0; i < ids->len; i++) {
        size_t n = 0;
        const char *piece = qm_tokenizer_piece(t, ids->data[i], &n);
        json_array_append_new(list, json_stringn(piece ? piece : "", piece ? n : 0));
    }
    return list;
}

static json_t *numbers(const struct qm_ids *ids) {
    json_t *list = json_array();
    for (size_t i = 0; i < ids->len; i++)
        json_array_append_new(list, json_integer(ids->data[i]));
    return list;
}

/* llama-server's pieces of tokens: {id, piece}. */
static json_t *with_pieces(const struct qm_tokenizer *t, const struct qm_ids *ids) {
    json_t *list = json_array();
    for (size_t i = 0; i < ids->len; i++) {
        size_t n = 0;
        const char *piece = qm_tokenizer_piece(t, ids->data[i], &n);
        json_array_append_new(list, json_pack("{s:i, s:o}", "id", ids->data[i], "piece",
                                              json_stringn(piece ? piece : "", piece ? n : 0)));
    }
    return list;
}

void qm_handle_tokenize(struct qm_exchange *x) {
    struct qm_error err;
    struct qm_buf text = {0};
    struct qm_ids ids = {0};
    const char *form;
    bool special = true, strings = false, llama_pieces = false;
    json_t *body = qm_exchange_body(x);
    const struct qm_served_model *m = body ? qm_exchange_model(x, body) : NULL;
    if (m) {
        const struct qm_tokenizer *t = m->context.tokenizer;
        int rc = text_of(m, body, &form, &special, &text, &err);
        if (!rc)
            rc = qm_json_bool(body, "return_token_strs", "the request", &strings, &err);
        if (!rc)
            rc = qm_json_bool(body, "with_pieces", "the request", &llama_pieces, &err);
        if (!rc)
            rc = qm_tokenizer_encode(t, text.data ? text.data : "", text.len, special, true, &ids, &err);
        if (rc)
            fail(x, &err);
        else if (!strcmp(form, "content"))
            qm_exchange_json(x, 200, json_pack("{s:o}", "tokens", llama_pieces ? with_pieces(t, &ids) : numbers(&ids)));
        else
            qm_exchange_json(x, 200,
                             json_pack("{s:I, s:I, s:o, s:o}", "count", (json_int_t)ids.len, "max_model_len",
                                       (json_int_t)m->context.context, "tokens", numbers(&ids), "token_strs",
                                       strings ? pieces(t, &ids) : json_null()));
    }
    qm_ids_free(&ids);
    qm_buf_free(&text);
    json_decref(body);
}

static int ids_of(const json_t *body, struct qm_ids *out, struct qm_error *err) {
    const json_t *list = json_object_get(body, "tokens"), *id;
    size_t i;
    int rc = json_is_array(list) ? QM_OK
                                 : qm_fail(err, QM_INPUT, "the request: \"tokens\": expected a list of ids, found %s",
                                           list ? qm_json_type_name(list) : "nothing");
    json_array_foreach(list, i, id) {
        if (!rc && (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX))
            rc = qm_fail(err, QM_INPUT, "the request: \"tokens\": expected ids from 0 on, found %s as number %zu",
                         json_is_integer(id) ? "another" : qm_json_type_name(id), i);
        if (!rc)
            rc = qm_ids_push(out, (int32_t)json_integer_value(id), err);
    }
    return rc ? qm_about(err, "tokens", rc) : rc;
}

void qm_handle_detokenize(struct qm_exchange *x) {
    struct qm_error err;
    struct qm_buf text = {0};
    struct qm_ids ids = {0};
    json_t *body = qm_exchange_body(x);
    const struct qm_served_model *m = body ? qm_exchange_model(x, body) : NULL;
    if (m) {
        int rc = ids_of(body, &ids, &err);
        if (!rc)
            rc = qm_tokenizer_check_ids(m->context.tokenizer, &ids, m->context.vocab, "the request", &err);
        if (!rc)
            rc = qm_tokenizer_decode(m->context.tokenizer, ids.data, ids.len, false, &text, &err);
        if (rc)
            fail(x, &err);
        else /* one name for each of the two servers' clients */
            qm_exchange_json(x, 200,
                             json_pack("{s:s%, s:s%}", "prompt", text.data ? text.data : "", text.len, "content",
                                       text.data ? text.data : "", text.len));
    }
    qm_ids_free(&ids);
    qm_buf_free(&text);
    json_decref(body);
}

void qm_handle_template(struct qm_exchange *x) {
    struct qm_error err;
    struct qm_buf text = {0};
    json_t *body = qm_exchange_body(x);
    const struct qm_served_model *m = body ? qm_exchange_model(x, body) : NULL;
    if (m) {
        if (render(m, body, &text, &err))
            fail(x, &err);
        else
            qm_exchange_json(x, 200, json_pack("{s:s%}", "prompt", text.data ? text.data : "", text.len));
    }
    qm_buf_free(&text);
    json_decref(body);
}
