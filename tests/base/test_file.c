/* Files: whole reads with a limit, exact positional reads, and output that is never half there. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/support/support.h"

static char dir[TEST_PATH], path[TEST_PATH];

static int setup(void **state) {
    (void)state;
    test_temp_dir(dir);
    test_path(path, dir, "file");
    return 0;
}

static int teardown(void **state) {
    (void)state;
    test_remove_tree(dir);
    return 0;
}

static void assert_content(const char *want) {
    char *text = test_read_file(path, NULL);
    assert_non_null(text);
    assert_string_equal(text, want);
    free(text);
}

/* --- reading --- */

static void reads_a_whole_file_up_to_its_limit(void **state) {
    (void)state;
    size_t n = 200001;
    char *bytes = malloc(n);
    assert_non_null(bytes);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)(i * 7 % 251);
    test_write_file(path, bytes, n);
    struct qm_buf b = {0};
    struct qm_error e;
    assert_int_equal(qm_buf_str(&b, "before", &e), QM_OK);
    assert_int_equal(qm_read_file(path, n, &b, &e), QM_OK);
    assert_int_equal(b.len, 6 + n);
    assert_memory_equal(b.data + 6, bytes, n);
    assert_int_equal(b.data[b.len], 0);
    qm_buf_free(&b);

    assert_int_equal(qm_read_file(path, n - 1, &b, &e), QM_INPUT);
    assert_non_null(strstr(e.message, path));
    assert_non_null(strstr(e.message, "larger than the limit of 200000 bytes"));
    qm_buf_free(&b);
    free(bytes);
}

static void an_empty_file_is_an_empty_string(void **state) {
    (void)state;
    test_write_file(path, "", 0);
    struct qm_buf b = {0};
    struct qm_error e;
    assert_int_equal(qm_read_file(path, 0, &b, &e), QM_OK);
    assert_string_equal(b.data, "");
    qm_buf_free(&b);
}

static void what_cannot_be_read_is_named(void **state) {
    (void)state;
    struct qm_buf b = {0};
    struct qm_error e;
    assert_int_equal(qm_read_file(path, 10, &b, &e), QM_INPUT); /* not there */
    assert_non_null(strstr(e.message, path));
    assert_non_null(strstr(e.message, strerror(ENOENT)));
    assert_int_equal(qm_read_input(dir, 10, &b, &e), QM_INPUT); /* a folder */
    assert_non_null(strstr(e.message, strerror(EISDIR)));
    assert_int_equal(qm_read_file("/proc/self/mem", 10, &b, &e), QM_SYSTEM); /* an I/O error */
    assert_non_null(strstr(e.message, strerror(EIO)));
    qm_buf_free(&b);
}

