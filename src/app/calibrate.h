/* What share of its limits each kind of kernel reaches on this machine: measured on small models of random weights, of
 * shapes that nobody publishes, and kept beside the machine's profile. */
#ifndef QM_APP_CALIBRATE_H
#define QM_APP_CALIBRATE_H

#include "app/machine_profile.h"
#include "app/progress.h"
#include "plan/machine.h"
#include "simd/isa.h"

/* The kept shares, or measured now (some seconds) and kept. profile: of this machine and instruction set. What can't be
 * kept is noted, and no failure; where there is too little memory to measure, usual shares are taken. The calling
 * thread must not belong to a team. */
int qm_calibration_find(const struct qm_machine *m, const struct qm_machine_profile *profile, enum qm_isa isa,
                        bool refresh, struct qm_progress *progress, struct qm_efficiency *out, struct qm_error *err);

/* The kept shares alone; false where there are none that fit. */
bool qm_calibration_kept(const char *identity, const char *isa, struct qm_efficiency *out);

/* The file: JSON with the machine's identity, the instruction set and the shares. Untrusted. QM_INPUT where it is not
 * one, or of another machine or instruction set. */
int qm_calibration_parse(const char *text, size_t len, const char *name, const char *identity, const char *isa,
                         struct qm_efficiency *out, struct qm_error *err);

#endif
