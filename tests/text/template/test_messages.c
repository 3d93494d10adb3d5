/* Requests as clients send them: each form becomes what the template renders, and published templates give the same
 * prompt for an answer as OpenAI's library writes it back as for the clean messages. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/json.h"
#include "tests/support/support.h"
#include "text/template/chat.h"

static const struct tm NOW = {.tm_year = 125,
                              .tm_mon = 6,
                              .tm_mday = 15,
                              .tm_hour = 12,
                              .tm_min = 34,
                              .tm_sec = 56,
                              .tm_wday = 2,
                              .tm_yday = 195};

static char dir[TEST_PATH];

static int setup(void **state) {
    (void)state;
    test_temp_dir(dir);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    test_remove_tree(dir);
    return 0;
}

/* The prompt, or "error: " and the message, in a static buffer. */
static const char *prompt(const char *template, const char *body) {
    static char text[4096];
    char path[TEST_PATH];
    struct qm_chat *chat = NULL;
    struct qm_error err = {0};
    struct qm_buf out = {0};
    json_t *json = NULL;
    test_path(path, dir, "chat_template.jinja");
    test_write_file(path, template, strlen(template));
    if (qm_json_parse(body, strlen(body), "body", &json, &err))
        fail_msg("%s", err.message);
    int rc = qm_chat_load(dir, NULL, &chat, &err);
    if (!rc)
        rc = qm_chat_prompt(chat, json, &NOW, &out, &err);
    snprintf(text, sizeof text, "%s%s", rc ? "error: " : "", rc ? err.message : out.data);
    qm_buf_free(&out);
    qm_chat_free(chat);
    json_decref(json);
    return text;
}

#define MESSAGES(list) "{\"messages\": [" list "]}"
#define USER "{\"role\": \"user\", \"content\": \"q\"}"
/* What `message.model_dump()` writes, with its content, the rest of its fields, and arguments. */
#define DUMPED(content, arguments)                                                                                     \
    "{\"content\": " content ", \"refusal\": null, \"role\": \"assistant\", \"annotations\": [], \"audio\": null, "    \
    "\"function_call\": null, \"tool_calls\": [{\"id\": \"c1\", \"function\": {\"arguments\": " arguments              \
    ", \"name\": \"f\"}, \"type\": \"function\"}]}"

static const char KEYS[] =
    "{% for m in messages %}{{ m.role }}:{{ m.content }}({{ m.keys()|sort|join(',') }}){% endfor %}";
/* As most templates are: text and calls are added to each other. */
static const char OBJECT[] = "{% for m in messages %}{{ m.role + ':' + m.content }}{% for c in m.tool_calls %}<{{ "
                             "c.function.name }} {{ c.function.arguments | tojson }}>{% endfor %}{% endfor %}";
/* As DeepSeek's are: arguments must be text, and calls are shown only where there is no content. */
static const char TEXT[] =
    "{% for m in messages %}{% if m.content is none %}{% for c in m.tool_calls %}{{ '<' + c.function.name + ' ' + "
    "c.function.arguments + '>' }}{% endfor %}{% else %}{{ m.role + ':' + m.content }}{% endif %}{% endfor %}";
/* Content may not be there beside calls. */
static const char ABSENT[] =
    "{% for m in messages %}{% if 'content' in m %}{{ m.role + ':' + m.content }}{% else %}{% for c in m.tool_calls %}"
    "<{{ c.function.name }}{% for k, v in c.function.arguments.items() %} {{ k }}={{ v }}{% endfor %}>{% endfor %}"
    "{% endif %}{% endfor %}";

static void no_content_beside_calls(void **state) {
    (void)state;
    static const char *const none[] = {MESSAGES(USER "," DUMPED("null", "\"{\\\"a\\\": 1}\"")),
                                       MESSAGES(USER ",{\"role\": \"assistant\", \"tool_calls\": [{\"function\": "
                                                     "{\"name\": \"f\", \"arguments\": {\"a\": 1}}}]}")};
    for (int i = 0; i < 2; i++) {
        assert_string_equal(prompt(OBJECT, none[i]), "user:qassistant:<f {\"a\": 1}>");
        assert_string_equal(prompt(TEXT, none[i]), "user:q<f {\"a\": 1}>");
        assert_string_equal(prompt(ABSENT, none[i]), "user:q<f a=1>");
    }
    assert_string_equal(prompt(OBJECT, MESSAGES(USER "," DUMPED("\"so\"", "\"{}\""))), "user:qassistant:so<f {}>");
    assert_string_equal(prompt(OBJECT, MESSAGES("{\"role\": \"user\", \"content\": null}")), "user:");
    assert_string_equal(prompt(OBJECT, MESSAGES("{\"role\": \"user\"}")), "user:");
}

