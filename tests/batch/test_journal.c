/* The journal and the output files made from it. */
#include "tests/support/support.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "batch/journal.h"
#include "batch/output.h"

static char dir[TEST_PATH], out[TEST_PATH];
static struct qm_batch_paths paths;

static int set_up(void **state) {
    (void)state;
    test_temp_dir(dir);
    test_path(out, dir, "out.jsonl");
    return qm_batch_paths(out, &paths, NULL);
}

static int tear_down(void **state) {
    (void)state;
    qm_batch_paths_free(&paths);
    test_remove_tree(dir);
    return 0;
}

static struct qm_journal *open_journal(bool expect_created) {
    struct qm_journal *j;
    bool created;
    struct qm_error err = {0};
    if (qm_journal_open(paths.journal, &j, &created, &err))
        fail_msg("%s", err.message);
    assert_int_equal(created, expect_created);
    return j;
}

static void add(struct qm_journal *j, struct qm_batch_output *o, int64_t number, const char *id, const char *text) {
    struct qm_error err = {0};
    struct qm_journal_row row = {.number = number,
                                 .custom_id = id,
                                 .reason = text[0] == 'e' ? "bad" : NULL,
                                 .text = text,
                                 .len = strlen(text),
                                 .prompt = 10,
                                 .cached = 4,
                                 .generated = 3,
                                 .started = 1,
                                 .first = 2,
                                 .finished = 3.5};
    if ((o && qm_batch_output_add(o, text, strlen(text), &err)) || qm_journal_add(j, &row, &err))
        fail_msg("%s", err.message);
}

static void file_is(const char *path, const char *text) {
    size_t n;
    char *found = test_read_file(path, &n);
    assert_non_null(found);
    assert_string_equal(found, text);
    free(found);
}

static void test_values(void **state) {
    (void)state;
    struct qm_journal *j = open_journal(true);
    struct qm_buf text = {0};
    bool found;
    int64_t v;
    assert_int_equal(qm_journal_get(j, "a", &text, &found, NULL), 0);
    assert_false(found);
    assert_int_equal(qm_journal_set(j, "a", "one", NULL), 0);
    assert_int_equal(qm_journal_set(j, "a", "two", NULL), 0);
    assert_int_equal(qm_journal_set_int(j, "n", -5, NULL), 0);
    assert_true(qm_journal_pending(j));
    assert_int_equal(qm_journal_commit(j, NULL), 0);
    assert_false(qm_journal_pending(j));
    assert_int_equal(qm_journal_set(j, "a", "three", NULL), 0);
    qm_journal_close(j); /* not committed: forgotten */
    j = open_journal(false);
    assert_int_equal(qm_journal_get(j, "a", &text, &found, NULL), 0);
    assert_string_equal(text.data, "two");
    assert_int_equal(qm_journal_get_int(j, "n", 7, &v, NULL), 0);
    assert_int_equal(v, -5);
    assert_int_equal(qm_journal_get_int(j, "m", 7, &v, NULL), 0);
    assert_int_equal(v, 7);
    struct qm_error err;
    assert_int_equal(qm_journal_get_int(j, "a", 7, &v, &err), QM_INPUT);
    qm_journal_close(j);
    qm_buf_free(&text);
}

static int collect(void *arg, const struct qm_journal_row *row, struct qm_error *err) {
    return qm_buf_printf(arg, err, "%lld:%s:%s ", (long long)row->number, row->custom_id ? row->custom_id : "-",
                         row->text ? row->text : "");
}

static int collect_reason(void *arg, const char *reason, int64_t count, struct qm_error *err) {
    return qm_buf_printf(arg, err, "%s %lld", reason, (long long)count);
}

static int count_reasons(void *arg, const char *reason, int64_t count, struct qm_error *err) {
    (void)reason, (void)err;
    *(int64_t *)arg += count;
    return QM_OK;
}

/* For any number of rows. */
static void test_reasons_take_no_memory(void **state) {
    (void)state;
    enum { MANY = 50000 };
    struct qm_journal *j = open_journal(true);
    char reason[160];
    memset(reason, 'x', sizeof reason);
    reason[159] = 0;
    for (int64_t i = 1; i <= MANY; i++) {
        snprintf(reason + 150, 9, "%d", (int)(i % 10));
        const struct qm_journal_row row = {.number = i, .reason = reason, .text = "", .len = 0};
        assert_int_equal(qm_journal_add(j, &row, NULL), 0);
    }
    assert_int_equal(qm_journal_commit(j, NULL), 0);
    sqlite3_int64 before = sqlite3_memory_used();
    sqlite3_memory_highwater(1);
    int64_t n = 0;
    assert_int_equal(qm_journal_reasons(j, count_reasons, &n, NULL), 0);
    assert_int_equal(n, MANY);
    assert_true(sqlite3_memory_highwater(0) - before < 3 << 20);
    qm_journal_close(j);
}

