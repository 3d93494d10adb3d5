/* JSON from hostile files, and typed fields that explain themselves. */
#include "base/json.h"

#include <string.h>

#include "base/buf.h"
#include "tests/support/support.h"

static json_t *parse(const char *text) {
    json_t *v = NULL;
    struct qm_error e;
    if (qm_json_parse(text, strlen(text), "t.json", &v, &e))
        fail_msg("%s", e.message);
    return v;
}

static void assert_refused(const char *text, size_t len, const char *why) {
    json_t *v = (json_t *)1;
    struct qm_error e;
    assert_int_equal(qm_json_parse(text, len, "t.json", &v, &e), QM_INPUT);
    assert_null(v);
    char place[80];
    snprintf(place, sizeof place, "t.json: not valid JSON at %s", memchr(text, '\n', len) ? "line " : "column ");
    assert_int_equal(strncmp(e.message, place, strlen(place)), 0);
    if (!strstr(e.message, why))
        fail_msg("'%s' is not in: %s", why, e.message);
}

static void any_value_is_a_document(void **state) {
    (void)state;
    static const struct {
        const char *text, *type;
    } all[] = {{"{}", "an object"},      {" [1] ", "a list"}, {"\"\\u0000\"", "a string"}, {"-7", "an integer"},
               {"1.5", "a real number"}, {"true", "true"},    {"false", "false"},          {"null", "null"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        json_t *v = parse(all[i].text);
        assert_string_equal(qm_json_type_name(v), all[i].type);
        json_decref(v);
    }
    assert_string_equal(qm_json_type_name(NULL), "nothing");
}

static void what_is_not_json_is_refused_with_its_place(void **state) {
    (void)state;
    static const struct {
        const char *text, *why;
    } all[] = {
        {"", "at column "},
        {"{\"a\":1,\n\"a\":2}", "duplicate"},
        {"{\"a\":1", "at column "},
        {"[1,]", "at column "},
        {"{} {}", "end of file expected"},
        {"\n\n  nonsense", "line 3"},
        {"[99999999999999999999]", "too big integer"},
        {"[1e999]", "real number overflow"},
        {"\"\xff\"", "unable to decode byte"},
        {"\"\xed\xa0\x80\"", "unable to decode byte"},
        {"\"\\ud800\"", "invalid Unicode"},
        {"[NaN]", "at column "},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_refused(all[i].text, strlen(all[i].text), all[i].why);
    assert_refused("{}\0", 3, "at column ");
}

static void nesting_has_a_limit(void **state) {
    (void)state;
    struct qm_buf b = {0};
    struct qm_error e;
    for (int i = 0; i < 100000; i++)
        assert_int_equal(qm_buf_str(&b, "[", &e), QM_OK);
    assert_refused(b.data, b.len, "maximum parsing depth");
    qm_buf_free(&b);
}

static void loads_a_file_with_a_limit(void **state) {
    (void)state;
    char dir[TEST_PATH], path[TEST_PATH];
    test_temp_dir(dir);
    test_path(path, dir, "config.json");
    json_t *v = NULL;
    struct qm_error e;
    assert_int_equal(qm_json_load(path, 100, &v, &e), QM_INPUT);
    assert_non_null(strstr(e.message, "config.json"));
    test_write_file(path, "{\"a\": [1]}", 10);
    assert_int_equal(qm_json_load(path, 10, &v, &e), QM_OK);
    assert_int_equal(json_array_size(json_object_get(v, "a")), 1);
    json_decref(v);
    assert_int_equal(qm_json_load(path, 9, &v, &e), QM_INPUT);
    assert_null(v);
    test_write_file(path, "", 0);
    assert_int_equal(qm_json_load(path, 9, &v, &e), QM_INPUT);
    assert_non_null(strstr(e.message, "not valid JSON"));
    test_remove_tree(dir);
}

static void absent_and_null_keep_the_default(void **state) {
    (void)state;
    json_t *o = parse("{\"null\": null}");
    struct qm_error e;
    for (int i = 0; i < 2; i++) {
        const char *key = i ? "null" : "absent", *s = "default";
        int64_t n = 5;
        double d = 2.5;
        bool b = true;
        assert_int_equal(qm_json_int(o, key, "o", 0, 9, &n, &e), QM_OK);
        assert_int_equal(qm_json_double(o, key, "o", &d, &e), QM_OK);
        assert_int_equal(qm_json_bool(o, key, "o", &b, &e), QM_OK);
        assert_int_equal(qm_json_string(o, key, "o", &s, &e), QM_OK);
        assert_int_equal(n, 5);
        assert_true(d == 2.5);
        assert_true(b);
        assert_string_equal(s, "default");
    }
    json_decref(o);
}

static void values_of_the_right_type_are_taken(void **state) {
    (void)state;
    json_t *o = parse("{\"n\": -3, \"whole\": 4.0, \"d\": 0.25, \"t\": true, \"f\": false, \"s\": \"text\"}");
    struct qm_error e;
    int64_t n = 0;
    double d = 0;
    bool b = false;
    const char *s = NULL;
    assert_int_equal(qm_json_int(o, "n", "o", -3, -3, &n, &e), QM_OK);
    assert_int_equal(n, -3);
    assert_int_equal(qm_json_int(o, "whole", "o", 0, 9, &n, &e), QM_OK);
    assert_int_equal(n, 4);
    assert_int_equal(qm_json_double(o, "d", "o", &d, &e), QM_OK);
    assert_true(d == 0.25);
    assert_int_equal(qm_json_double(o, "n", "o", &d, &e), QM_OK);
    assert_true(d == -3);
    assert_int_equal(qm_json_bool(o, "t", "o", &b, &e), QM_OK);
    assert_true(b);
    assert_int_equal(qm_json_bool(o, "f", "o", &b, &e), QM_OK);
    assert_false(b);
    assert_int_equal(qm_json_string(o, "s", "o", &s, &e), QM_OK);
    assert_string_equal(s, "text");
    json_decref(o);
}

static void values_of_another_type_are_named(void **state) {
    (void)state;
    json_t *o = parse("{\"v\": {}, \"half\": 4.5, \"huge\": 1e300, \"yes\": true, \"text\": \"1\", \"n\": 10}");
    struct qm_error e;
    int64_t n = 7;
    double d = 7;
    bool b = true;
    const char *s = "kept";
    static const char *const not_integers[] = {"v", "half", "huge", "yes", "text"};
    for (size_t i = 0; i < sizeof not_integers / sizeof *not_integers; i++)
        assert_int_equal(qm_json_int(o, not_integers[i], "rope", INT64_MIN, INT64_MAX, &n, &e), QM_INPUT);
    assert_string_equal(e.message, "rope: \"text\" must be an integer, found a string");
    assert_int_equal(qm_json_int(o, "n", "rope", 0, 9, &n, &e), QM_INPUT);
    assert_string_equal(e.message, "rope: \"n\" must be from 0 to 9, found 10");
    assert_int_equal(qm_json_int(o, "n", "rope", 11, 12, &n, &e), QM_INPUT);
    assert_int_equal(qm_json_int(o, "n", "rope", 11, INT64_MAX, &n, &e), QM_INPUT);
    assert_string_equal(e.message, "rope: \"n\" must be at least 11, found 10");
    assert_int_equal(qm_json_double(o, "text", "rope", &d, &e), QM_INPUT);
    assert_string_equal(e.message, "rope: \"text\" must be a number, found a string");
    assert_int_equal(qm_json_bool(o, "n", "rope", &b, &e), QM_INPUT);
    assert_string_equal(e.message, "rope: \"n\" must be true or false, found an integer");
    assert_int_equal(qm_json_string(o, "v", "rope", &s, &e), QM_INPUT);
    assert_string_equal(e.message, "rope: \"v\" must be a string, found an object");
    assert_int_equal(n, 7);
    assert_true(d == 7 && b);
    assert_string_equal(s, "kept");
    json_decref(o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_value_is_a_document),
        cmocka_unit_test(what_is_not_json_is_refused_with_its_place),
        cmocka_unit_test(nesting_has_a_limit),
        cmocka_unit_test(loads_a_file_with_a_limit),
        cmocka_unit_test(absent_and_null_keep_the_default),
        cmocka_unit_test(values_of_the_right_type_are_taken),
        cmocka_unit_test(values_of_another_type_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