/* Each is refused at once, by its name: the alarm ends a test that waits. */
static void what_is_no_regular_file_is_refused_and_not_waited_for(void **state) {
    (void)state;
    char pipe_path[TEST_PATH], socket_path[TEST_PATH], loop[TEST_PATH], device[TEST_PATH], to_pipe[TEST_PATH];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int s = socket(AF_UNIX, SOCK_STREAM, 0), here = open(".", O_RDONLY | O_DIRECTORY);
    test_path(pipe_path, dir, "pipe");
    test_path(socket_path, dir, "socket");
    test_path(loop, dir, "loop");
    test_path(device, dir, "device");
    test_path(to_pipe, dir, "to-pipe");
    assert_int_equal(mkfifo(pipe_path, 0666), 0);
    strcpy(address.sun_path, "socket"); /* a short name, whatever the folder's */
    assert_int_equal(chdir(dir), 0);
    assert_int_equal(bind(s, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(fchdir(here), 0);
    assert_int_equal(symlink("loop", loop), 0);
    assert_int_equal(symlink("/dev/zero", device), 0);
    assert_int_equal(symlink("pipe", to_pipe), 0);
    const struct {
        const char *path, *what;
    } cases[] = {{pipe_path, "found a named pipe"}, {to_pipe, "found a named pipe"}, {socket_path, "found a socket"},
                 {device, "found a device"},        {dir, "found a folder"},         {loop, strerror(ELOOP)}};
    struct qm_buf b = {0};
    alarm(240);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct qm_error e = {0};
        int fd;
        assert_true(qm_file_there(cases[i].path));
        assert_int_equal(qm_read_file(cases[i].path, 10, &b, &e), QM_INPUT);
        assert_non_null(strstr(e.message, cases[i].path));
        assert_non_null(strstr(e.message, cases[i].what));
        assert_int_equal(qm_read_given(cases[i].path, 10, &b, &e), QM_INPUT);
        assert_non_null(strstr(e.message, cases[i].what));
        assert_int_equal(qm_open_regular(cases[i].path, &fd, NULL, &e), QM_INPUT);
        assert_int_equal(fd, -1);
    }
    struct qm_error e;
    assert_int_equal(qm_read_input(socket_path, 10, &b, &e), QM_INPUT);
    alarm(0);
    close(s);
    close(here);
    qm_buf_free(&b);
}

static void a_link_that_leads_nowhere_is_nothing(void **state) {
    (void)state;
    assert_false(qm_file_there(path));
    assert_int_equal(symlink("no-such", path), 0);
    assert_false(qm_file_there(path));
}

/* As bash hands over the output of <(command). */
static void a_pipe_that_was_handed_over_is_given_but_no_file(void **state) {
    (void)state;
    int ends[2];
    char name[64];
    assert_int_equal(pipe(ends), 0);
    snprintf(name, sizeof name, "/dev/fd/%d", ends[0]);
    struct qm_buf b = {0};
    struct qm_error e;
    assert_int_equal(qm_read_file(name, 100, &b, &e), QM_INPUT);
    assert_int_equal(write(ends[1], "substituted", 11), 11);
    close(ends[1]);
    assert_int_equal(qm_read_given(name, 100, &b, &e), QM_OK);
    assert_string_equal(b.data, "substituted");
    close(ends[0]);
    qm_buf_free(&b);
}

static void a_dash_is_standard_input(void **state) {
    (void)state;
    int ends[2], kept = dup(STDIN_FILENO);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "from a pipe", 11), 11);
    close(ends[1]);
    assert_true(dup2(ends[0], STDIN_FILENO) >= 0);
    struct qm_buf b = {0};
    struct qm_error e;
    int rc = qm_read_input("-", 100, &b, &e);
    int still_open = fcntl(STDIN_FILENO, F_GETFD) >= 0;
    close(ends[0]);
    if (kept >= 0) {
        dup2(kept, STDIN_FILENO);
        close(kept);
    }
    assert_int_equal(rc, QM_OK);
    assert_true(still_open);
    assert_string_equal(b.data, "from a pipe");
    qm_buf_free(&b);
}

static void positional_reads_are_exact(void **state) {
    (void)state;
    test_write_file(path, "0123456789", 10);
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    char got[16] = "";
    struct qm_error e;
    assert_int_equal(qm_pread_full(fd, path, got, 4, 3, &e), QM_OK);
    assert_string_equal(got, "3456");
    assert_int_equal(qm_pread_full(fd, path, got, 10, 0, &e), QM_OK);
    assert_int_equal(qm_pread_full(fd, path, got, 0, 99, &e), QM_OK);

    assert_int_equal(qm_pread_full(fd, path, got, 5, 6, &e), QM_INPUT);
    assert_non_null(strstr(e.message, "ends at byte 10, 1 bytes before"));
    assert_non_null(strstr(e.message, path));
    close(fd);

    assert_int_equal(qm_pread_full(-1, "gone", got, 5, 6, &e), QM_SYSTEM);
    assert_non_null(strstr(e.message, "gone: read of 5 bytes at 6"));
}

/* --- writing --- */

static void output_appears_only_when_committed(void **state) {
    (void)state;
    struct qm_out o;
    struct qm_error e;
    assert_int_equal(qm_out_open(&o, path, &e), QM_OK);
    fputs("new", o.file);
    fflush(o.file);
    assert_false(test_exists(path));
    assert_int_equal(test_count_entries(dir), 1);
    assert_int_equal(qm_out_commit(&o, &e), QM_OK);
    assert_content("new");
    assert_int_equal(test_count_entries(dir), 1);
    assert_null(o.file);
    qm_out_abort(&o); /* nothing left to do */
    assert_content("new");
}

