/* What a long job asks of the machine: not to go to sleep while it works. */
#ifndef QM_APP_BATCH_INHIBIT_H
#define QM_APP_BATCH_INHIBIT_H

#include <sys/types.h>

/* systemd-inhibit, held until the end or as long as this process lives, where there is one on PATH; where there is
 * none, or it fails or hangs, nothing. */
struct qm_inhibitor {
    pid_t child; /* 0: none */
    int pipe;
};
void qm_inhibit_sleep(struct qm_inhibitor *i);
void qm_inhibit_end(struct qm_inhibitor *i);

#endif
