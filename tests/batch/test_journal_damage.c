/* Journals that are damaged in every way: what is found in them is what was written, or they are refused. */
#include "tests/support/support.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "batch/journal.h"

static char dir[TEST_PATH], path[TEST_PATH];

static int set_up(void **state) {
    (void)state;
    test_temp_dir(dir);
    test_path(path, dir, "out.jsonl.journal");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    test_remove_tree(dir);
    return 0;
}

enum { DAMAGED_ROWS = 60 };

static void row_text(int64_t number, char text[400]) {
    int n = snprintf(text, 400, "{\"custom_id\":\"r%lld\",\"response\":\"", (long long)number);
    memset(text + n, 'a' + (int)(number % 26), 250);
    strcpy(text + n + 250, "\"}");
}

static void make_journal(void) {
    struct qm_journal *j;
    bool created;
    assert_int_equal(qm_journal_open(path, &j, &created, NULL), 0);
    assert_true(created);
    char text[400], id[32];
    const int32_t ids[] = {5, 6, 7};
    for (int64_t i = 1; i <= DAMAGED_ROWS; i++) {
        row_text(i, text);
        snprintf(id, sizeof id, "r%lld", (long long)i);
        const struct qm_journal_row row = {.number = i,
                                           .custom_id = id,
                                           .reason = i % 7 ? NULL : "bad",
                                           .text = text,
                                           .len = strlen(text),
                                           .line = (uint64_t)i * 77,
                                           .prompt = i,
                                           .started = 1.5,
                                           .finished = 2.5};
        assert_int_equal(qm_journal_add(j, &row, NULL), 0);
    }
    assert_int_equal(qm_journal_save_tokens(j, 999, 77, 0, ids, 3, NULL), 0);
    assert_int_equal(qm_journal_block(j, 0, "abc", NULL), 0);
    assert_int_equal(qm_journal_begin_run(j, &(struct qm_journal_run){.started = 50, .seconds = -0.0}, NULL), 0);
    assert_int_equal(qm_journal_add_pace(j, &(struct qm_journal_pace){.time = 60, .worked = 3}, NULL), 0);
    assert_int_equal(qm_journal_set(j, "job", "begun", NULL), 0);
    assert_int_equal(qm_journal_set_int(j, "position_row", DAMAGED_ROWS + 1, NULL), 0);
    assert_int_equal(qm_journal_commit(j, NULL), 0);
    qm_journal_close(j);
}

static int compare_row(void *arg, const struct qm_journal_row *row, struct qm_error *err) {
    char text[400], id[32];
    (void)err;
    ++*(int64_t *)arg;
    row_text(row->number, text);
    snprintf(id, sizeof id, "r%lld", (long long)row->number);
    assert_in_range(row->number, 1, DAMAGED_ROWS);
    assert_int_equal(row->len, strlen(text));
    assert_memory_equal(row->text, text, row->len);
    assert_string_equal(row->custom_id, id);
    assert_true(row->line == (uint64_t)row->number * 77);
    assert_int_equal(row->reason == NULL, row->number % 7 != 0);
    return QM_OK;
}

/* Refused (1), or all of it is right but for rows that are to be computed again (*dropped of them). */
static bool look_at_damaged(int64_t *dropped) {
    struct qm_journal *j;
    struct qm_journal_found found = {0};
    struct qm_error err = {0};
    struct qm_buf buf = {0};
    bool created, yes, refused = true;
    int64_t n = 0, value;
    if (qm_journal_open(path, &j, &created, &err)) {
        assert_true(*err.message);
        return true;
    }
    if (!created && !qm_journal_verify(j, &found, &err)) {
        const int32_t ids[] = {5, 6, 7};
        refused = false;
        assert_int_equal(qm_journal_each(j, QM_JOURNAL_BY_INPUT, true, compare_row, &n, &err), 0);
        assert_int_equal(n + found.dropped, DAMAGED_ROWS);
        n = 0;
        assert_int_equal(qm_journal_each(j, QM_JOURNAL_BY_COMPLETION, true, compare_row, &n, &err), 0);
        assert_int_equal(n + found.dropped, DAMAGED_ROWS);
        assert_int_equal(qm_journal_whole(j, DAMAGED_ROWS, &err) == QM_OK, found.dropped == 0);
        assert_int_equal(qm_journal_tokens(j, 999, 77, 0, &buf, &err), 0);
        assert_true(buf.len == 0 || (buf.len == sizeof ids && !memcmp(buf.data, ids, sizeof ids)));
        assert_int_equal(qm_journal_block(j, 0, "abc", &err), 0);
        assert_int_equal(qm_journal_get_int(j, "position_row", -1, &value, &err), 0);
        assert_int_equal(value, DAMAGED_ROWS + 1);
        assert_int_equal(qm_journal_named_before(j, "r5", 5, &yes, &err), 0);
        assert_false(yes);
    }
    *dropped = found.dropped;
    qm_journal_close(j);
    qm_buf_free(&buf);
    /* a journal that holds no job any more is begun anew: all of it is computed again */
    return refused;
}

static void test_flipped_bits(void **state) {
    (void)state;
    size_t n;
    int64_t dropped, repaired = 0, refused = 0;
    make_journal();
    assert_false(look_at_damaged(&dropped));
    assert_int_equal(dropped, 0);
    char *good = test_read_file(path, &n);
    for (size_t at = 40; at < n; at += test_slow() ? 127 : 509) {
        good[at] ^= (char)(1 << at % 8);
        test_write_file(path, good, n);
        good[at] ^= (char)(1 << at % 8);
        if (look_at_damaged(&dropped))
            refused++;
        else
            repaired += dropped > 0;
    }
    assert_true(repaired > 5); /* bits of texts: most of the file */
    assert_true(refused > 5);
    free(good);
}

