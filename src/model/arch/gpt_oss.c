/* gpt-oss: experts in MXFP4, all of a layer's in one tensor; sinks; windows on every other layer. */
#include "model/arch/arch.h"

#include <string.h>

#define L "model.layers.{l}."

static int configure(const json_t *root, const char *path, struct qm_config *c, struct qm_error *err) {
    const json_t *quantization = json_object_get(root, "quantization_config");
    const char *method = json_string_value(json_object_get(quantization, "quant_method"));
    if (!method || strcmp(method, "mxfp4") != 0)
        return qm_fail(
            err, QM_INPUT,
            "%s: \"quantization_config\": expected quant_method \"mxfp4\", the form gpt-oss is published in, "
            "found \"%.40s\": conversions are not read",
            path, method ? method : "none");
    c->expert_dtype = QM_MXFP4;
    c->sinks = c->router_bias = c->mlp_bias = c->qkv_bias = true;
    c->routing = QM_ROUTE_TOPK_SOFTMAX;
    c->activation = QM_ACT_SWIGLU_CLAMPED;
    c->swiglu_limit = 7;
    int64_t window = 0;
    int rc = qm_json_bool(root, "attention_bias", path, &c->qkv_bias, err);
    c->o_bias = c->qkv_bias;
    if (!rc)
        rc = qm_config_experts(root, path, "num_local_experts", "intermediate_size", c, err);
    if (!rc)
        rc = qm_json_double(root, "swiglu_limit", path, &c->swiglu_limit, err);
    if (!rc && !(c->swiglu_limit > 0 && c->swiglu_limit <= 1e6))
        rc = qm_fail(err, QM_INPUT, "%s: \"swiglu_limit\": expected a number above 0, found %g", path, c->swiglu_limit);
    if (!rc)
        rc = qm_config_window(root, path, 128, &window, err);
    qm_config_set_windows(c, window, 0, 2);
    for (int64_t l = 0; l < c->layers; l++)
        c->layer[l].moe = true;
    return rc ? rc : qm_config_layer_types(root, path, window, c, err);
}

static const struct qm_source sources[] = {
    {QM_W_SINKS, L "self_attn.sinks", QM_SOURCE_WHOLE, QM_ALWAYS},
    {QM_W_ROUTER, L "mlp.router.weight", QM_SOURCE_WHOLE, QM_ALWAYS},
    {QM_W_ROUTER_BIAS, L "mlp.router.bias", QM_SOURCE_WHOLE, QM_ALWAYS},
    {QM_W_GATE_UP, L "mlp.experts.gate_up_proj", QM_SOURCE_GATE_UP_ALTERNATING, QM_ALWAYS},
    {QM_W_GATE_UP_BIAS, L "mlp.experts.gate_up_proj_bias", QM_SOURCE_GATE_UP_ALTERNATING, QM_ALWAYS},
    {QM_W_DOWN, L "mlp.experts.down_proj", QM_SOURCE_ALL_EXPERTS, QM_ALWAYS},
    {QM_W_DOWN_BIAS, L "mlp.experts.down_proj_bias", QM_SOURCE_ALL_EXPERTS, QM_ALWAYS},
    {.name = NULL},
};

const struct qm_arch qm_arch_gpt_oss = {"gpt_oss", "GptOssForCausalLM",       150000,
                                        configure, {qm_arch_common, sources}, NULL};
