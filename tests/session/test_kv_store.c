/* The store of blocks: what is put is got, also after opening again; what is damaged, foreign, locked, full or failing
 * is never trusted, is said, and does no harm. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "session/kv_store.h"
#include "tests/support/support.h"

enum { BYTES = 10000, TOKENS = 128, SLOT = 12288, HEAD = 4096, BLOCK_AT = 56 + 4 * TOKENS };

/* The system's calls, of which one fails when it is its turn. */
static struct {
    int countdown; /* calls until one fails; 0: none does */
    int error;     /* errno then; 0: half is written, and the rest with the next call */
} fault;

static bool fails(void) {
    return fault.countdown > 0 && --fault.countdown == 0;
}

ssize_t pwrite(int fd, const void *from, size_t n, off_t at) {
    if (fails()) {
        if (fault.error == 0)
            return syscall(SYS_pwrite64, fd, from, (n + 1) / 2, at);
        syscall(SYS_pwrite64, fd, from, n / 3, at); /* a part of it is on the disk all the same */
        errno = fault.error;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, from, n, at);
}

int fdatasync(int fd) {
    if (fails()) {
        errno = fault.error ? fault.error : EINTR;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

struct fixture {
    char dir[TEST_PATH], path[TEST_PATH];
    struct qm_kv_store_options o;
};

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    test_temp_dir(f->dir);
    test_path(f->path, f->dir, "blocks.kv");
    f->o = (struct qm_kv_store_options){
        .path = f->path, .max_bytes = 1 << 20, .key = 77, .block_bytes = BYTES, .block_tokens = TOKENS};
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    test_remove_tree(f->dir);
    free(f);
    return 0;
}

static struct qm_kv_store *opened(const struct fixture *f) {
    struct qm_error err;
    struct qm_kv_store *s;
    if (qm_kv_store_open(&f->o, &s, &err))
        fail_msg("%s", err.message);
    return s;
}

/* Block i of a chain: its tokens, bytes and hashes. */
struct block {
    int32_t tokens[TOKENS];
    uint8_t bytes[BYTES];
    struct qm_kv_hash hash, parent;
};

static const struct block *block(int i) {
    static struct block b;
    struct qm_kv_hash hash = {0, 0};
    for (int j = 0; j <= i; j++) {
        for (int t = 0; t < TOKENS; t++)
            b.tokens[t] = 1000 * j + t;
        b.parent = hash;
        b.hash = hash = qm_kv_hash(hash, b.tokens, TOKENS);
    }
    for (int n = 0; n < BYTES; n++)
        b.bytes[n] = (uint8_t)(n * 7 + n / 256 + i);
    return &b;
}

static int put(struct qm_kv_store *s, int i) {
    struct qm_error err;
    const struct block *b = block(i);
    return qm_kv_store_put(s, b->hash, b->parent, b->tokens, b->bytes, &err);
}

static int get(struct qm_kv_store *s, int i) {
    static uint8_t bytes[BYTES];
    struct qm_error err;
    const struct block *b = block(i);
    memset(bytes, 0xEE, sizeof bytes);
    int rc = qm_kv_store_get(s, b->hash, b->parent, b->tokens, bytes, &err);
    if (!rc)
        assert_memory_equal(bytes, b->bytes, BYTES);
    return rc;
}

static void says(const struct qm_kv_store *s, const char *what) {
    if (!strstr(qm_kv_store_note(s), what))
        fail_msg("\"%s\" does not say \"%s\"", qm_kv_store_note(s), what);
}

static void overwrite(const struct fixture *f, off_t at, const void *bytes, size_t n) {
    int fd = open(f->path, O_WRONLY);
    assert_int_equal(pwrite(fd, bytes, n, at), n);
    close(fd);
}

static void test_again(void **state) {
    struct fixture *f = *state;
    struct qm_kv_store *s = opened(f);
    assert_string_equal(qm_kv_store_note(s), "");
    for (int i = 0; i < 70; i++) {
        assert_false(qm_kv_store_has(s, block(i)->hash));
        assert_int_equal(put(s, i), QM_OK);
        assert_int_equal(put(s, i), QM_OK);
    }
    assert_int_equal(qm_kv_store_blocks(s), 70);
    assert_int_equal(qm_kv_store_sync(s, NULL), QM_OK);
    for (int round = 0; round < 2; round++) {
        for (int i = 69; i >= 0; i--)
            assert_int_equal(get(s, i), QM_OK);
        assert_int_equal(get(s, 70), QM_INPUT);
        qm_kv_store_close(s);
        s = opened(f);
        assert_string_equal(qm_kv_store_note(s), "");
        assert_int_equal(qm_kv_store_blocks(s), 70);
    }
    qm_kv_store_close(s);
    struct stat st;
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_size, HEAD + 70 * SLOT);
    assert_int_equal(st.st_mode & 0777, 0600);
}

