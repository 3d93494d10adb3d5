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
    struct qm_memory_table t;
    qm_memory_estimate(m, w, &t);
    uint64_t others = t.weights + t.scratch + beside;
    return others + t.kv > usable && others < usable ? usable - others : 0;
}
