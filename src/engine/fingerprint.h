/* The one list of everything, beside the tokens, that can change a bit of keys, values and logits. Whatever is stored
 * and used again (keys and values on disk, the tokens of rows that were being generated, a job's manifest) is named by
 * it; a new input of a result is added here and nowhere else.
 *
 * Not in it, since they change no bit (engine.h): threads, NUMA nodes, the length of steps, other sequences, the
 * memory of the cache, which device computes a part, and what is streamed. */
#ifndef QM_ENGINE_FINGERPRINT_H
#define QM_ENGINE_FINGERPRINT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/engine.h"
#include "engine/placement.h"

enum qm_trait {
    QM_TRAIT_WEIGHTS,  /* content of the weights' files */
    QM_TRAIT_CONFIG,   /* fields of config.json that are not among the following */
    QM_TRAIT_EXPERTS,  /* of a token */
    QM_TRAIT_ROTATION, /* frequencies of RoPE at this context; only the dynamic kind depends on it */
    QM_TRAIT_SPLIT,    /* sums that are split by the placement */
    QM_TRAIT_KV_TYPE,  /* what keys and values are rounded to */
    QM_TRAIT_ISA,      /* whose kernels round and add in their own order */
    QM_TRAIT_KERNELS,  /* their source and compiler */
    QM_TRAIT_VERSION,  /* of the program */
    QM_TRAIT_COUNT
};

enum { QM_TRAIT_VALUE = 64 };

struct qm_fingerprint {
    char value[QM_TRAIT_COUNT][QM_TRAIT_VALUE]; /* "": not known yet */
};

/* What a fingerprint is made of; placement NULL: everything on the CPU; context 0: not known yet, if it matters. */
struct qm_fingerprint_of {
    const struct qm_model *model;
    const char *weights; /* qm_weights_hash */
    int64_t context;
    enum qm_dtype kv_type;
    enum qm_isa isa;
    const struct qm_placement *placement;
};
int qm_fingerprint_make(const struct qm_fingerprint_of *of, struct qm_fingerprint *out, struct qm_error *err);
/* The fingerprint of an engine; weights: the hash of its model's weights. */
int qm_engine_fingerprint(const struct qm_engine *e, const char *weights, struct qm_fingerprint *out,
                          struct qm_error *err);

/* All of it as one number. */
uint64_t qm_fingerprint_key(const struct qm_fingerprint *f);
/* The same without what a new build of the program changes: names the place of what is stored under the key, so that a
 * newer program finds it, and replaces it. */
uint64_t qm_fingerprint_place(const struct qm_fingerprint *f);
/* A trait that two runs of one job may differ in: each row is then of one of them. */
bool qm_trait_may_change(enum qm_trait t);
/* A lasting name of a trait, and one for people. */
const char *qm_trait_key(enum qm_trait t);
const char *qm_trait_name(enum qm_trait t);

#endif