/* A hash that meets other tokens, or another prefix, gives nothing. */
static void test_other_tokens(void **state) {
    static uint8_t bytes[BYTES];
    struct qm_error err;
    struct qm_kv_store *s = opened(*state);
    assert_int_equal(put(s, 1), QM_OK);
    struct block b = *block(1);
    b.tokens[127]++;
    assert_int_equal(qm_kv_store_get(s, b.hash, b.parent, b.tokens, bytes, &err), QM_INPUT);
    assert_non_null(strstr(err.message, "other tokens"));
    b.tokens[127]--;
    b.parent.lo++;
    assert_int_equal(qm_kv_store_get(s, b.hash, b.parent, b.tokens, bytes, &err), QM_INPUT);
    assert_int_equal(get(s, 1), QM_OK);
    qm_kv_store_close(s);
    b = *block(1);
    struct qm_kv_hash h = qm_kv_hash(b.parent, b.tokens, TOKENS);
    b.parent.hi++;
    struct qm_kv_hash other = qm_kv_hash(b.parent, b.tokens, TOKENS);
    assert_true(h.hi != other.hi && h.lo != other.lo);
}

static void test_damaged(void **state) {
    struct fixture *f = *state;
    struct qm_kv_store *s = opened(f);
    for (int i = 0; i < 6; i++)
        assert_int_equal(put(s, i), QM_OK);
    qm_kv_store_close(s);
    overwrite(f, HEAD + 1 * SLOT + 20, "x", 1);                         /* a hash */
    overwrite(f, HEAD + 2 * SLOT + 100, "x", 1);                        /* a token */
    overwrite(f, HEAD + 3 * SLOT + BLOCK_AT + BYTES - 1, "x", 1);       /* the block's end */
    overwrite(f, HEAD + 4 * SLOT, "\0\0\0\0\0\0\0\0", 8);               /* the magic */
    assert_int_equal(truncate(f->path, HEAD + 5 * SLOT + SLOT / 2), 0); /* and a slot that is cut */
    s = opened(f);
    says(s, "3 damaged blocks are ignored");
    assert_int_equal(qm_kv_store_blocks(s), 2);
    assert_int_equal(get(s, 0), QM_OK);
    assert_true(qm_kv_store_has(s, block(3)->hash)); /* its head is whole */
    assert_int_equal(get(s, 3), QM_INPUT);
    says(s, "a damaged block is ignored");
    assert_false(qm_kv_store_has(s, block(3)->hash));
    for (int i = 0; i < 6; i++)
        assert_int_equal(put(s, i), QM_OK);
    for (int i = 0; i < 6; i++)
        assert_int_equal(get(s, i), QM_OK);
    qm_kv_store_close(s);
    s = opened(f);
    assert_string_equal(qm_kv_store_note(s), "");
    assert_int_equal(qm_kv_store_blocks(s), 6);
    qm_kv_store_close(s);
}

/* Every byte of a small file damaged in turn: nothing wrong ever comes out. */
static void test_every_byte(void **state) {
    struct fixture *f = *state;
    struct qm_kv_store *s = opened(f);
    assert_int_equal(put(s, 0), QM_OK);
    qm_kv_store_close(s);
    size_t n;
    char *file = test_read_file(f->path, &n);
    for (size_t i = 0; i < n; i += i < HEAD + BLOCK_AT + 64 ? 3 : 499) {
        char c = (char)(file[i] ^ 0x40);
        overwrite(f, (off_t)i, &c, 1);
        s = opened(f);
        get(s, 0); /* asserts that what is got is right */
        qm_kv_store_close(s);
        test_write_file(f->path, file, n);
    }
    free(file);
}

