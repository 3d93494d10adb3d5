/* Chat templates: the published vectors, the unit vectors, cases made with Jinja2, and hostile templates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/json.h"
#include "tests/support/allocations.h"
#include "tests/support/support.h"
#include "text/template/chat.h"
#include "text/template/template.h"
#include "text/template/value.h"

static const struct tm NOW = {.tm_year = 125,
                              .tm_mon = 6,
                              .tm_mday = 15,
                              .tm_hour = 12,
                              .tm_min = 34,
                              .tm_sec = 56,
                              .tm_wday = 2,
                              .tm_yday = 195};

static json_t *load(const char *path) {
    struct qm_error err = {0};
    json_t *j = NULL;
    if (qm_json_load(path, 256 << 20, &j, &err))
        fail_msg("%s", err.message);
    return j;
}

static int render(const char *source, size_t len, const json_t *context, struct qm_buf *out, struct qm_error *err) {
    struct qm_template *t;
    int rc = qm_template_compile(source, len, "test", &t, err);
    if (!rc)
        rc = qm_template_render(t, context, &NOW, out, err);
    qm_template_free(t);
    return rc;
}

/* Whether the outcome is what the case says. */
static bool agrees(const json_t *c, int rc, const struct qm_buf *out, const struct qm_error *err) {
    const json_t *expected = json_object_get(c, "expected");
    if (expected)
        return !rc && out->len == json_string_length(expected) &&
               memcmp(out->data ? out->data : "", json_string_value(expected), out->len) == 0;
    const char *kind = json_string_value(json_object_get(c, "error_kind"));
    if (!rc || !kind)
        return false;
    if (strcmp(kind, "raise_exception") != 0)
        return true;
    /* An error message is one line of text: control characters in it become '?'. */
    const char *want = json_string_value(json_object_get(c, "error")), *got = err->message;
    for (; *want && *got; want++, got++)
        if (*want != *got && !((unsigned char)*want < ' ' && *got == '?'))
            return false;
    return !*want && !*got;
}

static void check_case(const json_t *c, const json_t *context) {
    const json_t *source = json_object_get(c, "template");
    struct qm_buf out = {0};
    struct qm_error err = {0};
    int rc = render(json_string_value(source), json_string_length(source), context, &out, &err);
    if (!agrees(c, rc, &out, &err))
        fail_msg("%s: %s\n gave %s", json_string_value(json_object_get(c, "name")), json_string_value(source),
                 rc ? err.message : out.data);
    qm_buf_free(&out);
}

static void unit_vectors(void **state) {
    (void)state;
    json_t *cases = load("tests/data/chat_templates/unit.json");
    assert_true(json_array_size(cases) >= 86);
    for (size_t i = 0; i < json_array_size(cases); i++)
        check_case(json_array_get(cases, i), json_object_get(json_array_get(cases, i), "context"));
    json_decref(cases);
}

static void more_vectors(void **state) {
    (void)state;
    json_t *file = load("tests/data/chat_templates/more.json");
    const json_t *cases = json_object_get(file, "cases");
    assert_true(json_array_size(cases) > 1000);
    for (size_t i = 0; i < json_array_size(cases); i++)
        check_case(json_array_get(cases, i), json_object_get(file, "context"));
    json_decref(file);
}

/* A case as the request that a server would get. */
static json_t *request_of(const json_t *file, const json_t *c) {
    json_t *body = json_object(), *kwargs = json_deep_copy(json_object_get(c, "kwargs"));
    static const char *const tokens[] = {"bos_token", "eos_token"}, *const same[] = {"messages", "tools"},
                             *const own[] = {"documents", "add_generation_prompt"};
    for (int i = 0; i < 2; i++) {
        json_object_set(kwargs, tokens[i], json_object_get(file, tokens[i]));
        if (json_object_get(c, same[i]))
            json_object_set(body, same[i], json_object_get(c, same[i]));
        if (json_object_get(kwargs, own[i]))
            json_object_set(body, own[i], json_object_get(kwargs, own[i]));
        json_object_del(kwargs, own[i]);
    }
    if (json_object_get(c, "continue_final_message"))
        json_object_set(body, "continue_final_message", json_object_get(c, "continue_final_message"));
    json_object_set_new(body, "chat_template_kwargs", kwargs);
    return body;
}

