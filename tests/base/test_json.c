/* JSON from hostile files, and typed fields that explain themselves. */
#include "base/json.h"

#include <stdlib.h>
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
        {"{\"a\":1", "at column "},
        {"[1,]", "at column "},
        {"{} {}", "end of file expected"},
        {"\n\n  nonsense", "line 3"},
        {"[01]", "begins with 0"},
        {"[1.]", "digit expected"},
        {"\"\xff\"", "unable to decode byte"},
        {"\"\xed\xa0\x80\"", "unable to decode byte"},
        {"\"\\ud80\"", "hexadecimal"},
        {"\"\\a\"", "escape"},
        {"[\"a]", "no end"},
        {"[nan]", "column 2"},
        {"[\"\xC3\xA9\xC3\xA9\" 1]", "column 7"},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_refused(all[i].text, strlen(all[i].text), all[i].why);
    assert_refused("{}\0", 3, "at column ");
}

/* What Python writes, and jansson has no type for. tests/text/template/test_python_json.c has thousands more. */
static void numbers_of_any_size_are_kept(void **state) {
    (void)state;
    static const struct {
        const char *text, *number, *type;
    } all[] = {
        {"1000000000000000019884624838656", "1000000000000000019884624838656", "an integer beyond 64 bits"},
        {"-9223372036854775809", "-9223372036854775809", "an integer beyond 64 bits"},
        {"18446744073709551615", "18446744073709551615", "an integer beyond 64 bits"},
        {"NaN", "NaN", "NaN"},
        {"Infinity", "Infinity", "Infinity"},
        {"-Infinity", "-Infinity", "-Infinity"},
        {"1e400", "Infinity", "Infinity"},
        {"-1e400", "-Infinity", "-Infinity"},
        {"9223372036854775807", NULL, "an integer"},
        {"-9223372036854775808", NULL, "an integer"},
        {"1e308", NULL, "a real number"},
        {"{}", NULL, "an object"},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        json_t *v = parse(all[i].text);
        const char *number = qm_json_number(v);
        assert_string_equal(number ? number : "none", all[i].number ? all[i].number : "none");
        assert_string_equal(qm_json_type_name(v), all[i].type);
        assert_int_equal(qm_json_is_object(v), all[i].text[0] == '{');
        json_decref(v);
    }
    /* as many digits as Python reads, and one more */
    char digits[4302];
    memset(digits, '9', 4301);
    digits[4301] = 0;
    assert_refused(digits, 4301, "more than 4300 digits");
    digits[4300] = 0;
    json_t *v = parse(digits);
    assert_string_equal(qm_json_number(v), digits);
    json_decref(v);
}

static void such_a_number_in_a_field_is_judged_by_the_field(void **state) {
    (void)state;
    json_t *o = parse("{\"big\": 18446744073709551616, \"low\": -18446744073709551616, \"nan\": NaN, \"inf\": 1e999}");
    struct qm_error e;
    int64_t n = 7;
    double d = 7;
    const char *s = "kept";
    assert_int_equal(qm_json_int(o, "big", "o", 0, 9, &n, &e), QM_INPUT);
    assert_string_equal(e.message, "o: \"big\" must be from 0 to 9, found 18446744073709551616");
    assert_int_equal(qm_json_int(o, "big", "o", 0, INT64_MAX, &n, &e), QM_INPUT);
    assert_string_equal(e.message, "o: \"big\" must be from 0 to 9223372036854775807, found 18446744073709551616");
    assert_int_equal(qm_json_int(o, "low", "o", 0, INT64_MAX, &n, &e), QM_INPUT);
    assert_string_equal(e.message, "o: \"low\" must be at least 0, found -18446744073709551616");
    assert_int_equal(qm_json_int(o, "nan", "o", 0, 9, &n, &e), QM_INPUT);
    assert_string_equal(e.message, "o: \"nan\" must be an integer, found NaN");
    assert_int_equal(qm_json_double(o, "inf", "o", &d, &e), QM_INPUT);
    assert_string_equal(e.message, "o: \"inf\" must be a number, found Infinity");
    assert_int_equal(qm_json_string(o, "big", "o", &s, &e), QM_INPUT);
    assert_int_equal(n, 7);
    assert_true(d == 7);
    assert_int_equal(qm_json_double(o, "big", "o", &d, &e), QM_OK);
    assert_true(d == 18446744073709551616.0);
    json_decref(o);
}

