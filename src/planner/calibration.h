/* The efficiency of each kind of kernel on this machine: the share of its peak that it reaches, as it is kept beside
 * the machine's profile (kernels-HASH.json), and what follows of samples. A kept efficiency is that of one build of the
 * kernels: another one measures again. Nothing is measured here: see calibrate.h. */
#ifndef QM_PLANNER_CALIBRATION_H
#define QM_PLANNER_CALIBRATION_H

#include "base/error.h"
#include "model/model.h"
#include "planner/machine.h"
#include "planner/noise.h"
#include "simd/isa.h"

/* What is measured at once, and kept as soon as it is. */
enum qm_calibration_kernels {
    QM_KERNELS_DENSE_BF16,
    QM_KERNELS_ATTENTION_128,
    QM_KERNELS_EXPERTS_BF16,
    QM_KERNELS_ATTENTION_64,
    QM_KERNELS_EXPERTS_MXFP4,
    QM_KERNELS_DENSE_F16,
    QM_KERNELS_DENSE_F32,
    QM_CALIBRATION_KERNELS
};

/* What was measured of one kind of kernel, in rounds that lie seconds apart: what disturbs the machine for a while then
 * meets one round of a point, not all. */
enum { QM_CALIBRATION_LEAST = 3, QM_CALIBRATION_ROUNDS = 5 };
struct qm_calibration_point {
    double rows, efficiency[QM_CALIBRATION_ROUNDS];
    int n; /* how often it was timed */
};
struct qm_calibration_samples {
    struct qm_calibration_point point[QM_EFFICIENCY_POINTS];
    int points;
    double value_ns[QM_CALIBRATION_ROUNDS], route_ns[QM_CALIBRATION_ROUNDS];
    int values, routes; /* how many of these */
};
/* After three rounds of which the two highest are alike, or five. */
bool qm_calibration_settled(const struct qm_calibration_point *p);
/* The efficiency that two rounds agree on, into what they are of; of what else was measured the medians. */
void qm_calibration_conclude(enum qm_calibration_kernels part, const struct qm_calibration_samples *s,
                             struct qm_efficiency *out);

/* The kernels whose efficiency the times of a model depend on: bits 1 << enum qm_calibration_kernels. NULL: all. */
unsigned qm_calibration_needs(const struct qm_model *m);

/* What is kept of the kernels. */
struct qm_calibration {
    struct qm_efficiency efficiency; /* measured alone */
    unsigned tried;                  /* kernels that were begun: what is missing of them took too long */
    struct qm_noise noise;           /* the worst beside any of them */
};

/* The needed parts that have no measured shares. */
unsigned qm_calibration_missing(const struct qm_calibration *kept, unsigned needed);
/* The kernels that are to be measured now: nothing is kept (NULL), or something is missing; where the machine is quiet
 * also what was measured beside noise. What a busy machine did not finish is not tried again while it is busy. */
unsigned qm_calibration_due(const struct qm_calibration *kept, unsigned needed, bool quiet);

/* The kept efficiency; false where there are none that fit, *why giving the reason (its code is 0 where there is no
 * file). cache: the folder they are kept in, or NULL. *path: their file, "": nowhere. */
bool qm_calibration_load(const char *identity, enum qm_isa isa, const char *cache, struct qm_calibration *out,
                         char path[4200], struct qm_error *why);
/* Makes the directories that are missing. */
int qm_calibration_save(const char *path, const char *identity, enum qm_isa isa, const struct qm_calibration *c,
                        struct qm_error *err);
/* The kept kernels that were not measured again stand beside the new ones. */
void qm_calibration_merge(struct qm_calibration *fresh, const struct qm_calibration *kept);

/* Fills in the efficiency to predict with: what is kept, defaults for what is missing. *missing, if not NULL:
 * the needed kernels that have defaults, in words; "" where none. */
void qm_calibration_efficiency(const struct qm_calibration *kept, unsigned needed, struct qm_efficiency *out,
                               char missing[256]);

/* The file: JSON with the machine's identity, the instruction set, the build and the efficiency of the kernels that
 * were measured; since noise is recorded also which were tried, and what ran beside. Untrusted. QM_INPUT where it is
 * not one, or of another machine, instruction set or build. */
int qm_calibration_from_json(const json_t *root, const char *name, const char *identity, const char *isa,
                             const char *build, struct qm_calibration *out, struct qm_error *err);

#endif
