/* Each thread asks for itself, in a region: Linux keeps nice values and policies by thread. */
#include "numa/priority.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>

struct request {
    int nice;
    bool idle;
    _Atomic int nice_errno, idle_errno;
};

static void ask(void *arg, int thread, int threads) {
    struct request *r = arg;
    (void)thread, (void)threads;
    if (setpriority(PRIO_PROCESS, 0, r->nice) != 0)
        atomic_store(&r->nice_errno, errno);
    if (r->idle && sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){0}) != 0)
        atomic_store(&r->idle_errno, errno);
}

int qm_team_priority(struct qm_team *team, int nice, bool idle, struct qm_error *err) {
    struct request r = {.nice = nice, .idle = idle};
    qm_team_use(team, qm_team_threads(team));
    qm_team_run(team, ask, &r);
    if (r.nice_errno)
        return qm_fail(err, QM_SYSTEM, "the system refuses a nice value of %d: %s", nice, strerror(r.nice_errno));
    if (r.idle_errno)
        return qm_fail(err, QM_SYSTEM, "the system refuses SCHED_IDLE: %s", strerror(r.idle_errno));
    return QM_OK;
}
