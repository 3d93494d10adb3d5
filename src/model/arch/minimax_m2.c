/* MiniMax M2 to M2.7: experts in every layer, chosen by logistic scores with a bias; one norm over all heads of q, one
 * over those of k; part of a head rotated. */
#include "model/arch/arch.h"

#include <string.h>

#define L "model.layers.{l}."

/* Fields of which other values would be other arithmetic. */
static int check_fixed(const json_t *root, const char *path, struct qm_error *err) {
    static const char *const words[][2] = {{"scoring_func", "sigmoid"}, {"qk_norm_type", "per_layer"}};
    static const char *const betas[] = {"layernorm_full_attention_beta", "layernorm_mlp_beta"};
    for (size_t i = 0; i < 2; i++) {
        const char *found = words[i][1];
        int rc = qm_json_string(root, words[i][0], path, &found, err);
        if (rc)
            return rc;
        if (found && strcmp(found, words[i][1]) != 0)
            return qm_fail(err, QM_INPUT, "%s: \"%s\": expected \"%s\", found \"%.40s\", which is not implemented",
                           path, words[i][0], words[i][1], found);
        double beta = 1;
        if ((rc = qm_json_double(root, betas[i], path, &beta, err)))
            return rc;
        if (beta != 1)
            return qm_fail(err, QM_INPUT, "%s: \"%s\": expected 1 or nothing, found %g: it is not implemented", path,
                           betas[i], beta);
    }
    const json_t *types = json_object_get(root, "attn_type_list"), *v;
    for (size_t i = 0; (v = json_array_get(types, i)); i++)
        if (json_integer_value(v) != 1)
            return qm_fail(err, QM_INPUT,
                           "%s: \"attn_type_list\"[%zu]: expected 1, full attention, found another value, which is not "
                           "implemented",
                           path, i);
    int64_t shared = 0;
    int rc = qm_json_int(root, "shared_intermediate_size", path, 0, INT32_MAX, &shared, err);
    if (!rc && shared)
        rc = qm_fail(err, QM_INPUT, "%s: \"shared_intermediate_size\": expected 0, found %lld: it is not implemented",
                     path, (long long)shared);
    return rc;
}

static int configure(const json_t *root, const char *path, struct qm_config *c, struct qm_error *err) {
    static const char width[] = "rotary_dim";
    int64_t rotated = c->rope.width;
    bool bias = true;
    int rc = check_fixed(root, path, err);
    c->qk_norm = c->qk_norm_whole = true;
    if (!rc)
        rc = qm_config_experts(root, path, "num_local_experts", "intermediate_size", c, err);
    if (!rc)
        rc = qm_config_sigmoid_router(root, path, c, err);
    if (!rc)
        rc = qm_json_bool(root, "use_routing_bias", path, &bias, err);
    c->router_bias = c->choice_bias = bias;
    if (!rc)
        rc = qm_json_int(root, width, path, 0, INT32_MAX, &rotated, err);
    if (!rc)
        rc = qm_config_rope_width(width, path, (double)rotated, c, err);
    for (int64_t l = 0; l < c->layers; l++)
        c->layer[l].moe = true;
    return rc ? rc : qm_config_no_window(root, path, err);
}

static const struct qm_source sources[] = {
    {QM_W_ROUTER, L "block_sparse_moe.gate.weight", QM_SOURCE_WHOLE, QM_ALWAYS},
    {QM_W_ROUTER_BIAS, L "block_sparse_moe.e_score_correction_bias", QM_SOURCE_WHOLE, QM_ALWAYS},
    {QM_W_GATE_UP, L "block_sparse_moe.experts.{e}.w1.weight", QM_SOURCE_GATE, QM_ALWAYS},
    {QM_W_GATE_UP, L "block_sparse_moe.experts.{e}.w3.weight", QM_SOURCE_UP, QM_ALWAYS},
    {QM_W_DOWN, L "block_sparse_moe.experts.{e}.w2.weight", QM_SOURCE_WHOLE, QM_ALWAYS},
    {.name = NULL},
};

static const char *const reads[] = {"rotary_dim", "partial_rotary_factor", "scoring_func", NULL};

const struct qm_arch qm_arch_minimax_m2 = {"minimax_m2", "MiniMaxM2ForCausalLM",    5000000,
                                           configure,    {qm_arch_common, sources}, reads};
