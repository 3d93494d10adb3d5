/* The topology of this machine, and of synthetic ones that no test machine has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <sched.h>
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

/* Describes a synthetic machine from which the CPUs in list (hwloc's notation) are allowed. */
static int describe(const char *machine, const char *list, struct qm_topology *t, struct qm_error *err) {
    hwloc_topology_t hw;
    assert_int_equal(hwloc_topology_init(&hw), 0);
    assert_int_equal(hwloc_topology_set_synthetic(hw, machine), 0);
    assert_int_equal(hwloc_topology_load(hw), 0);
    hwloc_bitmap_t allowed = hwloc_bitmap_alloc();
    hwloc_bitmap_list_sscanf(allowed, list);
    int rc = qm_topology_describe(hw, allowed, t, err);
    hwloc_bitmap_free(allowed);
    hwloc_topology_destroy(hw);
    return rc;
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_this_machine),       cmocka_unit_test(test_affinity_narrows),
        cmocka_unit_test(test_two_packages),       cmocka_unit_test(test_part_of_a_machine),
        cmocka_unit_test(test_no_cores_described), cmocka_unit_test(test_nothing_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
