/* This machine's profile: the one that is kept, or measured now and kept. */
#ifndef QM_PLANNER_FIND_H
#define QM_PLANNER_FIND_H

#include "numa/probe.h"
#include "planner/machine.h"
#include "planner/measuring.h"
#include "planner/noise.h"
#include "planner/profile.h"
#include "simd/isa.h"

struct qm_machine_found {
    struct qm_machine_profile profile;
    struct qm_probe_disk disk; /* rate 0: not measured */
    char path[4200];           /* of the profile; "": nowhere to keep it */
    bool measured;             /* now */
};

/* refresh: measured in any case. disk: also measures how fast this path is read, or NULL. What can't be kept is noted,
 * and no failure. The calling thread must not belong to a team. */
int qm_machine_find(const struct qm_machine *m, enum qm_isa isa, bool refresh, const char *disk,
                    const struct qm_measuring *with, struct qm_machine_found *out, struct qm_error *err);

/* The kept profile alone; false where there is none that fits. cache: as in struct qm_measuring. */
bool qm_machine_kept(const struct qm_machine *m, enum qm_isa isa, const char *cache, struct qm_machine_profile *out);

/* What the planner wants to know, of the machine and its profile. Rates are the median ones. */
void qm_machine_speed(const struct qm_machine *m, const struct qm_machine_profile *p, struct qm_machine_model *out);

/* What is assumed of a machine where nothing was measured: rates by its cores and instruction set, marked default. */
void qm_machine_assume(const struct qm_machine *m, enum qm_isa isa, struct qm_machine_model *out);

/* What is to be done with a kept profile, by the noise beside it and the noise now (see qm_noise_level): on a busy
 * machine nothing is measured again; taken beside noise it is, as soon as the machine is quiet; else it is held against
 * what is read now. */
enum qm_profile_use { QM_PROFILE_KEEP, QM_PROFILE_CHECK, QM_PROFILE_AGAIN };
enum qm_profile_use qm_machine_profile_use(double kept, double now);

/* That, unless the profile was measured just now. Measured again, the quieter one is kept. Held against what is read
 * now (half a second): where the machine gives clearly more, the profile was taken while it was slow, and it is
 * measured again and kept; where it gives clearly less, predictions are for that: *speed takes the rates that are read
 * now, and the profile stays. All are noted; *speed is marked with what noise there was. */
int qm_machine_check(const struct qm_machine *m, enum qm_isa isa, const struct qm_noise *now,
                     const struct qm_measuring *with, struct qm_machine_found *found, struct qm_machine_model *speed,
                     struct qm_error *err);

#endif
