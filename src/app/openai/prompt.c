/* From messages, texts or token ids to the prompts of a request. */
#include <stdlib.h>
#include <string.h>

#include "app/openai/internal.h"
#include "base/json.h"

enum { MAX_MESSAGES = 65536 };

static int no_memory(struct qm_error *err) {
    return qm_fail_memory(err, 256, "the messages of a request");
}

/* Content as templates expect it: a string; of a list of parts the texts, one a line, as vLLM does. */
static int flatten_content(json_t *message, size_t at, struct qm_error *err) {
    const json_t *content = json_object_get(message, "content"), *part;
    if (!json_is_array(content)) {
        if (!content || json_is_null(content) || json_is_string(content))
            return QM_OK;
        return qm_fail(err, QM_INPUT, "message %zu: \"content\" must be a string or a list of parts, found %s", at,
                       qm_json_type_name(content));
    }
    struct qm_buf text = {0};
    int rc = qm_buf_reserve(&text, 0, err);
    for (size_t i = 0; i < json_array_size(content) && !rc; i++) {
        part = json_array_get(content, i);
        const char *type = json_string_value(json_object_get(part, "type"));
        const json_t *piece = json_object_get(part, "text");
        if (!type || strcmp(type, "text") != 0 || !json_is_string(piece))
            rc = qm_fail(
                err, QM_INPUT,
                "message %zu, part %zu of \"content\": only {\"type\": \"text\", \"text\": ...} is implemented", at, i);
        if (!rc && i)
            rc = qm_buf_str(&text, "\n", err);
        if (!rc)
            rc = qm_buf_add(&text, json_string_value(piece), json_string_length(piece), err);
    }
    if (!rc && json_object_set_new(message, "content", json_stringn(text.len ? text.data : "", text.len)))
        rc = no_memory(err);
    qm_buf_free(&text);
    return rc;
}

/* Templates expect the arguments of a tool call as an object; the API has them as a string of JSON. */
static int parse_arguments(json_t *message, size_t at, struct qm_error *err) {
    json_t *calls = json_object_get(message, "tool_calls"), *call;
    if (!calls || json_is_null(calls))
        return QM_OK;
    if (!json_is_array(calls))
        return qm_fail(err, QM_INPUT, "message %zu: \"tool_calls\" must be a list, found %s", at,
                       qm_json_type_name(calls));
    size_t i;
    json_array_foreach(calls, i, call) {
        json_t *function = json_object_get(call, "function"), *parsed;
        const json_t *arguments = json_object_get(function, "arguments");
        char name[80];
        if (!json_is_string(arguments))
            continue;
        snprintf(name, sizeof name, "message %zu, arguments of tool call %zu", at, i);
        int rc = qm_json_parse(json_string_value(arguments), json_string_length(arguments), name, &parsed, err);
        if (rc)
            return rc;
        if (json_object_set_new(function, "arguments", parsed))
            return no_memory(err);
    }
    return QM_OK;
}

static int make_plain(json_t *messages, struct qm_error *err) {
    json_t *message;
    size_t i;
    if (!json_is_array(messages) || !json_array_size(messages) || json_array_size(messages) > MAX_MESSAGES)
        return qm_fail(err, QM_INPUT, "\"messages\": expected a list of 1 to %d messages", MAX_MESSAGES);
    json_array_foreach(messages, i, message) {
        if (!json_is_object(message) || !json_is_string(json_object_get(message, "role")))
            return qm_fail(err, QM_INPUT, "message %zu must be an object with a string \"role\"", i);
        int rc = flatten_content(message, i, err);
        if (!rc)
            rc = parse_arguments(message, i, err);
        if (rc)
            return rc;
    }
    return QM_OK;
}

bool qm_openai_has_tools(const json_t *body) {
    const char *choice = json_string_value(json_object_get(body, "tool_choice"));
    return json_array_size(json_object_get(body, "tools")) && !(choice && !strcmp(choice, "none"));
}

