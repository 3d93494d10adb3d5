/* What share of its limits each kind of kernel reaches on this machine: measured on small models of random weights, of
 * shapes that nobody publishes, and kept beside the machine's profile. Kept shares are those of one build of the
 * kernels: another one measures again. */
#ifndef QM_APP_CALIBRATE_H
#define QM_APP_CALIBRATE_H

#include "app/machine/profile.h"
#include "app/progress.h"
#include "model/model.h"
#include "plan/machine.h"
#include "simd/isa.h"

/* What is measured at once, and kept as soon as it is. */
enum qm_calibration_part {
    QM_PART_DENSE_BF16,
    QM_PART_ATTENTION_128,
    QM_PART_EXPERTS_BF16,
    QM_PART_ATTENTION_64,
    QM_PART_EXPERTS_MXFP4,
    QM_PART_DENSE_F16,
    QM_PART_DENSE_F32,
    QM_PARTS
};

/* The parts whose shares the times of a model depend on: bits 1 << enum qm_calibration_part. NULL: all. */
unsigned qm_calibration_needs(const struct qm_model *m);

/* The kept shares, and now those of the parts needed that are missing, which are kept too. After 45 seconds (90 in the
 * middle of a part), or where memory is short, usual shares stand in for the rest, which is said; the next call goes
 * on. profile: of this machine and instruction set. What can't be kept is noted, and no failure. The calling thread
 * must not belong to a team. */
int qm_calibration_find(const struct qm_machine *m, const struct qm_machine_profile *profile, enum qm_isa isa,
                        unsigned needed, struct qm_progress *progress, struct qm_efficiency *out, struct qm_error *err);

/* The kept shares alone, usual ones for what is missing; false where there are none that fit. */
bool qm_calibration_kept(const char *identity, enum qm_isa isa, struct qm_efficiency *out);

/* What kept shares are valid for. */
const char *qm_calibration_build(void);

/* The file: JSON with the machine's identity, the instruction set, the build and the shares of the parts that were
 * measured. Untrusted. QM_INPUT where it is not one, or of another machine, instruction set or build. */
int qm_calibration_parse(const char *text, size_t len, const char *name, const char *identity, const char *isa,
                         const char *build, struct qm_efficiency *out, struct qm_error *err);

#endif
