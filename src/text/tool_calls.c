/* Calls of tools, found and read. */
#include "text/tool_calls.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

static const char begin[] = "<tool_call>", end[] = "</tool_call>";

/* The API has arguments as a string of JSON. */
static json_t *arguments_text(const json_t *arguments) {
    if (!arguments || json_is_null(arguments))
        return json_string("{}");
    if (json_is_string(arguments))
        return json_stringn(json_string_value(arguments), json_string_length(arguments));
    char *text = qm_json_is_object(arguments) ? qm_json_text(arguments, false) : NULL;
    json_t *out = text ? json_string(text) : NULL;
    free(text);
    return out;
}

static bool add_call(json_t *calls, const char *text, size_t len, const char *id) {
    json_t *call = NULL, *arguments = NULL, *entry = NULL;
    char number[160];
    snprintf(number, sizeof number, "call_%.120s_%zu", id, json_array_size(calls));
    if (json_array_size(calls) < QM_TOOL_CALLS && !qm_json_parse(text, len, "a call", &call, NULL)) {
        const json_t *name = json_object_get(call, "name");
        if (json_string_length(name) && (arguments = arguments_text(json_object_get(call, "arguments"))))
            entry = json_pack("{s:s, s:s, s:{s:O, s:o}}", "id", number, "type", "function", "function", "name", name,
                              "arguments", arguments);
    }
    json_decref(call);
    return entry && !json_array_append_new(calls, entry);
}

/* *at: where the next call begins; false: the text has no more. */
static bool next_call(const char *text, size_t len, size_t *at, size_t *n, size_t *after) {
    const char *from = memmem(text, len, begin, sizeof begin - 1);
    if (!from)
        return false;
    from += sizeof begin - 1;
    size_t left = len - (size_t)(from - text);
    const char *to = memmem(from, left, end, sizeof end - 1);
    *at = (size_t)(from - text);
    *n = to ? (size_t)(to - from) : left;
    *after = to ? *at + *n + sizeof end - 1 : len;
    return true;
}

/* Blanks between calls are no text. */
static int add_rest(struct qm_buf *rest, const char *text, size_t len, struct qm_error *err) {
    while (len && memchr(" \t\r\n", text[len - 1], 4))
        len--;
    return len ? qm_buf_add(rest, text, len, err) : QM_OK;
}

int qm_tool_calls(const char *text, size_t len, const char *id, json_t **calls, struct qm_buf *rest,
                  struct qm_error *err) {
    size_t at, n, after, before = rest->len;
    bool good = true;
    int rc = QM_OK;
    *calls = json_array();
    while (!rc && good && next_call(text, len, &at, &n, &after)) {
        good = add_call(*calls, text + at, n, id);
        rc = add_rest(rest, text, at - (sizeof begin - 1), err);
        text += after;
        len -= after;
    }
    good = good && json_array_size(*calls) > 0;
    if (!rc && good)
        rc = add_rest(rest, text, len, err);
    if (!rc && good)
        return QM_OK;
    rest->len = before;
    json_decref(*calls);
    *calls = NULL;
    return rc;
}
