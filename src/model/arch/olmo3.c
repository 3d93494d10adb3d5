/* Olmo 3: norms behind attention and FFN and over all heads of q and of k; the layers with a window keep the plain
 * rotary embedding where the others' is scaled. */
#include "model/arch/arch.h"

#define L "model.layers.{l}."

static int configure(const json_t *root, const char *path, struct qm_config *c, struct qm_error *err) {
    int64_t window = 0;
    c->qk_norm = c->qk_norm_whole = true;
    int rc = qm_json_bool(root, "attention_bias", path, &c->qkv_bias, err);
    c->o_bias = c->qkv_bias;
    if (!rc)
        rc = qm_config_window(root, path, 0, &window, err);
    for (int64_t l = 0; l < c->layers; l++)
        c->layer[l].window = (l + 1) % 4 != 0 ? window : 0;
    if (!rc)
        rc = qm_config_layer_types(root, path, window, c, err);
    c->rope_local = c->rope;
    c->rope_local.kind = QM_ROPE_DEFAULT;
    c->rope_local.factor = 1;
    for (int64_t l = 0; l < c->layers; l++) {
        c->layer[l].norms = QM_NORMS_AFTER;
        c->layer[l].rope = c->layer[l].window ? QM_LAYER_ROPE_LOCAL : QM_LAYER_ROPE;
    }
    return rc;
}

static const struct qm_source sources[] = {
    {QM_W_EMBED, "model.embed_tokens.weight", QM_SOURCE_WHOLE, QM_ALWAYS},
    {QM_W_FINAL_NORM, "model.norm.weight", QM_SOURCE_WHOLE, QM_ALWAYS},
    {QM_W_HEAD, "lm_head.weight", QM_SOURCE_WHOLE, QM_ALWAYS},
    {QM_W_ATTN_NORM, L "post_attention_layernorm.weight", QM_SOURCE_WHOLE, QM_ALWAYS},
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
    {QM_W_FFN_NORM, L "post_feedforward_layernorm.weight", QM_SOURCE_WHOLE, QM_ALWAYS},
    {QM_W_GATE_UP, L "mlp.gate_proj.weight", QM_SOURCE_GATE, QM_ALWAYS},
    {QM_W_GATE_UP, L "mlp.up_proj.weight", QM_SOURCE_UP, QM_ALWAYS},
    {QM_W_DOWN, L "mlp.down_proj.weight", QM_SOURCE_WHOLE, QM_ALWAYS},
    {.name = NULL},
};

const struct qm_arch qm_arch_olmo3 = {"olmo3", "Olmo3ForCausalLM", 500000, configure, {sources}, NULL};
