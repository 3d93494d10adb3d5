/* Finding a model's chat template, its special tokens, and rendering requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "text/template/chat.h"

static const struct tm NOW = {.tm_year = 125, .tm_mday = 1};
static const char *const FILES[] = {"chat_template.jinja",
                                    "chat_template.json",
                                    "tokenizer_config.json",
                                    "special_tokens_map.json",
                                    "other.jinja",
                                    "additional_chat_templates/tool_use.jinja",
                                    "additional_chat_templates/rag.jinja",
                                    "additional_chat_templates/notes.txt"};

struct fixture {
    char dir[64];
};

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->dir, "/tmp/qm-chat-XXXXXX");
    *state = f;
    return mkdtemp(f->dir) ? 0 : -1;
}

static const char *path_of(const struct fixture *f, const char *name) {
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", f->dir, name);
    return path;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++)
        unlink(path_of(f, FILES[i]));
    rmdir(path_of(f, "additional_chat_templates"));
    rmdir(f->dir);
    free(f);
    return 0;
}

static void put(const struct fixture *f, const char *name, const char *text) {
    FILE *file = fopen(path_of(f, name), "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* Loads and renders; the prompt or the message of the error, in a static buffer. */
static const char *prompt(const struct fixture *f, const char *file, const char *body) {
    static char text[2048];
    struct qm_chat *c = NULL;
    struct qm_error err = {0};
    struct qm_buf out = {0};
    json_t *j = NULL;
    assert_int_equal(qm_json_parse(body, strlen(body), "body", &j, &err), 0);
    int rc = qm_chat_load(f->dir, file, &c, &err);
    if (!rc)
        rc = qm_chat_render(c, j, &NOW, &out, &err);
    snprintf(text, sizeof text, "%s%s", rc ? "error: " : "", rc ? err.message : out.data);
    qm_buf_free(&out);
    qm_chat_free(c);
    json_decref(j);
    return text;
}

#define HI "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}"

/* tokenizer_config.json as Llama-2, Mistral and gemma have it, a tool's schema as Python's clients send it, and a call
 * that a client sends back. */
static void json_as_python_writes_it(void **state) {
    struct fixture *f = *state;
    put(f, "tokenizer_config.json",
        "{\"chat_template\": \"old\", \"model_max_length\": 1000000000000000019884624838656, \"x\": NaN, "
        "\"chat_template\": "
        "\"{{ tools | tojson }} {{ messages[0].tool_calls | tojson }}\"}");
    assert_string_equal(
        prompt(f, NULL,
               "{\"tools\": [{\"maximum\": 18446744073709551615, \"minimum\": -1e400, \"default\": 1e16, "
               "\"multipleOf\": 0.10}], \"messages\": [{\"role\": \"assistant\", \"tool_calls\": "
               "[{\"function\": {\"arguments\": {\"n\": 115792089237316195423570985008687907853269984665640564"
               "039457584007913129639935}}}]}]}"),
        "[{\"maximum\": 18446744073709551615, \"minimum\": -Infinity, \"default\": 1e+16, \"multipleOf\": "
        "0.1}] [{\"function\": {\"arguments\": {\"n\": "
        "115792089237316195423570985008687907853269984665640564039457584007913129639935}}}]");
}

static void precedence(void **state) {
    struct fixture *f = *state;
    put(f, "tokenizer_config.json", "{\"chat_template\": \"config\"}");
    assert_string_equal(prompt(f, NULL, HI), "config");
    put(f, "chat_template.json", "{\"chat_template\": \"json\"}");
    assert_string_equal(prompt(f, NULL, HI), "json");
    put(f, "chat_template.jinja", "jinja");
    assert_string_equal(prompt(f, NULL, HI), "jinja");
    put(f, "other.jinja", "other");
    assert_string_equal(prompt(f, path_of(f, "other.jinja"), HI), "other");
}

static void no_template(void **state) {
    struct fixture *f = *state;
    struct qm_chat *c;
    struct qm_error err;
    assert_int_equal(qm_chat_load(f->dir, NULL, &c, &err), QM_INPUT);
    assert_non_null(strstr(err.message, "has no chat template"));
    assert_int_equal(err.remedy, QM_REMEDY_CHAT_TEMPLATE);
    put(f, "tokenizer_config.json", "{\"chat_template\": null}");
    assert_non_null(strstr(prompt(f, NULL, HI), "has no chat template"));
    put(f, "tokenizer_config.json", "{\"chat_template\": 5}");
    assert_non_null(strstr(prompt(f, NULL, HI), "must be a string or a list"));
    put(f, "tokenizer_config.json", "[]");
    assert_non_null(strstr(prompt(f, NULL, HI), "must be an object"));
    assert_non_null(strstr(prompt(f, "/nonexistent.jinja", HI), "error: "));
    put(f, "tokenizer_config.json", "{}");
    put(f, "chat_template.jinja", "\n{% if %}");
    assert_non_null(strstr(prompt(f, NULL, HI), "chat_template.jinja:2: "));
}

