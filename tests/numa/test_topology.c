/* The topology of this machine, and of synthetic ones that no test machine has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "numa/internal.h"
#include "numa/topology.h"

static void test_this_machine(void **state) {
    (void)state;
    struct qm_topology t;
    struct qm_error err = {0};
    cpu_set_t allowed;
    if (qm_topology_load(NULL, &t, &err) != QM_OK)
        fail_msg("%s", err.message);
    assert_int_equal(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    assert_true(t.cores >= 1 && t.cpus >= t.cores && t.nodes >= 1 && t.packages >= 1);
    assert_int_equal(t.cpus, CPU_COUNT(&allowed));
    assert_true(t.cpu_model[0] != '\0');
    for (int i = 0; i < t.cores; i++) {
        assert_true(CPU_ISSET((size_t)t.core_cpu[i], &allowed));
        assert_in_range(t.core_node[i], 0, t.nodes - 1);
    }
    qm_topology_free(&t);
    assert_null(t.core_cpu);
    qm_topology_free(&t);
}

static void test_affinity_narrows(void **state) {
    (void)state;
    struct qm_topology t;
    struct qm_error err = {0};
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    int last = -1;
    for (int c = 0; c < CPU_SETSIZE; c++)
        last = CPU_ISSET((size_t)c, &before) ? c : last;
    CPU_ZERO(&one);
    CPU_SET((size_t)last, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    int rc = qm_topology_load(NULL, &t, &err);
    sched_setaffinity(0, sizeof before, &before);
    assert_int_equal(rc, QM_OK);
    assert_int_equal(t.cores, 1);
    assert_int_equal(t.cpus, 1);
    assert_int_equal(t.core_cpu[0], last);
    qm_topology_free(&t);
}

/* Describes a synthetic machine from which the CPUs and the memory of the nodes in two lists (hwloc's notation) are
 * allowed, and the nodes that --numa asks for. */
static int describe_nodes(const char *machine, const char *cpus, const char *nodes, const char *asked,
                          struct qm_topology *t, struct qm_error *err) {
    hwloc_topology_t hw;
    struct qm_numa numa;
    assert_int_equal(qm_numa_parse(asked, &numa, NULL), QM_OK);
    assert_int_equal(hwloc_topology_init(&hw), 0);
    assert_int_equal(hwloc_topology_set_flags(hw, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED), 0);
    assert_int_equal(hwloc_topology_set_synthetic(hw, machine), 0);
    assert_int_equal(hwloc_topology_load(hw), 0);
    hwloc_bitmap_t allowed = hwloc_bitmap_alloc(), memory = hwloc_bitmap_alloc();
    hwloc_bitmap_list_sscanf(allowed, cpus);
    if (nodes) {
        hwloc_bitmap_list_sscanf(memory, nodes);
        assert_int_equal(hwloc_topology_allow(hw, NULL, memory, HWLOC_ALLOW_FLAG_CUSTOM), 0);
    }
    int rc = qm_topology_describe(hw, allowed, &numa, t, err);
    hwloc_bitmap_free(allowed);
    hwloc_bitmap_free(memory);
    hwloc_topology_destroy(hw);
    return rc;
}

static int describe(const char *machine, const char *cpus, struct qm_topology *t, struct qm_error *err) {
    return describe_nodes(machine, cpus, NULL, "auto", t, err);
}

static void test_two_packages(void **state) {
    (void)state;
    struct qm_topology t;
    assert_int_equal(describe("package:2 numa:2 core:3 pu:2", "0-23", &t, NULL), QM_OK);
    assert_int_equal(t.packages, 2);
    assert_int_equal(t.nodes, 4);
    assert_int_equal(t.cores, 12);
    assert_int_equal(t.cpus, 24);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(t.core_cpu[i], 2 * i);
        assert_int_equal(t.core_node[i], i / 3);
    }
    assert_string_equal(t.cpu_model, "unknown CPU");
    qm_topology_free(&t);
}

/* Only the second thread of a core, and a node without any: nodes are numbered anew. */
static void test_part_of_a_machine(void **state) {
    (void)state;
    struct qm_topology t;
    assert_int_equal(describe("package:2 numa:2 core:3 pu:2", "3-4,18-23", &t, NULL), QM_OK);
    static const int cpu[] = {3, 4, 18, 20, 22}, node[] = {0, 0, 1, 1, 1};
    assert_int_equal(t.packages, 2);
    assert_int_equal(t.nodes, 2);
    assert_int_equal(t.cores, 5);
    assert_int_equal(t.cpus, 8);
    assert_memory_equal(t.core_cpu, cpu, sizeof cpu);
    assert_memory_equal(t.core_node, node, sizeof node);
    qm_topology_free(&t);
}

static void test_no_cores_described(void **state) {
    (void)state;
    struct qm_topology t;
    assert_int_equal(describe("pu:4", "0-3", &t, NULL), QM_OK);
    assert_int_equal(t.packages, 1);
    assert_int_equal(t.nodes, 1);
    assert_int_equal(t.cores, 4);
    qm_topology_free(&t);
}

static void test_nothing_allowed(void **state) {
    (void)state;
    struct qm_topology t;
    struct qm_error err = {0};
    assert_int_equal(describe("core:4 pu:1", "9", &t, &err), QM_SYSTEM);
    assert_non_null(strstr(err.message, "no core"));
    assert_null(t.core_cpu);
}

static const char four_nodes[] = "package:2 numa:2 core:2 pu:1";

