/* What a crash leaves behind, and what the next run makes of it. */
#include "tests/support/support.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "batch/crash.h"

static char dir[TEST_PATH], lock[TEST_PATH], path[TEST_PATH];

static int set_up(void **state) {
    (void)state;
    test_temp_dir(dir);
    test_path(lock, dir, "out.lock");
    test_path(path, dir, "out.journal");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    test_remove_tree(dir);
    return 0;
}

/* A process with these rows at work that ends by a signal. */
static void crash(int number, const int64_t *rows, int n, int64_t current) {
    pid_t child = fork();
    if (child == 0) {
        static struct qm_batch_flight flight;
        int fd = open(lock, O_RDWR | O_CREAT | O_TRUNC, 0666);
        (void)!write(fd, "123\n", 4);
        qm_batch_crash_watch(fd, &flight);
        for (int i = 0; i < n; i++)
            qm_batch_flight_add(&flight, rows[i]);
        qm_batch_flight_add(&flight, 999);
        qm_batch_flight_remove(&flight, 999);
        flight.current = current;
        raise(number);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == number);
}

static void test_record(void **state) {
    (void)state;
    struct qm_batch_crash c;
    static const int64_t rows[] = {4, 7000000000, 12};
    qm_batch_crash_read(lock, &c);
    assert_int_equal(c.signal, 0);
    crash(SIGABRT, rows, 3, 0);
    qm_batch_crash_read(lock, &c);
    assert_int_equal(c.signal, SIGABRT);
    assert_int_equal(c.n, 3);
    assert_memory_equal(c.row, rows, sizeof rows);
    crash(SIGSEGV, rows, 3, 12);
    qm_batch_crash_read(lock, &c);
    assert_int_equal(c.n, 1);
    assert_int_equal(c.row[0], 12);
    crash(SIGBUS, rows, 0, 0);
    qm_batch_crash_read(lock, &c);
    assert_int_equal(c.n, 0);
    crash(SIGKILL, rows, 3, 0); /* says nothing */
    qm_batch_crash_read(lock, &c);
    assert_int_equal(c.signal, 0);
    test_write_file(lock, "123\n", 4);
    qm_batch_crash_read(lock, &c);
    assert_int_equal(c.signal, 0);
}

static struct qm_journal *journal;

static void note(int n, int64_t a, int64_t b) {
    const struct qm_batch_crash c = {.signal = 11, .n = n, .row = {a, b}};
    assert_int_equal(qm_batch_crash_note(journal, &c, NULL), 0);
}

static void is(int64_t row, enum qm_batch_suspicion expected) {
    enum qm_batch_suspicion s;
    assert_int_equal(qm_batch_crash_of(journal, row, &s, NULL), 0);
    assert_int_equal(s, expected);
}

static void test_suspicion(void **state) {
    (void)state;
    bool created;
    assert_int_equal(qm_journal_open(path, &journal, &created, NULL), 0);
    is(1, QM_ROW_TRUSTED);
    note(2, 1, 2);
    is(1, QM_ROW_ALONE);
    is(2, QM_ROW_ALONE);
    is(3, QM_ROW_TRUSTED);
    note(1, 2, 0); /* alone this time */
    is(1, QM_ROW_ALONE);
    is(2, QM_ROW_SET_ASIDE);
    note(2, 1, 4); /* in company, however often, nobody is sure */
    is(1, QM_ROW_ALONE);
    note(1, 5, 0);
    is(5, QM_ROW_ALONE);
    note(1, 5, 0);
    is(5, QM_ROW_SET_ASIDE);
    const struct qm_journal_row done = {.number = 6, .text = ""};
    assert_int_equal(qm_journal_add(journal, &done, NULL), 0);
    note(1, 6, 0); /* finished all the same */
    is(6, QM_ROW_TRUSTED);
    qm_journal_close(journal);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(test_record), TEST(test_suspicion)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
