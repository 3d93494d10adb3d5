/* The answer as JSON. */
#include <math.h>
#include <string.h>

#include "app/plan/plan.h"
#include "engine/nodes.h"
#include "engine/units.h"

static json_t *integer(uint64_t x) {
    return json_integer((json_int_t)x);
}

static json_t *text_or_null(const char *s) {
    return s[0] ? json_string(s) : json_null();
}

static json_t *real_or_null(double x) {
    return isfinite(x) && x > 0 ? json_real(x) : json_null();
}

static json_t *memory_json(const struct qm_plan_ask *ask, const struct qm_plan_answer *a) {
    json_t *list = json_array(), *nodes = json_array();
    uint64_t total = 0;
    for (int d = 0; d < a->placement.devices; d++) {
        const struct qm_device_memory *m = &a->memory[d];
        json_array_append_new(list, json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "device",
                                              qm_plan_device_name(ask->speed, d), "weights", integer(m->weights), "kv",
                                              integer(m->kv), "activations", integer(m->activations), "workspace",
                                              integer(m->workspace), "attention_maps", integer(m->maps), "drafts",
                                              integer(m->drafts), "slack", integer(a->slack[d]), "total",
                                              integer(m->total + a->slack[d]), "available", integer(a->available[d])));
        total += m->total + a->slack[d];
    }
    for (int node = 0; node < ask->speed->nodes; node++) {
        struct qm_node_memory m;
        qm_node_memory(a->model, &a->workload, &a->placement, node, &m);
        json_array_append_new(nodes,
                              json_pack("{s:i, s:o, s:o, s:o, s:o, s:o}", "node", node, "weights", integer(m.weights),
                                        "kv", integer(m.kv), "activations", integer(m.activations), "slack",
                                        integer(m.slack), "memory", integer(ask->speed->node[node].memory)));
    }
    return json_pack("{s:o, s:o, s:o}", "devices", list, "nodes", nodes, "total", integer(total));
}

/* The bytes of every unit; those of one expert, where a layer has some. */
static json_t *units_json(const struct qm_plan_answer *a) {
    const struct qm_model *m = a->model;
    json_t *layers = json_array();
    for (int64_t l = 0; l < m->config.layers; l++)
        json_array_append_new(
            layers, json_pack("{s:o, s:o, s:o, s:o, s:o}", "attention",
                              integer(qm_unit_weight_bytes(m, QM_UNIT_ATTENTION, l, 0)), "kv",
                              integer(qm_unit_kv_bytes(m, &a->workload, l)), "ffn",
                              integer(qm_unit_weight_bytes(m, QM_UNIT_FFN, l, 0)), "experts",
                              integer(qm_unit_weight_bytes(m, QM_UNIT_EXPERT, l, m->config.experts)), "expert",
                              integer(m->config.layer[l].moe ? qm_unit_weight_bytes(m, QM_UNIT_EXPERT, l, 1) : 0)));
    return json_pack("{s:o, s:o, s:o}", "embedding", integer(qm_unit_weight_bytes(m, QM_UNIT_EMBED, -1, 0)), "head",
                     integer(qm_unit_weight_bytes(m, QM_UNIT_HEAD, -1, 0)), "layers", layers);
}

static json_t *bounds_json(const struct qm_step_time *t) {
    struct qm_plan_bound bound[QM_PLAN_BOUNDS];
    int n = qm_plan_bounds(t, bound);
    json_t *o = json_object();
    for (int i = 0; i < n; i++)
        json_object_set_new(o, bound[i].what, json_real(bound[i].share));
    return o;
}

static json_t *drafts_json(const struct qm_plan_ask *ask, const struct qm_plan_answer *a) {
    const struct qm_drafted *d = &a->drafted;
    bool said = ask->acceptance >= 0;
    return json_pack("{s:o, s:o, s:o, s:o}", "pays_from", d->pays > 1 ? json_null() : json_real(d->pays), "acceptance",
                     said ? json_real(ask->acceptance) : json_null(), "drafts",
                     said ? json_integer(d->drafts) : json_null(), "decode_tps",
                     said ? json_real(d->tps) : json_null());
}

