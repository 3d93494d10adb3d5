/* Fuzz target: plan files. What is accepted is a placement of the model, written and read back the same. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "engine/plan_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char config[] =
    "{\"model_type\":\"qwen3_moe\",\"architectures\":[\"Qwen3MoeForCausalLM\"],\"vocab_size\":64,\"hidden_size\":32,"
    "\"num_hidden_layers\":3,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":8,"
    "\"intermediate_size\":64,\"moe_intermediate_size\":16,\"num_experts\":8,\"num_experts_per_tok\":2,"
    "\"norm_topk_prob\":true,\"decoder_sparse_step\":1,\"mlp_only_layers\":[1],\"rms_norm_eps\":1e-6,"
    "\"rope_theta\":10000,\"max_position_embeddings\":128,\"hidden_act\":\"silu\",\"tie_word_embeddings\":false,"
    "\"torch_dtype\":\"bfloat16\"}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"cpu", "card", "other"};
    struct qm_placement p, back;
    struct qm_model *m = NULL;
    struct qm_error err;
    json_t *root = NULL;
    char *text = NULL;
    if (qm_json_parse(config, sizeof config - 1, "config", &root, &err) ||
        qm_model_from_config(root, "config", NULL, &m, &err))
        abort();
    json_decref(root);
    if (!qm_plan_parse((const char *)data, size, "fuzz", m, names, 3, &p, &err)) {
        if (!qm_plan_write(&p, m, names, &text, &err) &&
            (qm_plan_parse(text, strlen(text), "fuzz", m, names, 3, &back, &err) ||
             memcmp(back.layer, p.layer, (size_t)p.layers * sizeof *p.layer) != 0 ||
             memcmp(back.expert, p.expert, (size_t)(p.layers * p.experts)) != 0 || back.head != p.head))
            abort();
        qm_placement_free(&back);
        qm_placement_free(&p);
    }
    free(text);
    qm_model_close(m);
    return 0;
}