static void test_rows(void **state) {
    (void)state;
    struct qm_journal *j = open_journal(true);
    add(j, NULL, 3, "c", "three");
    add(j, NULL, 1, "a", "one");
    add(j, NULL, 2, NULL, "error");
    assert_int_equal(qm_journal_commit(j, NULL), 0);
    struct qm_buf text = {0};
    assert_int_equal(qm_journal_each(j, QM_JOURNAL_BY_INPUT, true, collect, &text, NULL), 0);
    assert_string_equal(text.data, "1:a:one 2:-:error 3:c:three ");
    text.len = 0;
    assert_int_equal(qm_journal_each(j, QM_JOURNAL_BY_COMPLETION, true, collect, &text, NULL), 0);
    assert_string_equal(text.data, "3:c:three 1:a:one 2:-:error ");
    text.len = 0;
    assert_int_equal(qm_journal_each(j, QM_JOURNAL_BY_INPUT, false, collect, &text, NULL), 0);
    assert_string_equal(text.data, "1:a: 2:-: 3:c: ");
    text.len = 0;
    assert_int_equal(qm_journal_reasons(j, collect_reason, &text, NULL), 0);
    assert_string_equal(text.data, "bad 1");
    struct qm_journal_totals t;
    assert_int_equal(qm_journal_totals(j, &t, NULL), 0);
    assert_int_equal(t.rows, 3);
    assert_int_equal(t.failed, 1);
    assert_int_equal(t.prompt, 30);
    assert_int_equal(t.cached, 12);
    assert_int_equal(t.generated, 9);
    bool yes;
    uint64_t line;
    assert_int_equal(qm_journal_has(j, 2, &yes, &line, NULL), 0);
    assert_true(yes);
    assert_int_equal(qm_journal_has(j, 4, &yes, &line, NULL), 0);
    assert_false(yes);
    assert_int_equal(qm_journal_named_before(j, "c", 3, &yes, NULL), 0);
    assert_false(yes);
    assert_int_equal(qm_journal_named_before(j, "c", 4, &yes, NULL), 0);
    assert_true(yes);
    qm_journal_close(j);
    qm_buf_free(&text);
}

static void test_tokens_blocks_runs(void **state) {
    (void)state;
    struct qm_journal *j = open_journal(true);
    const int32_t ids[] = {5, 6, 7};
    struct qm_buf buf = {0};
    assert_int_equal(qm_journal_save_tokens(j, 9, 77, 0, ids, 2, NULL), 0);
    assert_int_equal(qm_journal_save_tokens(j, 9, 77, 0, ids, 3, NULL), 0);
    assert_int_equal(qm_journal_save_tokens(j, 9, 77, 1, ids, 1, NULL), 0);
    assert_int_equal(qm_journal_tokens(j, 9, 77, 0, &buf, NULL), 0);
    assert_int_equal(buf.len, sizeof ids);
    assert_memory_equal(buf.data, ids, sizeof ids);
    buf.len = 0;
    assert_int_equal(qm_journal_tokens(j, 9, 78, 0, &buf, NULL), 0); /* its line is another one now */
    assert_int_equal(buf.len, 0);
    add(j, NULL, 9, "x", "done");
    buf.len = 0;
    assert_int_equal(qm_journal_tokens(j, 9, 77, 0, &buf, NULL), 0);
    assert_int_equal(qm_journal_tokens(j, 9, 77, 1, &buf, NULL), 0);
    assert_int_equal(buf.len, 0);
    qm_buf_free(&buf);

    struct qm_error err;
    assert_int_equal(qm_journal_block(j, 0, "abc", &err), 0);
    assert_int_equal(qm_journal_block(j, 0, "abc", &err), 0);
    assert_int_equal(qm_journal_block(j, 0, "abd", &err), QM_INPUT);

    struct qm_journal_run run = {.started = 100, .joules = 5}, all;
    int n;
    assert_int_equal(qm_journal_begin_run(j, &run, NULL), 0);
    run = (struct qm_journal_run){100, 7, 6, 1, 2, 30, 4};
    assert_int_equal(qm_journal_update_run(j, &run, NULL), 0);
    assert_int_equal(qm_journal_begin_run(j, &(struct qm_journal_run){.started = 50, .seconds = 1}, NULL), 0);
    assert_int_equal(qm_journal_runs(j, &all, &n, NULL), 0);
    assert_int_equal(n, 2);
    assert_true(all.started == 50 && all.seconds == 8 && all.joules == 6 && all.prefill_tokens == 30);
    assert_int_equal(qm_journal_update_run(j, &(struct qm_journal_run){.joules = -1}, NULL), 0);
    assert_int_equal(qm_journal_runs(j, &all, &n, NULL), 0);
    assert_true(all.joules < 0);
    qm_journal_close(j);
}

