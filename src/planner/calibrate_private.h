/* Calibration by other means than this machine's: what is measured, and by which clock. For its tests. */
#ifndef QM_PLANNER_CALIBRATE_PRIVATE_H
#define QM_PLANNER_CALIBRATE_PRIVATE_H

#include "planner/calibrate.h"
#include "planner/calibrate_round.h"

struct qm_calibration_means {
    /* As qm_calibrate_round, qm_now and qm_noise_end. */
    int (*one_round)(enum qm_calibration_kernels part, const struct qm_calibration_setup *s,
                     struct qm_calibration_samples *samples, struct qm_error *err);
    double (*now)(void);
    struct qm_noise (*noise)(const struct qm_noise_watch *w);
};

/* qm_calibration_measure is this one by this machine's means. */
int qm_calibration_measure_by(const struct qm_calibration_means *by, const struct qm_calibration_wish *w,
                              const struct qm_measuring *with, struct qm_calibration *kept, struct qm_error *err);

#endif
