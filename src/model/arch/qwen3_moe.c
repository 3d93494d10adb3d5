/* Qwen3 with experts: some layers may be dense, and then have intermediate_size. */
#include "model/arch/arch.h"

#define L "model.layers.{l}."

/* Layer l has experts where l + 1 is a multiple of decoder_sparse_step and mlp_only_layers does not name it. */
static int choose_layers(const json_t *root, const char *path, struct qm_config *c, struct qm_error *err) {
    int64_t step = 1;
    int rc = qm_json_int(root, "decoder_sparse_step", path, 1, QM_MAX_LAYERS, &step, err);
    for (int64_t l = 0; !rc && l < c->layers; l++)
        c->layer[l].moe = (l + 1) % step == 0;
    const json_t *dense = json_object_get(root, "mlp_only_layers"), *v;
    if (!rc && dense && !json_is_null(dense) && !json_is_array(dense))
        rc = qm_fail(err, QM_INPUT, "%s: \"mlp_only_layers\": expected a list of layers, found %s", path,
                     qm_json_type_name(dense));
    for (size_t i = 0; !rc && (v = json_array_get(dense, i)); i++) {
        if (json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) < c->layers)
            c->layer[json_integer_value(v)].moe = false;
        else
            rc = qm_fail(err, QM_INPUT, "%s: \"mlp_only_layers\": expected layers below %lld, found another value",
                         path, (long long)c->layers);
    }
    return rc;
}

static int configure(const json_t *root, const char *path, struct qm_config *c, struct qm_error *err) {
    c->qk_norm = true;
    bool norm = false, sliding = false;
    int64_t window = 0;
    int rc = qm_json_bool(root, "attention_bias", path, &c->qkv_bias, err);
    c->o_bias = c->qkv_bias;
    if (!rc)
        rc = qm_config_experts(root, path, "num_experts", "moe_intermediate_size", c, err);
    if (!rc)
        rc = qm_json_bool(root, "norm_topk_prob", path, &norm, err);
    c->routing = norm ? QM_ROUTE_SOFTMAX_TOPK_NORM : QM_ROUTE_SOFTMAX_TOPK;
    if (!rc)
        rc = choose_layers(root, path, c, err);
    if (!rc)
        rc = qm_json_bool(root, "use_sliding_window", path, &sliding, err);
    if (!rc && sliding)
        rc = qm_config_window(root, path, 4096, &window, err);
    qm_config_set_windows(c, window, 0, 1);
    return rc;
}

static const struct qm_source sources[] = {
    {QM_W_ROUTER, L "mlp.gate.weight", QM_SOURCE_WHOLE, QM_MOE_LAYER},
    {QM_W_GATE_UP, L "mlp.experts.{e}.gate_proj.weight", QM_SOURCE_GATE, QM_MOE_LAYER},
    {QM_W_GATE_UP, L "mlp.experts.{e}.up_proj.weight", QM_SOURCE_UP, QM_MOE_LAYER},
    {QM_W_DOWN, L "mlp.experts.{e}.down_proj.weight", QM_SOURCE_WHOLE, QM_MOE_LAYER},
    {.name = NULL},
};

const struct qm_arch qm_arch_qwen3_moe = {"qwen3_moe", "Qwen3MoeForCausalLM",     10000,
                                          configure,   {qm_arch_common, sources}, NULL};