/* What is refused, and stays as it was. */
static void test_damage(void **state) {
    (void)state;
    struct qm_journal *j;
    bool created;
    struct qm_error err;
    char junk[5000];
    memset(junk, 'x', sizeof junk);
    test_write_file(paths.journal, junk, sizeof junk);
    assert_int_equal(qm_journal_open(paths.journal, &j, &created, &err), QM_INPUT);
    assert_non_null(strstr(err.message, "damaged"));
    size_t n;
    char *after = test_read_file(paths.journal, &n);
    assert_int_equal(n, sizeof junk);
    assert_memory_equal(after, junk, n);
    free(after);
    assert_int_equal(unlink(paths.journal), 0);

    sqlite3 *db;
    assert_int_equal(sqlite3_open(paths.journal, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE a(b)", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(qm_journal_open(paths.journal, &j, &created, &err), QM_INPUT);
    assert_non_null(strstr(err.message, "not a journal"));
    assert_int_equal(unlink(paths.journal), 0);

    j = open_journal(true);
    qm_journal_close(j);
    j = open_journal(true); /* tables, but no job yet */
    add(j, NULL, 1, "a", "first line");
    assert_int_equal(qm_journal_set(j, "job", "begun", NULL), 0);
    assert_int_equal(qm_journal_commit(j, NULL), 0);
    qm_journal_close(j);
    assert_int_equal(sqlite3_open(paths.journal, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "UPDATE text SET line = 'another'", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    j = open_journal(false);
    struct qm_buf text = {0};
    assert_int_equal(qm_journal_each(j, QM_JOURNAL_BY_INPUT, true, collect, &text, &err), QM_INPUT);
    assert_non_null(strstr(err.message, "damaged"));
    qm_journal_close(j);
    assert_int_equal(sqlite3_open(paths.journal, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(qm_journal_open(paths.journal, &j, &created, &err), QM_INPUT);
    assert_non_null(strstr(err.message, "version 99"));
    assert_int_equal(qm_journal_open_reader("/nonexistent/j", &j, &err), QM_INPUT);
    qm_buf_free(&text);
}

static const struct qm_batch_ui *const quiet = &qm_batch_silent;

static struct qm_batch_output *open_output(struct qm_journal *j) {
    struct qm_batch_output *o;
    struct qm_error err = {0};
    if (qm_batch_output_open(&paths, j, true, quiet, &o, &err))
        fail_msg("%s", err.message);
    return o;
}

static void append(const char *path, const char *text) {
    FILE *f = fopen(path, "ab");
    fputs(text, f);
    fclose(f);
}

static void test_partial(void **state) {
    (void)state;
    struct qm_journal *j = open_journal(true);
    struct qm_batch_output *o = open_output(j);
    add(j, o, 2, "b", "two");
    add(j, o, 1, "a", "one");
    assert_int_equal(qm_journal_commit(j, NULL), 0);
    add(j, o, 3, "c", "three"); /* written, never committed */
    file_is(paths.partial, "two\none\nthree\n");
    qm_batch_output_close(o);
    qm_journal_close(j);
    append(paths.partial, "half a l");
    j = open_journal(false);
    o = open_output(j);
    file_is(paths.partial, "two\none\n");
    qm_batch_output_close(o);
    assert_int_equal(truncate(paths.partial, 5), 0); /* the disk lost some of it */
    o = open_output(j);
    file_is(paths.partial, "two\none\n");
    add(j, o, 3, "c", "three");
    assert_int_equal(qm_journal_commit(j, NULL), 0);
    qm_batch_output_close(o);
    assert_int_equal(unlink(paths.partial), 0);
    o = open_output(j);
    file_is(paths.partial, "two\none\nthree\n");
    qm_batch_output_close(o);
    assert_int_equal(qm_batch_output_finish(&paths, j, QM_JOURNAL_BY_INPUT, NULL, NULL, quiet, NULL), 0);
    file_is(paths.out, "one\ntwo\nthree\n");
    assert_int_equal(qm_batch_output_finish(&paths, j, QM_JOURNAL_BY_COMPLETION, NULL, NULL, quiet, NULL), 0);
    file_is(paths.out, "two\none\nthree\n");
    qm_journal_close(j);
}

/* Without its log the journal may have forgotten rows that OUT.partial still has. */
static void test_partial_without_log(void **state) {
    (void)state;
    struct qm_journal *j = open_journal(true);
    struct qm_batch_output *o = open_output(j);
    struct qm_error err = {0};
    char aside[TEST_PATH + 16];
    add(j, o, 1, "a", "one");
    assert_int_equal(qm_journal_commit(j, NULL), 0);
    qm_batch_output_close(o);
    append(paths.partial, "two\n");
    assert_int_equal(qm_batch_output_open(&paths, j, false, quiet, &o, &err), 0);
    file_is(paths.partial, "one\n");
    snprintf(aside, sizeof aside, "%s.aside-1", paths.partial);
    file_is(aside, "one\ntwo\n");
    qm_batch_output_close(o);
    assert_int_equal(qm_batch_output_open(&paths, j, false, quiet, &o, &err), 0); /* nothing more to keep */
    qm_batch_output_close(o);
    snprintf(aside, sizeof aside, "%s.aside-2", paths.partial);
    assert_false(test_exists(aside));
    /* nor does an OUT of somebody else's go */
    test_write_file(paths.out, "theirs", 6);
    bool mine;
    assert_int_equal(qm_batch_output_mine(&paths, j, &mine, &err), 0);
    assert_false(mine);
    assert_int_equal(qm_batch_output_finish(&paths, j, QM_JOURNAL_BY_INPUT, NULL, NULL, quiet, NULL), 0);
    file_is(paths.out, "one\n");
    snprintf(aside, sizeof aside, "%s.aside-1", paths.out);
    file_is(aside, "theirs");
    assert_int_equal(qm_batch_output_mine(&paths, j, &mine, &err), 0);
    assert_true(mine); /* killed before it said "complete" */
    qm_journal_close(j);
}

static void test_lock(void **state) {
    (void)state;
    int first, second;
    struct qm_error err;
    assert_int_equal(qm_batch_lock_holder(paths.lock), 0);
    assert_int_equal(qm_batch_lock(paths.lock, &first, &err), 0);
    assert_int_equal(qm_batch_lock(paths.lock, &second, &err), QM_INPUT);
    char process[32];
    snprintf(process, sizeof process, "process %ld", (long)getpid());
    assert_non_null(strstr(err.message, process));
    assert_int_equal(qm_batch_lock_holder(paths.lock), getpid());
    qm_batch_unlock(paths.lock, first);
    assert_false(test_exists(paths.lock));
    test_write_file(paths.lock, "123\n", 4); /* left by a process that was killed */
    assert_int_equal(qm_batch_lock_holder(paths.lock), 0);
    assert_int_equal(qm_batch_lock(paths.lock, &first, &err), 0);
    qm_batch_unlock(paths.lock, first);
}

/* One who looks while another writes. */
static void test_reader(void **state) {
    (void)state;
    struct qm_journal *j = open_journal(true), *r;
    add(j, NULL, 1, "a", "one");
    assert_int_equal(qm_journal_commit(j, NULL), 0);
    add(j, NULL, 2, "b", "two");
    struct qm_error err = {0};
    if (qm_journal_open_reader(paths.journal, &r, &err))
        fail_msg("%s", err.message);
    struct qm_journal_totals t;
    assert_int_equal(qm_journal_totals(r, &t, NULL), 0);
    assert_int_equal(t.rows, 1);
    assert_int_equal(qm_journal_commit(j, NULL), 0);
    assert_int_equal(qm_journal_totals(r, &t, NULL), 0);
    assert_int_equal(t.rows, 2);
    assert_int_not_equal(qm_journal_set(r, "a", "b", &err), 0);
    qm_journal_close(r);
    qm_journal_close(j);
    if (qm_journal_open_reader(paths.journal, &r, &err)) /* nobody writes */
        fail_msg("%s", err.message);
    qm_journal_close(r);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_values), TEST(test_rows),    TEST(test_reasons_take_no_memory), TEST(test_tokens_blocks_runs),
        TEST(test_damage), TEST(test_partial), TEST(test_partial_without_log),    TEST(test_lock),
        TEST(test_reader)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