static void test_foreign(void **state) {
    struct fixture *f = *state;
    struct qm_kv_store *s = opened(f);
    assert_int_equal(put(s, 0), QM_OK);
    qm_kv_store_close(s);
    f->o.key = 78; /* another model: what it held is dropped */
    s = opened(f);
    says(s, "of another model");
    assert_int_equal(get(s, 0), QM_INPUT);
    assert_int_equal(put(s, 1), QM_OK);
    qm_kv_store_close(s);
    s = opened(f);
    assert_string_equal(qm_kv_store_note(s), "");
    assert_int_equal(get(s, 1), QM_OK);
    qm_kv_store_close(s);

    test_write_file(f->path, "my thesis", 9); /* somebody else's file: left alone */
    s = opened(f);
    says(s, "left alone");
    assert_true(qm_kv_store_off(s));
    assert_int_equal(put(s, 0), QM_FIT);
    assert_int_equal(get(s, 0), QM_INPUT);
    assert_int_equal(qm_kv_store_sync(s, NULL), QM_OK);
    qm_kv_store_close(s);
    size_t n;
    char *text = test_read_file(f->path, &n);
    assert_string_equal(text, "my thesis");
    free(text);

    static const char empty[100];
    test_write_file(f->path, empty, sizeof empty); /* a crash before its head was on the disk */
    s = opened(f);
    says(s, "begun anew");
    assert_int_equal(put(s, 0), QM_OK);
    qm_kv_store_close(s);
}

static void test_refused(void **state) {
    struct fixture *f = *state;
    struct qm_error err;
    struct qm_kv_store *s, *second;
    s = opened(f);
    assert_int_equal(qm_kv_store_open(&f->o, &second, &err), QM_INPUT);
    assert_non_null(strstr(err.message, "another process"));
    qm_kv_store_close(s);
    s = opened(f);
    qm_kv_store_close(s);
    f->o.max_bytes = HEAD + SLOT - 1;
    assert_int_equal(qm_kv_store_open(&f->o, &s, &err), QM_FIT);
    assert_non_null(strstr(err.message, "hold no block"));
    f->o.max_bytes = UINT64_MAX;
    s = opened(f);
    qm_kv_store_close(s);
    f->o.path = f->dir;
    assert_int_not_equal(qm_kv_store_open(&f->o, &s, &err), QM_OK);
    f->o.path = f->path;
    unlink(f->path);
    assert_int_equal(mkfifo(f->path, 0600), 0);
    assert_int_equal(qm_kv_store_open(&f->o, &s, &err), QM_INPUT);
    assert_non_null(strstr(err.message, "regular file"));
    assert_null(s);
}

/* Full: the block unused for longest goes; but none that was used since the beginning. */
static void test_full(void **state) {
    struct fixture *f = *state;
    f->o.max_bytes = HEAD + 4 * SLOT;
    struct qm_kv_store *s = opened(f);
    for (int i = 0; i < 4; i++)
        assert_int_equal(put(s, i), QM_OK);
    assert_int_equal(put(s, 4), QM_FIT);
    assert_false(qm_kv_store_off(s));
    qm_kv_store_begin(s);
    assert_true(qm_kv_store_touch(s, block(0)->hash));
    assert_int_equal(get(s, 2), QM_OK);
    assert_int_equal(put(s, 4), QM_OK);
    assert_int_equal(put(s, 5), QM_OK);
    assert_int_equal(put(s, 6), QM_FIT);
    assert_int_equal(get(s, 1), QM_INPUT);
    assert_int_equal(get(s, 3), QM_INPUT);
    static const int there[] = {0, 2, 4, 5};
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 4; i++)
            assert_int_equal(get(s, there[i]), QM_OK);
        qm_kv_store_close(s);
        s = opened(f);
    }
    qm_kv_store_close(s);
    f->o.max_bytes = HEAD + 2 * SLOT;
    s = opened(f);
    says(s, "2 blocks beyond the size allowed are dropped");
    assert_int_equal(qm_kv_store_blocks(s), 2);
    qm_kv_store_close(s);
    struct stat st;
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_size, HEAD + 2 * SLOT);
}

