/* GLM-4.5 to 4.7: experts chosen by logistic scores with a bias, shared ones beside them, dense first layers; part of a
 * head rotated, norms of heads where the file says so. */
#include "model/arch/arch.h"

#define L "model.layers.{l}."

static int configure(const json_t *root, const char *path, struct qm_config *c, struct qm_error *err) {
    int64_t shared = 0;
    int rc = qm_json_bool(root, "attention_bias", path, &c->qkv_bias, err);
    if (!rc)
        rc = qm_json_bool(root, "use_qk_norm", path, &c->qk_norm, err);
    if (!rc)
        rc = qm_config_experts(root, path, "n_routed_experts", "moe_intermediate_size", c, err);
    if (!rc)
        rc = qm_config_sigmoid_router(root, path, c, err);
    if (!rc)
        rc = qm_json_int(root, "n_shared_experts", path, 0, QM_MAX_EXPERTS, &shared, err);
    if (!rc)
        rc = qm_config_moe_layers(root, path, shared, c, err);
    return rc ? rc : qm_config_no_window(root, path, err);
}

static const struct qm_source sources[] = {
    {QM_W_ROUTER, L "mlp.gate.weight", QM_SOURCE_WHOLE, QM_MOE_LAYER},
    {QM_W_ROUTER_BIAS, L "mlp.gate.e_score_correction_bias", QM_SOURCE_WHOLE, QM_MOE_LAYER},
    {QM_W_SHARED_GATE_UP, L "mlp.shared_experts.gate_proj.weight", QM_SOURCE_GATE, QM_MOE_LAYER},
    {QM_W_SHARED_GATE_UP, L "mlp.shared_experts.up_proj.weight", QM_SOURCE_UP, QM_MOE_LAYER},
    {QM_W_SHARED_DOWN, L "mlp.shared_experts.down_proj.weight", QM_SOURCE_WHOLE, QM_MOE_LAYER},
    {QM_W_GATE_UP, L "mlp.experts.{e}.gate_proj.weight", QM_SOURCE_GATE, QM_MOE_LAYER},
    {QM_W_GATE_UP, L "mlp.experts.{e}.up_proj.weight", QM_SOURCE_UP, QM_MOE_LAYER},
    {QM_W_DOWN, L "mlp.experts.{e}.down_proj.weight", QM_SOURCE_WHOLE, QM_MOE_LAYER},
    {.name = NULL},
};

static const char *const reads[] = {"partial_rotary_factor",
                                    "n_shared_experts",
                                    "first_k_dense_replace",
                                    "n_group",
                                    "topk_group",
                                    "routed_scaling_factor",
                                    NULL};

const struct qm_arch qm_arch_glm4_moe = {"glm4_moe", "Glm4MoeForCausalLM",      10000,
                                         configure,  {qm_arch_common, sources}, reads};
