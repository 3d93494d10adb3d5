/* One round over one kind of kernel of the calibration: each of its points timed once, by steps of small models. */
#ifndef QM_PLANNER_CALIBRATE_ROUND_H
#define QM_PLANNER_CALIBRATE_ROUND_H

#include "numa/machine.h"
#include "planner/calibration.h"
#include "planner/profile.h"

/* What is timed, on what. */
struct qm_calibration_setup {
    const struct qm_machine *machine;
    const struct qm_machine_profile *profile; /* of this machine and instruction set */
    enum qm_isa isa;
    double until; /* by qm_now: what is not measured then is given up */
};

/* Times the points of one part that are not settled, once each, into *samples. QM_STOPPED after s->until. */
int qm_calibrate_round(enum qm_calibration_kernels part, const struct qm_calibration_setup *s,
                       struct qm_calibration_samples *samples, struct qm_error *err);

#endif
