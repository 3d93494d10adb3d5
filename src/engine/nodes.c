/* Shares of nodes: panels by threads, keys and values by head or by ranges of pages. */
#include "engine/nodes.h"

#include "engine/units.h"
#include "numa/team.h"

enum { SMALL_PAGE = 4096, LARGE_PAGE = 2 << 20 };

struct qm_node_range qm_node_range_in(const struct qm_team *team, int node) {
    struct qm_node_range s = {.node = node, .nodes = qm_team_nodes(team), .all = qm_team_threads(team)};
    int64_t end;
    qm_team_node_part(team, s.all, node, &s.first, &end);
    s.threads = end - s.first;
    return s;
}

struct qm_node_range qm_node_range_of(const struct qm_workload *w, int node) {
    int64_t nodes = w->nodes > 1 ? w->nodes : 1, first = w->threads * node / nodes;
    return (struct qm_node_range){.node = node,
                                  .nodes = (int)nodes,
                                  .first = first,
                                  .threads = w->threads * (node + 1) / nodes - first,
                                  .all = w->threads};
}

void qm_node_panels(const struct qm_weight *w, const struct qm_node_range *s, int64_t *first, int64_t *end) {
    int64_t unit = qm_role_is_gate_up(w->role) ? 2 : 1, panels = (w->n + QM_PANEL_ROWS - 1) / QM_PANEL_ROWS;
    panels = w->vector ? 0 : panels;
    *first = panels / unit * s->first / s->all * unit;
    *end = panels / unit * (s->first + s->threads) / s->all * unit;
}

uint64_t qm_node_weight_bytes(const struct qm_weight *w, int64_t experts, const struct qm_node_range *s) {
    int64_t first, end;
    if (w->vector)
        return s->node == 0 ? qm_weight_part_bytes(w, experts) : 0;
    qm_node_panels(w, s, &first, &end);
    return (uint64_t)experts * (uint64_t)(end - first) * qm_plan_panel_bytes(qm_packed_type(w), w->k);
}

uint64_t qm_node_weights(const struct qm_model *m, const struct qm_placement *p, int device,
                         const struct qm_node_range *s) {
    uint64_t total = 0;
    for (int64_t i = 0; i < m->n_weights; i++) {
        struct qm_weight_part part = qm_placement_part(p, m, &m->weights[i], device);
        total += qm_node_weight_bytes(&part.weight, part.experts, s);
    }
    return total;
}

void qm_node_memory(const struct qm_model *m, const struct qm_workload *w, const struct qm_placement *p, int node,
                    struct qm_node_memory *out) {
    const struct qm_config *c = &m->config;
    struct qm_node_range s = qm_node_range_of(w, node);
    struct qm_scratch_layout scratch;
    qm_scratch_plan(m, w, &scratch);
    *out = (struct qm_node_memory){.weights = qm_node_weights(m, p, QM_DEVICE_CPU, &s)};
    uint64_t page = qm_kv_key_bytes(w->kv_type, c->head_dim) + qm_kv_value_bytes(w->kv_type, c->head_dim);
    for (int64_t l = 0; l < c->layers; l++) {
        int64_t pages = qm_kv_pool_pages(c, w, c->layer[l].window), heads = c->kv_heads;
        if (heads % s.nodes == 0)
            heads /= s.nodes;
        else
            pages = pages * (node + 1) / s.nodes - pages * node / s.nodes;
        out->kv += p && p->layer[l].attention != QM_DEVICE_CPU ? 0 : (uint64_t)(heads * pages) * page;
    }
    uint64_t of_threads = (uint64_t)s.threads * scratch.thread_bytes, shared = node == 0 ? scratch.thread0 : 0;
    uint64_t logits = p && node == 0 ? qm_placement_logit_bytes(p, m, w, QM_DEVICE_CPU) : 0;
    shared += p && node == 0 ? qm_placement_sum_bytes(p, m, w, QM_DEVICE_CPU) : 0;
    out->activations = of_threads + shared + logits;
    out->slack = qm_page_slack(out->weights) + qm_page_slack(out->kv) + qm_page_slack(of_threads) +
                 qm_page_slack(shared) + qm_page_slack(logits);
}

uint64_t qm_page_slack(uint64_t bytes) {
    uint64_t page = bytes < LARGE_PAGE ? SMALL_PAGE : LARGE_PAGE;
    return (page - bytes % page) % page;
}

uint64_t qm_slack(const struct qm_placement *p, const struct qm_model *m, const struct qm_workload *w, int device) {
    uint64_t slack = 0;
    for (int node = 0; device == QM_DEVICE_CPU && (node == 0 || node < w->nodes); node++) {
        struct qm_node_memory on;
        qm_node_memory(m, w, p, node, &on);
        slack += on.slack;
    }
    if (device == QM_DEVICE_CPU)
        return slack;
    struct qm_device_memory on;
    qm_placement_memory(p, m, w, device, &on);
    return qm_page_slack(on.weights) + qm_page_slack(on.kv) + qm_page_slack(on.activations) +
           qm_page_slack(on.workspace);
}
