/* Qwen3: RMS norm on each head's queries and keys; windows by layer where they are in use. */
#include "model/arch/arch.h"

static int configure(const json_t *root, const char *path, struct qm_config *c, struct qm_error *err) {
    c->qk_norm = true;
    int rc = qm_json_bool(root, "attention_bias", path, &c->qkv_bias, err);
    c->o_bias = c->qkv_bias;
    return rc ? rc : qm_config_upper_windows(root, path, c, err);
}

const struct qm_arch qm_arch_qwen3 = {"qwen3", "Qwen3ForCausalLM", 10000, configure, {qm_arch_common}, NULL};
