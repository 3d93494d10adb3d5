/* The history: rows and results kept, a damaged file put aside without losing what is written, several programs at
 * once. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/history.h"
#include "tests/support/support.h"

static const struct qm_history_row row = {.machine = "machine",
                                          .model = "model",
                                          .command = "run",
                                          .what = "prompt",
                                          .sequences = 1,
                                          .depth = 2,
                                          .tokens = 3,
                                          .threads = 4,
                                          .predicted = 5,
                                          .measured = 6};
static const struct qm_history_result result = {
    .when = "2026-01-01T00:00:00Z", .machine = "machine", .model = "/model", .work = "work", .summary = "summary"};

struct place {
    char dir[TEST_PATH], path[TEST_PATH], damaged[TEST_PATH];
};

static void begin(struct place *p) {
    test_temp_dir(p->dir);
    test_path(p->path, p->dir, "cache/history.db");
    test_path(p->damaged, p->dir, "cache/history.db.damaged");
}

static int rows_of(const struct place *p) {
    struct qm_history_row *rows;
    struct qm_error err = {0};
    int n;
    int rc = qm_history_last(p->path, 1000, &rows, &n, &err);
    free(rows);
    assert_string_equal(err.message, "");
    assert_int_equal(rc, QM_OK);
    return n;
}

static void add(const struct place *p, bool put_aside) {
    struct qm_error aside, err = {0};
    int rc = qm_history_add(p->path, &row, &aside, &err);
    assert_string_equal(err.message[0] && !put_aside ? err.message : "", "");
    assert_int_equal(rc, QM_OK);
    assert_int_equal(aside.code, put_aside ? QM_INPUT : QM_OK);
    if (put_aside)
        assert_non_null(strstr(aside.message, "it is put aside as history.db.damaged, and a new one begins"));
}

static void sql(const struct place *p, const char *text) {
    sqlite3 *db;
    assert_int_equal(sqlite3_open(p->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void test_kept(void **state) {
    (void)state;
    struct place p;
    struct qm_history_row *rows;
    struct qm_error aside, err;
    struct qm_buf text = {0};
    int n;
    begin(&p);
    assert_int_equal(rows_of(&p), 0); /* no file */
    assert_false(test_exists(p.path));
    add(&p, false);
    add(&p, false);
    assert_int_equal(qm_history_last(p.path, 1, &rows, &n, &err), QM_OK);
    assert_int_equal(n, 1);
    assert_string_equal(rows->model, "model");
    assert_int_equal(rows->depth, 2);
    assert_true(rows->predicted == 5 && rows->measured == 6);
    assert_int_equal(strlen(rows->when), strlen("2026-01-01T00:00:00Z"));
    free(rows);
    assert_int_equal(qm_history_keep(p.path, &result, "{}", &aside, &err), QM_OK);
    assert_int_equal(qm_history_text(p.path, 1, &text, &err), QM_OK);
    assert_int_equal(text.len, 2);
    qm_buf_free(&text);
    assert_int_equal(qm_history_text(p.path, 2, &text, &err), QM_INPUT);
    assert_int_equal(rows_of(&p), 2);
    test_remove_tree(p.dir);
}

/* Bytes of the second half: the pages of the tables, found only when something is inserted. */
static void damage_pages(const struct place *p) {
    for (int i = 0; i < 300; i++)
        add(p, false);
    size_t n;
    char *bytes = test_read_file(p->path, &n);
    memset(bytes + 4096, 0xff, n - 4096);
    test_write_file(p->path, bytes, n);
    free(bytes);
}

