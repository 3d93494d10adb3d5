/* What a template wants of messages: it is shown the same small conversation in each of the forms that clients and
 * other templates use, and the form that it renders whole is the one it gets. As llama.cpp's minja does; vLLM reads
 * the template's syntax tree instead. */
#include <string.h>

#include "base/json.h"
#include "text/template/chat_private.h"

#define NEEDLE "qm_needle"
#define NAME "qm_call"
#define KEY "qm_key"
#define VALUE "qm_value"

static const char tools[] =
    "[{\"type\": \"function\", \"function\": {\"name\": \"qm_tool\", \"description\": \"d\", \"parameters\": "
    "{\"type\": \"object\", \"properties\": {\"qm_parameter\": {\"type\": \"string\", \"description\": \"d\"}}, "
    "\"required\": [\"qm_parameter\"]}}}]";

struct prober {
    const struct qm_template *template;
    const json_t *tokens;
    struct qm_buf text; /* what came of it */
};

/* Whether the messages (JSON) render; tools: JSON, or NULL. */
static bool renders(struct prober *p, const char *messages, const char *tools_text) {
    static const char *const often[] = {"bos_token", "eos_token"};
    static const struct tm now = {.tm_year = 126, .tm_mday = 1, .tm_wday = 4};
    json_t *context = json_deep_copy(p->tokens), *list = NULL, *tool_list = NULL;
    p->text.len = 0;
    bool ok = context && !qm_json_parse(messages, strlen(messages), "messages", &list, NULL) &&
              (!tools_text || !qm_json_parse(tools_text, strlen(tools_text), "tools", &tool_list, NULL));
    for (int i = 0; i < 2 && ok; i++) /* a request may give them */
        if (!json_object_get(context, often[i]))
            ok = !json_object_set_new(context, often[i], json_string(""));
    ok = ok && !json_object_set(context, "messages", list) &&
         !json_object_set_new(context, "tools", tool_list ? json_incref(tool_list) : json_null()) &&
         !json_object_set_new(context, "documents", json_null()) &&
         !json_object_set_new(context, "add_generation_prompt", json_true()) &&
         !qm_template_render(p->template, context, &now, &p->text, NULL) && !qm_buf_reserve(&p->text, 1, NULL);
    if (ok)
        p->text.data[p->text.len] = 0;
    json_decref(tool_list);
    json_decref(list);
    json_decref(context);
    return ok;
}

static bool has(const struct prober *p, const char *needle) {
    return memmem(p->text.data, p->text.len, needle, strlen(needle)) != NULL;
}

/* --- calls --- */

#define USER "{\"role\": \"user\", \"content\": \"q\"}"
#define SHORT_ID "abcdef123"
#define USUAL_ID "call_0123456789abcdef012345"

/* A question, a call with this id, and the tool's answer, whose content is given as JSON. */
static int write_call(struct qm_buf *out, enum qm_chat_nothing nothing, bool text, const char *id,
                      const char *content) {
    static const char *const contents[] = {"\"content\": \"\", ", "\"content\": null, ", ""};
    return qm_buf_printf(out, NULL,
                         "[" USER ", {\"role\": \"assistant\", %s\"tool_calls\": [{\"id\": \"%s\", \"type\": "
                         "\"function\", \"function\": {\"name\": \"" NAME "\", \"arguments\": %s}}]}, {\"role\": "
                         "\"tool\", \"name\": \"" NAME "\", \"tool_call_id\": \"%s\", \"content\": %s}]",
                         contents[nothing], id,
                         text ? "\"{\\\"" KEY "\\\": \\\"" VALUE "\\\"}\"" : "{\"" KEY "\": \"" VALUE "\"}", id,
                         content);
}

static bool call_renders(struct prober *p, enum qm_chat_nothing nothing, bool text, const char *id) {
    struct qm_buf messages = {0};
    bool ok = !write_call(&messages, nothing, text, id, "\"r\"") &&
              (renders(p, messages.data, tools) || renders(p, messages.data, NULL));
    qm_buf_free(&messages);
    return ok;
}

enum shown { SHOWN_NOT, SHOWN_OTHERWISE, SHOWN };

/* How the call came out: not at all, in a form that no model was taught (JSON as a string of JSON, a dictionary of
 * Python), or as it should. */