static void arguments(void **state) {
    (void)state;
    static const char *const empty[] = {"\"\"", "\" \\n\"", "null", "{}", "\"{}\""};
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++) {
        char body[600];
        snprintf(body, sizeof body, MESSAGES(USER "," DUMPED("null", "%s")), empty[i]);
        assert_string_equal(prompt(OBJECT, body), "user:qassistant:<f {}>");
        assert_string_equal(prompt(TEXT, body), "user:q<f {}>");
    }
    /* text stays as the model wrote it */
    const char *text = MESSAGES(USER "," DUMPED("null", "\"{\\\"a\\\":1e0}\""));
    assert_string_equal(prompt(TEXT, text), "user:q<f {\"a\":1e0}>");
    assert_string_equal(prompt(OBJECT, text), "user:qassistant:<f {\"a\": 1.0}>");
    /* what is no JSON: where text is printed as it is, else refused by its place */
    const char *broken = MESSAGES(USER "," DUMPED("null", "\"{\\\"a\\\": \""));
    assert_string_equal(prompt(TEXT, broken), "user:q<f {\"a\": >");
    assert_non_null(strstr(prompt(OBJECT, broken), "message 1, arguments of tool call 0: not valid JSON"));
    assert_string_equal(prompt(OBJECT, MESSAGES(USER "," DUMPED("null", "\"[1]\""))), "user:qassistant:<f [1]>");
}

static void fields_left_out(void **state) {
    (void)state;
    assert_string_equal(prompt(KEYS, MESSAGES("{\"role\": \"user\", \"content\": \"q\", \"name\": null}, {\"content\": "
                                              "\"a\", \"refusal\": null, \"role\": \"assistant\", \"annotations\": [], "
                                              "\"audio\": {\"id\": \"x\"}, \"function_call\": null, \"tool_calls\": "
                                              "null, \"reasoning_content\": null}")),
                        "user:q(content,role)assistant:a(content,role)");
    assert_string_equal(prompt(KEYS, MESSAGES("{\"role\": \"assistant\", \"content\": \"a\", \"tool_calls\": []}")),
                        "assistant:a(content,role)");
    assert_string_equal(prompt(KEYS, MESSAGES("{\"role\": \"assistant\", \"content\": null, \"refusal\": \"No.\"}")),
                        "assistant:No.(content,role)");
    assert_string_equal(prompt("{{ tools | tojson }}{{ documents is none }}",
                               "{\"messages\": [" USER "], \"documents\": [], \"tools\": [{\"type\": \"function\", "
                               "\"function\": {\"name\": \"f\", \"description\": null, \"strict\": null, "
                               "\"parameters\": {\"enum\": [null], \"default\": null}}}]}"),
                        "[{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {\"enum\": [null], "
                        "\"default\": null}}}]True");
    static const char *const no_tools[] = {"null", "[]", "[{}], \"tool_choice\": \"none\""};
    for (size_t i = 0; i < sizeof no_tools / sizeof *no_tools; i++) {
        char body[200];
        snprintf(body, sizeof body, "{\"messages\": [" USER "], \"tools\": %s}", no_tools[i]);
        assert_string_equal(prompt("{{ tools is none }}", body), "True");
    }
    assert_string_equal(prompt("{{ reasoning_effort }}{{ x is none }}",
                               "{\"messages\": [" USER "], \"reasoning_effort\": \"low\", \"chat_template_kwargs\": "
                               "{\"x\": null}, \"continue_final_message\": null, \"add_generation_prompt\": null}"),
                        "lowTrue");
    assert_string_equal(prompt("{{ reasoning_effort is defined }}",
                               "{\"messages\": [" USER
                               "], \"reasoning_effort\": null, \"chat_template_kwargs\": null}"),
                        "False");
}