static void output_replaces_what_was_there(void **state) {
    (void)state;
    test_write_file(path, "old", 3);
    struct qm_out o;
    struct qm_error e;
    assert_int_equal(qm_out_open(&o, path, &e), QM_OK);
    fputs("newer", o.file);
    assert_content("old");
    assert_int_equal(qm_out_commit(&o, &e), QM_OK);
    assert_content("newer");
}

static void an_aborted_output_leaves_the_old_file(void **state) {
    (void)state;
    test_write_file(path, "old", 3);
    struct qm_out o;
    struct qm_error e;
    assert_int_equal(qm_out_open(&o, path, &e), QM_OK);
    fputs("half", o.file);
    qm_out_abort(&o);
    assert_content("old");
    assert_int_equal(test_count_entries(dir), 1);
    qm_out_abort(&o);
}

static void output_has_the_mode_of_an_ordinary_file(void **state) {
    (void)state;
    mode_t before = umask(027);
    struct qm_out o;
    struct qm_error e;
    int opened = qm_out_open(&o, path, &e);
    mode_t after = umask(before);
    assert_int_equal(opened, QM_OK);
    assert_int_equal(after, 027);
    assert_int_equal(qm_out_commit(&o, &e), QM_OK);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
}

static void a_whole_file_is_written_at_once(void **state) {
    (void)state;
    struct qm_error e;
    test_write_file(path, "old", 3);
    assert_int_equal(qm_write_file(path, "newer", 5, &e), QM_OK);
    assert_content("newer");
    assert_int_equal(test_count_entries(dir), 1);
    assert_int_equal(qm_write_file("/dev/full", "much", 4, &e), QM_SYSTEM);
    assert_int_equal(qm_write_file(path, NULL, 0, &e), QM_OK);
    assert_content("");
}

static void devices_are_written_directly(void **state) {
    (void)state;
    struct qm_out o;
    struct qm_error e;
    assert_int_equal(qm_out_open(&o, "/dev/null", &e), QM_OK);
    assert_null(o.temporary);
    fputs("away", o.file);
    assert_int_equal(qm_out_commit(&o, &e), QM_OK);
    struct stat st;
    assert_int_equal(stat("/dev/null", &st), 0);
    assert_true(S_ISCHR(st.st_mode));
}

static void a_pipe_that_nobody_reads_is_reported_and_not_waited_for(void **state) {
    (void)state;
    struct qm_out o;
    struct qm_error e;
    assert_int_equal(mkfifo(path, 0666), 0);
    alarm(240);
    assert_int_equal(qm_out_open(&o, path, &e), QM_INPUT);
    assert_non_null(strstr(e.message, "nobody reads"));
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    assert_int_equal(qm_out_open(&o, path, &e), QM_OK);
    assert_int_equal(fcntl(fileno(o.file), F_GETFL) & O_NONBLOCK, 0);
    fputs("read", o.file);
    assert_int_equal(qm_out_commit(&o, &e), QM_OK);
    char got[8] = "";
    assert_int_equal(read(reader, got, sizeof got), 4);
    assert_string_equal(got, "read");
    alarm(0);
    close(reader);
}

static void a_full_disk_is_reported(void **state) {
    (void)state;
    struct qm_out o;
    struct qm_error e;
    assert_int_equal(qm_out_open(&o, "/dev/full", &e), QM_OK);
    fputs("no room", o.file);
    assert_int_equal(qm_out_commit(&o, &e), QM_SYSTEM);
    assert_non_null(strstr(e.message, "/dev/full"));
    assert_non_null(strstr(e.message, strerror(ENOSPC)));
}