static void named_templates(void **state) {
    struct fixture *f = *state;
    put(f, "tokenizer_config.json",
        "{\"chat_template\": [{\"name\": \"tool_use\", \"template\": \"T\"}, {\"name\": \"default\", \"template\": "
        "\"D\"}]}");
    assert_string_equal(prompt(f, NULL, HI), "D");
    assert_string_equal(prompt(f, NULL, "{\"messages\": [], \"tools\": [{}]}"), "T");
    put(f, "tokenizer_config.json", "{\"chat_template\": [{\"name\": \"x\", \"template\": \"T\"}]}");
    assert_non_null(strstr(prompt(f, NULL, HI), "none is named \"default\""));
    put(f, "tokenizer_config.json", "{\"chat_template\": [{\"name\": \"x\"}]}");
    assert_non_null(strstr(prompt(f, NULL, HI), "needs the strings"));
}

static void older_tokens(void **state) {
    struct fixture *f = *state;
    put(f, "chat_template.jinja", "{{ bos_token }}{{ eos_token }}{{ pad_token }}");
    put(f, "special_tokens_map.json", "{\"bos_token\": \"<b>\", \"eos_token\": {\"content\": \"<e>\"}}");
    assert_string_equal(prompt(f, NULL, HI), "<b><e>");
    put(f, "tokenizer_config.json", "{\"eos_token\": \"</s>\", \"pad_token\": \"<p>\"}");
    assert_string_equal(prompt(f, NULL, HI), "<b><e><p>");
    put(f, "tokenizer_config.json", "{\"eos_token\": \"</s>\", \"added_tokens_decoder\": {}}");
    assert_string_equal(prompt(f, NULL, HI), "</s>");
}

/* Beside the default: by name, of files, over a list in tokenizer_config.json. */
static void additional_templates(void **state) {
    struct fixture *f = *state;
    static const char TOOLS[] = "{\"messages\": [], \"tools\": [{}]}";
    assert_int_equal(mkdir(path_of(f, "additional_chat_templates"), 0700), 0);
    put(f, "additional_chat_templates/tool_use.jinja", "additional tools");
    put(f, "additional_chat_templates/rag.jinja", "rag");
    put(f, "additional_chat_templates/notes.txt", "{% if %}");
    assert_non_null(strstr(prompt(f, NULL, HI), "none is named \"default\""));
    assert_string_equal(prompt(f, NULL, TOOLS), "additional tools");
    put(f, "tokenizer_config.json",
        "{\"chat_template\": [{\"name\": \"tool_use\", \"template\": \"T\"}, {\"name\": \"default\", \"template\": "
        "\"D\"}]}");
    assert_string_equal(prompt(f, NULL, HI), "D");
    assert_string_equal(prompt(f, NULL, TOOLS), "additional tools");
    put(f, "chat_template.jinja", "jinja");
    assert_string_equal(prompt(f, NULL, HI), "jinja");
    assert_string_equal(prompt(f, NULL, TOOLS), "additional tools");
    put(f, "other.jinja", "other");
    assert_string_equal(prompt(f, path_of(f, "other.jinja"), TOOLS), "other");
    put(f, "additional_chat_templates/rag.jinja", "{% if %}");
    assert_non_null(strstr(prompt(f, NULL, HI), "rag.jinja:1: "));
}

