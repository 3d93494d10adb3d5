/* Mistral: Llama without biases, and with one window for all layers where it has one. */
#include "model/arch/arch.h"

static int configure(const json_t *root, const char *path, struct qm_config *c, struct qm_error *err) {
    int64_t window = 0;
    int rc = qm_config_window(root, path, 4096, &window, err);
    qm_config_set_windows(c, window, 0, 1);
    return rc;
}

const struct qm_arch qm_arch_mistral = {"mistral", "MistralForCausalLM", 10000, configure, {qm_arch_common}, NULL};