static void roles(void **state) {
    (void)state;
    const char *developer = MESSAGES("{\"role\": \"developer\", \"content\": \"d\"}");
    assert_string_equal(prompt(OBJECT, developer), "system:d");
    assert_string_equal(prompt("{{ messages[0].role }}{% if messages[0].role == 'developer' %}!{% endif %}", developer),
                        "developer!");
    static const char NAMES[] = "{% for m in messages %}{{ m.role }} {{ m.name }} {{ m.tool_call_id }};{% endfor %}";
    assert_string_equal(prompt(NAMES, MESSAGES(DUMPED("null", "\"\"") ",{\"role\": \"tool\", \"tool_call_id\": \"c1\", "
                                                                      "\"content\": \"r\"}")),
                        "assistant  ;tool f c1;");
    /* Mistral's */
    static const char NINE[] =
        "{% for m in messages %}{% for c in m.tool_calls %}{% if c.id|length != 9 %}{{ "
        "raise_exception('nine') }}{% endif %}{{ c.id + c.function.name + c.function.arguments | "
        "tojson }}{% endfor %}{{ m.tool_call_id }}{% endfor %}";
    assert_string_equal(
        prompt(NINE, MESSAGES("{\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"id\": "
                              "\"call_job-12345_0_1\", \"function\": {\"name\": \"f\", \"arguments\": "
                              "\"{}\"}}, {\"id\": \"a1\", \"function\": {\"name\": \"g\", \"arguments\": "
                              "\"{}\"}}]}, {\"role\": \"tool\", \"tool_call_id\": \"call_job-12345_0_1\", "
                              "\"content\": \"r\"}")),
        "ob1234501f{}0000000a1g{}ob1234501");
    /* the older form of a call */
    const char *older = MESSAGES(
        "{\"role\": \"assistant\", \"content\": null, \"function_call\": {\"name\": \"f\", \"arguments\": \"{}\"}}, "
        "{\"role\": \"function\", \"name\": \"f\", \"content\": \"r\"}");
    assert_string_equal(prompt(OBJECT, older), "assistant:<f {}>tool:r");
    assert_string_equal(
        prompt("{% for m in messages %}{{ m.role }} {{ m.get('function_call', {}).name }};{% endfor %}", older),
        "assistant f;function ;");
}

static void reasoning(void **state) {
    (void)state;
    static const char *const names[] = {"reasoning", "reasoning_content", "thinking"};
    for (size_t i = 0; i < 3; i++) {
        char body[200];
        snprintf(body, sizeof body, MESSAGES("{\"role\": \"assistant\", \"content\": \"a\", \"%s\": \"r\"}"), names[i]);
        assert_string_equal(prompt("{{ messages[0].reasoning_content }}", body), "r");
        assert_string_equal(prompt("{{ messages[0].thinking }}", body), "r");
    }
}

static void parts(void **state) {
    (void)state;
#define PART(text) "{\"type\": \"text\", \"text\": \"" text "\"}"
    const char *two = MESSAGES("{\"role\": \"user\", \"content\": [" PART("a") ", " PART("b") "]}");
    static const char BOTH[] =
        "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for p in "
        "m.content %}<{{ p.text }}>{% endfor %}{% endif %}{% endfor %}";
    static const char LISTS[] = "{% for m in messages %}{% for p in m.content %}{{ '<' + p['text'] + '>' }}{% endfor %}"
                                "{% endfor %}";
    assert_string_equal(prompt(OBJECT, two), "user:a\nb");
    assert_string_equal(prompt("{{ messages[0].content }}", two), "a\nb");
    assert_string_equal(prompt("{{ messages[0].content | tojson }}", two), "\"a\\nb\"");
    assert_string_equal(prompt(BOTH, two), "<a><b>");
    assert_string_equal(prompt(LISTS, two), "<a><b>");
    assert_string_equal(prompt(LISTS, MESSAGES("{\"role\": \"user\", \"content\": \"a\"}")), "<a>");
    assert_string_equal(prompt(BOTH, MESSAGES("{\"role\": \"user\", \"content\": \"a\"}")), "a");
    assert_string_equal(prompt(OBJECT, MESSAGES("{\"role\": \"user\", \"content\": []}")), "user:");
    assert_string_equal(prompt(OBJECT, MESSAGES("{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": "
                                                "\"a\", \"cache_control\": null}, \"b\"]}")),
                        "user:a\nb");
    assert_string_equal(prompt(OBJECT, MESSAGES(DUMPED("null", "\"\"") ", {\"role\": \"tool\", \"tool_call_id\": "
                                                                       "\"c1\", \"content\": [" PART("r") "]}")),
                        "assistant:<f {}>tool:r");
    assert_non_null(strstr(prompt(BOTH, MESSAGES("{\"role\": \"user\", \"content\": [" PART(
                                            "a") ", {\"type\": \"image_url\", \"image_url\": {\"url\": \"x\"}}]}")),
                           "message 0, part 1 of \"content\": only"));
    assert_non_null(strstr(prompt(OBJECT, MESSAGES("{\"role\": \"user\", \"content\": 5}")), "found an integer"));
}

