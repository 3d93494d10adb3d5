/* Nice value and SCHED_IDLE on every thread of a team, and what the system refuses. In a thread of its own, since
 * priorities stay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "numa/priority.h"

enum { THREADS = 4 };

struct seen {
    int nice[THREADS], policy[THREADS];
};

static void look(void *arg, int thread, int threads) {
    struct seen *s = arg;
    (void)threads;
    s->nice[thread] = getpriority(PRIO_PROCESS, 0);
    s->policy[thread] = sched_getscheduler(0);
}

static void *raise_all(void *arg) {
    struct qm_error err = {0};
    struct qm_team *team;
    struct seen *s = arg;
    if (qm_team_create(THREADS, &team, &err) != QM_OK)
        return "no team";
    qm_team_use(team, 2);
    const char *failed = qm_team_priority(team, 7, false, &err) == QM_OK ? NULL : "nice 7 was refused";
    qm_team_run(team, look, &s[0]);
    if (!failed && qm_team_priority(team, 9, true, &err) != QM_OK)
        failed = "SCHED_IDLE was refused";
    qm_team_run(team, look, &s[1]);
    qm_team_destroy(team);
    return (void *)failed;
}

static void test_every_thread(void **state) {
    (void)state;
    struct seen seen[2] = {0};
    pthread_t thread;
    void *failed;
    assert_int_equal(pthread_create(&thread, NULL, raise_all, seen), 0);
    assert_int_equal(pthread_join(thread, &failed), 0);
    if (failed)
        fail_msg("%s", (const char *)failed);
    for (int t = 0; t < THREADS; t++) {
        assert_int_equal(seen[0].nice[t], 7);
        assert_int_equal(seen[0].policy[t], SCHED_OTHER);
        assert_int_equal(seen[1].nice[t], 9);
        assert_int_equal(seen[1].policy[t], SCHED_IDLE);
    }
}

/* Without privilege a nice value can't be lowered. */
static void *lower(void *arg) {
    struct qm_error *err = arg;
    struct qm_team *team;
    if (qm_team_create(2, &team, err) != QM_OK)
        return "no team";
    const char *failed = NULL;
    if (qm_team_priority(team, -5, false, err) == QM_OK)
        failed = "allowed";
    qm_team_destroy(team);
    return (void *)failed;
}

static void test_refused(void **state) {
    (void)state;
    struct qm_error err = {0};
    struct rlimit limit;
    pthread_t thread;
    void *failed;
    assert_int_equal(getrlimit(RLIMIT_NICE, &limit), 0);
    if (geteuid() == 0 || limit.rlim_cur > 20) {
        print_message("skipped: this user may lower nice values\n");
        skip();
    }
    assert_int_equal(pthread_create(&thread, NULL, lower, &err), 0);
    assert_int_equal(pthread_join(thread, &failed), 0);
    assert_null(failed);
    assert_int_equal(err.code, QM_SYSTEM);
    assert_non_null(strstr(err.message, "-5"));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_thread), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
