/* Results in rows: each format, what is written when, and errors of who writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "report/rows.h"

static char said[4096];
static int writes, fail_at;

static int keep(const void *bytes, size_t n, struct qm_error *err) {
    if (++writes == fail_at)
        return qm_fail(err, QM_SYSTEM, "the pipe broke");
    strncat(said, bytes, n);
    return QM_OK;
}

static int name_cell(const json_t *row, struct qm_buf *out, struct qm_error *err) {
    return qm_buf_str(out, json_string_value(json_object_get(row, "name")), err);
}

static int value_cell(const json_t *row, struct qm_buf *out, struct qm_error *err) {
    return qm_buf_printf(out, err, "%.1f", json_number_value(json_object_get(row, "value")));
}

static const struct qm_column COLUMNS[] = {
    {"name", 6, false, name_cell}, {"value", 5, true, value_cell}, {NULL, 0, false, NULL}};

static json_t *row(const char *name, double value) {
    return json_pack("{s:s, s:f, s:n, s:[i]}", "name", name, "value", value, "none", "list", 1);
}

static const char *written(enum qm_row_format format, int n) {
    struct qm_rows r;
    struct qm_error err;
    said[0] = 0;
    writes = fail_at = 0;
    assert_int_equal(qm_rows_open(&r, format, COLUMNS, keep, &err), QM_OK);
    for (int i = 0; i < n; i++) {
        assert_int_equal(qm_rows_add(&r, row(i ? "a \"b\"" : "µ", 1.25 + i), &err), QM_OK);
        assert_int_equal(writes, format == QM_ROWS_HTML ? 0 : i + 1);
    }
    assert_int_equal((int)json_array_size(r.all), n);
    assert_int_equal(qm_rows_end(&r, &err), QM_OK);
    qm_rows_close(&r);
    return said;
}

static void formats(void **state) {
    (void)state;
    assert_string_equal(written(QM_ROWS_MD, 2), "| name   | value |\n| ------ | ----: |\n"
                                                "| µ      |   1.2 |\n| a \"b\"  |   2.2 |\n");
    assert_string_equal(written(QM_ROWS_CSV, 2), "name,value,none\n\"µ\",1.25,\n\"a \"\"b\"\"\",2.25,\n");
    assert_string_equal(written(QM_ROWS_JSON, 2),
                        "[\n  {\"name\":\"µ\",\"value\":1.25,\"none\":null,\"list\":[1]},\n"
                        "  {\"name\":\"a \\\"b\\\"\",\"value\":2.25,\"none\":null,\"list\":[1]}"
                        "\n]\n");
    assert_string_equal(written(QM_ROWS_JSONL, 1), "{\"name\":\"µ\",\"value\":1.25,\"none\":null,\"list\":[1]}\n");
    assert_string_equal(written(QM_ROWS_HTML, 2), "");
    assert_string_equal(written(QM_ROWS_JSON, 0), "[]\n");
    assert_string_equal(written(QM_ROWS_MD, 0), "");
}

static void errors(void **state) {
    (void)state;
    struct qm_rows r;
    struct qm_error err;
    said[0] = 0;
    writes = 0;
    fail_at = 2;
    assert_int_equal(qm_rows_open(&r, QM_ROWS_JSONL, COLUMNS, keep, &err), QM_OK);
    assert_int_equal(qm_rows_add(&r, row("a", 1), &err), QM_OK);
    assert_int_equal(qm_rows_add(&r, row("b", 2), &err), QM_SYSTEM);
    assert_string_equal(err.message, "the pipe broke");
    assert_int_equal(qm_rows_add(&r, NULL, &err), QM_SYSTEM);
    assert_null(strstr(said, "\"b\""));
    qm_rows_close(&r);
}

static void fields(void **state) {
    (void)state;
    struct qm_buf out = {0};
    struct qm_error err;
    assert_int_equal(qm_csv_text(&out, "", &err), QM_OK);
    assert_string_equal(out.data, "\"\"");
    out.len = 0;
    assert_int_equal(qm_csv_text(&out, "\"a,\nb\"", &err), QM_OK);
    assert_string_equal(out.data, "\"\"\"a,\nb\"\"\"");
    qm_buf_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(formats), cmocka_unit_test(errors), cmocka_unit_test(fields)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