/* Columns that are called otherwise are damage, not a disk that fails for a while. */
static void test_other_columns(void **state) {
    (void)state;
    struct qm_journal *j;
    struct qm_error err = {0};
    bool created;
    size_t n;
    make_journal();
    char *good = test_read_file(path, &n), *at = memmem(good, n, "hash TEXT", 9);
    assert_non_null(at);
    *at = 'k';
    test_write_file(path, good, n);
    assert_int_equal(qm_journal_open(path, &j, &created, &err), QM_INPUT);
    assert_non_null(strstr(err.message, "damaged"));
    free(good);
}

/* Refused, it stays as it was found, with what its log has. */
static void test_log_is_left(void **state) {
    (void)state;
    struct qm_journal *j;
    struct qm_journal_found found;
    struct qm_error err = {0};
    bool created;
    size_t n, n_log, n_now;
    char log[TEST_PATH + 8], *at;
    snprintf(log, sizeof log, "%s-wal", path);
    make_journal();
    assert_int_equal(qm_journal_open(path, &j, &created, NULL), 0);
    assert_int_equal(qm_journal_verify(j, &found, NULL), 0);
    const struct qm_journal_row row = {.number = DAMAGED_ROWS + 1, .text = "new", .len = 3};
    assert_int_equal(qm_journal_add(j, &row, NULL), 0);
    assert_int_equal(qm_journal_commit(j, NULL), 0);
    char *database = test_read_file(path, &n), *kept = test_read_file(log, &n_log), *now;
    assert_true(n_log > 4096);
    qm_journal_close(j);
    at = memmem(database, n, "begun", 5);
    assert_non_null(at);
    *at ^= 1;
    test_write_file(path, database, n);
    test_write_file(log, kept, n_log);
    assert_int_equal(qm_journal_open(path, &j, &created, NULL), 0);
    assert_int_equal(qm_journal_verify(j, &found, &err), QM_INPUT);
    qm_journal_close(j);
    now = test_read_file(log, &n_now);
    assert_non_null(now);
    assert_int_equal(n_now, n_log);
    assert_memory_equal(now, kept, n_log);
    free(now);
    /* mended, all of it is there */
    *at ^= 1;
    test_write_file(path, database, n);
    assert_int_equal(qm_journal_open(path, &j, &created, NULL), 0);
    assert_int_equal(qm_journal_verify(j, &found, NULL), 0);
    assert_int_equal(qm_journal_whole(j, DAMAGED_ROWS + 1, NULL), 0);
    qm_journal_close(j);
    assert_int_not_equal(access(log, F_OK), 0);
    free(database);
    free(kept);
}

static void test_copied_pages(void **state) {
    (void)state;
    enum { PAGE = 4096 };
    size_t n;
    int64_t dropped;
    make_journal();
    char *good = test_read_file(path, &n), *bad = malloc(n);
    assert_int_equal(n % PAGE, 0);
    for (size_t from = 0; from < n; from += PAGE)
        for (size_t to = PAGE; to < n; to += test_slow() ? PAGE : 3 * PAGE) {
            memcpy(bad, good, n);
            memcpy(bad + to, good + from, PAGE);
            test_write_file(path, bad, n);
            look_at_damaged(&dropped);
        }
    /* and cut short */
    for (size_t size = PAGE; size < n; size += 3 * PAGE / 2) {
        test_write_file(path, good, size);
        look_at_damaged(&dropped);
    }
    free(bad);
    free(good);
}

/* What SQLite finds nothing wrong with. */
static void test_lost_rows(void **state) {
    (void)state;
    static const struct {
        const char *sql;
        int64_t dropped; /* -1: refused */
    } cases[] = {{"DELETE FROM text WHERE number = 7", 1},
                 {"DELETE FROM row WHERE number > 50", 10},
                 {"DELETE FROM text WHERE number = 3; DELETE FROM row WHERE number = 3", 1},
                 {"UPDATE text SET line = 'x' WHERE number < 4", 3},
                 {"UPDATE row SET reason = NULL WHERE number = 7", 1},
                 {"UPDATE row SET line = 1 WHERE number = 8", 1},
                 {"UPDATE token SET ids = x'0102030405060708'", 0},
                 {"UPDATE value SET value = '5' WHERE key = 'position_row'", -1},
                 {"UPDATE block SET hash = 'abd'", -1},
                 {"UPDATE run SET seconds = 9", -1},
                 {"UPDATE pace SET worked = 9", -1},
                 {"CREATE TRIGGER t AFTER INSERT ON text BEGIN DELETE FROM text; END", -1},
                 {"CREATE TABLE other(a)", -1},
                 {"DROP INDEX row_name", -1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sqlite3 *db;
        int64_t dropped;
        make_journal();
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, cases[i].sql, NULL, NULL, NULL), SQLITE_OK);
        sqlite3_close(db);
        if (look_at_damaged(&dropped) != (cases[i].dropped < 0))
            fail_msg("%s", cases[i].sql);
        if (cases[i].dropped >= 0)
            assert_int_equal(dropped, cases[i].dropped);
        assert_int_equal(unlink(path), 0);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(test_flipped_bits), TEST(test_copied_pages), TEST(test_lost_rows),
                                       TEST(test_log_is_left), TEST(test_other_columns)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
