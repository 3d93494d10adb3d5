/* Measuring what share of its limits each kind of kernel reaches on this machine, on small models of random weights, of
 * shapes that nobody publishes. */
#ifndef QM_PLANNER_CALIBRATE_H
#define QM_PLANNER_CALIBRATE_H

#include "numa/machine.h"
#include "planner/calibration.h"
#include "planner/measuring.h"
#include "planner/profile.h"

/* Measures the parts that are due, where some are, and keeps them; where the kept ones were quieter they stay. After 45
 * seconds no part is begun, after 110 none is finished; for those, and where memory is short, default shares stand in,
 * which is said. profile: of this machine and instruction set. kept: what is there, taken and changed. What can't be
 * kept is noted, and no failure. The calling thread must not belong to a team. */
int qm_calibration_measure(const struct qm_machine *m, const struct qm_machine_profile *profile, enum qm_isa isa,
                           unsigned needed, bool quiet, const struct qm_measuring *with, struct qm_calibration *kept,
                           struct qm_error *err);

#endif
