/* Reserved huge pages (of 2 MiB): taken where they are free, given back, and done without where they are not, all of
 * them or the last. Needs at least NEEDED of them free, on each node that has memory, as the guest reserves; skipped
 * elsewhere. */
#include <inttypes.h>
#include <numaif.h>
#include <stdio.h>

#include "numa/memory.h"
#include "tests/support/support.h"

enum { PAGE = 2 << 20, NEEDED = 4 };

static int64_t free_on(int node) {
    char path[TEST_PATH];
    int64_t n = -1;
    snprintf(path, sizeof path, "/sys/devices/system/node/node%d/hugepages/hugepages-2048kB/free_hugepages", node);
    FILE *f = fopen(path, "re");
    if (!f)
        return -1;
    if (fscanf(f, "%" SCNd64, &n) != 1)
        n = -1;
    fclose(f);
    return n;
}

/* Nodes 0..n-1 have pages; fewer than one: the test cannot be. */
static int nodes_with_pages(void) {
    int nodes = 0;
    while (free_on(nodes) >= NEEDED)
        nodes++;
    if (nodes == 0) {
        print_message("skipped: fewer than %d huge pages of 2 MiB are reserved and free\n", NEEDED);
        skip();
    }
    return nodes;
}

static struct qm_memory take(size_t bytes, int node) {
    struct qm_memory m;
    struct qm_error err;
    if (qm_memory_alloc_on(bytes, (struct qm_binding){.node = node, .strict = node >= 0}, "a test", &m, &err))
        fail_msg("%s", err.message);
    return m;
}

/* Writes every page; returns how many of them are on the node. */
static int touch(struct qm_memory *m, int node) {
    int there = 0;
    for (size_t at = 0; at < m->bytes; at += PAGE) {
        char *byte = (char *)m->data + at;
        int found = -1;
        assert_int_equal(*byte, 0);
        *byte = 1;
        assert_int_equal(get_mempolicy(&found, NULL, 0, byte, MPOL_F_NODE | MPOL_F_ADDR), 0);
        there += found == node;
    }
    return there;
}

static void test_taken_and_given_back(void **state) {
    (void)state;
    int nodes = nodes_with_pages();
    for (int node = 0; node < nodes; node++) {
        int64_t before = free_on(node);
        uint64_t unclaimed = qm_memory_reserved();
        struct qm_memory m = take(3 * PAGE - 5, node);
        assert_int_equal(m.pages, QM_PAGES_2M);
        assert_int_equal(m.bind_error, 0);
        assert_int_equal(qm_memory_reserved(), unclaimed - 3 * PAGE);
        assert_int_equal(touch(&m, node), 3);
        assert_int_equal(free_on(node), before - 3);
        qm_memory_free(&m);
        assert_int_equal(free_on(node), before);
        assert_int_equal(qm_memory_reserved(), unclaimed);
    }
}

/* Promised, though not touched yet: not to be promised again. */
static void test_exhausted_half_way(void **state) {
    (void)state;
    int nodes = nodes_with_pages();
    int64_t all = 0;
    for (int node = 0; node < nodes; node++)
        all += free_on(node);
    struct qm_memory first = take((size_t)(all - 1) * PAGE, -1), second = take(2 * PAGE, -1), third = take(PAGE, -1);
    assert_int_equal(first.pages, QM_PAGES_2M);
    assert_int_not_equal(second.pages, QM_PAGES_2M);
    assert_int_equal(third.pages, QM_PAGES_2M);
    touch(&second, 0);
    touch(&third, 0);
    touch(&first, 0);
    qm_memory_free(&first);
    qm_memory_free(&second);
    qm_memory_free(&third);
    int64_t after = 0;
    for (int node = 0; node < nodes; node++)
        after += free_on(node);
    assert_int_equal(after, all);
}

/* One node's pages do not hold it, all together would: ordinary pages on the right node are better. */
static void test_more_than_a_node_has(void **state) {
    (void)state;
    int nodes = nodes_with_pages();
    for (int node = 0; node < nodes; node++) {
        int64_t pages = free_on(node) + 1;
        struct qm_memory m = take((size_t)pages * PAGE, node);
        assert_int_not_equal(m.pages, QM_PAGES_2M);
        assert_int_equal(touch(&m, node), pages);
        qm_memory_free(&m);
    }
}

/* All that two nodes have, each taken by two allocations that are touched last: no node gives away the other's. */
static void test_every_page(void **state) {
    (void)state;
    int nodes = nodes_with_pages();
    struct qm_memory part[2][2];
    for (int i = 0; i < 2 && nodes >= 2; i++)
        for (int node = 0; node < 2; node++)
            part[node][i] = take((size_t)(free_on(node) / 2) * PAGE, node);
    for (int i = 0; i < 2 && nodes >= 2; i++)
        for (int node = 0; node < 2; node++) {
            assert_int_equal(part[node][i].pages, QM_PAGES_2M);
            assert_int_equal(touch(&part[node][i], node), part[node][i].bytes / PAGE);
        }
    for (int i = 0; i < 2 && nodes >= 2; i++)
        for (int node = 0; node < 2; node++)
            qm_memory_free(&part[node][i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken_and_given_back),
        cmocka_unit_test(test_exhausted_half_way),
        cmocka_unit_test(test_more_than_a_node_has),
        cmocka_unit_test(test_every_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