static void what_is_refused(void **state) {
    (void)state;
    assert_non_null(strstr(prompt(OBJECT, "[]"), "the request must be an object"));
    assert_non_null(strstr(prompt(OBJECT, "{}"), "\"messages\": expected a list of 1"));
    assert_non_null(strstr(prompt(OBJECT, "{\"messages\": []}"), "found an empty one"));
    assert_non_null(strstr(prompt(OBJECT, "{\"messages\": [1]}"), "message 0 must be an object"));
    assert_non_null(strstr(prompt(OBJECT, "{\"messages\": [" USER "], \"tools\": {}}"), "\"tools\" must be a list"));
    assert_non_null(
        strstr(prompt(OBJECT, MESSAGES("{\"role\": \"assistant\", \"tool_calls\": {}}")), "must be a list"));
    assert_non_null(strstr(prompt(OBJECT, MESSAGES("{\"role\": \"assistant\", \"tool_calls\": [1]}")),
                           "tool call 0 must be an object"));
    assert_non_null(strstr(prompt(OBJECT, MESSAGES("{\"role\": \"assistant\", \"tool_calls\": [{}]}")),
                           "tool call 0 has no \"function\""));
    /* the template's own words, its failures, and what is wrong with it, each as itself */
    assert_string_equal(prompt("{{ raise_exception('roles must alternate') }}", MESSAGES(USER)),
                        "error: the chat template refuses these messages: roles must alternate");
    const char *failed = prompt("\n{{ messages[5].content }}", MESSAGES(USER));
    assert_non_null(strstr(failed, "error: the chat template fails: "));
    assert_non_null(strstr(failed, "chat_template.jinja:2: "));
    assert_non_null(strstr(prompt("{% if %}", MESSAGES(USER)), "the chat template can't be read: "));
}

/* --- published templates --- */

/* The clean messages of a case as OpenAI's libraries write them back. */
static json_t *dumped(const json_t *c, bool developer) {
    static const char *const answers[] = {"refusal", "annotations", "audio", "function_call"};
    json_t *messages = json_deep_copy(json_object_get(c, "messages")), *m, *call;
    size_t i, k;
    json_array_foreach(messages, i, m) {
        const char *role = json_string_value(json_object_get(m, "role"));
        json_t *calls = json_object_get(m, "tool_calls");
        json_array_foreach(calls, k, call) {
            json_t *function = json_object_get(call, "function");
            char *text = json_dumps(json_object_get(function, "arguments"), JSON_COMPACT | JSON_ENSURE_ASCII);
            json_object_set_new(function, "arguments", json_string(text));
            json_t *name = json_incref(json_object_get(function, "name")), *type = json_object_get(call, "type");
            json_object_del(function, "name"); /* behind the arguments, as the library has it */
            json_object_set_new(function, "name", name);
            json_incref(type);
            json_object_del(call, "type");
            json_object_set_new(call, "type", type);
            free(text);
        }
        for (k = 0; !strcmp(role, "assistant") && k < 4; k++)
            json_object_set_new(m, answers[k], json_null());
        if (!strcmp(role, "assistant") && !calls)
            json_object_set_new(m, "tool_calls", json_null());
        if (calls && !json_string_length(json_object_get(m, "content")))
            json_object_set_new(m, "content", json_null());
        if (!strcmp(role, "tool"))
            json_object_del(m, "name");
        if (!strcmp(role, "system") && developer)
            json_object_set_new(m, "role", json_string("developer"));
    }
    return messages;
}