static json_t *predicted_json(const struct qm_plan_ask *ask, const struct qm_plan_answer *a) {
    json_t *at = json_array(), *hints = json_array();
    for (int i = 0; i < a->n_at; i++)
        json_array_append_new(at, json_pack("{s:I, s:f, s:f}", "depth", (json_int_t)a->at[i].depth, "prefill_tps",
                                            a->at[i].prefill_tps, "decode_tps", a->at[i].decode_tps));
    for (int i = 0; i < a->n_hints; i++)
        json_array_append_new(hints,
                              json_pack("{s:s, s:f}", "change", a->hint[i].change, "seconds", a->hint[i].seconds));
    json_t *scenario =
        json_pack("{s:f, s:f, s:f, s:o}", "seconds", a->scenario.prefill.seconds + a->scenario.decode.seconds,
                  "prefill_seconds", a->scenario.prefill.seconds, "decode_seconds", a->scenario.decode.seconds,
                  "joules", real_or_null(a->scenario.joules));
    return json_pack("{s:o, s:o, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "prefill_tps",
                     real_or_null(a->prompt.prefill_tps), "decode_tps", real_or_null(a->generate.decode_tps), "prompt",
                     (json_int_t)ask->scenario.prompt, "generate", (json_int_t)ask->scenario.generate, "depth",
                     (json_int_t)ask->scenario.depth, "at", at, "job", scenario, "prefill_bound",
                     bounds_json(&a->prompt.prefill), "decode_bound", bounds_json(&a->generate.decode), "would_help",
                     hints, "drafts", drafts_json(ask, a));
}

static json_t *machine_json(const struct qm_machine_model *s) {
    json_t *devices = json_array(), *sources = json_array();
    for (int d = 0; d < s->devices; d++) {
        const struct qm_device_model *v = &s->device[d];
        json_array_append_new(
            devices, json_pack("{s:s, s:b, s:o, s:s, s:o, s:f, s:s, s:f, s:s, s:f, s:f}", "name", v->name, "emulated",
                               v->emulated, "memory", integer(v->memory), "memory_is", qm_mark_name(v->memory_mark),
                               "reserve", integer(v->reserve), "read", v->read, "read_is", qm_mark_name(v->read_mark),
                               "bf16", v->bf16, "bf16_is", qm_mark_name(v->bf16_mark), "up", v->up, "down", v->down));
    }
    for (int i = 0; i < s->n_sources; i++)
        json_array_append_new(sources, json_string(s->source[i]));
    return json_pack("{s:s, s:i, s:i, s:o, s:f, s:s, s:f, s:s, s:s, s:o, s:o, s:o, s:o}", "name", s->name, "nodes",
                     s->nodes, "cores", s->cores, "memory", integer(s->memory), "read", s->read, "read_is",
                     qm_mark_name(s->read_mark), "bf16", s->bf16, "bf16_is", qm_mark_name(s->bf16_mark), "efficiencies",
                     qm_mark_name(s->efficiency_mark), "default_efficiencies_of", text_or_null(s->missing), "noise",
                     text_or_null(s->noise), "devices", devices, "sources", sources);
}

json_t *qm_plan_json(const struct qm_plan_ask *ask, const struct qm_plan_answer *a) {
    const struct qm_workload *w = &a->workload;
    const struct qm_config *c = &a->model->config;
    json_t *workload =
        json_pack("{s:I, s:I, s:I, s:s, s:i}", "context", (json_int_t)w->context, "sequences", (json_int_t)w->sequences,
                  "chunk", (json_int_t)w->chunk, "kv_type", qm_dtype_name(w->kv_type), "threads", w->threads);
    return json_pack("{s:s, s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "model", a->name, "architecture", c->model_type,
                     "layers", (json_int_t)c->layers, "parameters", (json_int_t)a->model->parameters, "machine",
                     machine_json(ask->speed), "workload", workload, "memory", memory_json(ask, a), "units",
                     units_json(a), "predicted", predicted_json(ask, a));
}
