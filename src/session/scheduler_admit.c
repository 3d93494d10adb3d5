/* Who joins: in order, while there are sequences. */
#include "session/scheduler_internal.h"

/* False where it has to wait after all. */
static bool admit(struct qm_scheduler *s, struct scheduled *q) {
    struct qm_error err;
    int rc = scheduled_start(s, q, &err);
    if (rc == QM_FIT && s->n_running)
        return false;
    if (rc) {
        scheduled_end(s, q, rc, &err, QM_FINISH_INTERRUPTED);
        return true;
    }
    scheduler_replay(s, q);
    return true;
}

void scheduler_admit(struct qm_scheduler *s) {
    while (s->first && s->n_running < s->slots && admit(s, s->first))
        ;
}
