/* Llama 1 to 3 and what has the same form (Yi, SmolLM, ...): optional biases on all projections. */
#include "model/arch/arch.h"

#define L "model.layers.{l}."

static int configure(const json_t *root, const char *path, struct qm_config *c, struct qm_error *err) {
    int rc = qm_json_bool(root, "attention_bias", path, &c->qkv_bias, err);
    c->o_bias = c->qkv_bias;
    if (!rc)
        rc = qm_json_bool(root, "mlp_bias", path, &c->mlp_bias, err);
    return rc ? rc : qm_config_no_window(root, path, err);
}

static const struct qm_source sources[] = {
    {QM_W_EMBED, "model.embed_tokens.weight", QM_PART_WHOLE, QM_ALWAYS},
    {QM_W_FINAL_NORM, "model.norm.weight", QM_PART_WHOLE, QM_ALWAYS},
    {QM_W_HEAD, "lm_head.weight", QM_PART_WHOLE, QM_ALWAYS},
    {QM_W_ATTN_NORM, L "input_layernorm.weight", QM_PART_WHOLE, QM_ALWAYS},
    {QM_W_QKV, L "self_attn.q_proj.weight", QM_PART_Q, QM_ALWAYS},
    {QM_W_QKV, L "self_attn.k_proj.weight", QM_PART_K, QM_ALWAYS},
    {QM_W_QKV, L "self_attn.v_proj.weight", QM_PART_V, QM_ALWAYS},
    {QM_W_QKV_BIAS, L "self_attn.q_proj.bias", QM_PART_Q, QM_ALWAYS},
    {QM_W_QKV_BIAS, L "self_attn.k_proj.bias", QM_PART_K, QM_ALWAYS},
    {QM_W_QKV_BIAS, L "self_attn.v_proj.bias", QM_PART_V, QM_ALWAYS},
    {QM_W_O, L "self_attn.o_proj.weight", QM_PART_WHOLE, QM_ALWAYS},
    {QM_W_O_BIAS, L "self_attn.o_proj.bias", QM_PART_WHOLE, QM_ALWAYS},
    {QM_W_FFN_NORM, L "post_attention_layernorm.weight", QM_PART_WHOLE, QM_ALWAYS},
    {QM_W_GATE_UP, L "mlp.gate_proj.weight", QM_PART_GATE, QM_ALWAYS},
    {QM_W_GATE_UP, L "mlp.up_proj.weight", QM_PART_UP, QM_ALWAYS},
    {QM_W_DOWN, L "mlp.down_proj.weight", QM_PART_WHOLE, QM_ALWAYS},
    {QM_W_GATE_UP_BIAS, L "mlp.gate_proj.bias", QM_PART_GATE, QM_ALWAYS},
    {QM_W_GATE_UP_BIAS, L "mlp.up_proj.bias", QM_PART_UP, QM_ALWAYS},
    {QM_W_DOWN_BIAS, L "mlp.down_proj.bias", QM_PART_WHOLE, QM_ALWAYS},
    {.name = NULL},
};

const struct qm_arch qm_arch_llama = {"llama", "LlamaForCausalLM", 10000, configure, sources};
