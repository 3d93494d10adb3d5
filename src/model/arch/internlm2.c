/* InternLM2: Llama's arithmetic with names of its own, and q, k and v in one matrix, interleaved by KV head. */
#include "model/arch/arch.h"

#define L "model.layers.{l}."

static int configure(const json_t *root, const char *path, struct qm_config *c, struct qm_error *err) {
    int rc = qm_json_bool(root, "bias", path, &c->qkv_bias, err);
    c->o_bias = c->qkv_bias;
    return rc ? rc : qm_config_no_window(root, path, err);
}

static const struct qm_source sources[] = {
    {QM_W_EMBED, "model.tok_embeddings.weight", QM_SOURCE_WHOLE, QM_ALWAYS},
    {QM_W_FINAL_NORM, "model.norm.weight", QM_SOURCE_WHOLE, QM_ALWAYS},
    {QM_W_HEAD, "output.weight", QM_SOURCE_WHOLE, QM_ALWAYS},
    {QM_W_ATTN_NORM, L "attention_norm.weight", QM_SOURCE_WHOLE, QM_ALWAYS},
    {QM_W_QKV, L "attention.wqkv.weight", QM_SOURCE_QKV_BY_KV_HEAD, QM_ALWAYS},
    {QM_W_QKV_BIAS, L "attention.wqkv.bias", QM_SOURCE_QKV_BY_KV_HEAD, QM_ALWAYS},
    {QM_W_O, L "attention.wo.weight", QM_SOURCE_WHOLE, QM_ALWAYS},
    {QM_W_O_BIAS, L "attention.wo.bias", QM_SOURCE_WHOLE, QM_ALWAYS},
    {QM_W_FFN_NORM, L "ffn_norm.weight", QM_SOURCE_WHOLE, QM_ALWAYS},
    {QM_W_GATE_UP, L "feed_forward.w1.weight", QM_SOURCE_GATE, QM_ALWAYS},
    {QM_W_GATE_UP, L "feed_forward.w3.weight", QM_SOURCE_UP, QM_ALWAYS},
    {QM_W_DOWN, L "feed_forward.w2.weight", QM_SOURCE_WHOLE, QM_ALWAYS},
    {.name = NULL},
};

const struct qm_arch qm_arch_internlm2 = {"internlm2", "InternLM2ForCausalLM", 10000, configure, {sources}, NULL};
