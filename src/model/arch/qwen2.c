/* Qwen2 and Qwen2.5: biases on q, k and v; windows by layer where they are in use. */
#include "model/arch/arch.h"

static int configure(const json_t *root, const char *path, struct qm_config *c, struct qm_error *err) {
    c->qkv_bias = true;
    return qm_config_upper_windows(root, path, c, err);
}

const struct qm_arch qm_arch_qwen2 = {"qwen2", "Qwen2ForCausalLM", 10000, configure, {qm_arch_common}, NULL};
