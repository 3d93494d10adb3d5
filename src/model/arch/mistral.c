/* Mistral: Llama without biases, and with one window for all layers where it has one. */
#include "model/arch/arch.h"

#define L "model.layers.{l}."

static int configure(const json_t *root, const char *path, struct qm_config *c, struct qm_error *err) {
    int64_t window = 0;
    int rc = qm_config_window(root, path, 4096, &window, err);
    qm_config_set_windows(c, window, 0, 1);
    return rc;
}

static const struct qm_source sources[] = {
    {QM_W_EMBED, "model.embed_tokens.weight", QM_PART_WHOLE, QM_ALWAYS},
    {QM_W_FINAL_NORM, "model.norm.weight", QM_PART_WHOLE, QM_ALWAYS},
    {QM_W_HEAD, "lm_head.weight", QM_PART_WHOLE, QM_ALWAYS},
    {QM_W_ATTN_NORM, L "input_layernorm.weight", QM_PART_WHOLE, QM_ALWAYS},
    {QM_W_QKV, L "self_attn.q_proj.weight", QM_PART_Q, QM_ALWAYS},
    {QM_W_QKV, L "self_attn.k_proj.weight", QM_PART_K, QM_ALWAYS},
    {QM_W_QKV, L "self_attn.v_proj.weight", QM_PART_V, QM_ALWAYS},
    {QM_W_O, L "self_attn.o_proj.weight", QM_PART_WHOLE, QM_ALWAYS},
    {QM_W_FFN_NORM, L "post_attention_layernorm.weight", QM_PART_WHOLE, QM_ALWAYS},
    {QM_W_GATE_UP, L "mlp.gate_proj.weight", QM_PART_GATE, QM_ALWAYS},
    {QM_W_GATE_UP, L "mlp.up_proj.weight", QM_PART_UP, QM_ALWAYS},
    {QM_W_DOWN, L "mlp.down_proj.weight", QM_PART_WHOLE, QM_ALWAYS},
    {.name = NULL},
};

const struct qm_arch qm_arch_mistral = {"mistral", "MistralForCausalLM", 10000, configure, sources};
