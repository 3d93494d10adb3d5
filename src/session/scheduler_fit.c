/* What is left beside everything else. */
#include "session/scheduler_fit.h"

#include "engine/fit.h"
#include "session/scheduler.h"

uint64_t qm_scheduler_kv_memory(const struct qm_model *m, const struct qm_workload *w, uint64_t memory) {
    static const uint64_t least_reserve = QM_MEMORY_RESERVE;
    uint64_t reserve = memory / 20 > least_reserve ? memory / 20 : least_reserve;
    uint64_t running = qm_scheduler_bytes(m->config.vocab, w->sequences, w->threads);
    return qm_fit_kv_memory(m, w, running + reserve, memory);
}