static void the_last_of_two_keys_counts(void **state) {
    (void)state;
    static const char text[] = "{\"a\":1,\n\"b\":2,\"a\":3}";
    json_t *o = parse(text);
    char *line = qm_json_text(o, false);
    assert_string_equal(line, "{\"a\":3,\"b\":2}");
    free(line);
    json_decref(o);
    struct qm_error e;
    assert_int_equal(qm_json_parse_strict(text, strlen(text), "t", &o, &e), QM_INPUT);
    assert_string_equal(e.message, "t: not valid JSON at line 2 column 7: duplicate object key");
    assert_int_equal(qm_json_parse_strict("{\"a\\u0000\":1}", 14, "t", &o, &e), QM_INPUT);
    assert_int_equal(qm_json_parse_strict("{\"a\":1}", 7, "t", &o, &e), QM_OK);
    json_decref(o);
}

static void strings_are_text(void **state) {
    (void)state;
    static const struct {
        const char *text, *bytes;
        size_t n;
    } all[] = {
        {"\"a\\u0000b\"", "a\0b", 3},
        {"\"\\ud83d\\ude00\"", "\xF0\x9F\x98\x80", 4},
        {"\"x\\ud800\"", "x\xEF\xBF\xBD", 4},
        {"\"\\udc00\\ud800\\n\"", "\xEF\xBF\xBD\xEF\xBF\xBD\n", 7},
        {"\"\\n\"", "\n", 1},
        {"\xEF\xBB\xBF\"\"", "", 0}, /* a byte order mark */
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        json_t *v = parse(all[i].text);
        assert_int_equal(json_string_length(v), all[i].n);
        assert_memory_equal(json_string_value(v), all[i].bytes, all[i].n);
        json_decref(v);
    }
    json_t *o = parse("{\"s\": \"a\\u0000b\"}");
    const char *s = NULL;
    struct qm_error e;
    assert_int_equal(qm_json_string(o, "s", "o", &s, &e), QM_INPUT);
    assert_string_equal(e.message, "o: \"s\" must be text without NUL characters, found one");
    json_decref(o);
}

static int count_down(const char *bytes, size_t n, void *arg) {
    size_t *left = arg;
    (void)bytes;
    if (n > *left)
        return -1;
    *left -= n;
    return 0;
}

static void writing_keeps_what_was_read_and_can_be_ended(void **state) {
    (void)state;
    static const char text[] =
        "{\"a\":[18446744073709551615,0.1,1e+16,-0.0,NaN,null,true,\"\\u0000\xC3\xA9\\n\"],\"b\":{}}";
    json_t *v = parse(text);
    char *line = qm_json_text(v, false);
    assert_string_equal(line, text);
    free(line);
    line = qm_json_text(json_object_get(v, "a"), true);
    assert_string_equal(line, "[18446744073709551615, 0.1, 1e+16, -0.0, NaN, null, true, \"\\u0000\xC3\xA9\\n\"]");
    free(line);
    size_t left = 8;
    assert_int_equal(qm_json_write(v, false, count_down, &left), -1);
    left = sizeof text - 1;
    assert_int_equal(qm_json_write(v, false, count_down, &left), 0);
    assert_int_equal(left, 0);
    json_decref(v);
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

static void saves_a_file_that_is_whole_or_as_it_was(void **state) {
    (void)state;
    char dir[TEST_PATH], path[TEST_PATH];
    struct qm_error e;
    test_temp_dir(dir);
    test_path(path, dir, "kept.json");
    assert_int_equal(qm_json_save(path, json_pack("{s:i, s:[b]}", "a", 1, "b", 1), 2, &e), QM_OK);
    char *text = test_read_file(path, NULL);
    assert_string_equal(text, "{\n  \"a\": 1,\n  \"b\": [\n    true\n  ]\n}\n");
    free(text);
    assert_int_equal(qm_json_save(path, NULL, 2, &e), QM_SYSTEM); /* there was no memory to make it */
    text = test_read_file(path, NULL);
    assert_int_equal(text[0], '{');
    free(text);
    assert_int_equal(test_count_entries(dir), 1);
    test_path(path, dir, "nowhere/kept.json");
    assert_int_equal(qm_json_save(path, json_object(), 2, &e), QM_INPUT);
    assert_non_null(strstr(e.message, "nowhere/kept.json"));
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
        cmocka_unit_test(numbers_of_any_size_are_kept),
        cmocka_unit_test(such_a_number_in_a_field_is_judged_by_the_field),
        cmocka_unit_test(the_last_of_two_keys_counts),
        cmocka_unit_test(strings_are_text),
        cmocka_unit_test(writing_keeps_what_was_read_and_can_be_ended),
        cmocka_unit_test(nesting_has_a_limit),
        cmocka_unit_test(loads_a_file_with_a_limit),
        cmocka_unit_test(saves_a_file_that_is_whole_or_as_it_was),
        cmocka_unit_test(absent_and_null_keep_the_default),
        cmocka_unit_test(values_of_the_right_type_are_taken),
        cmocka_unit_test(values_of_another_type_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