/* No room on the disk (a limit on the file's size): the store is off and says so; what was whole is there again. */
static void test_no_room(void **state) {
    struct fixture *f = *state;
    struct rlimit before, limit;
    struct qm_kv_store *s = opened(f);
    assert_int_equal(put(s, 0), QM_OK);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = HEAD + SLOT + 5000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    int first = put(s, 1), second = put(s, 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(first, QM_FIT);
    assert_int_equal(second, QM_FIT);
    assert_true(qm_kv_store_off(s));
    says(s, "File too large; nothing more is stored");
    assert_int_equal(put(s, 2), QM_FIT);
    assert_int_equal(qm_kv_store_sync(s, NULL), QM_OK);
    qm_kv_store_close(s);
    s = opened(f);
    assert_int_equal(qm_kv_store_blocks(s), 1);
    assert_int_equal(get(s, 0), QM_OK);
    assert_int_equal(put(s, 1), QM_OK);
    qm_kv_store_close(s);
}

/* Each call fails once: what was whole is there again, the rest is not, and the next process goes on. */
static void test_faults(void **state) {
    struct fixture *f = *state;
    static const int errors[] = {EIO, ENOSPC, 0};
    for (int e = 0; e < 3; e++) {
        bool reached = true;
        for (int turn = 1; reached; turn++) {
            unlink(f->path);
            fault.countdown = turn;
            fault.error = errors[e];
            struct qm_kv_store *s = opened(f);
            int whole = 0, rc[5];
            for (int i = 0; i < 5; i++) {
                rc[i] = put(s, i);
                if (i % 3 == 1)
                    qm_kv_store_sync(s, NULL);
            }
            reached = fault.countdown == 0;
            fault.countdown = 0;
            bool off = qm_kv_store_off(s);
            if (off) {
                says(s, "nothing more is stored");
                assert_true(reached);
                assert_int_equal(put(s, 6), QM_FIT);
                assert_int_equal(get(s, 0), QM_INPUT);
                assert_int_equal(qm_kv_store_sync(s, NULL), QM_OK); /* not tried again */
            } else {
                assert_true(!reached || errors[e] == 0);
            }
            for (int i = 0; i < 5 && rc[i] == QM_OK; i++)
                whole++;
            for (int i = whole; i < 5; i++) /* the one that failed says of what kind; from then on there is no store */
                assert_true(rc[i] == QM_FIT || (rc[i] == QM_SYSTEM && i == whole && errors[e] == EIO));
            qm_kv_store_close(s);
            s = opened(f);
            for (int i = 0; i < whole; i++)
                assert_int_equal(get(s, i), QM_OK);
            for (int i = whole; i < 5; i++)
                assert_int_equal(get(s, i), QM_INPUT);
            for (int i = 0; i < 6; i++)
                assert_int_equal(put(s, i), QM_OK);
            for (int i = 0; i < 6; i++)
                assert_int_equal(get(s, i), QM_OK);
            qm_kv_store_close(s);
            assert_true(turn < 100);
        }
    }
}

/* Killed while it writes: what is there afterwards is whole. */
static void test_killed(void **state) {
    struct fixture *f = *state;
    f->o.max_bytes = HEAD + 8 * SLOT;
    int got = 0;
    for (int round = 0; round < 20; round++) {
        pid_t child = fork();
        if (child == 0) {
            struct qm_kv_store *s;
            if (qm_kv_store_open(&f->o, &s, NULL))
                _exit(1);
            for (int i = round;; i++) {
                qm_kv_store_begin(s);
                put(s, i % 50);
            }
        }
        usleep(3000 + 700 * (useconds_t)round);
        kill(child, SIGKILL);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        struct qm_kv_store *s = opened(f);
        assert_false(qm_kv_store_off(s));
        for (int i = 0; i < 50; i++)
            got += get(s, i) == QM_OK;
        qm_kv_store_close(s);
    }
    assert_true(got > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_tokens, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(test_foreign, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_room, setup, teardown),
        cmocka_unit_test_setup_teardown(test_faults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