static enum shown call_shown(struct prober *p, enum qm_chat_nothing nothing, bool text) {
    if (!call_renders(p, nothing, text, SHORT_ID) || !has(p, NAME) || !has(p, VALUE))
        return SHOWN_NOT;
    if (nothing == QM_CHAT_NULL && has(p, "None"))
        return SHOWN_NOT;
    if (text)
        return has(p, "\"" KEY "\": \"" VALUE "\"") ? SHOWN : SHOWN_OTHERWISE;
    return has(p, "'" KEY "': '" VALUE "'") ? SHOWN_OTHERWISE : SHOWN;
}

/* Arguments as an object first, as transformers documents them; no content as "", as most templates expect. */
static void find_calls(struct prober *p, struct qm_chat_wants *w) {
    enum shown best = SHOWN_NOT;
    w->object = true;
    for (int text = 0; text < 2; text++)
        for (int nothing = QM_CHAT_EMPTY; nothing <= QM_CHAT_ABSENT; nothing++) {
            enum shown s = best == SHOWN ? SHOWN_NOT : call_shown(p, nothing, text);
            if (s > best) {
                best = s;
                w->nothing = nothing;
                w->text_arguments = text;
            }
        }
    if (best == SHOWN_NOT)
        return;
    w->object = call_renders(p, w->nothing, false, SHORT_ID);
    w->short_ids = !call_renders(p, w->nothing, w->text_arguments, USUAL_ID);
    w->any_text = call_shown(p, w->nothing, true) == SHOWN;
}

/* --- content --- */

static bool content_renders(struct prober *p, const struct qm_chat_wants *w, enum qm_chat_role role, bool parts) {
    static const char *const around[][2] = {
        [QM_CHAT_SYSTEM] = {"[{\"role\": \"system\", \"content\": ", "}, " USER "]"},
        [QM_CHAT_USER] = {"[{\"role\": \"user\", \"content\": ", "}]"},
        [QM_CHAT_ASSISTANT] = {"[" USER ", {\"role\": \"assistant\", \"content\": ", "}, " USER "]"}};
    const char *content = parts ? "[{\"type\": \"text\", \"text\": \"" NEEDLE "\"}]" : "\"" NEEDLE "\"";
    struct qm_buf messages = {0};
    int rc = role == QM_CHAT_TOOL ? write_call(&messages, w->nothing, w->text_arguments, SHORT_ID, content)
                                  : qm_buf_printf(&messages, NULL, "%s%s%s", around[role][0], content, around[role][1]);
    bool ok = !rc && (renders(p, messages.data, NULL) || (role == QM_CHAT_TOOL && renders(p, messages.data, tools)));
    qm_buf_free(&messages);
    return ok;
}

static void find_content(struct prober *p, struct qm_chat_wants *w) {
    for (int role = QM_CHAT_SYSTEM; role < QM_CHAT_ROLES; role++) {
        bool text = content_renders(p, w, role, false) && has(p, NEEDLE);
        bool parts = content_renders(p, w, role, true) && has(p, NEEDLE);
        bool printed = parts && (has(p, "\"text\": \"" NEEDLE "\"") || has(p, "'text': '" NEEDLE "'"));
        w->parts[role] = parts && !printed;
        w->only_parts[role] = w->parts[role] && !text;
    }
}

static bool mentions(const char *source, size_t len, const char *word) {
    return memmem(source, len, word, strlen(word)) != NULL;
}

void qm_chat_find_wants(const struct qm_template *t, const char *source, size_t len, const json_t *tokens,
                        struct qm_chat_wants *out) {
    struct prober p = {.template = t, .tokens = tokens};
    *out = (struct qm_chat_wants){.object = true};
    /* Templates that print whatever role they are given would seem to have it: only the source tells. */
    out->developer = mentions(source, len, "'developer'") || mentions(source, len, "\"developer\"");
    out->function_call = mentions(source, len, "'function_call'") || mentions(source, len, "\"function_call\"") ||
                         mentions(source, len, ".function_call");
    if (renders(&p, "[{\"role\": \"user\", \"content\": \"q\"}]", NULL) ||
        renders(&p, "[{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"q\"}]}]", NULL) ||
        renders(&p, "[{\"role\": \"user\", \"content\": \"q\"}]", tools)) {
        find_calls(&p, out);
        find_content(&p, out);
    }
    qm_buf_free(&p.text);
}
