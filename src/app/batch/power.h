/* What a long job asks of the machine: not to go to sleep while it works, and whether it runs on battery. */
#ifndef QM_APP_BATCH_POWER_H
#define QM_APP_BATCH_POWER_H

#include <stdbool.h>
#include <sys/types.h>

/* systemd-inhibit, held until the end or as long as this process lives, where there is one on PATH; where there is
 * none, or it fails or hangs, nothing. */
struct qm_inhibitor {
    pid_t child; /* 0: none */
    int pipe;
};
void qm_inhibit_sleep(struct qm_inhibitor *i);
void qm_inhibit_end(struct qm_inhibitor *i);

/* root: put before /sys ("" is the machine itself). True where no mains supply is connected and a battery discharges.
 */
bool qm_on_battery(const char *root);

#endif