static void check_nodes(const char *cpus, const char *memory, const char *asked, const char *expected) {
    struct qm_topology t;
    struct qm_error err = {0};
    char found[128] = "";
    if (describe_nodes(four_nodes, cpus, memory, asked, &t, &err) != QM_OK)
        fail_msg("%s of CPUs %s: %s", asked, cpus, err.message);
    for (int i = 0, n = 0; i < t.cores; i++)
        n += snprintf(found + n, sizeof found - (size_t)n, "%d:%d ", t.core_cpu[i], t.node_number[t.core_node[i]]);
    assert_string_equal(found, expected);
    qm_topology_free(&t);
}

/* Pairs are core:node, as the system numbers them. */
static void test_nodes_asked_for(void **state) {
    (void)state;
    check_nodes("0-7", NULL, "auto", "0:0 1:0 2:1 3:1 4:2 5:2 6:3 7:3 ");
    check_nodes("0-7", NULL, "off", "0:-1 1:-1 2:-1 3:-1 4:-1 5:-1 6:-1 7:-1 ");
    check_nodes("0-7", NULL, "1,3", "2:1 3:1 6:3 7:3 ");
    check_nodes("0-7", NULL, "2-3", "4:2 5:2 6:3 7:3 ");
    check_nodes("3,5", NULL, "1,2", "3:1 5:2 ");
    check_nodes("3,5", NULL, "auto", "3:1 5:2 ");
    /* memory of some nodes only: the others' cores belong to the next that has some, or to the first */
    check_nodes("0-7", "1,2", "auto", "0:1 1:1 2:1 3:1 6:1 7:1 4:2 5:2 ");
    check_nodes("0-7", "2", "auto", "0:-1 1:-1 2:-1 3:-1 4:-1 5:-1 6:-1 7:-1 ");
}

static void test_nodes_refused(void **state) {
    (void)state;
    static const struct {
        const char *cpus, *memory, *asked, *why;
    } cases[] = {
        {"0-7", NULL, "4", "NUMA node 4 is not there: this machine has 0-3"},
        {"0-7", NULL, "0,63", "NUMA node 63 is not there"},
        {"0-3", NULL, "1-2", "NUMA node 2: its CPUs (4-5) are outside of what this process may use (0-3)"},
        {"0-7", "0,2", "1", "NUMA node 1: its memory is outside of what this process may use (of nodes 0,2)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct qm_topology t;
        struct qm_error err = {0};
        int rc = describe_nodes(four_nodes, cases[i].cpus, cases[i].memory, cases[i].asked, &t, &err);
        assert_int_equal(rc, QM_USAGE);
        if (!strstr(err.message, cases[i].why))
            fail_msg("%s, expected: %s", err.message, cases[i].why);
        assert_null(t.core_cpu);
    }
}

static void test_no_numa(void **state) {
    (void)state;
    struct qm_topology t;
    struct qm_error err = {0};
    assert_int_equal(describe_nodes("core:2 pu:1", "0-1", NULL, "0", &t, &err), QM_OK);
    assert_int_equal(t.nodes, 1);
    assert_int_equal(t.node_number[0], -1);
    qm_topology_free(&t);
    assert_int_equal(describe_nodes("core:2 pu:1", "0-1", NULL, "1", &t, &err), QM_USAGE);
}

static void test_words(void **state) {
    (void)state;
    static const char *const bad[] = {"",    "on", "0,", ",0",  "1-",    "-1",
                                      "2-1", "64", "1 ", "0x1", "off,1", "999999999999"};
    struct qm_numa n;
    struct qm_error err = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(qm_numa_parse(bad[i], &n, &err), QM_USAGE);
    assert_int_equal(qm_numa_parse("63,0-2", &n, &err), QM_OK);
    assert_int_equal(n.mode, QM_NUMA_NODES);
    assert_true(n.nodes == (UINT64_C(1) << 63 | 7));
    assert_int_equal(qm_numa_parse("off", &n, &err), QM_OK);
    assert_int_equal(n.mode, QM_NUMA_OFF);
}

/* A CPU quota leaves as many cores as it keeps busy, spread over the nodes that remain. */
static void test_quota(void **state) {
    (void)state;
    const struct {
        double quota;
        int cores, nodes;
    } cases[] = {{0, 8, 4}, {0.5, 1, 1}, {1, 1, 1}, {1.9, 1, 1}, {2, 2, 2}, {5.7, 5, 4}, {8, 8, 4}, {1e9, 8, 4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int cpu[] = {0, 1, 2, 3, 4, 5, 6, 7}, node[] = {0, 0, 1, 1, 2, 2, 3, 3}, number[] = {10, 11, 12, 13};
        struct qm_topology t = {.cores = 8, .nodes = 4, .core_cpu = cpu, .core_node = node, .node_number = number};
        qm_topology_limit(&t, cases[i].quota);
        assert_int_equal(t.cores, cases[i].cores);
        assert_int_equal(t.nodes, cases[i].nodes);
        for (int c = 0; c < t.cores; c++) {
            assert_in_range(node[c], 0, t.nodes - 1);
            assert_int_equal(number[node[c]], 10 + cpu[c] / 2);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_this_machine),
        cmocka_unit_test(test_affinity_narrows),
        cmocka_unit_test(test_two_packages),
        cmocka_unit_test(test_part_of_a_machine),
        cmocka_unit_test(test_no_cores_described),
        cmocka_unit_test(test_nothing_allowed),
        cmocka_unit_test(test_nodes_asked_for),
        cmocka_unit_test(test_nodes_refused),
        cmocka_unit_test(test_no_numa),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_quota),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