static size_t check_template(const char *dir, const char *name, size_t *bad) {
    struct qm_buf jinja = {0}, vectors = {0};
    struct qm_error err = {0};
    struct qm_chat *chat = NULL;
    assert_int_equal(qm_buf_printf(&vectors, NULL, "%s/%s", dir, name), 0);
    assert_int_equal(qm_buf_printf(&jinja, NULL, "%s/%.*s.jinja", dir, (int)strlen(name) - 5, name), 0);
    if (qm_chat_load(dir, jinja.data, &chat, &err))
        fail_msg("%s", err.message);
    json_t *file = load(vectors.data);
    const json_t *cases = json_object_get(file, "cases");
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        json_t *body = request_of(file, c);
        struct qm_buf out = {0};
        int rc = qm_chat_render(chat, body, &NOW, &out, &err);
        if (!agrees(c, rc, &out, &err) && ++*bad < 10)
            print_message("%s, %s: gave %.300s\n", name, json_string_value(json_object_get(c, "name")),
                          rc ? err.message : out.data);
        qm_buf_free(&out);
        json_decref(body);
    }
    size_t n = json_array_size(cases);
    json_decref(file);
    qm_chat_free(chat);
    qm_buf_free(&jinja);
    qm_buf_free(&vectors);
    return n;
}

static void published_templates(void **state) {
    (void)state;
    const char *shared = getenv("QM_SHARED");
    char path[4096];
    snprintf(path, sizeof path, "%s/chat_templates", shared ? shared : "../shared");
    DIR *dir = opendir(path);
    if (!dir) {
        print_message("%s is not here (set QM_SHARED): the published templates are not checked\n", path);
        skip();
    }
    size_t n = 0, bad = 0, templates = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        size_t len = strlen(e->d_name);
        if (len <= 5 || strcmp(e->d_name + len - 5, ".json") != 0 || strcmp(e->d_name, "unit.json") == 0)
            continue;
        n += check_template(path, e->d_name, &bad);
        templates++;
    }
    closedir(dir);
    print_message("%zu templates, %zu cases, %zu not as expected\n", templates, n, bad);
    assert_int_equal(bad, 0);
}

enum { OWN_MEMORY = 1 << 20 }; /* beside what templates count: the two states, a name */

/* Fails with a message that contains `message`, having taken no more memory than compiling and rendering may. */
static void refused(const char *source, size_t len, const char *message) {
    struct qm_buf out = {0};
    struct qm_error err = {0};
    atomic_store(&allocated, 0);
    atomic_store(&counting, true);
    int rc = render(source, len, NULL, &out, &err);
    atomic_store(&counting, false);
    if (rc != QM_INPUT || !strstr(err.message, message))
        fail_msg("%.60s: rc %d, %s; expected %s", source, rc, rc ? err.message : "no error", message);
    assert_int_equal(out.len, 0);
    assert_true(atomic_load(&allocated) <= 2 * (unsigned long long)TPL_MAX_MEMORY + OWN_MEMORY);
    qm_buf_free(&out);
}

#define REFUSED(source, message) refused(source, sizeof(source) - 1, message)

static void syntax_errors_name_their_line(void **state) {
    (void)state;
    REFUSED("a\nb\n{{ 1 + }}", "test:3: expected an expression");
    REFUSED("{% if x %}\n\n{% for y in x %}", "'for', opened at line 3, is missing");
    REFUSED("{{ 'abc }}", "test:1: ");
    REFUSED("\n{% nosuch %}", "test:2: unknown or misplaced tag 'nosuch'");
    REFUSED("{% endif %}", "misplaced tag 'endif'");
    REFUSED("\n\n{# open", "test:3: Missing end of comment");
    REFUSED("{% raw %} x", "Missing end of raw");
    REFUSED("{{ (1] }}", "unexpected ']'");
    REFUSED("{{ x|nosuch }}", "No filter named 'nosuch'");
    REFUSED("{{ x is nosuch }}", "No test named 'nosuch'");
    REFUSED("{% break %}", "outside loop");
    REFUSED("{{ a ? b }}", "unexpected char '?'");
    REFUSED("\n{{ x.y }}", "test:2: 'x' is undefined");
    REFUSED("{% block a %}{% endblock %}", "unknown or misplaced tag 'block'");
}

static void invalid_utf8(void **state) {
    (void)state;
    REFUSED("ab\xff", "byte 2 is not valid UTF-8");
    REFUSED("{{ '\xc3' }}", "not valid UTF-8");
    REFUSED("{{ '\\ud83d' }}", "no Unicode character");
}

/* n times `open`, then `middle`, then n times `close`. */
static void nested(const char *open, size_t n, const char *middle, const char *close, const char *message) {
    struct qm_buf b = {0};
    for (size_t i = 0; i < n; i++)
        qm_buf_str(&b, open, NULL);
    qm_buf_str(&b, middle, NULL);
    for (size_t i = 0; i < n; i++)
        qm_buf_str(&b, close, NULL);
    refused(b.data, b.len, message);
    qm_buf_free(&b);
}

