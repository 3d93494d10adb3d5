/* Messages and tools as clients of OpenAI's API send them (what its own libraries write of an answer included: null
 * for each field that is not there, arguments as text, content as parts), made as a template wants them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "text/template/chat_private.h"

enum { MAX_MESSAGES = 65536 };

static int no_memory(struct qm_error *err) {
    return qm_fail_memory(err, 256, "the messages of a request");
}

enum qm_chat_role qm_chat_role_of(const char *name) {
    static const char *const names[] = {"system", "user", "assistant", "tool"};
    int role = 0;
    while (role < QM_CHAT_ROLES && strcmp(names[role], name) != 0)
        role++;
    return (enum qm_chat_role)role;
}

/* Null stands for a field that was left out. */
static void drop_nulls(json_t *object) {
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(object, next, key, value) {
        if (json_is_null(value))
            json_object_del(object, key);
    }
}

static bool is_text(const json_t *v) {
    return json_is_string(v) && json_string_length(v) > 0;
}

/* --- content --- */

/* The text of a part, or NULL where it is none. */
static const json_t *part_text(const json_t *part) {
    static const char *const types[] = {"text", "input_text", "output_text", "refusal"};
    if (json_is_string(part))
        return part;
    const json_t *type = json_object_get(part, "type");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!type || (json_is_string(type) && !strcmp(json_string_value(type), types[i]))) {
            const json_t *text = json_object_get(part, i == 3 ? "refusal" : "text");
            return json_is_string(text) ? text : NULL;
        }
    return NULL;
}

/* Parts as a list of {type, text}, or their texts, one a line, as vLLM and llama.cpp join them. */
static int plain_parts(const json_t *content, size_t at, bool as_parts, json_t **out, struct qm_error *err) {
    struct qm_buf text = {0};
    json_t *list = as_parts ? json_array() : NULL;
    int rc = as_parts && !list ? no_memory(err) : qm_buf_reserve(&text, 0, err);
    for (size_t i = 0; i < json_array_size(content) && !rc; i++) {
        const json_t *part = json_array_get(content, i), *piece = part_text(part);
        const char *type = json_string_value(json_object_get(part, "type"));
        if (!piece)
            rc = qm_fail(
                err, QM_INPUT,
                "message %zu, part %zu of \"content\": only {\"type\": \"text\", \"text\": ...} is implemented, "
                "found %s%.40s",
                at, i, type ? "type " : qm_json_type_name(part), type ? type : "");
        else if (as_parts)
            rc = json_array_append_new(list, json_pack("{s:s, s:O}", "type", "text", "text", piece)) ? no_memory(err)
                                                                                                     : QM_OK;
        else
            rc = (i && (rc = qm_buf_str(&text, "\n", err)))
                     ? rc
                     : qm_buf_add(&text, json_string_value(piece), json_string_length(piece), err);
    }
    *out = rc ? NULL : as_parts ? json_incref(list) : json_stringn(text.len ? text.data : "", text.len);
    json_decref(list);
    qm_buf_free(&text);
    return rc ? rc : *out ? QM_OK : no_memory(err);
}

/* refusal: what the message has instead of content, or NULL. */
static int plain_content(json_t *message, size_t at, const json_t *refusal, const struct qm_chat_wants *w,
                         struct qm_error *err) {
    const json_t *content = json_object_get(message, "content");
    enum qm_chat_role role = qm_chat_role_of(json_string_value(json_object_get(message, "role")));
    json_t *plain = NULL;
    int rc = QM_OK;
    if (!content && refusal)
        plain = json_copy((json_t *)(uintptr_t)refusal);
    else if (!content && json_object_get(message, "tool_calls") && w->nothing != QM_CHAT_EMPTY)
        return w->nothing == QM_CHAT_NULL && json_object_set_new(message, "content", json_null()) ? no_memory(err)
                                                                                                  : QM_OK;
    else if (!content)
        plain = json_string("");
    else if (json_is_array(content))
        rc = plain_parts(content, at, role < QM_CHAT_ROLES && w->parts[role], &plain, err);
    else if (json_is_string(content) && role < QM_CHAT_ROLES && w->only_parts[role])
        plain = json_pack("[{s:s, s:O}]", "type", "text", "text", content);
    else if (json_is_string(content) || (qm_json_is_object(content) && role == QM_CHAT_TOOL))
        return QM_OK;
    else
        return qm_fail(err, QM_INPUT, "message %zu: \"content\" must be a string or a list of parts, found %s", at,
                       qm_json_type_name(content));
    return rc ? rc : json_object_set_new(message, "content", plain) ? no_memory(err) : QM_OK;
}

/* --- calls --- */

