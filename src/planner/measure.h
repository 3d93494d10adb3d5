/* Measuring a machine's profile: a few seconds. */
#ifndef QM_PLANNER_MEASURE_H
#define QM_PLANNER_MEASURE_H

#include "numa/probe.h"
#include "planner/measuring.h"
#include "planner/profile.h"
#include "simd/isa.h"

/* disk_path: what to read, or NULL; disk's rate is 0 then. With profile NULL only the disk is measured. Nothing is
 * kept. The calling thread must not belong to a team. */
int qm_machine_measure(const struct qm_machine *machine, enum qm_isa isa, const char *disk_path,
                       const struct qm_measuring *with, struct qm_machine_profile *profile, struct qm_probe_disk *disk,
                       struct qm_error *err);

#endif
