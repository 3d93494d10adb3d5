/* Memory for a model's weights: what of each is where, one allocation a node. They are read by packed_load.c. */
#include "engine/packed.h"

#include <stdlib.h>

#include "engine/bindings.h"
#include "engine/nodes.h"
#include "engine/units.h"

struct qm_packed_range qm_packed_range_of(const struct qm_weight_part *part, const struct qm_team *team, int node) {
    const struct qm_weight *w = &part->weight;
    struct qm_node_range s = qm_node_range_in(team, node);
    struct qm_packed_range r = {0};
    qm_node_panels(w, &s, &r.first, &r.end);
    r.expert_stride = (uint64_t)(r.end - r.first) * (w->vector ? 0 : qm_plan_panel_bytes(qm_packed_type(w), w->k));
    r.first += part->panel;
    r.end += part->panel;
    return r;
}

static uint64_t bytes_on(const struct qm_weight_part *part, const struct qm_team *team, int node) {
    struct qm_node_range s = qm_node_range_in(team, node);
    return qm_node_weight_bytes(&part->weight, part->experts, &s);
}

/* Where the experts of each layer lie among those that are there. */
static void number_slots(const struct qm_placement *p, int device, int32_t *slots) {
    for (int64_t l = 0; l < p->layers; l++)
        for (int64_t e = 0, n = 0; e < p->experts; e++)
            slots[l * p->experts + e] = qm_placement_expert(p, l, e) == device ? (int32_t)n++ : -1;
}

static int layout(const struct qm_packed_setup *s, struct qm_packed *out, struct qm_error *err) {
    const struct qm_model *m = s->model;
    const struct qm_placement *p = s->placement;
    int rc = QM_OK;
    for (int node = 0; !rc && node < out->nodes; node++) {
        const struct qm_node_range share = qm_node_range_in(s->team, node);
        uint64_t total = qm_node_weights(m, p, s->device, &share);
        if (total)
            rc = qm_memory_alloc_on(total, s->bindings[node], "weights", &out->memory[node], err);
        uint8_t *at = out->memory[node].data;
        for (int64_t i = 0; !rc && i < m->n_weights; i++) {
            const struct qm_weight *w = &m->weights[i];
            struct qm_packed_weight *to = &out->weights[i];
            struct qm_weight_part part = qm_placement_part(p, m, w, s->device);
            bool of_experts = p && qm_unit_of(m, w) == QM_UNIT_EXPERT;
            if (node == 0)
                qm_panels_describe(w, &part, of_experts ? out->slots + w->layer * p->experts : NULL,
                                   out->ranges + i * out->nodes, to);
            to->ranges[node] = qm_packed_range_of(&part, s->team, node);
            to->ranges[node].data = at;
            if (w->vector && node == 0 && part.experts)
                to->values = (float *)(void *)at;
            at += bytes_on(&part, s->team, node);
        }
    }
    return rc;
}

int qm_packed_open(const struct qm_packed_setup *s, struct qm_packed *out, struct qm_error *err) {
    size_t n = (size_t)s->model->n_weights, nodes = (size_t)qm_team_nodes(s->team);
    *out = (struct qm_packed){.nodes = (int)nodes};
    out->weights = calloc(n + 1, sizeof *out->weights);
    out->ranges = calloc((n + 1) * nodes, sizeof *out->ranges);
    out->memory = calloc(nodes, sizeof *out->memory);
    const struct qm_placement *p = s->placement;
    if (p)
        out->slots = calloc((size_t)(p->layers * p->experts) + 1, sizeof *out->slots);
    bool lists = out->weights && out->ranges && out->memory && (!p || out->slots);
    int rc = lists ? QM_OK : qm_fail_memory(err, n * nodes * 64, "the list of weights");
    if (!rc && p)
        number_slots(p, s->device, out->slots);
    if (!rc)
        rc = layout(s, out, err);
    if (!rc)
        rc = qm_bindings_take(s->team, s->bindings, out->memory, err);
    if (rc)
        qm_packed_free(out);
    return rc;
}

void qm_packed_free(struct qm_packed *p) {
    for (int node = 0; p->memory && node < p->nodes; node++)
        qm_memory_free(&p->memory[node]);
    free(p->memory);
    free(p->ranges);
    free(p->slots);
    free(p->weights);
    *p = (struct qm_packed){0};
}