static void test_damaged(void **state) {
    (void)state;
    static const char no_database[] = "this is no database, whoever wrote it\n";
    struct place p;
    struct qm_error aside, err;
    struct qm_history_result *results;
    size_t length;
    int n;
    begin(&p);
    add(&p, false);
    test_write_file(p.path, no_database, sizeof no_database);
    add(&p, true);
    assert_int_equal(rows_of(&p), 1); /* what was to be kept is */
    char *kept = test_read_file(p.damaged, &length);
    assert_int_equal(length, sizeof no_database);
    assert_memory_equal(kept, no_database, length);
    free(kept);

    damage_pages(&p);
    add(&p, true);
    assert_int_equal(rows_of(&p), 1);
    add(&p, false); /* said once */

    sql(&p, "DROP TABLE measured; CREATE TABLE measured (another)");
    add(&p, true);
    assert_int_equal(rows_of(&p), 1);

    sql(&p, "DROP TABLE compared; CREATE TABLE compared (another)");
    assert_int_equal(qm_history_keep(p.path, &result, "{}", &aside, &err), QM_OK);
    assert_int_equal(aside.code, QM_INPUT);
    assert_int_equal(qm_history_results(p.path, &results, &n, &err), QM_OK);
    assert_int_equal(n, 1);
    free(results);

    /* what was to be read is not there */
    test_write_file(p.path, no_database, sizeof no_database);
    assert_int_equal(qm_history_results(p.path, &results, &n, &err), QM_INPUT);
    assert_null(results);
    assert_non_null(strstr(err.message, "put aside"));
    assert_false(test_exists(p.path));
    assert_int_equal(rows_of(&p), 0);
    test_remove_tree(p.dir);
}

/* Where nothing can be written that is an error, and where what is there can't be moved it is said. */
static void test_refused(void **state) {
    (void)state;
    struct place p;
    struct qm_error aside, err;
    begin(&p);
    test_path(p.path, p.dir, "file");
    test_write_file(p.path, "x", 1);
    test_path(p.path, p.dir, "file/history.db");
    assert_int_not_equal(qm_history_add(p.path, &row, &aside, &err), QM_OK);
    assert_int_equal(aside.code, QM_OK);
    test_path(p.path, p.dir, "folder");
    assert_int_equal(mkdir(p.path, 0700), 0);
    assert_int_equal(qm_history_add(p.path, &row, &aside, &err), QM_INPUT);
    assert_non_null(strstr(err.message, "expected a regular file, found a folder"));
    assert_int_equal(aside.code, QM_OK);

    test_path(p.path, p.dir, "taken");
    test_path(p.damaged, p.dir, "taken.damaged");
    assert_int_equal(mkdir(p.damaged, 0700), 0);
    test_write_file(p.path, "no database at all", 18);
    assert_int_equal(qm_history_add(p.path, &row, &aside, &err), QM_INPUT);
    assert_non_null(strstr(err.message, "remove it, and a new one begins"));
    assert_int_equal(aside.code, QM_OK);
    test_remove_tree(p.dir);
}

enum { WRITERS = 4, ROWS = 10 };

/* Exit code: how many times a damaged one was put aside; 100: a row was not kept. */
static int writer(const struct place *p) {
    struct qm_error aside, err;
    int found = 0;
    for (int i = 0; i < ROWS; i++) {
        if (qm_history_add(p->path, &row, &aside, &err))
            return 100;
        found += aside.code != 0;
    }
    return found;
}

static void test_at_once(void **state) {
    (void)state;
    for (int damaged = 0; damaged < 2; damaged++) {
        struct place p;
        begin(&p);
        add(&p, false);
        if (damaged)
            test_write_file(p.path, "no database at all", 18);
        pid_t child[WRITERS];
        for (int i = 0; i < WRITERS; i++) {
            child[i] = fork();
            assert_true(child[i] >= 0);
            if (!child[i])
                _exit(writer(&p));
        }
        for (int i = 0; i < WRITERS; i++) {
            int status;
            assert_int_equal(waitpid(child[i], &status, 0), child[i]);
            assert_true(WIFEXITED(status));
            assert_int_not_equal(WEXITSTATUS(status), 100);
        }
        assert_int_equal(rows_of(&p), WRITERS * ROWS + !damaged);
        if (damaged) {
            size_t n;
            char *bytes = test_read_file(p.damaged, &n);
            assert_int_equal(n, 18);
            free(bytes);
        }
        test_remove_tree(p.dir);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