static void deep_nesting(void **state) {
    (void)state;
    nested("{{ (", 1, "1", ") }}{{", "the end of the template");
    nested("{% if 1 %}", 50000, "", "{% endif %}", "bytes; at most");
    nested("{% if 1 %}", 20000, "", "{% endif %}", "levels deep");
    nested("{% for x in y %}", 50000, "", "{% endfor %}", "bytes; at most");
    nested("{% for x in y %}", 20000, "", "{% endfor %}", "levels deep");
    nested("{{ ", 1, "", " ", "the end of the template");
    struct qm_buf b = {0};
    static const char *const repeated[] = {"(", "[", "{1:", "not ", "-", "x.y(", "x[", "1 if 1 else ", "x|f("};
    for (size_t k = 0; k < sizeof repeated / sizeof *repeated; k++) {
        b.len = 0;
        qm_buf_str(&b, "{{ ", NULL);
        for (int i = 0; i < 50000; i++)
            qm_buf_str(&b, repeated[k], NULL);
        refused(b.data, b.len, "levels deep");
    }
    static const char *const chained[] = {"+1", ".a", "[0]", "()", "|list", "**1", " and 1"};
    for (size_t k = 0; k < sizeof chained / sizeof *chained; k++) {
        b.len = 0;
        qm_buf_str(&b, "{{ 1", NULL);
        for (int i = 0; i < 50000; i++)
            qm_buf_str(&b, chained[k], NULL);
        qm_buf_str(&b, " }}", NULL);
        refused(b.data, b.len, "levels deep");
    }
    qm_buf_free(&b);
}

static void endless(void **state) {
    (void)state;
    REFUSED("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "steps");
    REFUSED("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "levels deep");
    REFUSED("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", "levels deep");
    REFUSED("{% set ns = namespace(s='aaaaaaaaaa') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
            "MiB");
    REFUSED("{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}", "MiB");
    REFUSED(
        "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}",
        "steps");
    REFUSED("{% set ns = namespace(s=[1]) %}{% for i in range(9999) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s }}",
            "levels deep");
    REFUSED("{% set ns = namespace() %}{% set ns.s = ns %}{{ ns }}", "levels deep");
    REFUSED("{{ 'a' * 99999999999 }}", "too long");
    REFUSED("{{ [0] * 99999999999 }}", "too long");
    REFUSED("{{ range(99999999999) }}", "Range too big");
    REFUSED("{{ range(2**100) }}", "range()");
    REFUSED("{{ 2 ** 99999 }}", "too large");
    REFUSED("{{ 'a'.center(99999999999) }}", "too large");
    REFUSED("{{ '%99999999d' % 1 }}", "too large");
    REFUSED("{{ '{:99999999}'.format(1) }}", "too large");
    REFUSED("{% for i in range(99999) %}{{ 'a' * 99999 }}{% endfor %}", "steps");
    REFUSED("{{ 'a'.join(range(99999)|map('string')|list * 99999) }}", "too long");
    if (test_slow()) /* a million replacements each time: under sanitizers as long as all the rest of this file */
        REFUSED("{% set s = 'ab' * 999999 %}{% for i in range(99999) %}{% set x = s|replace('a','b') %}{% endfor %}",
                "steps");
    REFUSED("{% set s = 'ab' * 999999 %}{% for i in range(99999) %}{% set x = s.find('c') %}{% endfor %}", "steps");
}

static void raised_text_is_the_message(void **state) {
    (void)state;
    struct qm_buf out = {0};
    struct qm_error err = {0};
    static const char source[] = "kept {{ raise_exception('No é ' ~ 1) }}";
    assert_int_equal(qm_buf_str(&out, "before", NULL), 0);
    assert_int_equal(render(source, sizeof source - 1, NULL, &out, &err), QM_INPUT);
    assert_string_equal(err.message, "No é 1");
    assert_string_equal(out.data, "before");
    qm_buf_free(&out);
}

int main(void) {
    watch_allocations();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unit_vectors),
        cmocka_unit_test(more_vectors),
        cmocka_unit_test(published_templates),
        cmocka_unit_test(syntax_errors_name_their_line),
        cmocka_unit_test(invalid_utf8),
        cmocka_unit_test(deep_nesting),
        cmocka_unit_test(endless),
        cmocka_unit_test(raised_text_is_the_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