static void checked(void **state) {
    struct fixture *f = *state;
    static const struct {
        const char *template, *system, *error; /* NULL: fine */
    } cases[] = {
        {"{{ messages[-1].content }}", NULL, NULL},
        {"{{ raise_exception('no system') if messages[0].role == 'system' }}x", NULL, NULL},
        {"{{ raise_exception('no system') if messages[0].role == 'system' }}x", "S",
         "refuses these messages: no system"},
        {"{{ x.y }}", NULL, "the chat template fails: "},
        {"", NULL, "gives an empty prompt"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct qm_error err = {0};
        struct qm_chat *c;
        put(f, "chat_template.jinja", cases[i].template);
        assert_int_equal(qm_chat_load(f->dir, NULL, &c, &err), QM_OK);
        int rc = qm_chat_check(c, NULL, cases[i].system, &NOW, &err);
        assert_int_equal(rc, cases[i].error ? QM_INPUT : QM_OK);
        assert_true(!cases[i].error || strstr(err.message, cases[i].error));
        qm_chat_free(c);
    }
}

static void variables(void **state) {
    struct fixture *f = *state;
    put(f, "tokenizer_config.json",
        "{\"bos_token\": \"<s>\", \"eos_token\": {\"content\": \"</s>\"}, \"pad_token\": null,"
        "\"additional_special_tokens\": [\"a\", {\"content\": \"b\"}], \"chat_template\": "
        "\"{{ bos_token }}{{ eos_token }}{{ pad_token is defined }}{{ additional_special_tokens }}{{ tools is none }}"
        "{{ documents is none }}{{ add_generation_prompt }}{{ k }}{{ model }}\"}");
    assert_string_equal(prompt(f, NULL, "{\"messages\": [], \"model\": \"m\"}"), "<s></s>False['a', 'b']TrueTrueTrue");
    assert_string_equal(prompt(f, NULL,
                               "{\"messages\": [], \"tools\": [1], \"documents\": [], \"add_generation_prompt\":"
                               "false, \"chat_template_kwargs\": {\"k\": [1], \"eos_token\": \"E\"}}"),
                        "<s>EFalse['a', 'b']FalseFalseFalse[1]");
    /* without added_tokens_decoder the older file counts over it; what neither names is the class's */
    put(f, "special_tokens_map.json", "{\"eos_token\": \"<|im_end|>\", \"additional_special_tokens\": [\"c\"]}");
    put(f, "tokenizer_config.json",
        "{\"tokenizer_class\": \"LlamaTokenizer\", \"eos_token\": \"</s>\", \"additional_special_tokens\": [\"a\"],"
        "\"chat_template\": \"{{ bos_token }}{{ eos_token }}{{ additional_special_tokens }}\"}");
    assert_string_equal(prompt(f, NULL, "{\"messages\": []}"), "<s><|im_end|>['a', 'c']");
    put(f, "tokenizer_config.json",
        "{\"added_tokens_decoder\": {}, \"eos_token\": \"</s>\", \"chat_template\": \"{{ eos_token }}\"}");
    assert_string_equal(prompt(f, NULL, "{\"messages\": []}"), "</s>");
    put(f, "chat_template.jinja", "{{ messages[0].tool_calls[0].function.arguments }}");
    assert_string_equal(
        prompt(f, NULL,
               "{\"messages\": [{\"role\": \"assistant\", \"tool_calls\": [{\"function\": {\"arguments\":"
               "\"{}\"}}]}]}"),
        "{}");
}

static void continue_final_message(void **state) {
    struct fixture *f = *state;
    put(f, "chat_template.jinja", "{% for m in messages %}[{{ m.content }}]{% endfor %}{{ add_generation_prompt }}");
#define LAST(content)                                                                                                  \
    "{\"continue_final_message\": true, \"messages\": [{\"content\": \"q\"}, {\"content\": " content "}]}"
    assert_string_equal(prompt(f, NULL, LAST("\"an\"")), "[q][an");
    assert_string_equal(prompt(f, NULL, LAST("\" an \"")), "[q][ an ");
    assert_non_null(strstr(prompt(f, NULL, LAST("5")), "no text to continue"));
    assert_non_null(strstr(prompt(f, NULL, LAST("[{\"image\": 1}]")), "no text to continue"));
    assert_non_null(strstr(prompt(f, NULL, "{\"continue_final_message\": true, \"messages\": []}"), "no text"));
    put(f, "chat_template.jinja", "{% for m in messages %}[{{ m.content|trim }}]{% endfor %}");
    assert_string_equal(prompt(f, NULL, LAST("\" an \"")), "[q][an");
    put(f, "chat_template.jinja", "{% for p in messages[-1].content %}<{{ p.text }}>{% endfor %}");
    assert_string_equal(prompt(f, NULL, LAST("[{\"text\": \"a\"}, {\"text\": \"b\"}, {\"image\": 1}]")), "<a><b");
    put(f, "chat_template.jinja", "nothing");
    assert_non_null(strstr(prompt(f, NULL, LAST("\"an\"")), "does not appear"));
    assert_non_null(strstr(prompt(f, NULL,
                                  "{\"continue_final_message\": true, \"add_generation_prompt\": true,"
                                  "\"messages\": [{\"content\": \"a\"}]}"),
                           "exclude each other"));
}

static void bad_requests(void **state) {
    struct fixture *f = *state;
    put(f, "chat_template.jinja", "x");
    assert_non_null(strstr(prompt(f, NULL, "[]"), "must be an object"));
    assert_non_null(strstr(prompt(f, NULL, "{}"), "\"messages\" must be a list, found nothing"));
    assert_non_null(strstr(prompt(f, NULL, "{\"messages\": {}}"), "must be a list"));
    assert_non_null(strstr(prompt(f, NULL, "{\"messages\": [1]}"), "\"messages\"[0] must be an object"));
    assert_non_null(strstr(prompt(f, NULL, "{\"messages\": [], \"chat_template_kwargs\": 1}"), "must be an object"));
    assert_non_null(strstr(prompt(f, NULL, "{\"messages\": [], \"continue_final_message\": 1}"), "true or false"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(json_as_python_writes_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(precedence, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_template, set_up, tear_down),
        cmocka_unit_test_setup_teardown(named_templates, set_up, tear_down),
        cmocka_unit_test_setup_teardown(older_tokens, set_up, tear_down),
        cmocka_unit_test_setup_teardown(additional_templates, set_up, tear_down),
        cmocka_unit_test_setup_teardown(checked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(variables, set_up, tear_down),
        cmocka_unit_test_setup_teardown(continue_final_message, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_requests, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
