/* What fits: tables of memory.h against what there is. */
#include "engine/fit.h"

uint64_t qm_fit_usable(uint64_t memory) {
    return memory > QM_MEMORY_RESERVE ? memory - QM_MEMORY_RESERVE : 0;
}

int64_t qm_fit_context(const struct qm_model *m, const struct qm_placement *p, const struct qm_workload *w,
                       uint64_t usable) {
    struct qm_workload try = *w;
    int64_t low = 0, high = m->config.default_positions / QM_CONTEXT_STEP + 1; /* in steps: low fits or is 0 */
    while (high - low > 1) {
        struct qm_memory_table t;
        int64_t middle = low + (high - low) / 2;
        try.context = middle * QM_CONTEXT_STEP;
        qm_placement_estimate(p, m, &try, &t);
        *(t.total <= usable ? &low : &high) = middle;
    }
    return low * QM_CONTEXT_STEP;
}

uint64_t qm_fit_kv_memory(const struct qm_model *m, const struct qm_workload *w, uint64_t beside, uint64_t usable) {
    struct qm_workload try = *w;
    struct qm_memory_table t;
    try.kv_memory = 0;
    qm_memory_estimate(m, &try, &t);
    if (t.total + beside <= usable)
        return 0;
    uint64_t others = t.weights + t.scratch + beside, low = 0, high = t.kv; /* low fits or is 0 */
    if (!w->drafts.model) {
        others += t.drafts;
        return others < usable ? usable - others : 0;
    }
    while (high - low > 1) {
        try.kv_memory = low + (high - low) / 2;
        *(others + try.kv_memory + qm_memory_draft_bytes(m, &try) <= usable ? &low : &high) = try.kv_memory;
    }
    return low;
}
