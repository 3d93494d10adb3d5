/* Llama 1 to 3 and what has the same form (Yi, SmolLM, ...): optional biases on all projections. */
#include "model/arch/arch.h"

static int configure(const json_t *root, const char *path, struct qm_config *c, struct qm_error *err) {
    int rc = qm_json_bool(root, "attention_bias", path, &c->qkv_bias, err);
    c->o_bias = c->qkv_bias;
    if (!rc)
        rc = qm_json_bool(root, "mlp_bias", path, &c->mlp_bias, err);
    return rc ? rc : qm_config_no_window(root, path, err);
}

const struct qm_arch qm_arch_llama = {"llama", "LlamaForCausalLM", 10000, configure, {qm_arch_common}, NULL};
