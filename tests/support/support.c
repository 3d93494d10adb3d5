/* Scratch folders and files for tests. */
#include "tests/support/support.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Tests ask for memory that cannot be had, and want NULL as without sanitizers. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "allocator_may_return_null=1";
}
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) {
    return "allocator_may_return_null=1";
}

void test_temp_dir(char dir[TEST_PATH]) {
    const char *base = getenv("TMPDIR");
    snprintf(dir, TEST_PATH, "%s/quietmind-test-XXXXXX", base && *base ? base : "/tmp");
    assert_non_null(mkdtemp(dir));
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void test_remove_tree(const char *dir) {
    assert_int_equal(nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

void test_path(char out[TEST_PATH], const char *dir, const char *name) {
    assert_true(snprintf(out, TEST_PATH, "%s/%s", dir, name) < TEST_PATH);
}

void test_write_file(const char *path, const void *bytes, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

char *test_read_file(const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    long size = ftell(f);
    assert_true(size >= 0);
    rewind(f);
    char *text = malloc((size_t)size + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)size, f), (size_t)size);
    text[size] = 0;
    fclose(f);
    if (n)
        *n = (size_t)size;
    return text;
}

bool test_exists(const char *path) {
    return access(path, F_OK) == 0;
}

int test_count_entries(const char *dir) {
    DIR *d = opendir(dir);
    assert_non_null(d);
    int n = 0;
    for (struct dirent *e; (e = readdir(d));)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(d);
    return n;
}

bool test_shared(char out[TEST_PATH], const char *relative) {
    const char *base = getenv("QM_SHARED");
    test_path(out, base && *base ? base : "../shared", relative);
    return test_exists(out);
}

bool test_slow(void) {
    const char *slow = getenv("QM_TEST_SLOW");
    return !slow || strcmp(slow, "0") != 0;
}
