/* Answers about documents as Markdown, text, CSV, JSON. */
#include "tests/support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "batch/answers.h"

static void names_say_formats(void **state) {
    (void)state;
    static const struct {
        const char *path;
        enum qm_answer_format format;
    } cases[] = {{"a.md", QM_ANSWERS_MD},       {"a.MD", QM_ANSWERS_MD},   {"x/a.markdown", QM_ANSWERS_MD},
                 {"a.csv", QM_ANSWERS_CSV},     {"a.txt", QM_ANSWERS_TXT}, {"a.json", QM_ANSWERS_JSON},
                 {"a.jsonl", QM_ANSWERS_LINES}, {"a", QM_ANSWERS_LINES},   {"a.b/c", QM_ANSWERS_LINES},
                 {".csv", QM_ANSWERS_CSV}};
    static const char *const none[] = {"a.html", "a.docx", "x.md/a.out", "a.md.gz", "a."};
    enum qm_answer_format format;
    struct qm_error err = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(qm_answer_format_of(cases[i].path, "-o", &format, &err), 0);
        assert_int_equal(format, cases[i].format);
    }
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_int_equal(qm_answer_format_of(none[i], "-o", &format, &err), QM_USAGE);
    assert_non_null(strstr(
        err.message,
        "-o a.: answers are not written as \".\"; expected a name that ends with .md, .txt, .csv, .json or .jsonl"));
    assert_int_equal(err.remedy, QM_REMEDY_NAME_FORMAT);
    assert_int_equal(qm_answer_format_parse("csv", "--format", &format, NULL), 0);
    assert_int_equal(format, QM_ANSWERS_CSV);
    assert_int_equal(qm_answer_format_parse("html", "--format", &format, NULL), QM_USAGE);
}

/* Two documents, two questions: an answer, a cut one, a failed one, one of odd characters. */
static const char *const rows[] = {
    "{\"response\": {\"body\": {\"choices\": [{\"message\": {\"content\": \"one\"}, \"finish_reason\": \"stop\"}], "
    "\"usage\": {\"completion_tokens\": 3}}}, \"error\": null}",
    "{\"response\": {\"body\": {\"choices\": [{\"message\": {\"content\": \"tw\"}, \"finish_reason\": \"length\"}], "
    "\"usage\": {\"completion_tokens\": 8}}}, \"error\": null}",
    "{\"response\": null, \"error\": {\"message\": \"too long\"}}",
    "{\"response\": {\"body\": {\"choices\": [{\"message\": {\"content\": \"say \\\"a,b\\\"\\nend\"}, "
    "\"finish_reason\": "
    "\"stop\"}], \"usage\": {\"completion_tokens\": 3}}}, \"error\": null}",
};
enum { ROWS = sizeof rows / sizeof *rows };

static void written_as(const struct qm_batch_documents *d, enum qm_answer_format format, int n, const char *want) {
    struct qm_batch_answers a = {format, d, -1};
    struct qm_buf out = {0};
    struct qm_error err;
    for (int i = 0; i < n; i++) {
        struct qm_journal_row row = {.number = i + 1, .text = rows[i], .len = strlen(rows[i])};
        assert_int_equal(qm_batch_answers(&a, &row, &out, &err), 0);
    }
    assert_int_equal(qm_batch_answers(&a, NULL, &out, &err), 0);
    assert_string_equal(out.data ? out.data : "", want);
    qm_buf_free(&out);
}

static void each_format_has_all_rows(void **state) {
    (void)state;
    char dir[TEST_PATH], folder[TEST_PATH], path[TEST_PATH], ask[TEST_PATH];
    struct qm_batch_documents *d;
    const struct qm_batch_ui quiet = qm_batch_silent;
    struct qm_error err;
    test_temp_dir(dir);
    test_path(folder, dir, "docs");
    assert_int_equal(mkdir(folder, 0777), 0);
    test_path(path, folder, "a.txt");
    test_write_file(path, "A", 1);
    test_path(path, folder, "b");
    assert_int_equal(mkdir(path, 0777), 0);
    test_path(path, folder, "b/c.txt");
    test_write_file(path, "C", 1);
    test_path(ask, dir, "ask");
    test_write_file(ask, "\xEF\xBB\xBFWho?\r\n\nWhy?", 15);
    const char *const paths[] = {folder};
    const struct qm_collect from = {.paths = paths, .n_paths = 1, .ui = &quiet};
    json_t *extra = json_object();
    assert_int_equal(qm_batch_documents_open(&from, ask, NULL, extra, &d, &err), 0);
    json_decref(extra);
    int64_t questions;
    assert_int_equal(qm_batch_documents_count(d, &questions), 2);
    assert_int_equal(questions, 2);
    written_as(d, QM_ANSWERS_MD, ROWS,
               "# a.txt\n\n## Who?\n\none\n\n## Why?\n\ntw\n\n*Cut at its limit of 8 tokens.*\n\n# b/c.txt\n\n"
               "## Who?\n\n*Failed: too long*\n\n## Why?\n\nsay \"a,b\"\nend\n");
    written_as(d, QM_ANSWERS_TXT, ROWS,
               "=== a.txt ===\n\nWho?\n\none\n\nWhy?\n\ntw\n[cut at its limit of 8 tokens]\n\n=== b/c.txt ===\n\n"
               "Who?\n\n[failed: too long]\n\nWhy?\n\nsay \"a,b\"\nend\n");
    written_as(
        d, QM_ANSWERS_CSV, ROWS,
        "document,question,answer,cut,error\n\"a.txt\",\"Who?\",\"one\",no,\"\"\n\"a.txt\",\"Why?\",\"tw\",yes,"
        "\"\"\n\"b/c.txt\",\"Who?\",\"\",no,\"too long\"\n\"b/c.txt\",\"Why?\",\"say \"\"a,b\"\"\nend\",no,\"\"\n");
    written_as(
        d, QM_ANSWERS_JSON, ROWS,
        "[\n{\"document\":\"a.txt\",\"question\":\"Who?\",\"answer\":\"one\",\"cut\":false,\"error\":null},\n"
        "{\"document\":\"a.txt\",\"question\":\"Why?\",\"answer\":\"tw\",\"cut\":true,\"error\":null},\n"
        "{\"document\":\"b/c.txt\",\"question\":\"Who?\",\"answer\":null,\"cut\":false,\"error\":\"too long\"},\n"
        "{\"document\":\"b/c.txt\",\"question\":\"Why?\",\"answer\":\"say \\\"a,b\\\"\\nend\",\"cut\":false,"
        "\"error\":null}\n]\n");
    written_as(d, QM_ANSWERS_JSON, 0, "[]\n");
    qm_batch_documents_close(d);
    test_remove_tree(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(names_say_formats), cmocka_unit_test(each_format_has_all_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
