/* From messages, texts or token ids to the prompts of a request. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "protocol/fields.h"
#include "protocol/internal.h"

static int add_prompts(struct qm_openai_request *r, size_t n, struct qm_error *err) {
    if (!(r->prompts = calloc(n, sizeof *r->prompts)))
        return qm_fail_memory(err, n * sizeof *r->prompts, "the prompts of a request");
    if (r->echo && !(r->echoed = calloc(n, sizeof *r->echoed)))
        return qm_fail_memory(err, n * sizeof *r->echoed, "the prompts of a request");
    r->n_prompts = (int)n;
    return QM_OK;
}

static int check_ids(const struct qm_openai_request *r, int at, struct qm_error *err) {
    return qm_tokenizer_check_ids(r->context->tokenizer, &r->prompts[at], r->context->vocab, "the prompt", err);
}

/* A tool of a kind that nothing here can run, such as web_search: it has a type, and is no function. */
static const char *foreign_tool(const json_t *tool) {
    const char *type = json_string_value(json_object_get(tool, "type"));
    return type && strcmp(type, "function") != 0 && !json_object_get(tool, "function") ? type : NULL;
}

/* *out: the body without such tools, or the body itself; a new reference. */
static int drop_foreign_tools(struct qm_openai_request *r, const json_t *body, json_t **out, struct qm_error *err) {
    const json_t *tools = json_object_get(body, "tools");
    json_t *kept = json_array(), *tool;
    size_t i;
    int rc = kept ? QM_OK : qm_fail_memory(err, 64, "tools");
    json_array_foreach(tools, i, tool) {
        char name[80];
        const char *type = foreign_tool(tool);
        snprintf(name, sizeof name, "tools.%.60s", type ? type : "");
        if (!rc && type)
            rc = qm_ignored_add(&r->ignored, name, err);
        else if (!rc && json_array_append(kept, tool))
            rc = qm_fail_memory(err, 64, "tools");
    }
    bool same = json_array_size(kept) == json_array_size(tools);
    *out = rc ? NULL : same ? json_incref((json_t *)(uintptr_t)body) : json_copy((json_t *)(uintptr_t)body);
    if (!rc && (!*out || (!same && json_object_set(*out, "tools", kept))))
        rc = qm_fail_memory(err, 64, "tools");
    json_decref(kept);
    return rc;
}

int qm_openai_chat_prompt(struct qm_openai_request *r, const json_t *body, struct qm_error *err) {
    bool add_special = false; /* the template writes the tokens that begin a text itself */
    if (!r->context->chat)
        return qm_remedy(err, QM_REMEDY_CHAT_TEMPLATE,
                         qm_fail(err, QM_INPUT, "the model has no chat template: /v1/chat/completions needs one"));
    int rc = qm_json_bool(body, "add_special_tokens", "the body", &add_special, err);
    bool parallel = true;
    if (!rc)
        rc = qm_json_bool(body, "parallel_tool_calls", "the body", &parallel, err);
    r->one_call = !parallel;
    if (!rc)
        rc = add_prompts(r, 1, err);
    json_t *own = NULL;
    if (!rc)
        rc = drop_foreign_tools(r, body, &own, err);
    const struct qm_chat_input in = {.chat = r->context->chat,
                                     .tokenizer = r->context->tokenizer,
                                     .body = own,
                                     .now = r->context->now,
                                     .add_special = add_special};
    if (!rc)
        rc = qm_chat_tokens(&in, &r->prompts[0], &r->form, err);
    json_decref(own);
    r->decoding.skip_special = r->decoding.skip_special && !r->form.keep_special;
    return rc ? rc : check_ids(r, 0, err);
}

static int take_ids(struct qm_openai_request *r, const json_t *list, int at, struct qm_error *err) {
    int rc = QM_OK;
    for (size_t i = 0; i < json_array_size(list) && !rc; i++) {
        const json_t *id = json_array_get(list, i);
        json_int_t value = json_integer_value(id);
        if (!json_is_integer(id) || value < 0 || value >= r->context->vocab)
            return qm_fail(err, QM_INPUT, "prompt %d, token %zu: expected an id from 0 to %lld", at, i,
                           (long long)r->context->vocab - 1);
        rc = qm_ids_push(&r->prompts[at], (int32_t)value, err);
    }
    return rc;
}

static int take_prompt(struct qm_openai_request *r, const json_t *value, bool add_special, int at,
                       struct qm_error *err) {
    int rc = QM_OK;
    if (json_is_array(value)) {
        rc = take_ids(r, value, at, err);
        if (!rc && r->echo)
            rc = qm_tokenizer_decode(r->context->tokenizer, r->prompts[at].data, r->prompts[at].len,
                                     r->decoding.skip_special, &r->echoed[at], err);
        return rc;
    }
    const char *text = json_string_value(value);
    size_t len = json_string_length(value);
    if (!text)
        return qm_fail(err, QM_INPUT, "prompt %d must be a string or a list of token ids, found %s", at,
                       qm_json_type_name(value));
    if (r->echo)
        rc = qm_buf_add(&r->echoed[at], text, len, err);
    if (!rc)
        rc = qm_tokenizer_encode(r->context->tokenizer, text, len, add_special, true, &r->prompts[at], err);
    return rc ? rc : check_ids(r, at, err);
}

int qm_openai_text_prompts(struct qm_openai_request *r, const json_t *body, const char *key, struct qm_error *err) {
    const json_t *value = json_object_get(body, key);
    bool add_special = true, list = json_is_array(value) && !json_is_integer(json_array_get(value, 0));
    size_t n = list ? json_array_size(value) : 1;
    int rc = qm_json_bool(body, "add_special_tokens", "the body", &add_special, err);
    if (!rc && (!value || n < 1 || n > QM_OPENAI_PROMPTS))
        rc = qm_fail(err, QM_INPUT, "\"%s\": expected a text, a list of token ids, or a list of 1 to %d of them", key,
                     QM_OPENAI_PROMPTS);
    if (!rc && n * (size_t)r->choices > QM_OPENAI_PROMPTS)
        rc = qm_fail(err, QM_INPUT, "%zu prompts with %d choices each: expected at most %d together", n, r->choices,
                     QM_OPENAI_PROMPTS);
    if (!rc)
        rc = add_prompts(r, n, err);
    for (size_t i = 0; i < n && !rc; i++)
        rc = take_prompt(r, list ? json_array_get(value, i) : value, add_special, (int)i, err);
    return rc;
}
