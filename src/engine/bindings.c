/* What fits, and which node gets which part for sure. */
#include "engine/bindings.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/size.h"
#include "engine/fit.h"
#include "engine/nodes.h"

/* Left to others, on the machine and on each node: page tables, buffers, what is allocated meanwhile. */
enum { NODE_RESERVE_BYTES = 128 << 20 };

static int refuse_memory(const struct qm_model *m, const struct qm_workload *w, const struct qm_memory_table *t,
                         uint64_t available, struct qm_error *err) {
    int64_t tokens = w->context * w->sequences;
    if (w->kv_memory)
        tokens = qm_kv_pool_pages(&m->config, w, qm_kv_main_window(&m->config)) * QM_KV_PAGE_TOKENS;
    const char *part = qm_memory_short_part(t->weights, t->scratch, t->maps, t->drafts, available);
    enum qm_remedy less = t->weights > available ? QM_REMEDY_NONE
                          : w->kv_memory         ? QM_REMEDY_SMALLER_KV_MEMORY
                                                 : QM_REMEDY_SMALLER_CONTEXT;
    char drafts[48] = "";
    if (t->drafts)
        snprintf(drafts, sizeof drafts, ", drafts %.2f", qm_gib(t->drafts));
    int rc = qm_fail(err, QM_FIT,
                     "not enough memory for the %s: %.2f GiB needed (weights %.2f, KV cache for %lld tokens %.2f, "
                     "activations %.2f%s), %.2f GiB available",
                     part, qm_gib(t->total), qm_gib(t->weights), (long long)tokens, qm_gib(t->kv), qm_gib(t->scratch),
                     drafts, qm_gib(available));
    return qm_remedy(err, less, rc);
}

int qm_bindings_fit(const struct qm_model *m, const struct qm_placement *p, int64_t asked, uint64_t most,
                    struct qm_workload *w, struct qm_memory_table *t, struct qm_error *err) {
    uint64_t available;
    int rc = qm_memory_available(&available, err);
    if (rc)
        return rc;
    available += qm_memory_reserved();
    available = available < most ? available : most;
    available = qm_fit_usable(available);
    w->context = asked ? asked : m->config.default_positions;
    qm_placement_estimate(p, m, w, t);
    if (t->total <= available)
        return QM_OK;
    if (asked)
        return refuse_memory(m, w, t, available, err);
    int64_t fits = qm_fit_context(m, p, w, available);
    w->context = fits ? fits : QM_CONTEXT_STEP;
    qm_placement_estimate(p, m, w, t);
    return fits ? QM_OK : refuse_memory(m, w, t, available, err);
}

uint64_t qm_bindings_available(const struct qm_team *team) {
    uint64_t total = 0;
    for (int node = 0; node < qm_team_nodes(team); node++) {
        uint64_t bytes;
        int number = qm_team_node_number(team, node);
        if (number < 0 || qm_memory_node_available(number, &bytes, NULL))
            return UINT64_MAX;
        total += bytes;
    }
    return total;
}

/* Keys and values by equal parts, activations by threads. */
static uint64_t needed(const struct qm_model *m, const struct qm_placement *p, const struct qm_workload *w,
                       const struct qm_memory_table *table, const struct qm_team *team, int node) {
    const struct qm_node_range share = qm_node_range_in(team, node);
    return qm_node_weights(m, p, QM_DEVICE_CPU, &share) + table->kv / (uint64_t)share.nodes +
           table->scratch / (uint64_t)w->threads * (uint64_t)share.threads;
}

int qm_bindings_plan(const struct qm_model *m, const struct qm_placement *p, const struct qm_workload *w,
                     const struct qm_memory_table *table, const struct qm_team *team, struct qm_binding *bindings,
                     struct qm_buf *notes, struct qm_error *err) {
    int rc = QM_OK;
    for (int node = 0; !rc && node < qm_team_nodes(team); node++) {
        struct qm_binding *binding = &bindings[node];
        *binding = (struct qm_binding){.node = qm_team_node_number(team, node)};
        uint64_t available, need = needed(m, p, w, table, team, node);
        if (binding->node < 0)
            continue;
        struct qm_error why = {0};
        if (qm_memory_node_available(binding->node, &available, &why)) {
            rc = qm_buf_printf(notes, err, "NUMA node %d: its free memory can't be read (%s)\n", binding->node,
                               why.message);
            continue;
        }
        binding->strict = need + NODE_RESERVE_BYTES <= available;
        if (!binding->strict)
            rc =
                qm_buf_printf(notes, err,
                              "NUMA node %d has %.2f GiB left of %.2f needed there: the rest goes to other nodes, from "
                              "where it is read more slowly\n",
                              binding->node, qm_gib(available), qm_gib(need));
    }
    return rc;
}

int qm_bindings_check_devices(const struct qm_model *m, const struct qm_placement *p, const struct qm_workload *w,
                              const char *const *names, uint64_t available, struct qm_buf *notes,
                              struct qm_error *err) {
    int rc = QM_OK;
    struct qm_memory_table cpu;
    qm_placement_estimate(p, m, w, &cpu);
    for (int d = 1; d < p->devices && !rc; d++) {
        struct qm_device_memory on;
        qm_placement_memory(p, m, w, d, &on);
        uint64_t need = cpu.total + on.weights + on.kv + QM_MEMORY_RESERVE;
        if (on.weights + on.kv == 0 || need <= available)
            continue;
        rc = qm_buf_printf(notes, err,
                           "if %s fails, this ends: what is there needs %.2f GiB more memory than is available\n",
                           names[d - 1], qm_gib(need - available));
    }
    return rc;
}

struct taking {
    struct qm_team *team;
    const struct qm_memory *memory;
    _Atomic int *failed; /* [nodes] */
};

static void take_region(void *arg, int thread, int threads) {
    enum { UNIT = 1 << 21 };
    struct taking *t = arg;
    struct qm_team_place place = qm_team_place(t->team, thread);
    const struct qm_memory *m = &t->memory[place.node];
    int64_t begin, end;
    (void)threads;
    qm_team_range((int64_t)(m->bytes + UNIT - 1) / UNIT, place.index, place.count, &begin, &end);
    size_t last = (size_t)end * UNIT < m->bytes ? (size_t)end * UNIT : m->bytes;
    if (m->data && !qm_memory_take(m, (size_t)begin * UNIT, last))
        atomic_store(&t->failed[place.node], 1);
}

int qm_bindings_take(struct qm_team *team, const struct qm_binding *bindings, struct qm_memory *memory,
                     struct qm_error *err) {
    int nodes = qm_team_nodes(team), rc = QM_OK;
    struct taking t = {.team = team, .memory = memory, .failed = calloc((size_t)nodes, sizeof *t.failed)};
    if (!t.failed)
        return qm_fail_memory(err, (uint64_t)nodes * sizeof *t.failed, "the NUMA nodes");
    qm_team_run(team, take_region, &t);
    for (int node = 0; node < nodes && !rc; node++)
        if (atomic_load(&t.failed[node]))
            rc = qm_memory_use_small(&memory[node], bindings[node], err);
    free(t.failed);
    return rc;
}
