/* The queue between two threads: records come out as they went in, in order, whatever their sizes; what does not fit
 * changes nothing. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/ring.h"
#include "tests/support/support.h"

enum { SIZE = 1024, RECORDS = 20000 };

static struct qm_ring *ring(size_t bytes) {
    struct qm_ring *r;
    struct qm_error err;
    assert_int_equal(qm_ring_new(bytes, &r, &err), QM_OK);
    return r;
}

/* Record i has i % 257 bytes, in two parts. */
static bool put(struct qm_ring *r, uint32_t i) {
    unsigned char bytes[257];
    size_t n = i % 257, first = n ? i % n : 0;
    memset(bytes, (int)(i % 251), sizeof bytes);
    const struct qm_ring_part parts[] = {{bytes, first}, {NULL, 0}, {bytes + first, n - first}};
    return qm_ring_put(r, i, parts, 3);
}

/* Whether record i was there. */
static bool take(struct qm_ring *r, uint32_t i) {
    uint32_t kind;
    size_t n;
    const unsigned char *bytes = qm_ring_peek(r, &kind, &n);
    if (!bytes)
        return false;
    assert_int_equal((uintptr_t)bytes % 16, 0);
    assert_int_equal(kind, i);
    assert_int_equal(n, i % 257);
    for (size_t k = 0; k < n; k++)
        assert_int_equal(bytes[k], i % 251);
    qm_ring_drop(r);
    return true;
}

static void test_in_turn(void **state) {
    (void)state;
    struct qm_ring *r = ring(SIZE);
    uint32_t in = 0, out = 0, kind;
    size_t n;
    assert_null(qm_ring_peek(r, &kind, &n));
    while (out < 5000) {
        for (int more = (int)(out * 7 % 5); more >= 0 && put(r, in); more--)
            in++;
        for (int less = (int)(out * 3 % 4); less >= 0 && take(r, out); less--)
            out++;
    }
    while (take(r, out))
        out++;
    assert_int_equal(in, out);
    qm_ring_free(r);
}

/* What is full refuses, and takes again once something was read; half of it fits at any place. */
static void test_full(void **state) {
    (void)state;
    static char bytes[SIZE];
    const struct qm_ring_part half = {bytes, SIZE / 2 - 16}, more = {bytes, SIZE}, none = {NULL, 0};
    struct qm_ring *r = ring(SIZE);
    uint32_t kind;
    size_t n;
    assert_false(qm_ring_put(r, 1, &more, 1));
    for (int shift = 0; shift < 200; shift++) {
        assert_true(qm_ring_put(r, 1, &none, 1));
        assert_non_null(qm_ring_peek(r, &kind, &n));
        qm_ring_drop(r);
        assert_true(qm_ring_put(r, 2, &half, 1));
        bool second = qm_ring_put(r, 3, &half, 1); /* where it has not to be skipped to the beginning */
        assert_false(qm_ring_put(r, 4, &half, 1));
        assert_non_null(qm_ring_peek(r, &kind, &n));
        assert_true(kind == 2 && n == half.n);
        qm_ring_drop(r);
        assert_int_equal(qm_ring_peek(r, &kind, &n) != NULL, second);
        if (second) {
            assert_int_equal(kind, 3);
            qm_ring_drop(r);
        }
    }
    qm_ring_free(r);
    qm_ring_free(NULL);
    struct qm_error err;
    assert_int_equal(qm_ring_new((size_t)2 << 30, &r, &err), QM_USAGE);
}

static void *write_all(void *arg) {
    for (uint32_t i = 0; i < RECORDS;)
        i += put(arg, i);
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    struct qm_ring *r = ring(SIZE);
    pthread_t writer;
    assert_int_equal(pthread_create(&writer, NULL, write_all, r), 0);
    for (uint32_t i = 0; i < RECORDS;)
        i += take(r, i);
    assert_int_equal(pthread_join(writer, NULL), 0);
    uint32_t kind;
    size_t n;
    assert_null(qm_ring_peek(r, &kind, &n));
    qm_ring_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_turn),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
