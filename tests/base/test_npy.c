/* The .npy writer: the bytes NumPy defines, pieces out of order, and nothing left after a failure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/npy.h"

static char dir[64], path[80];

static int make_dir(void **state) {
    (void)state;
    strcpy(dir, "/tmp/qm-npy-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/x.npy", dir);
    return 0;
}

static int remove_dir(void **state) {
    (void)state;
    unlink(path);
    return rmdir(dir); /* fails where something was left behind */
}

static size_t read_back(unsigned char *out, size_t size) {
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(out, 1, size, f);
    fclose(f);
    return n;
}

static void check_file(const char *header, const float *data, size_t n) {
    unsigned char bytes[1024];
    size_t size = read_back(bytes, sizeof bytes), length = (size_t)bytes[8] | (size_t)bytes[9] << 8;
    assert_memory_equal(bytes, "\x93NUMPY\x01\x00", 8);
    assert_int_equal((10 + length) % 64, 0);
    assert_memory_equal(bytes + 10, header, strlen(header));
    for (size_t i = 10 + strlen(header); i < 10 + length - 1; i++)
        assert_int_equal(bytes[i], ' ');
    assert_int_equal(bytes[10 + length - 1], '\n');
    assert_int_equal(size, 10 + length + 4 * n);
    assert_memory_equal(bytes + 10 + length, data, 4 * n);
}

static void test_in_order(void **state) {
    (void)state;
    static const float data[6] = {1, -2, 3.5f, 0, 1e30f, -1e-30f};
    struct qm_npy a;
    struct qm_error err;
    assert_int_equal(qm_npy_open(&a, path, (int64_t[]){2, 3}, 2, &err), 0);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(qm_npy_write(&a, 0, data, 4, &err), 0);
    assert_int_equal(qm_npy_write(&a, 4, data + 4, 2, &err), 0);
    assert_int_equal(qm_npy_commit(&a, &err), 0);
    check_file("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", data, 6);
}

static void test_out_of_order(void **state) {
    (void)state;
    static const float data[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    struct qm_npy a;
    struct qm_error err;
    assert_int_equal(qm_npy_open(&a, path, (int64_t[]){2, 2, 2}, 3, &err), 0);
    assert_int_equal(qm_npy_write(&a, 4, data + 4, 4, &err), 0);
    assert_int_equal(qm_npy_write(&a, 0, data, 2, &err), 0);
    assert_int_equal(qm_npy_write(&a, 2, data + 2, 2, &err), 0);
    assert_int_equal(qm_npy_commit(&a, &err), 0);
    check_file("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2, 2), }", data, 8);
}

static void test_abort(void **state) {
    (void)state;
    struct qm_npy a, none = {0};
    struct qm_error err;
    float x = 1;
    assert_int_equal(qm_npy_open(&a, path, (int64_t[]){2}, 1, &err), 0);
    assert_int_equal(qm_npy_write(&a, 0, &x, 1, &err), 0);
    qm_npy_abort(&a);
    qm_npy_abort(&a);
    qm_npy_abort(&none);
    assert_int_equal(access(path, F_OK), -1);
}

static void test_full_disk(void **state) {
    (void)state;
    struct qm_npy a;
    struct qm_error err;
    float *x = calloc(1 << 20, sizeof *x);
    assert_non_null(x);
    assert_int_equal(qm_npy_open(&a, "/dev/full", (int64_t[]){1 << 20}, 1, &err), 0);
    assert_int_equal(qm_npy_write(&a, 0, x, 1 << 20, &err), QM_SYSTEM);
    assert_non_null(strstr(err.message, "No space left"));
    qm_npy_abort(&a);
    assert_int_equal(qm_npy_open(&a, "/dev/full", (int64_t[]){1}, 1, &err), 0);
    assert_int_equal(qm_npy_write(&a, 0, x, 1, &err), 0);
    assert_int_equal(qm_npy_commit(&a, &err), QM_SYSTEM);
    assert_non_null(strstr(err.message, "No space left"));
    free(x);
}

static void test_no_such_directory(void **state) {
    (void)state;
    struct qm_npy a;
    struct qm_error err;
    assert_int_equal(qm_npy_open(&a, "/nonexistent/x.npy", (int64_t[]){1}, 1, &err), QM_INPUT);
    qm_npy_abort(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_in_order, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_out_of_order, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_abort, make_dir, remove_dir),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_no_such_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
