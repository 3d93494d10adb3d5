/* Probes give rates that make sense, whatever the threads and nodes; energy counters from a tree of files. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "numa/energy.h"
#include "numa/machine.h"
#include "numa/probe.h"
#include "tests/support/support.h"

enum { MIB = 1 << 20 };

/* Counts what it is asked to read, line by line, and that it may. */
static uint64_t read_counting(const void *p, size_t lane, size_t step, size_t n) {
    const volatile unsigned char *at = p;
    uint64_t sum = 0;
    for (; n; n--, at += step)
        for (size_t l = 0; l < 4; l++)
            sum += at[l * lane] + at[l * lane + 63];
    return sum;
}

static void flush_counting(const void *p, size_t n) {
    const volatile unsigned char *at = p;
    assert_int_equal(n, 2 * MIB / 64);
    (void)at[n * 64 - 1];
}

static double multiply(int64_t n, float *state) {
    for (int64_t i = 0; i < n; i++)
        state[0] = state[0] * 0.5f + 1;
    return (double)n * 2;
}

static void test_rates(void **state) {
    (void)state;
    struct qm_team *team;
    struct qm_probe *probe;
    struct qm_error err;
    assert_int_equal(qm_team_create(3, &team, &err), QM_OK);
    static const int nodes[] = {0, 1, 1};
    for (int two = 0; two < 2; two++) {
        assert_int_equal(
            qm_probe_open(team, two ? nodes : NULL, 1 + two, MIB + 5, read_counting, flush_counting, &probe, &err),
            QM_OK);
        assert_int_equal(qm_probe_threads(probe, 0), two ? 1 : 3);
        struct qm_probe_rate all = qm_probe_read(probe);
        assert_true(all.best >= all.median && all.median > 1e6 && all.best < 1e14);
        struct qm_probe_rate one = qm_probe_read_node(probe, two, 0, 1);
        assert_true(one.best >= one.median && one.median > 1e6 && one.best < 1e14);
        qm_probe_close(probe);
    }
    struct qm_probe_rate flops = qm_probe_flops(team, multiply, 2);
    assert_true(flops.best >= flops.median && flops.median > 1e5 && flops.best < 1e13);
    double region, barrier;
    qm_probe_regions(team, &region, &barrier);
    assert_true(region > 0 && barrier > 0 && region < 1e6);
    qm_team_destroy(team);
}

static void test_disk(void **state) {
    (void)state;
    char dir[TEST_PATH], small[TEST_PATH], large[TEST_PATH];
    struct qm_team *team;
    struct qm_probe_disk disk;
    struct qm_error err;
    char *bytes = calloc(6, MIB);
    test_temp_dir(dir);
    test_path(small, dir, "small");
    test_path(large, dir, "large");
    assert_int_equal(qm_team_create(2, &team, &err), QM_OK);
    assert_int_equal(qm_probe_disk_read(team, dir, &disk, &err), QM_INPUT);
    test_write_file(small, bytes, 100);
    assert_int_equal(qm_probe_disk_read(team, small, &disk, &err), QM_INPUT);
    test_write_file(large, bytes, 6 * MIB - 1);
    assert_int_equal(qm_probe_disk_read(team, dir, &disk, &err), QM_OK);
    assert_string_equal(disk.file, large);
    assert_int_equal(disk.bytes, 6 * MIB - 1);
    assert_true(disk.rate > 0);
    test_path(small, dir, "none");
    assert_int_equal(qm_probe_disk_read(team, small, &disk, &err), QM_INPUT);
    qm_team_destroy(team);
    test_remove_tree(dir);
    free(bytes);
}

static void put(const char *dir, const char *name, const char *text) {
    char path[TEST_PATH];
    test_path(path, dir, name);
    test_write_file(path, text, strlen(text));
}

static void add_domain(const char *powercap, const char *id, const char *name, const char *energy) {
    char dir[TEST_PATH];
    test_path(dir, powercap, id);
    mkdir(dir, 0755);
    put(dir, "name", name);
    put(dir, "energy_uj", energy);
    put(dir, "max_energy_range_uj", "10000000\n");
}

static void test_energy(void **state) {
    (void)state;
    char root[TEST_PATH], a[TEST_PATH], b[TEST_PATH];
    struct qm_energy *e;
    struct qm_error err;
    double joules;
    test_temp_dir(root);
    assert_int_equal(qm_energy_open(root, &e, &err), QM_SYSTEM);
    assert_non_null(strstr(err.message, "powercap"));
    test_path(a, root, "sys");
    mkdir(a, 0755);
    test_path(b, a, "class");
    mkdir(b, 0755);
    test_path(a, b, "powercap");
    mkdir(a, 0755);
    assert_int_equal(qm_energy_open(root, &e, &err), QM_SYSTEM);
    add_domain(a, "intel-rapl:0", "package-0\n", "9000000\n");
    add_domain(a, "intel-rapl:0:0", "core\n", "1\n");
    add_domain(a, "intel-rapl:0:1", "dram\n", "500000\n");
    add_domain(a, "intel-rapl:1", "psys\n", "1\n");
    assert_int_equal(qm_energy_open(root, &e, &err), QM_OK);
    assert_int_equal(qm_energy_domains(e), 2);
    assert_int_equal(qm_energy_joules(e, &joules, &err), QM_OK);
    assert_float_equal(joules, 0, 1e-9);
    add_domain(a, "intel-rapl:0", "package-0\n", "9500000\n");
    assert_int_equal(qm_energy_joules(e, &joules, &err), QM_OK);
    assert_float_equal(joules, 0.5, 1e-9);
    add_domain(a, "intel-rapl:0", "package-0\n", "1000000\n"); /* wrapped */
    add_domain(a, "intel-rapl:0:1", "dram\n", "600000\n");
    assert_int_equal(qm_energy_joules(e, &joules, &err), QM_OK);
    assert_float_equal(joules, 2.1, 1e-9);
    add_domain(a, "intel-rapl:0", "package-0\n", "garbage\n");
    assert_int_equal(qm_energy_joules(e, &joules, &err), QM_SYSTEM);
    qm_energy_close(e);
    assert_int_equal(qm_energy_open(root, &e, &err), QM_SYSTEM);
    test_remove_tree(root);
}

static void test_description(void **state) {
    (void)state;
    struct qm_machine m;
    struct qm_error err;
    assert_int_equal(qm_machine_describe(&m, &err), QM_OK);
    int cores = 0;
    for (int n = 0; n < m.n_nodes; n++)
        cores += m.nodes[n].cores;
    assert_int_equal(cores, m.topology.cores);
    assert_true(m.memory > 0 && m.cpus_online >= m.topology.cpus && qm_machine_cache_bytes(&m) > 0);
    assert_non_null(strstr(m.identity, m.topology.cpu_model));
    for (int k = 0; k < QM_SENSOR_COUNT; k++)
        assert_true(isnan(m.reading.value[k]) == (m.not_readable[k][0] != 0));
    qm_machine_free(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_disk),
        cmocka_unit_test(test_energy),
        cmocka_unit_test(test_description),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
