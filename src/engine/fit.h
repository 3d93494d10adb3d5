/* What fits into memory: how long a context, how large a pool of keys and values. The engine, plans and jobs decide by
 * these, each with its own message. Above memory.h, whose tables it compares. Pure functions. */
#ifndef QM_ENGINE_FIT_H
#define QM_ENGINE_FIT_H

#include <stdint.h>

#include "engine/memory.h"
#include "engine/placement.h"

/* Bytes of the memory that may be planned with: all but QM_MEMORY_RESERVE; 0 where that is more. */
uint64_t qm_fit_usable(uint64_t memory);

/* The longest context for what a placement leaves on the CPU (NULL: everything), a multiple of QM_CONTEXT_STEP and at
 * most the model's default maximum, with which *w takes no more than `usable` bytes; 0: none. w->context counts for
 * nothing. */
int64_t qm_fit_context(const struct qm_model *m, const struct qm_placement *p, const struct qm_workload *w,
                       uint64_t usable);

/* Bytes of `usable` that are left for keys and values beside weights, activations, drafts and `beside` bytes of others;
 * 0 where nothing is, or where all that *w's sequences could take fits too, so that the pool needs no bound. A draft
 * model has the same part of its own (qm_memory_draft_workload). */
uint64_t qm_fit_kv_memory(const struct qm_model *m, const struct qm_workload *w, uint64_t beside, uint64_t usable);

#endif
