/* Memory is on the node that it was bound to, and what the system refuses is reported, on machines with one node as
 * with several: of several each is tried. Faults are made by a filter on system calls, in a process of their own. */
#include "tests/support/support.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "numa/internal.h"
#include "numa/memory.h"
#include "numa/topology.h"

enum { BYTES = (8 << 20) + 12345, PAGE = 4096 };

/* What move_pages would say: pages by turns on node 3, on node 4, and not touched. */
static long by_turns(int pid, unsigned long n, void **pages, const int *nodes, int *status, int flags) {
    static const int answers[] = {3, 4, -ENOENT};
    assert_true(pid == 0 && !nodes && flags == 0);
    for (unsigned long i = 0; i < n; i++)
        status[i] = answers[(uintptr_t)pages[i] / PAGE % 3];
    return 0;
}

static long refused(int pid, unsigned long n, void **pages, const int *nodes, int *status, int flags) {
    (void)pid, (void)n, (void)pages, (void)nodes, (void)status, (void)flags;
    errno = EPERM;
    return -1;
}

static void test_counting(void **state) {
    (void)state;
    struct qm_memory m = {.data = (void *)(uintptr_t)(3 * PAGE), .bytes = 3000 * PAGE, .node = 3};
    struct qm_page_count c = {0};
    qm_memory_count_by(by_turns, &m, &c);
    assert_int_equal(c.pages, 2000);
    assert_int_equal(c.in_place, 1000);
    m.node = 4;
    m.bytes = 1;
    qm_memory_count_by(by_turns, &m, &c);
    assert_int_equal(c.pages, 2001);
    assert_int_equal(c.in_place, 1000);
    assert_int_equal(c.error, 0);
    qm_memory_count_by(refused, &m, &c);
    assert_int_equal(c.error, EPERM);
    c = (struct qm_page_count){0};
    m.node = -1; /* not distinguished */
    qm_memory_count_by(by_turns, &m, &c);
    assert_int_equal(c.pages, 0);
    /* a part of what is very large */
    m = (struct qm_memory){.data = m.data, .bytes = (size_t)1 << 40, .node = 3};
    qm_memory_count_by(by_turns, &m, &c);
    assert_in_range(c.pages, 1 << 18, 1 << 20);
}

/* The pages of one node that the calling thread, wherever it is, has written. */
static void check_node(int node, bool strict) {
    struct qm_memory m;
    struct qm_error err = {0};
    struct qm_page_count c = {0};
    if (qm_memory_alloc_on(BYTES, (struct qm_binding){node, strict}, "a test", &m, &err) != QM_OK)
        fail_msg("%s", err.message);
    if (m.bind_error)
        fail_msg("node %d: %s", node, strerror(m.bind_error));
    qm_memory_count(&m, &c);
    assert_int_equal(c.pages, 0);
    memset(m.data, 1, BYTES);
    qm_memory_count(&m, &c);
    assert_int_equal(c.error, 0);
    assert_int_equal(c.pages, m.pages == QM_PAGES_2M ? 5 : (BYTES + PAGE - 1) / PAGE);
    assert_int_equal(c.in_place, c.pages);
    qm_memory_free(&m);
}

static void test_every_node(void **state) {
    (void)state;
    struct qm_topology t;
    assert_int_equal(qm_topology_load(NULL, &t, NULL), QM_OK);
    if (access("/sys/devices/system/node/node0", F_OK) != 0) {
        print_message("skipped: this system has no NUMA nodes\n");
        qm_topology_free(&t);
        skip();
    }
    for (int i = 0; i < t.nodes; i++) {
        uint64_t available;
        int node = t.node_number[i] < 0 ? 0 : t.node_number[i];
        assert_int_equal(qm_memory_node_available(node, &available, NULL), QM_OK);
        assert_true(available > BYTES);
        check_node(node, true);
        check_node(node, false);
    }
    print_message("%d nodes distinguished\n", t.node_number[0] < 0 ? 0 : t.nodes);
    qm_topology_free(&t);
}

static void test_no_such_node(void **state) {
    (void)state;
    struct qm_memory m;
    struct qm_error err = {0};
    uint64_t bytes;
    assert_int_equal(qm_memory_alloc_on(BYTES, (struct qm_binding){1000, true}, "a test", &m, &err), QM_OK);
    assert_true(m.bind_error != 0);
    memset(m.data, 1, BYTES);
    qm_memory_free(&m);
    assert_int_equal(qm_memory_node_available(1000, &bytes, &err), QM_SYSTEM);
    assert_non_null(strstr(err.message, "node1000"));
}

/* From here on a system call fails with this error, in this process. */
static bool forbid(int call, int error) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

enum { FINE = 0, NO_FILTER = 1, WRONG = 2 };