/* A limit on the size of files stands for the full disk. The old file stays, the temporary one goes. */
static void a_failed_write_leaves_nothing_behind(void **state) {
    (void)state;
    test_write_file(path, "old", 3);
    struct rlimit was, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    small = was;
    small.rlim_cur = 4096;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    struct qm_out o;
    struct qm_error e;
    assert_int_equal(qm_out_open(&o, path, &e), QM_OK);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (int i = 0; i < 100000; i++)
        fputc('x', o.file);
    int rc = qm_out_commit(&o, &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(rc, QM_SYSTEM);
    assert_non_null(strstr(e.message, "nothing was written"));
    assert_content("old");
    assert_int_equal(test_count_entries(dir), 1);
}

static void a_rename_that_fails_leaves_nothing_behind(void **state) {
    (void)state;
    struct qm_out o;
    struct qm_error e;
    assert_int_equal(qm_out_open(&o, path, &e), QM_OK);
    fputs("x", o.file);
    assert_int_equal(mkdir(path, 0777), 0); /* meanwhile */
    assert_int_equal(qm_out_commit(&o, &e), QM_SYSTEM);
    assert_non_null(strstr(e.message, strerror(EISDIR)));
    assert_int_equal(test_count_entries(dir), 1);
    assert_int_equal(test_count_entries(path), 0);
}

static void what_cannot_be_written_is_refused_at_once(void **state) {
    (void)state;
    struct qm_out o;
    struct qm_error e;
    assert_int_equal(qm_out_open(&o, dir, &e), QM_INPUT);
    assert_non_null(strstr(e.message, strerror(EISDIR)));
    char none[TEST_PATH];
    test_path(none, dir, "no/such/folder");
    assert_int_equal(qm_out_open(&o, none, &e), QM_INPUT);
    assert_non_null(strstr(e.message, "cannot write here"));
    qm_out_abort(&o);
    assert_int_equal(test_count_entries(dir), 0);
}

/* What a signal handler does: every open temporary file goes, committed ones stay. More outputs than there
 * are slots still work; only the handler does not know them. */
static void abort_all_removes_every_open_output(void **state) {
    (void)state;
    enum { N = 20, KNOWN = 16 };
    struct qm_out o[N];
    struct qm_error e;
    for (int i = 0; i < N; i++) {
        char name[32];
        snprintf(name, sizeof name, "out%d", i);
        test_path(path, dir, name);
        assert_int_equal(qm_out_open(&o[i], path, &e), QM_OK);
    }
    assert_int_equal(test_count_entries(dir), N);
    assert_int_equal(qm_out_commit(&o[N - 1], &e), QM_OK);
    assert_int_equal(qm_out_commit(&o[0], &e), QM_OK);
    qm_out_abort_all();
    assert_int_equal(test_count_entries(dir), N - (KNOWN - 1));
    assert_true(test_exists(path));
    for (int i = 1; i < N - 1; i++)
        qm_out_abort(&o[i]);
    assert_int_equal(test_count_entries(dir), 2);
    qm_out_abort_all();
    assert_int_equal(test_count_entries(dir), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(reads_a_whole_file_up_to_its_limit),
        TEST(an_empty_file_is_an_empty_string),
        TEST(what_cannot_be_read_is_named),
        TEST(what_is_no_regular_file_is_refused_and_not_waited_for),
        TEST(a_link_that_leads_nowhere_is_nothing),
        TEST(a_pipe_that_was_handed_over_is_given_but_no_file),
        TEST(a_dash_is_standard_input),
        TEST(positional_reads_are_exact),
        TEST(output_appears_only_when_committed),
        TEST(output_replaces_what_was_there),
        TEST(an_aborted_output_leaves_the_old_file),
        TEST(output_has_the_mode_of_an_ordinary_file),
        TEST(a_whole_file_is_written_at_once),
        TEST(devices_are_written_directly),
        TEST(a_pipe_that_nobody_reads_is_reported_and_not_waited_for),
        TEST(a_full_disk_is_reported),
        TEST(a_failed_write_leaves_nothing_behind),
        TEST(a_rename_that_fails_leaves_nothing_behind),
        TEST(what_cannot_be_written_is_refused_at_once),
        TEST(abort_all_removes_every_open_output),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
