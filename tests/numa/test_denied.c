/* A container that does not allow memory policies (as those of Docker do not): a filter on system calls stands in for
 * it. Binding is then reported and no more, and memory is there nevertheless.
 *   test_denied COMMAND...     runs that command under the filter: for the guest */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "numa/memory.h"
#include "tests/support/support.h"

enum { BYTES = 3 << 20 };

/* The system's call number is at offset 0 of what a filter sees, the architecture at 4. */
static int deny_policies(void) {
    static const unsigned denied[] = {SYS_mbind,         SYS_set_mempolicy, SYS_get_mempolicy,
                                      SYS_migrate_pages, SYS_move_pages,    450 /* set_mempolicy_home_node */};
    enum { COUNT = sizeof denied / sizeof *denied };
    struct sock_filter code[COUNT + 5] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, COUNT + 1),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    };
    for (unsigned i = 0; i < COUNT; i++)
        code[3 + i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, denied[i], COUNT - i, 0);
    code[3 + COUNT] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[4 + COUNT] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    struct sock_fprog program = {.len = COUNT + 5, .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        return -1;
    return 0;
}

enum { GOOD, NO_FILTER, ALLOWED, NOT_ALLOCATED, NOT_REPORTED, NOT_ZERO };

static int bind_denied(bool strict) {
    struct qm_memory m;
    struct qm_error err;
    if (deny_policies())
        return NO_FILTER;
    if (syscall(SYS_mbind, NULL, 0, 0, NULL, 0, 0) == 0 || errno != EPERM)
        return ALLOWED;
    if (qm_memory_alloc_on(BYTES, (struct qm_binding){.node = 0, .strict = strict}, "a test", &m, &err))
        return NOT_ALLOCATED;
    if (m.bind_error != EPERM)
        return NOT_REPORTED;
    unsigned char *bytes = m.data;
    for (size_t i = 0; i < BYTES; i += 4096)
        if (bytes[i]++)
            return NOT_ZERO;
    qm_memory_free(&m);
    return GOOD;
}

/* In a child: a filter stays. */
static void check_denied(bool strict) {
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(bind_denied(strict));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == NO_FILTER) {
        print_message("skipped: this system allows no filter on system calls\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), GOOD);
}

static void test_bind(void **state) {
    (void)state;
    check_denied(false);
}

static void test_bind_strictly(void **state) {
    (void)state;
    check_denied(true);
}

int main(int argc, char **argv) {
    if (argc > 1) {
        if (deny_policies() == 0)
            execvp(argv[1], argv + 1);
        perror(argv[1]);
        return 127;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bind),
        cmocka_unit_test(test_bind_strictly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
