/* The machine for people: what it is, and bars and a matrix of what was measured. To standard output. */
#ifndef QM_APP_MACHINE_PICTURE_H
#define QM_APP_MACHINE_PICTURE_H

#include "numa/probe.h"
#include "planner/profile.h"
#include "simd/isa.h"

int qm_picture_machine(const struct qm_machine *m, enum qm_isa isa, struct qm_error *err);
int qm_picture_profile(const struct qm_machine_profile *p, struct qm_error *err);
int qm_picture_disk(const struct qm_probe_disk *d, struct qm_error *err);

#endif