/* Arguments as an object or as text of JSON, whichever the template renders; the API has them as text. */
static int plain_arguments(json_t *function, size_t at, size_t call, const struct qm_chat_wants *w,
                           struct qm_error *err) {
    const json_t *given = json_object_get(function, "arguments");
    const char *text = json_string_value(given);
    json_t *plain = NULL;
    char name[80];
    snprintf(name, sizeof name, "message %zu, arguments of tool call %zu", at, call);
    bool none = !given || (text && text[strspn(text, " \t\r\n")] == 0 && strlen(text) == json_string_length(given));
    if (none) {
        plain = w->text_arguments ? json_string("{}") : json_object();
    } else if (text) {
        if (w->text_arguments)
            return QM_OK;
        int rc = qm_json_parse(text, json_string_length(given), name, &plain, err);
        if (w->any_text && !qm_json_is_object(plain)) { /* what the model wrote, whatever it is */
            json_decref(plain);
            return QM_OK;
        }
        if (rc)
            return rc;
    } else if (!w->object) {
        char *dump = qm_json_text(given, true);
        plain = dump ? json_string(dump) : NULL;
        free(dump);
    } else {
        return QM_OK;
    }
    return json_object_set_new(function, "arguments", plain) ? no_memory(err) : QM_OK;
}

/* An id of nine letters and digits: the last ones of the id, as vLLM cuts them. */
static int shorten_id(json_t *object, const char *key, struct qm_error *err) {
    const char *id = json_string_value(json_object_get(object, key));
    char nine[] = "000000000";
    size_t at = sizeof nine - 1;
    for (size_t i = id ? strlen(id) : 0; i-- > 0 && at > 0;)
        if ((id[i] >= '0' && id[i] <= '9') || (id[i] >= 'a' && id[i] <= 'z') || (id[i] >= 'A' && id[i] <= 'Z'))
            nine[--at] = id[i];
    return id && json_object_set_new(object, key, json_string(nine)) ? no_memory(err) : QM_OK;
}

/* Members in the order in which models are taught them; OpenAI's library sorts some by name, and templates print them
 * as they come. */
static int put_in_order(json_t *object, const char *const *keys, struct qm_error *err) {
    json_t *before = json_copy(object);
    bool bad = !before || json_object_clear(object);
    for (; *keys && !bad; keys++) {
        json_t *value = json_object_get(before, *keys);
        bad = value && json_object_set(object, *keys, value);
    }
    bad = bad || json_object_update_missing(object, before);
    json_decref(before);
    return bad ? no_memory(err) : QM_OK;
}

static int plain_calls(json_t *message, size_t at, const struct qm_chat_wants *w, struct qm_error *err) {
    static const char *const of_call[] = {"id", "type", "function", "name", "arguments", NULL};
    static const char *const of_function[] = {"name", "arguments", NULL};
    json_t *calls = json_object_get(message, "tool_calls"), *call;
    size_t i;
    if (!calls)
        return QM_OK;
    if (!json_is_array(calls))
        return qm_fail(err, QM_INPUT, "message %zu: \"tool_calls\" must be a list, found %s", at,
                       qm_json_type_name(calls));
    if (!json_array_size(calls))
        return json_object_del(message, "tool_calls") ? no_memory(err) : QM_OK;
    json_array_foreach(calls, i, call) {
        if (!qm_json_is_object(call))
            return qm_fail(err, QM_INPUT, "message %zu: tool call %zu must be an object, found %s", at, i,
                           qm_json_type_name(call));
        drop_nulls(call);
        json_t *function = json_object_get(call, "function");
        function = qm_json_is_object(function) ? function : json_object_get(call, "name") ? call : NULL;
        if (!function)
            return qm_fail(err, QM_INPUT, "message %zu: tool call %zu has no \"function\"", at, i);
        drop_nulls(function);
        int rc = plain_arguments(function, at, i, w, err);
        if (!rc)
            rc = put_in_order(call, of_call, err);
        if (!rc && function != call)
            rc = put_in_order(function, of_function, err);
        if (!rc && w->short_ids)
            rc = shorten_id(call, "id", err);
        if (rc)
            return rc;
    }
    return QM_OK;
}

/* The API's older form of one call: "function_call", and a message of role "function" that answers it. */
static int plain_older(json_t *message, const struct qm_chat_wants *w, struct qm_error *err) {
    static const char id[] = "function0"; /* nine letters and digits: some templates insist */
    json_t *call = json_object_get(message, "function_call");
    const char *role = json_string_value(json_object_get(message, "role"));
    bool bad = false;
    if (w->function_call)
        return QM_OK;
    if (qm_json_is_object(call) && !json_array_size(json_object_get(message, "tool_calls")))
        bad = json_object_set_new(message, "tool_calls",
                                  json_pack("[{s:s, s:s, s:O}]", "id", id, "type", "function", "function", call));
    if (call)
        json_object_del(message, "function_call");
    if (!strcmp(role, "function"))
        bad = bad || json_object_set_new(message, "role", json_string("tool")) ||
              (!json_object_get(message, "tool_call_id") &&
               json_object_set_new(message, "tool_call_id", json_string(id)));
    return bad ? no_memory(err) : QM_OK;
}