/* The body as the template sees it. A new reference, or NULL. */
static json_t *template_body(const json_t *body, json_t *messages) {
    static const char *const taken[] = {"documents", "add_generation_prompt", "continue_final_message"};
    json_t *out = json_pack("{s:O}", "messages", messages);
    json_t *kwargs = json_copy(json_object_get(body, "chat_template_kwargs"));
    json_t *effort = json_object_get(body, "reasoning_effort");
    bool ok = out != NULL;
    for (size_t i = 0; i < 3 && ok; i++) {
        json_t *value = json_object_get(body, taken[i]);
        ok = !value || json_is_null(value) || !json_object_set(out, taken[i], value);
    }
    if (ok && qm_openai_has_tools(body))
        ok = !json_object_set(out, "tools", json_object_get(body, "tools"));
    if (ok && json_is_string(effort) && !json_object_get(kwargs, "reasoning_effort")) {
        kwargs = kwargs ? kwargs : json_object();
        ok = kwargs && !json_object_set(kwargs, "reasoning_effort", effort);
    }
    if (ok && kwargs && !json_is_null(kwargs))
        ok = !json_object_set(out, "chat_template_kwargs", kwargs);
    json_decref(kwargs);
    if (!ok)
        json_decref(out);
    return ok ? out : NULL;
}

static int add_prompts(struct qm_openai_request *r, size_t n, struct qm_error *err) {
    if (!(r->prompts = calloc(n, sizeof *r->prompts)))
        return qm_fail_memory(err, n * sizeof *r->prompts, "the prompts of a request");
    if (r->echo && !(r->echoed = calloc(n, sizeof *r->echoed)))
        return qm_fail_memory(err, n * sizeof *r->echoed, "the prompts of a request");
    r->n_prompts = (int)n;
    return QM_OK;
}

static int render(struct qm_openai_request *r, const json_t *body, bool add_special, struct qm_error *err) {
    struct qm_buf text = {0};
    int rc = qm_chat_render(r->context->chat, body, r->context->now, &text, err);
    if (!rc)
        rc = qm_buf_reserve(&text, 0, err);
    if (!rc) {
        bool keep_special;
        r->reasoning = qm_reasoning_detect(r->context->tokenizer, &keep_special);
        r->reasoning_opened = qm_reasoning_opened(text.data, text.len);
        r->decoding.skip_special = r->decoding.skip_special && !keep_special;
        r->tools = qm_openai_has_tools(body);
        rc = qm_tokenizer_encode(r->context->tokenizer, text.data, text.len, add_special, true, &r->prompts[0], err);
    }
    qm_buf_free(&text);
    return rc;
}

int qm_openai_chat_prompt(struct qm_openai_request *r, const json_t *body, struct qm_error *err) {
    bool add_special = false; /* the template writes the tokens that begin a text itself */
    if (!r->context->chat)
        return qm_fail(err, QM_INPUT,
                       "the model has no chat template: /v1/chat/completions needs one; --chat-template names it");
    int rc = qm_json_bool(body, "add_special_tokens", "the body", &add_special, err);
    if (!rc)
        rc = add_prompts(r, 1, err);
    if (rc)
        return rc;
    json_t *messages = json_deep_copy(json_object_get(body, "messages"));
    rc = make_plain(messages, err);
    json_t *plain = rc ? NULL : template_body(body, messages);
    if (!rc && !plain)
        rc = no_memory(err);
    if (!rc)
        rc = render(r, plain, add_special, err);
    json_decref(plain);
    json_decref(messages);
    return rc;
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
    if (!json_is_string(value))
        return qm_fail(err, QM_INPUT, "prompt %d must be a string or a list of token ids, found %s", at,
                       qm_json_type_name(value));
    if (r->echo)
        rc = qm_buf_add(&r->echoed[at], json_string_value(value), json_string_length(value), err);
    return rc ? rc
              : qm_tokenizer_encode(r->context->tokenizer, json_string_value(value), json_string_length(value),
                                    add_special, true, &r->prompts[at], err);
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
