/* Memory: what is allocated is zero, aligned and writable to its end, what cannot fit is refused by name,
 * and what is available follows fake /proc and cgroup trees of both versions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "numa/internal.h"
#include "numa/memory.h"

enum { MIB = 1 << 20 };

static void test_alloc(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 4096, 4097, 2 * MIB - 1, 2 * MIB, 5 * MIB + 3, 64 * MIB};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct qm_memory m;
        struct qm_error err = {0};
        if (qm_memory_alloc(sizes[i], "the test", &m, &err) != QM_OK)
            fail_msg("%s", err.message);
        assert_int_equal(m.bytes, sizes[i]);
        assert_int_equal((uintptr_t)m.data % (2 * MIB), 0);
        unsigned char *p = m.data, any = 0;
        for (size_t b = 0; b < sizes[i]; b++)
            any |= p[b];
        assert_int_equal(any, 0);
        memset(p, 0xA5, sizes[i]);
        assert_string_not_equal(qm_page_kind_name(m.pages), "?");
        qm_memory_free(&m);
        assert_null(m.data);
        qm_memory_free(&m);
    }
}

static void test_impossible_sizes(void **state) {
    (void)state;
    static const size_t sizes[] = {(size_t)1 << 50, PTRDIFF_MAX, SIZE_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct qm_memory m;
        struct qm_error err = {0};
        assert_int_equal(qm_memory_alloc(sizes[i], "the KV cache", &m, &err), QM_FIT);
        assert_non_null(strstr(err.message, "the KV cache needs"));
        assert_non_null(strstr(err.message, "GiB of memory"));
        assert_non_null(strstr(err.message, "is available"));
        assert_null(m.data);
    }
}

static void test_available_here(void **state) {
    (void)state;
    uint64_t bytes = 0;
    struct qm_error err = {0};
    if (qm_memory_available(&bytes, &err) != QM_OK)
        fail_msg("%s", err.message);
    assert_true(bytes > 0);
}

/* A tree under a temporary directory. */
struct tree {
    char root[64];
};

static void put(const struct tree *t, const char *path, const char *text) {
    char full[512];
    snprintf(full, sizeof full, "%s%s", t->root, path);
    for (char *s = full + strlen(t->root) + 1; (s = strchr(s, '/')) != NULL; s++) {
        *s = '\0';
        mkdir(full, 0700);
        *s = '/';
    }
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where) {
    (void)st, (void)type, (void)where;
    return remove(path);
}

static void start(struct tree *t) {
    strcpy(t->root, "/tmp/qm-test-memory-XXXXXX");
    assert_non_null(mkdtemp(t->root));
    put(t, "/proc/meminfo", "MemTotal:       1000 kB\nMemFree:  20 kB\nMemAvailable:     800 kB\n");
}

