/* Which weights these are: each byte counts, names, folders and times do not; what was read once is not read again
 * where it is sure to be the same, and what is not sure is. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/weights_hash.h"
#include "tests/support/support.h"

enum { BYTES = 20 << 20 }; /* of one shard: more than a piece of reading */

struct fixture {
    char dir[TEST_PATH], path[2][TEST_PATH];
    struct qm_shard_file file[2];
    struct qm_shards shards;
    struct qm_files_known known;
};

static void open_files(struct fixture *f) {
    for (int i = 0; i < 2; i++) {
        f->file[i] = (struct qm_shard_file){.path = f->path[i], .fd = open(f->path[i], O_RDONLY | O_CLOEXEC)};
        struct stat st;
        assert_true(f->file[i].fd >= 0);
        assert_int_equal(fstat(f->file[i].fd, &st), 0);
        f->file[i].bytes = (uint64_t)st.st_size;
    }
    f->shards = (struct qm_shards){.files = f->file, .n_files = 2};
}

static void close_files(struct fixture *f) {
    for (int i = 0; i < 2; i++)
        close(f->file[i].fd);
}

static void write_files(struct fixture *f, const char *first, const char *second) {
    char *bytes = calloc(1, BYTES);
    test_temp_dir(f->dir);
    test_path(f->path[0], f->dir, first);
    test_path(f->path[1], f->dir, second);
    for (int i = 0; i < BYTES; i += 4096)
        bytes[i] = (char)(i >> 12);
    test_write_file(f->path[0], bytes, BYTES);
    test_write_file(f->path[1], "second", 6);
    free(bytes);
    open_files(f);
}

static void done(struct fixture *f) {
    close_files(f);
    qm_files_known_free(&f->known);
    test_remove_tree(f->dir);
}

static void hash(struct fixture *f, char out[QM_HASH_TEXT], int reads) {
    struct qm_error err;
    int read = -1;
    if (qm_weights_hash(&f->shards, &f->known, NULL, NULL, out, &read, &err))
        fail_msg("%s", err.message);
    assert_int_equal(read, reads);
}

static void flip(const char *path, off_t at) {
    char byte;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

/* As if they had been written long before they were hashed. */
static void age(struct fixture *f) {
    for (int i = 0; i < f->known.n; i++)
        f->known.file[i].hashed += 3000000000;
}

static void test_content_counts(void **state) {
    (void)state;
    struct fixture f = {0}, copy = {0};
    char whole[QM_HASH_TEXT], other[QM_HASH_TEXT];
    write_files(&f, "a", "b");
    write_files(&copy, "z", "y"); /* the other order of names too */
    hash(&f, whole, 2);
    hash(&copy, other, 2);
    assert_string_equal(whole, other);
    static const off_t places[] = {0, 5000000, (8 << 20) - 1, 8 << 20, BYTES - 1};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        flip(copy.path[0], places[i]);
        hash(&copy, other, 2);
        assert_string_not_equal(whole, other);
        flip(copy.path[0], places[i]);
    }
    hash(&copy, other, 2);
    assert_string_equal(whole, other);
    done(&copy);
    done(&f);
}

/* Size, inode and times are enough, once they are old enough; anything of them that differs is read again. */
static void test_known_again(void **state) {
    (void)state;
    struct fixture f = {0};
    char whole[QM_HASH_TEXT], again[QM_HASH_TEXT];
    write_files(&f, "a", "b");
    hash(&f, whole, 2);
    hash(&f, again, 2); /* just written: not sure */
    age(&f);
    hash(&f, again, 0);
    assert_string_equal(whole, again);
    flip(f.path[0], 9000000); /* same size; then its time is put back */
    const struct timespec times[] = {{.tv_nsec = UTIME_OMIT},
                                     {f.known.file[0].modified / 1000000000, f.known.file[0].modified % 1000000000}};
    assert_int_equal(utimensat(AT_FDCWD, f.path[0], times, 0), 0);
    hash(&f, again, 1);
    assert_string_not_equal(whole, again);
    age(&f);
    close_files(&f); /* another file in its place */
    char moved[TEST_PATH];
    test_path(moved, f.dir, "moved");
    assert_int_equal(rename(f.path[1], moved), 0);
    test_write_file(f.path[1], "secone", 6);
    open_files(&f);
    hash(&f, again, 1);
    done(&f);
}