/* The name of the tool that an answer comes from: clients give only the call's id. calls: of the message before. */
static int name_result(json_t *message, const json_t *calls, struct qm_error *err) {
    const json_t *id = json_object_get(message, "tool_call_id"), *call;
    size_t i;
    if (!json_is_string(id) || json_object_get(message, "name"))
        return QM_OK;
    json_array_foreach(calls, i, call) {
        json_t *name = json_object_get(json_object_get(call, "function"), "name");
        if (json_equal(json_object_get(call, "id"), id) && json_is_string(name))
            return json_object_set(message, "name", name) ? no_memory(err) : QM_OK;
    }
    return QM_OK;
}

/* --- the rest --- */

/* Reasoning has several names; transformers gives templates the first two of them. */
static int plain_reasoning(json_t *message, struct qm_error *err) {
    static const char *const names[] = {"reasoning_content", "thinking", "reasoning"};
    json_t *found = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names && !found; i++)
        found = json_object_get(message, names[i]);
    if (!found)
        return QM_OK;
    bool bad = json_object_set(message, names[0], found) ||
               (!json_object_get(message, names[1]) && json_object_set(message, names[1], found));
    return bad ? no_memory(err) : QM_OK;
}

static int plain_message(json_t *message, size_t at, const json_t *calls, const struct qm_chat_wants *w,
                         struct qm_error *err) {
    static const char *const of_answers[] = {"refusal", "audio", "annotations"};
    if (!qm_json_is_object(message) || !json_is_string(json_object_get(message, "role")))
        return qm_fail(err, QM_INPUT, "message %zu must be an object with a string \"role\"", at);
    drop_nulls(message);
    json_t *refusal = json_incref(json_object_get(message, "refusal"));
    for (size_t i = 0; i < sizeof of_answers / sizeof *of_answers; i++)
        json_object_del(message, of_answers[i]);
    int rc = QM_OK;
    if (!w->developer && !strcmp(json_string_value(json_object_get(message, "role")), "developer") &&
        json_object_set_new(message, "role", json_string("system")))
        rc = no_memory(err);
    if (!rc)
        rc = plain_older(message, w, err);
    if (!rc)
        rc = plain_calls(message, at, w, err);
    if (!rc)
        rc = plain_content(message, at, is_text(refusal) ? refusal : NULL, w, err);
    if (!rc)
        rc = plain_reasoning(message, err);
    if (!rc && w->short_ids)
        rc = shorten_id(message, "tool_call_id", err);
    if (!rc)
        rc = name_result(message, calls, err);
    json_decref(refusal);
    return rc;
}

int qm_chat_plain_messages(const json_t *messages, const struct qm_chat_wants *w, json_t **out, struct qm_error *err) {
    *out = NULL;
    if (!json_is_array(messages) || !json_array_size(messages) || json_array_size(messages) > MAX_MESSAGES)
        return qm_fail(err, QM_INPUT, "\"messages\": expected a list of 1 to %d messages, found %s", MAX_MESSAGES,
                       json_is_array(messages) ? json_array_size(messages) ? "more" : "an empty one"
                                               : qm_json_type_name(messages));
    json_t *plain = json_deep_copy(messages), *message;
    const json_t *calls = NULL;
    size_t i;
    int rc = plain ? QM_OK : no_memory(err);
    json_array_foreach(plain, i, message) {
        rc = plain_message(message, i, calls, w, err);
        if (rc)
            break;
        const json_t *own = json_object_get(message, "tool_calls");
        calls = own ? own : calls;
    }
    if (rc)
        json_decref(plain);
    else
        *out = plain;
    return rc;
}

bool qm_chat_has_tools(const json_t *body) {
    const char *choice = json_string_value(json_object_get(body, "tool_choice"));
    return json_array_size(json_object_get(body, "tools")) && !(choice && !strcmp(choice, "none"));
}

int qm_chat_plain_tools(const json_t *body, json_t **out, struct qm_error *err) {
    const json_t *tools = json_object_get(body, "tools");
    *out = NULL;
    if (!tools || json_is_null(tools))
        return QM_OK;
    if (!json_is_array(tools))
        return qm_fail(err, QM_INPUT, "\"tools\" must be a list, found %s", qm_json_type_name(tools));
    if (!qm_chat_has_tools(body))
        return QM_OK;
    json_t *plain = json_deep_copy(tools), *tool;
    size_t i;
    if (!plain)
        return no_memory(err);
    json_array_foreach(plain, i, tool) {
        drop_nulls(tool);
        drop_nulls(json_object_get(tool, "function"));
    }
    *out = plain;
    return QM_OK;
}
