/* The list of architectures, and the names that most of them share. A new one is a file here, a line in arch.h and one
 * below. */
#include "model/arch/arch.h"

#include <stdio.h>
#include <string.h>

#define L "model.layers.{l}."

const struct qm_source qm_arch_common[] = {
    {QM_W_EMBED, "model.embed_tokens.weight", QM_SOURCE_WHOLE, QM_ALWAYS},
    {QM_W_FINAL_NORM, "model.norm.weight", QM_SOURCE_WHOLE, QM_ALWAYS},
    {QM_W_HEAD, "lm_head.weight", QM_SOURCE_WHOLE, QM_ALWAYS},
    {QM_W_ATTN_NORM, L "input_layernorm.weight", QM_SOURCE_WHOLE, QM_ALWAYS},
    {QM_W_QKV, L "self_attn.q_proj.weight", QM_SOURCE_Q, QM_ALWAYS},
    {QM_W_QKV, L "self_attn.k_proj.weight", QM_SOURCE_K, QM_ALWAYS},
    {QM_W_QKV, L "self_attn.v_proj.weight", QM_SOURCE_V, QM_ALWAYS},
    {QM_W_QKV_BIAS, L "self_attn.q_proj.bias", QM_SOURCE_Q, QM_ALWAYS},
    {QM_W_QKV_BIAS, L "self_attn.k_proj.bias", QM_SOURCE_K, QM_ALWAYS},
    {QM_W_QKV_BIAS, L "self_attn.v_proj.bias", QM_SOURCE_V, QM_ALWAYS},
    {QM_W_Q_NORM, L "self_attn.q_norm.weight", QM_SOURCE_WHOLE, QM_ALWAYS},
    {QM_W_K_NORM, L "self_attn.k_norm.weight", QM_SOURCE_WHOLE, QM_ALWAYS},
    {QM_W_O, L "self_attn.o_proj.weight", QM_SOURCE_WHOLE, QM_ALWAYS},
    {QM_W_O_BIAS, L "self_attn.o_proj.bias", QM_SOURCE_WHOLE, QM_ALWAYS},
    {QM_W_FFN_NORM, L "post_attention_layernorm.weight", QM_SOURCE_WHOLE, QM_ALWAYS},
    {QM_W_GATE_UP, L "mlp.gate_proj.weight", QM_SOURCE_GATE, QM_DENSE_LAYER},
    {QM_W_GATE_UP, L "mlp.up_proj.weight", QM_SOURCE_UP, QM_DENSE_LAYER},
    {QM_W_DOWN, L "mlp.down_proj.weight", QM_SOURCE_WHOLE, QM_DENSE_LAYER},
    {QM_W_GATE_UP_BIAS, L "mlp.gate_proj.bias", QM_SOURCE_GATE, QM_DENSE_LAYER},
    {QM_W_GATE_UP_BIAS, L "mlp.up_proj.bias", QM_SOURCE_UP, QM_DENSE_LAYER},
    {QM_W_DOWN_BIAS, L "mlp.down_proj.bias", QM_SOURCE_WHOLE, QM_DENSE_LAYER},
    {.name = NULL},
};

static const struct qm_arch *const all[] = {
    &qm_arch_glm4_moe,   &qm_arch_gpt_oss,   &qm_arch_internlm2, &qm_arch_llama,  &qm_arch_minimax_m2,
    &qm_arch_ministral3, &qm_arch_mistral,   &qm_arch_mixtral,   &qm_arch_olmo3,  &qm_arch_qwen2,
    &qm_arch_qwen3,      &qm_arch_qwen3_moe, &qm_arch_seed_oss,  &qm_arch_smollm3};
enum { COUNT = sizeof all / sizeof all[0] };

const struct qm_arch *qm_arch_find(const char *model_type) {
    for (size_t i = 0; i < COUNT; i++)
        if (strcmp(all[i]->model_type, model_type) == 0)
            return all[i];
    return NULL;
}

void qm_arch_names(char *out, size_t size) {
    size_t used = 0;
    for (size_t i = 0; i < COUNT && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s", i ? ", " : "", all[i]->model_type);
}