static void test_kept_as_text(void **state) {
    (void)state;
    struct fixture f = {0}, other = {0};
    struct qm_buf text = {0}, own = {0};
    char whole[QM_HASH_TEXT], again[QM_HASH_TEXT];
    write_files(&f, "a", "b");
    write_files(&other, "c", "d");
    hash(&f, whole, 2);
    other.known = f.known;
    hash(&other, again, 2);
    f.known = other.known;
    other.known = (struct qm_files_known){0};
    age(&f);
    assert_int_equal(qm_buf_str(&text, "no line of it\n\n00 1 2 3 4 5\n", NULL), 0);
    assert_int_equal(qm_files_known_text(&f.known, NULL, &text, NULL), 0);
    assert_int_equal(qm_files_known_text(&f.known, &f.shards, &own, NULL), 0);
    assert_int_equal(f.known.n, 4);
    qm_files_known_free(&f.known);
    assert_int_equal(qm_files_known_parse(&f.known, text.data, text.len, NULL), 0);
    assert_int_equal(f.known.n, 4);
    hash(&f, again, 0);
    qm_files_known_free(&f.known);
    assert_int_equal(qm_files_known_parse(&f.known, own.data, own.len - 1, NULL), 0); /* the last newline is lost */
    assert_int_equal(f.known.n, 2);
    hash(&f, again, 0);
    assert_string_equal(whole, again);
    for (size_t cut = 0; cut < own.len; cut++) { /* damaged anywhere: ignored or another file's */
        qm_files_known_free(&f.known);
        assert_int_equal(qm_files_known_parse(&f.known, own.data, cut, NULL), 0);
        assert_true(f.known.n <= 2);
    }
    qm_buf_free(&text);
    qm_buf_free(&own);
    done(&other);
    done(&f);
}

static int stop(void *arg, uint64_t at, uint64_t total) {
    int *calls = arg;
    assert_int_equal(total, BYTES + 6); /* called before the first byte too */
    assert_true(at <= total);
    return ++*calls == 2;
}

static int change(void *arg, uint64_t at, uint64_t total) {
    (void)total;
    if (at < BYTES)
        flip(((struct fixture *)arg)->path[0], BYTES - 1);
    return 0;
}

static void test_interrupted_and_changing(void **state) {
    (void)state;
    struct fixture f = {0};
    struct qm_error err;
    char out[QM_HASH_TEXT];
    int read, calls = 0;
    write_files(&f, "a", "b");
    assert_int_equal(qm_weights_hash(&f.shards, &f.known, stop, &calls, out, &read, &err), QM_INTERRUPTED);
    assert_int_equal(calls, 2);
    assert_int_equal(qm_weights_hash(&f.shards, &f.known, change, &f, out, &read, &err), QM_INPUT);
    assert_non_null(strstr(err.message, "changed while it was read"));
    hash(&f, out, 2);
    assert_int_equal(qm_weights_unchanged(&f.shards, &f.known, &err), QM_OK);
    assert_int_equal(truncate(f.path[1], 5), 0);
    assert_int_equal(qm_weights_unchanged(&f.shards, &f.known, &err), QM_INPUT);
    assert_non_null(strstr(err.message, "changed while it was loaded"));
    assert_int_equal(qm_weights_hash(NULL, &f.known, NULL, NULL, out, &read, &err), QM_OK); /* random weights */
    assert_int_equal(read, 0);
    done(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_content_counts),
        cmocka_unit_test(test_known_again),
        cmocka_unit_test(test_kept_as_text),
        cmocka_unit_test(test_interrupted_and_changing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