static json_t *request_of(const json_t *file, const json_t *c, bool developer) {
    json_t *body = json_object(), *kwargs = json_deep_copy(json_object_get(c, "kwargs")), *tool;
    static const char *const tokens[] = {"bos_token", "eos_token"}, *const own[] = {"documents",
                                                                                    "add_generation_prompt"};
    size_t i;
    for (i = 0; i < 2; i++) {
        json_object_set(kwargs, tokens[i], json_object_get(file, tokens[i]));
        json_t *value = json_object_get(kwargs, own[i]);
        json_object_set_new(body, own[i], value ? json_incref(value) : json_null());
        json_object_del(kwargs, own[i]);
    }
    json_t *tools = json_deep_copy(json_object_get(c, "tools"));
    json_array_foreach(tools, i, tool) json_object_set_new(json_object_get(tool, "function"), "strict", json_null());
    json_object_set_new(body, "tools", tools ? tools : json_null());
    json_object_set_new(body, "messages", dumped(c, developer));
    json_object_set_new(body, "chat_template_kwargs", kwargs);
    json_t *final = json_object_get(c, "continue_final_message");
    json_object_set_new(body, "continue_final_message", final ? json_incref(final) : json_null());
    return body;
}

/* Not clean messages: those cases say what transformers makes of the forms that are made plain here. */
static bool is_clean(const char *template, const char *name) {
    static const char *const forms[] = {"identity", "no_messages",  "tools_empty_list", "string",
                                        "parts",    "null_content", "no_content_key",   "result_object"};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (strstr(name, forms[i]))
            return false;
    /* leaves calls out where there is content, be it "" */
    return strcmp(template, "deepseek-ai-DeepSeek-R1-Distill-Llama-8B") != 0 ||
           !(strstr(name, "tool_call") || strstr(name, "flat_call") || strstr(name, "reasoning_tool"));
}

static size_t check_template(const char *folder, const char *name, size_t *bad) {
    char path[2 * TEST_PATH], jinja[2 * TEST_PATH];
    struct qm_error err = {0};
    struct qm_chat *chat = NULL;
    json_t *file = NULL, *c;
    size_t i, n = 0, length = 0;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    snprintf(jinja, sizeof jinja, "%s/%.*s.jinja", folder, (int)strlen(name) - 5, name);
    if (qm_json_load(path, 256 << 20, &file, &err) || qm_chat_load(folder, jinja, &chat, &err))
        fail_msg("%s", err.message);
    char *source = test_read_file(jinja, &length);
    bool developer = !strstr(source, "'developer'") && !strstr(source, "\"developer\"");
    free(source);
    json_array_foreach(json_object_get(file, "cases"), i, c) {
        const char *case_name = json_string_value(json_object_get(c, "name"));
        const json_t *today = json_object_get(c, "hf_5_23");
        const json_t *expected = json_object_get(today ? today : c, "expected");
        if (!expected || !is_clean(json_string_value(json_object_get(file, "template")), case_name))
            continue;
        struct qm_buf out = {0};
        json_t *body = request_of(file, c, developer);
        int rc = qm_chat_prompt(chat, body, &NOW, &out, &err);
        bool same = !rc && out.len == json_string_length(expected) &&
                    !memcmp(out.data ? out.data : "", json_string_value(expected), out.len);
        if (!same && ++*bad < 10)
            print_message("%s, %s: gave %.300s\n", name, case_name, rc ? err.message : out.data);
        n++;
        json_decref(body);
        qm_buf_free(&out);
    }
    json_decref(file);
    qm_chat_free(chat);
    return n;
}

static void published_templates(void **state) {
    (void)state;
    char path[TEST_PATH];
    if (!test_shared(path, "chat_templates")) {
        print_message("skipped: the published chat templates are not here (set QM_SHARED)\n");
        skip();
    }
    DIR *folder = opendir(path);
    assert_non_null(folder);
    size_t n = 0, bad = 0;
    for (struct dirent *e; (e = readdir(folder));) {
        const char *dot = strrchr(e->d_name, '.');
        if (dot && !strcmp(dot, ".json") && strcmp(e->d_name, "unit.json") != 0)
            n += check_template(path, e->d_name, &bad);
    }
    closedir(folder);
    print_message("%zu requests, %zu not as the clean messages\n", n, bad);
    assert_true(n > 2500);
    assert_int_equal(bad, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_content_beside_calls),
        cmocka_unit_test(arguments),
        cmocka_unit_test(fields_left_out),
        cmocka_unit_test(roles),
        cmocka_unit_test(reasoning),
        cmocka_unit_test(parts),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(published_templates),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
