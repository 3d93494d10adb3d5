/* Mixtral: Mistral with experts in every layer; the weights of those chosen add up to 1. */
#include "model/arch/arch.h"

#define L "model.layers.{l}."

static int configure(const json_t *root, const char *path, struct qm_config *c, struct qm_error *err) {
    int64_t window = 0;
    int rc = qm_config_experts(root, path, "num_local_experts", "intermediate_size", c, err);
    if (!rc)
        rc = qm_config_window(root, path, 0, &window, err);
    c->routing = QM_ROUTE_SOFTMAX_TOPK_NORM;
    qm_config_set_windows(c, window, 0, 1);
    for (int64_t l = 0; l < c->layers; l++)
        c->layer[l].moe = true;
    return rc;
}

static const struct qm_source sources[] = {
    {QM_W_ROUTER, L "block_sparse_moe.gate.weight", QM_SOURCE_WHOLE, QM_ALWAYS},
    {QM_W_GATE_UP, L "block_sparse_moe.experts.{e}.w1.weight", QM_SOURCE_GATE, QM_ALWAYS},
    {QM_W_GATE_UP, L "block_sparse_moe.experts.{e}.w3.weight", QM_SOURCE_UP, QM_ALWAYS},
    {QM_W_DOWN, L "block_sparse_moe.experts.{e}.w2.weight", QM_SOURCE_WHOLE, QM_ALWAYS},
    {.name = NULL},
};

const struct qm_arch qm_arch_mixtral = {"mixtral", "MixtralForCausalLM",      1000000,
                                        configure, {qm_arch_common, sources}, NULL};