static int without_mbind(void) {
    struct qm_memory m;
    if (!forbid(SYS_mbind, EPERM))
        return NO_FILTER;
    if (qm_memory_alloc_on(BYTES, (struct qm_binding){0, true}, "a test", &m, NULL) != QM_OK || m.bind_error != EPERM)
        return WRONG;
    memset(m.data, 1, BYTES);
    qm_memory_free(&m);
    return FINE;
}

static int without_move_pages(void) {
    struct qm_memory m;
    struct qm_page_count c = {0};
    if (!forbid(SYS_move_pages, EPERM))
        return NO_FILTER;
    if (qm_memory_alloc_on(BYTES, (struct qm_binding){0, true}, "a test", &m, NULL) != QM_OK)
        return WRONG;
    qm_memory_count(&m, &c);
    return c.error == EPERM && c.pages == 0 ? FINE : WRONG;
}

/* Memory without huge pages takes it as it is. */
static int without_madvise(void) {
    struct qm_memory m;
    if (!forbid(SYS_madvise, ENOMEM))
        return NO_FILTER;
    if (qm_memory_alloc_on(BYTES, (struct qm_binding){-1, false}, "a test", &m, NULL) != QM_OK)
        return WRONG;
    bool right = m.pages == QM_PAGES_PLAIN || m.pages == QM_PAGES_2M;
    right = right && qm_memory_take(&m, 0, BYTES) == (m.pages == QM_PAGES_PLAIN);
    right =
        right && qm_memory_use_small(&m, (struct qm_binding){-1, false}, NULL) == QM_OK && m.pages == QM_PAGES_PLAIN;
    memset(m.data, 1, BYTES);
    qm_memory_free(&m);
    return right ? FINE : WRONG;
}

static void in_a_process(int (*check)(void)) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(check());
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == NO_FILTER) {
        print_message("skipped: this system allows no filter on system calls\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), FINE);
}

static void test_mbind_refused(void **state) {
    (void)state;
    in_a_process(without_mbind);
}

static void test_move_pages_refused(void **state) {
    (void)state;
    in_a_process(without_move_pages);
}

static void test_madvise_refused(void **state) {
    (void)state;
    in_a_process(without_madvise);
}

/* Reserved huge pages that turn out to be missing: other pages at the same place. */
static void test_small_instead(void **state) {
    (void)state;
    struct qm_memory m;
    struct qm_error err = {0};
    assert_int_equal(qm_memory_alloc(BYTES, "a test", &m, &err), QM_OK);
    assert_true(qm_memory_take(&m, 0, 4 << 20));
    assert_true(qm_memory_take(&m, 4 << 20, BYTES));
    char *data = m.data;
    memset(data, 1, BYTES);
    assert_int_equal(qm_memory_use_small(&m, (struct qm_binding){.node = -1}, &err), QM_OK);
    assert_ptr_equal(m.data, data);
    assert_true(m.pages == QM_PAGES_THP || m.pages == QM_PAGES_PLAIN);
    assert_true(m.short_of_reserved);
    assert_int_equal(data[0], 0);
    memset(data, 2, BYTES);
    qm_memory_free(&m);
}

static void node_file(const char *root, const char *text) {
    char path[TEST_PATH + 64];
    snprintf(path, sizeof path, "mkdir -p %s/sys/devices/system/node/node2", root);
    assert_int_equal(system(path), 0);
    snprintf(path, sizeof path, "%s/sys/devices/system/node/node2/meminfo", root);
    test_write_file(path, text, strlen(text));
}

static void test_node_memory(void **state) {
    (void)state;
    char root[TEST_PATH];
    uint64_t bytes = 0;
    struct qm_error err = {0};
    test_temp_dir(root);
    node_file(root, "Node 2 MemTotal:  9999 kB\nNode 2 MemFree:    100 kB\nNode 2 Active(anon): 7 kB\n"
                    "Node 2 Active(file):  20 kB\nNode 2 Inactive(file):   3 kB\nNode 2 SReclaimable:  1 kB\n");
    assert_int_equal(qm_memory_node_available_at(root, 2, &bytes, &err), QM_OK);
    assert_int_equal(bytes, 124 * 1024);
    assert_int_equal(qm_memory_node_available_at(root, 1, &bytes, &err), QM_SYSTEM);
    static const char *const bad[] = {"", "Node 2 MemFree: -1 kB\n", "Node 2 MemFree: 1\n",
                                      "Node 2 MemFree: 99999999999999999999 kB\n",
                                      "Node 2 MemFree: 18014398509481984 kB\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        node_file(root, bad[i]);
        assert_int_equal(qm_memory_node_available_at(root, 2, &bytes, &err), QM_SYSTEM);
    }
    test_remove_tree(root);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counting),      cmocka_unit_test(test_every_node),
        cmocka_unit_test(test_no_such_node),  cmocka_unit_test(test_mbind_refused),
        cmocka_unit_test(test_small_instead), cmocka_unit_test(test_move_pages_refused),
        cmocka_unit_test(test_node_memory),   cmocka_unit_test(test_madvise_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
