/* What memory is left for the keys and values of a scheduler's engine. Between engine/fit.h and whoever opens one
 * (batch jobs, the server). Pure functions. */
#ifndef QM_SESSION_SCHEDULER_FIT_H
#define QM_SESSION_SCHEDULER_FIT_H

#include <stdint.h>

#include "engine/memory.h"

/* Bytes for keys and values of an engine for a scheduler, *w being its workload, in so many bytes of free memory: what
 * is left beside weights, drafts, the scheduler itself and a reserve; 0: as much as every sequence could need. */
uint64_t qm_scheduler_kv_memory(const struct qm_model *m, const struct qm_workload *w, uint64_t memory);

#endif
