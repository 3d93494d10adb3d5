/* What was measured of a machine, kept as JSON in the user's cache directory (base/cache.h): machine-HASH.json, the
 * hash being of the machine's identity and the instruction set. */
#ifndef QM_PLANNER_PROFILE_H
#define QM_PLANNER_PROFILE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "numa/machine.h"
#include "planner/noise.h"

enum { QM_SCALING_POINTS = 16, QM_PROFILE_VERSION = 3 };

/* Bytes a second that so many threads of a node read from its memory, in ascending order of threads. */
struct qm_scaling {
    int n;
    struct {
        int threads;
        double rate;
    } point[QM_SCALING_POINTS];
};

/* Rates are a second, bytes or floating-point operations. */
struct qm_machine_profile {
    char identity[256], isa[16], measured[32]; /* measured: UTC, as 2026-01-15T12:00:00Z */
    int nodes;
    struct qm_scaling scaling[QM_MAX_NODES];
    double between[QM_MAX_NODES][QM_MAX_NODES];  /* by all threads of the first out of the memory of the second */
    double read;                                 /* by all threads, each from its own node */
    double bf16_core, bf16, f32_core, f32;       /* multiply-adds of one core, of all */
    double median_read, median_bf16, median_f32; /* of all, in the median pass; the others are of the best */
    double region_us, barrier_us;
    double others, stolen; /* shares of the machine's CPU time, while it was measured, that other programs used and the
                              hypervisor took; -1: not readable */
};

/* The profile as a JSON object (NULL: out of memory), and back. Untrusted: every field must be there with a value
 * that makes sense, and no other; QM_INPUT names what is not so. */
json_t *qm_machine_profile_json(const struct qm_machine_profile *p);
int qm_machine_profile_from_json(const json_t *root, const char *name, struct qm_machine_profile *out,
                                 struct qm_error *err);

/* What ran beside it, and whether that may have spoiled it, in words (see qm_noise_text). */
struct qm_noise qm_machine_profile_noise(const struct qm_machine_profile *p);
bool qm_machine_profile_noisy(const struct qm_machine_profile *p, char *out, size_t size);

/* The fewest threads, as many on each node, with which every node's memory is read at this share of its best. */
int qm_machine_profile_threads(const struct qm_machine_profile *p, double share);

/* Where the profile of this identity and instruction set is kept in the folder `cache`. QM_INPUT where the path is too
 * long. */
int qm_machine_profile_path(const char *identity, const char *isa, const char *cache, char *out, size_t size,
                            struct qm_error *err);
/* *found is false where there is no file. A profile that can't be read, or is of another machine or instruction
 * set, is QM_INPUT with the reason. */
int qm_machine_profile_load(const char *path, const char *identity, const char *isa, struct qm_machine_profile *out,
                            bool *found, struct qm_error *err);
/* Makes the directories that are missing. */
int qm_machine_profile_save(const char *path, const struct qm_machine_profile *p, struct qm_error *err);

#endif
