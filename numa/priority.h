/* How the system schedules a team's threads beside other programs. */
#ifndef QM_NUMA_PRIORITY_H
#define QM_NUMA_PRIORITY_H

#include <stdbool.h>

#include "base/error.h"
#include "numa/team.h"

/* Every thread of the team, the caller too, gets this nice value (-20 to 19, higher gives way), and with idle the
 * policy SCHED_IDLE: it runs only while nobody else wants its core. It stays so when the team is gone. Threads that
 * a thread starts later take it over. QM_SYSTEM with the reason where the system refuses; then some threads may have
 * it. Puts all threads in use again. */
int qm_team_priority(struct qm_team *team, int nice, bool idle, struct qm_error *err);

#endif
