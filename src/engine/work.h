/* What a step costs at least, counted from the model: floating-point operations, and bytes that must come from
 * memory. Pure functions.
 *
 * FLOPs are two for each multiply-add of the products with weights (an expert's only for the tokens routed to
 * it; the head only for the positions whose logits are asked for) and of attention (a token's keys and values
 * alone: the causal half, and no more than its window). Bytes are the packed weights once, however many tokens
 * share them, and the keys and values that were there before, once. As many experts count as t tokens with k of E
 * experts each are expected to touch if all are equally likely: E (1 - (1 - k / E)^t). */
#ifndef QM_ENGINE_WORK_H
#define QM_ENGINE_WORK_H

#include <stdint.h>

#include "model/model.h"

struct qm_work {
    double flops;
    double weight_bytes; /* of weights that are read */
    double kv_bytes;     /* of keys and values that are read */
};

/* Adds the work of one step in which each of `sequences` sequences, holding `position` tokens, takes n more and
 * asks for n_logits of them. */
void qm_work_add_step(const struct qm_model *m, enum qm_dtype kv_type, int64_t sequences, int64_t position, int64_t n,
                      int64_t n_logits, struct qm_work *work);

/* Keys that tokens [position, position + n) of a sequence see, their own included: each sees all before it, at most
 * `window` (0: all). */
double qm_work_keys(int64_t position, int64_t n, int64_t window);

/* The seconds that the work takes at the limits given (a second), the longer of reading and computing. */
static inline double qm_work_seconds(const struct qm_work *w, double bytes_per_second, double flops_per_second) {
    double reading = (w->weight_bytes + w->kv_bytes) / bytes_per_second, computing = w->flops / flops_per_second;
    return reading > computing ? reading : computing;
}

#endif
