/* Measuring the efficiency of each kind of kernel on this machine, on small models of random weights, of
 * shapes that nobody publishes. */
#ifndef QM_PLANNER_CALIBRATE_H
#define QM_PLANNER_CALIBRATE_H

#include "numa/machine.h"
#include "planner/calibration.h"
#include "planner/measuring.h"
#include "planner/profile.h"

/* What is asked for. */
struct qm_calibration_wish {
    const struct qm_machine *machine;
    const struct qm_machine_profile *profile; /* of this machine and instruction set */
    enum qm_isa isa;
    unsigned needed; /* bits 1 << enum qm_calibration_kernels */
    bool quiet;      /* nothing disturbs the machine now */
};

/* Measures the parts that are due, where some are, and keeps them; where the kept ones were quieter they stay. After 45
 * seconds no part is begun, after 110 none is finished; for those, and where memory is short, default efficiencies
 * stand in, which is said. kept: what is there now. What can't be kept is noted, and no failure. The calling thread
 * must not belong to a team. */
int qm_calibration_measure(const struct qm_calibration_wish *w, const struct qm_measuring *with,
                           struct qm_calibration *kept, struct qm_error *err);

#endif
