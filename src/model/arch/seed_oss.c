/* Seed-OSS: Llama with biases of q, k and v apart from that of the output. */
#include "model/arch/arch.h"

static int configure(const json_t *root, const char *path, struct qm_config *c, struct qm_error *err) {
    int rc = qm_json_bool(root, "attention_bias", path, &c->qkv_bias, err);
    if (!rc)
        rc = qm_json_bool(root, "attention_out_bias", path, &c->o_bias, err);
    if (!rc)
        rc = qm_json_bool(root, "mlp_bias", path, &c->mlp_bias, err);
    return rc ? rc : qm_config_no_window(root, path, err);
}

static const char *const reads[] = {"attention_out_bias", NULL};

const struct qm_arch qm_arch_seed_oss = {"seed_oss", "SeedOssForCausalLM", 10000, configure, {qm_arch_common}, reads};
