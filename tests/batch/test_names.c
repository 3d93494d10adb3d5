/* Names beside an output that something else has: refused or moved aside, never destroyed. */
#include "tests/support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "batch/journal.h"
#include "batch/names.h"
#include "batch/output.h"

static char dir[TEST_PATH], out[TEST_PATH];
static struct qm_batch_paths paths;
static const struct qm_batch_ui *const quiet = &qm_batch_silent;

static const char *const suffixes[] = {
    ".journal", ".journal-wal", ".journal-shm", ".kv", ".journal-journal", ".partial", ""};
enum { N = sizeof suffixes / sizeof *suffixes };

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

static void name(char path[TEST_PATH + 32], const char *suffix) {
    snprintf(path, TEST_PATH + 32, "%s%s", out, suffix);
}

static void file_is(const char *path, const char *text) {
    char *found = test_read_file(path, NULL);
    assert_non_null(found);
    assert_string_equal(found, text);
    free(found);
}

static void make_journal(void) {
    struct qm_journal *j;
    struct qm_error err = {0};
    bool created;
    if (qm_journal_open(paths.journal, &j, &created, &err) || qm_journal_set(j, "a", "b", &err) ||
        qm_journal_commit(j, &err))
        fail_msg("%s", err.message);
    qm_journal_close(j);
}

static void check_refused(const char *path, const char *what) {
    struct qm_error err = {0};
    bool log;
    assert_int_equal(qm_batch_names_check(&paths, &log, &err), QM_INPUT);
    if (!strstr(err.message, path) || !strstr(err.message, what))
        fail_msg("expected %s and \"%s\", found \"%s\"", path, what, err.message);
}

static void files_that_no_journal_knows_are_refused_and_left(void **state) {
    (void)state;
    char path[TEST_PATH + 32];
    struct qm_error err;
    bool log;
    assert_int_equal(qm_batch_names_check(&paths, &log, &err), 0);
    for (int i = 1; i < N; i++) {
        name(path, suffixes[i]);
        test_write_file(path, "{\"custom_id\": 1}\n", 17);
        check_refused(path, i < 5 ? "is not" : "no journal of a job that wrote it");
        file_is(path, "{\"custom_id\": 1}\n");
        unlink(path);
    }
    name(path, "");
    test_write_file(path, "", 0); /* as a job without rows makes it */
    check_refused(path, "no journal");
    unlink(path);
    /* an empty journal knows no more than none */
    test_write_file(paths.partial, "row\n", 4);
    test_write_file(paths.journal, "", 0);
    check_refused(paths.partial, "no journal");
    unlink(paths.partial);
    name(path, ".journal-wal");
    test_write_file(path, "\x37\x7f\x06\x82", 4);
    check_refused(path, "no journal");
    unlink(path);
    /* but what is empty beside it, or a store left over, is in nobody's way */
    test_write_file(paths.partial, "", 0);
    test_write_file(paths.kv, "\xFEQMKV01", 8);
    assert_int_equal(qm_batch_names_check(&paths, &log, &err), 0);
}

static void no_name_is_followed_through_a_link(void **state) {
    (void)state;
    char path[TEST_PATH + 32], elsewhere[TEST_PATH];
    int lock;
    struct qm_error err = {0};
    test_path(elsewhere, dir, "elsewhere");
    test_write_file(elsewhere, "1\n", 2);
    for (int i = 0; i < N; i++) {
        name(path, suffixes[i]);
        assert_int_equal(symlink(elsewhere, path), 0);
        check_refused(path, "a symbolic link");
        unlink(path);
        assert_int_equal(mkfifo(path, 0666), 0);
        check_refused(path, "a named pipe");
        unlink(path);
        assert_int_equal(mkdir(path, 0777), 0);
        check_refused(path, "a folder");
        rmdir(path);
    }
    assert_int_equal(symlink(elsewhere, paths.lock), 0);
    assert_int_equal(qm_batch_lock(paths.lock, &lock, &err), QM_INPUT);
    assert_non_null(strstr(err.message, "a symbolic link"));
    unlink(paths.lock);
    test_write_file(paths.lock, "12 rows\n", 8);
    assert_int_equal(qm_batch_lock(paths.lock, &lock, &err), QM_INPUT);
    assert_non_null(strstr(err.message, "another file"));
    file_is(paths.lock, "12 rows\n");
    file_is(elsewhere, "1\n");
}

static void with_a_journal_its_own_files_are_taken_and_others_refused(void **state) {
    (void)state;
    struct qm_error err;
    char path[TEST_PATH + 32];
    bool log;
    make_journal();
    test_write_file(paths.partial, "row\n", 4);
    assert_int_equal(qm_batch_names_check(&paths, &log, &err), 0);
    assert_false(log);
    name(path, ".journal-wal");
    test_write_file(path, "\x37\x7f\x06\x82", 4);
    assert_int_equal(qm_batch_names_check(&paths, &log, &err), 0);
    assert_true(log);
    for (int i = 1; i < 5; i++) {
        name(path, suffixes[i]);
        test_write_file(path, "questions", 9);
        check_refused(path, "is not");
        file_is(path, "questions");
        unlink(path);
    }
}

static void starting_over_moves_aside_what_is_not_the_jobs(void **state) {
    (void)state;
    struct qm_error err;
    char path[TEST_PATH + 32], aside[TEST_PATH + 64];
    for (int round = 1; round <= 2; round++) {
        for (int i = 0; i < N; i++) {
            name(path, suffixes[i]);
            test_write_file(path, "theirs", 6);
        }
        assert_int_equal(qm_batch_names_clear(&paths, quiet, &err), 0);
        for (int i = 0; i < N; i++) {
            name(path, suffixes[i]);
            assert_false(test_exists(path));
            snprintf(aside, sizeof aside, "%s.aside-%d", path, round);
            file_is(aside, "theirs");
        }
    }
    /* what a journal knows goes */
    int before = test_count_entries(dir);
    make_journal();
    test_write_file(paths.partial, "row\n", 4);
    test_write_file(paths.out, "row\n", 4);
    test_write_file(paths.kv, "\xFEQMKV01", 8);
    assert_int_equal(qm_batch_names_clear(&paths, quiet, &err), 0);
    assert_int_equal(test_count_entries(dir), before);
}

static void a_name_shows_the_job_it_belongs_to(void **state) {
    (void)state;
    char path[TEST_PATH + 32], job[TEST_PATH + 32];
    assert_false(qm_batch_job_of(paths.partial, job, sizeof job));
    test_write_file(paths.journal, "a diary", 7);
    assert_false(qm_batch_job_of(paths.partial, job, sizeof job));
    unlink(paths.journal);
    make_journal();
    for (int i = 0; i < N; i++) {
        name(path, suffixes[i]);
        assert_true(qm_batch_job_of(path, job, sizeof job));
        assert_string_equal(job, out);
    }
    assert_true(qm_batch_job_of(paths.lock, job, sizeof job));
    name(path, ".else");
    assert_false(qm_batch_job_of(path, job, sizeof job));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(files_that_no_journal_knows_are_refused_and_left),
        TEST(no_name_is_followed_through_a_link),
        TEST(with_a_journal_its_own_files_are_taken_and_others_refused),
        TEST(starting_over_moves_aside_what_is_not_the_jobs),
        TEST(a_name_shows_the_job_it_belongs_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