static void finish(const struct tree *t) {
    nftw(t->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void expect(const struct tree *t, uint64_t expected) {
    uint64_t bytes = 0;
    struct qm_error err = {0};
    if (qm_memory_available_at(t->root, &bytes, &err) != QM_OK)
        fail_msg("%s", err.message);
    assert_int_equal(bytes, expected);
}

static void expect_refused(const struct tree *t, const char *part) {
    uint64_t bytes = 7;
    struct qm_error err = {0};
    assert_int_equal(qm_memory_available_at(t->root, &bytes, &err), QM_SYSTEM);
    if (!strstr(err.message, part))
        fail_msg("no '%s' in: %s", part, err.message);
    assert_int_equal(bytes, 7);
}

static void test_version_2(void **state) {
    (void)state;
    struct tree t;
    start(&t);
    expect(&t, 800 * 1024);
    put(&t, "/proc/self/mountinfo",
        "22 1 0:20 / /proc rw - proc proc rw\n31 23 0:28 / /cg\\040roup rw shared:4 - cgroup2 cgroup2 rw\n");
    put(&t, "/proc/self/cgroup", "0::/pod/engine\n");
    expect(&t, 800 * 1024);
    put(&t, "/cg roup/pod/engine/memory.max", "max\n");
    put(&t, "/cg roup/pod/engine/memory.current", "1000\n");
    expect(&t, 800 * 1024);
    /* The ancestor's limit binds, less what cannot be reclaimed. */
    put(&t, "/cg roup/pod/memory.max", "500000\n");
    put(&t, "/cg roup/pod/memory.current", "300000\n");
    expect(&t, 200000);
    put(&t, "/cg roup/pod/memory.stat", "anon 5\ninactive_file 100000\nactive_file 50000\nslab 9\n");
    expect(&t, 350000);
    /* A limit above MemAvailable binds by what is used. */
    put(&t, "/cg roup/pod/engine/memory.max", "1000000\n");
    put(&t, "/cg roup/pod/engine/memory.current", "999000\n");
    expect(&t, 1000);
    put(&t, "/cg roup/pod/engine/memory.current", "1000001\n");
    expect(&t, 0);
    finish(&t);
}

static void test_version_1(void **state) {
    (void)state;
    struct tree t;
    start(&t);
    /* As in a container without a cgroup namespace: the mount shows the container's part of the tree. */
    put(&t, "/proc/self/mountinfo",
        "35 31 0:32 /docker/abc /sys/cpu rw - cgroup cgroup rw,cpu,memoryless\n"
        "36 31 0:33 /docker/abc /sys/memory rw - cgroup cgroup rw,memory\n"
        "38 31 0:41 / /sys/unified rw - cgroup2 cgroup2 rw\n");
    put(&t, "/proc/self/cgroup", "4:cpu,memory:/docker/abc/in\n1:name=systemd:/\n0::/\n");
    put(&t, "/sys/memory/memory.limit_in_bytes", "400000\n");
    put(&t, "/sys/memory/memory.usage_in_bytes", "100000\n");
    put(&t, "/sys/memory/memory.stat", "inactive_file 7\ntotal_inactive_file 30000\ntotal_active_file 20000\n");
    put(&t, "/sys/memory/in/memory.limit_in_bytes", "9223372036854771712\n");
    put(&t, "/sys/memory/in/memory.usage_in_bytes", "100000\n");
    expect(&t, 350000);
    /* A name outside the part that is shown: the mount's own level. */
    put(&t, "/proc/self/cgroup", "4:memory:/docker/abcd\n");
    expect(&t, 350000);
    put(&t, "/proc/self/cgroup", "4:memory:/../other\n");
    expect(&t, 350000);
    finish(&t);
}

static void expect_quota(const struct tree *t, double expected) {
    double quota = qm_cpu_quota_at(t->root);
    if (quota < expected - 1e-9 || quota > expected + 1e-9)
        fail_msg("expected a quota of %g CPUs, found %g", expected, quota);
}

static void test_limits_of_version_2(void **state) {
    (void)state;
    struct tree t;
    start(&t);
    expect_quota(&t, 0);
    assert_true(qm_memory_limit_at(t.root) == UINT64_MAX);
    put(&t, "/proc/self/mountinfo", "31 23 0:28 / /cg rw - cgroup2 cgroup2 rw\n");
    put(&t, "/proc/self/cgroup", "0::/user.slice/job\n");
    put(&t, "/cg/user.slice/job/cpu.max", "max 100000\n");
    expect_quota(&t, 0);
    /* an ancestor's counts, and of several the least */
    put(&t, "/cg/user.slice/cpu.max", "150000 100000\n");
    expect_quota(&t, 1.5);
    put(&t, "/cg/user.slice/job/cpu.max", "25000 50000\n");
    expect_quota(&t, 0.5);
    put(&t, "/cg/user.slice/job/cpu.max", "nonsense\n");
    expect_quota(&t, 1.5);
    /* memory.high slows a process down long before memory.max ends it */
    put(&t, "/cg/user.slice/memory.max", "max\n");
    put(&t, "/cg/user.slice/memory.high", "300000\n");
    put(&t, "/cg/user.slice/memory.current", "100000\n");
    expect(&t, 200000);
    assert_int_equal(qm_memory_limit_at(t.root), 300000);
    finish(&t);
}

static void test_limits_of_version_1(void **state) {
    (void)state;
    struct tree t;
    start(&t);
    put(&t, "/proc/self/mountinfo",
        "35 31 0:32 /docker/abc /sys/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
        "36 31 0:33 /docker/abc /sys/memory rw - cgroup cgroup rw,memory\n"
        "38 31 0:41 / /sys/unified rw - cgroup2 cgroup2 rw\n");
    put(&t, "/proc/self/cgroup", "5:cpu,cpuacct:/docker/abc/in\n4:memory:/docker/abc\n0::/\n");
    put(&t, "/sys/cpu,cpuacct/in/cpu.cfs_quota_us", "-1\n");
    put(&t, "/sys/cpu,cpuacct/in/cpu.cfs_period_us", "100000\n");
    expect_quota(&t, 0);
    put(&t, "/sys/cpu,cpuacct/cpu.cfs_quota_us", "50000\n");
    expect_quota(&t, 0);
    put(&t, "/sys/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    expect_quota(&t, 0.5);
    put(&t, "/sys/cpu,cpuacct/in/cpu.cfs_quota_us", "20000\n");
    expect_quota(&t, 0.2);
    put(&t, "/sys/memory/memory.limit_in_bytes", "400000\n");
    put(&t, "/sys/memory/memory.usage_in_bytes", "1\n");
    assert_int_equal(qm_memory_limit_at(t.root), 400000);
    finish(&t);
}

static void test_malformed(void **state) {
    (void)state;
    static const char *const numbers[] = {"", "-1\n", "12x\n", " 12\n", "99999999999999999999999\n"};
    struct tree t;
    start(&t);
    put(&t, "/proc/self/mountinfo", "31 23 0:28 / /cg rw - cgroup2 cgroup2 rw\n");
    put(&t, "/proc/self/cgroup", "0::/a\n");
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        put(&t, "/cg/a/memory.max", numbers[i]);
        expect_refused(&t, "/cg/a/memory.max: expected a number");
    }
    put(&t, "/cg/a/memory.max", "5000\n");
    put(&t, "/cg/a/memory.current", "50\n");
    put(&t, "/cg/a/memory.stat", "active_file many\n");
    expect_refused(&t, "memory.stat: expected a number of bytes");
    put(&t, "/proc/self/cgroup", "nonsense\n");
    expect_refused(&t, "cgroup: expected id:controllers");
    put(&t, "/proc/self/mountinfo", "31 23 0:28 / /cg rw cgroup2\n");
    expect_refused(&t, "mountinfo: expected ' - '");
    put(&t, "/proc/meminfo", "MemAvailable: 12 MB\n");
    expect_refused(&t, "meminfo: expected MemAvailable in kB");
    put(&t, "/proc/meminfo", "MemFree: 12 kB\n");
    expect_refused(&t, "no MemAvailable");
    finish(&t);
    expect_refused(&t, "not there");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alloc),
        cmocka_unit_test(test_impossible_sizes),
        cmocka_unit_test(test_available_here),
        cmocka_unit_test(test_version_2),
        cmocka_unit_test(test_version_1),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_limits_of_version_2),
        cmocka_unit_test(test_limits_of_version_1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
