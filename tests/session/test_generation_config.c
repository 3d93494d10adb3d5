/* generation_config.json: its fields, its absence, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "session/generation_config.h"
#include "tests/support/model_files.h"

static int read_text(const char *text, struct qm_generation_config *g, struct qm_error *err) {
    char *folder = test_folder();
    test_write(folder, "generation_config.json", text, strlen(text));
    int rc = qm_generation_config_read(folder, g, err);
    test_folder_remove(folder);
    return rc;
}

static void fields(void **state) {
    (void)state;
    struct qm_generation_config g;
    struct qm_error err;
    assert_int_equal(read_text("{\"temperature\":0.6,\"top_k\":20,\"top_p\":0.95,\"min_p\":0,\"do_sample\":true,"
                               "\"repetition_penalty\":1.05,\"eos_token_id\":[7,8],\"bos_token_id\":1,"
                               "\"transformers_version\":\"4.51.0\"}",
                               &g, &err),
                     0);
    assert_true(g.has_temperature && g.temperature == 0.6 && g.has_top_k && g.top_k == 20);
    assert_true(g.has_top_p && g.top_p == 0.95 && g.has_min_p && g.min_p == 0);
    assert_true(g.has_repetition_penalty && g.repetition_penalty == 1.05 && g.has_do_sample && g.do_sample);
    assert_true(g.bos_token == 1 && g.n_end_tokens == 2 && g.end_tokens[1] == 8);
    assert_int_equal(read_text("{\"eos_token_id\":[-1,100,99999999999],\"bos_token_id\":-1}", &g, &err), 0);
    assert_true(g.n_end_tokens == 3 && g.end_tokens[0] == -1 && g.end_tokens[1] == 100 && g.end_tokens[2] == INT32_MAX);

    assert_int_equal(read_text("{\"temperature\":null,\"do_sample\":false,\"eos_token_id\":5}", &g, &err), 0);
    assert_true(!g.has_temperature && g.has_do_sample && !g.do_sample && g.n_end_tokens == 1 && g.bos_token == -1);
    assert_int_equal(read_text("{\"top_k\":-1,\"eos_token_id\":100000000000000000000}", &g, &err), 0);
    assert_true(g.has_top_k && g.top_k == 0 && g.n_end_tokens == 1 && g.end_tokens[0] == INT32_MAX);
}

static void absent(void **state) {
    (void)state;
    char *folder = test_folder();
    struct qm_generation_config g;
    struct qm_error err;
    assert_int_equal(qm_generation_config_read(folder, &g, &err), 0);
    assert_true(!g.has_temperature && !g.has_do_sample && g.n_end_tokens == 0 && g.bos_token == -1);
    test_folder_remove(folder);
    assert_int_equal(qm_generation_config_read(QM_REFERENCE "qwen3", &g, &err), 0);
    assert_true(g.n_end_tokens == 1 && g.end_tokens[0] == 2 && g.bos_token == 1);
}

static void refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *wanted;
    } cases[] = {
        {"[]", "expected an object"},
        {"{", "not valid JSON"},
        {"{\"temperature\":\"1\"}", "\"temperature\" must be a number"},
        {"{\"temperature\":-1}", "\"temperature\": expected a number from 0"},
        {"{\"top_p\":1.5}", "\"top_p\": expected a number from 0 to 1, found 1.5"},
        {"{\"min_p\":-0.5}", "\"min_p\""},
        {"{\"top_k\":-2}", "\"top_k\" must be from -1"},
        {"{\"top_k\":1.5}", "\"top_k\" must be an integer"},
        {"{\"repetition_penalty\":0}", "\"repetition_penalty\""},
        {"{\"do_sample\":1}", "\"do_sample\" must be true or false"},
        {"{\"eos_token_id\":[\"a\"]}", "expected a token id, found a string"},
        {"{\"bos_token_id\":[1,2]}", "at most 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct qm_generation_config g;
        struct qm_error err = {0};
        int rc = read_text(cases[i].text, &g, &err);
        if (rc != QM_INPUT || !strstr(err.message, cases[i].wanted) || !strstr(err.message, "generation_config.json"))
            fail_msg("%s: expected \"%s\", found %d \"%s\"", cases[i].text, cases[i].wanted, rc, err.message);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(fields), cmocka_unit_test(absent), cmocka_unit_test(refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
