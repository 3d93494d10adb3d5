/* The published shapes, as the fields of their config.json that make the arithmetic. */
#include "app/shapes.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"

enum { CONFIG_LIMIT = 16 << 20 };

struct shape {
    const char *name, *config;
};

/* clang-format off */
#define QWEN3 "\"architectures\":[\"Qwen3ForCausalLM\"],\"model_type\":\"qwen3\",\"vocab_size\":151936," \
    "\"head_dim\":128,\"rms_norm_eps\":1e-6,\"rope_theta\":1000000,\"max_position_embeddings\":40960," \
    "\"torch_dtype\":\"bfloat16\",\"hidden_act\":\"silu\","
#define LLAMA "\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"rms_norm_eps\":1e-5," \
    "\"torch_dtype\":\"bfloat16\",\"hidden_act\":\"silu\",\"tie_word_embeddings\":false,"
#define GPT_OSS "\"architectures\":[\"GptOssForCausalLM\"],\"model_type\":\"gpt_oss\",\"vocab_size\":201088," \
    "\"hidden_size\":2880,\"num_attention_heads\":64,\"num_key_value_heads\":8,\"head_dim\":64," \
    "\"intermediate_size\":2880,\"num_experts_per_tok\":4,\"sliding_window\":128,\"rms_norm_eps\":1e-5," \
    "\"rope_theta\":150000,\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":32.0,\"beta_fast\":32.0," \
    "\"beta_slow\":1.0,\"truncate\":false,\"original_max_position_embeddings\":4096}," \
    "\"max_position_embeddings\":131072,\"attention_bias\":true,\"swiglu_limit\":7.0,\"hidden_act\":\"silu\"," \
    "\"tie_word_embeddings\":false,\"torch_dtype\":\"bfloat16\",\"quantization_config\":{\"quant_method\":\"mxfp4\"},"

static const struct shape shapes[] = {
    {"qwen3-30b-a3b",
     "{\"architectures\":[\"Qwen3MoeForCausalLM\"],\"model_type\":\"qwen3_moe\",\"vocab_size\":151936,"
     "\"hidden_size\":2048,\"num_hidden_layers\":48,\"num_attention_heads\":32,\"num_key_value_heads\":4,"
     "\"head_dim\":128,\"intermediate_size\":6144,\"moe_intermediate_size\":768,\"num_experts\":128,"
     "\"num_experts_per_tok\":8,\"norm_topk_prob\":true,\"decoder_sparse_step\":1,\"mlp_only_layers\":[],"
     "\"rms_norm_eps\":1e-6,\"rope_theta\":1000000,\"max_position_embeddings\":40960,\"hidden_act\":\"silu\","
     "\"tie_word_embeddings\":false,\"torch_dtype\":\"bfloat16\"}"},
    {"qwen3-4b",
     "{" QWEN3 "\"hidden_size\":2560,\"num_hidden_layers\":36,\"num_attention_heads\":32,"
     "\"num_key_value_heads\":8,\"intermediate_size\":9728,\"tie_word_embeddings\":true}"},
    {"qwen3-0.6b",
     "{" QWEN3 "\"hidden_size\":1024,\"num_hidden_layers\":28,\"num_attention_heads\":16,"
     "\"num_key_value_heads\":8,\"intermediate_size\":3072,\"tie_word_embeddings\":true}"},
    {"llama-3-70b",
     "{" LLAMA "\"hidden_size\":8192,\"num_hidden_layers\":80,\"num_attention_heads\":64,"
     "\"num_key_value_heads\":8,\"intermediate_size\":28672,\"vocab_size\":128256,\"rope_theta\":500000,"
     "\"max_position_embeddings\":8192}"},
    {"yi-34b",
     "{" LLAMA "\"hidden_size\":7168,\"num_hidden_layers\":60,\"num_attention_heads\":56,"
     "\"num_key_value_heads\":8,\"intermediate_size\":20480,\"vocab_size\":64000,\"rope_theta\":5000000,"
     "\"max_position_embeddings\":4096}"},
    {"internlm2-20b",
     "{\"architectures\":[\"InternLM2ForCausalLM\"],\"model_type\":\"internlm2\",\"vocab_size\":92544,"
     "\"hidden_size\":6144,\"num_hidden_layers\":48,\"num_attention_heads\":48,\"num_key_value_heads\":8,"
     "\"intermediate_size\":16384,\"rms_norm_eps\":1e-5,\"rope_theta\":1000000,\"max_position_embeddings\":32768,"
     "\"bias\":false,\"hidden_act\":\"silu\",\"tie_word_embeddings\":false,\"torch_dtype\":\"bfloat16\"}"},
    {"mixtral-8x22b",
     "{\"architectures\":[\"MixtralForCausalLM\"],\"model_type\":\"mixtral\",\"vocab_size\":32000,"
     "\"hidden_size\":6144,\"num_hidden_layers\":56,\"num_attention_heads\":48,\"num_key_value_heads\":8,"
     "\"intermediate_size\":16384,\"num_local_experts\":8,\"num_experts_per_tok\":2,\"rms_norm_eps\":1e-5,"
     "\"rope_theta\":1000000,\"max_position_embeddings\":65536,\"hidden_act\":\"silu\","
     "\"tie_word_embeddings\":false,\"torch_dtype\":\"bfloat16\"}"},
    {"gpt-oss-20b", "{" GPT_OSS "\"num_hidden_layers\":24,\"num_local_experts\":32}"},
    {"gpt-oss-120b", "{" GPT_OSS "\"num_hidden_layers\":36,\"num_local_experts\":128}"},
};
/* clang-format on */
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

const char *qm_shape_names(void) {
    return "qwen3-30b-a3b, qwen3-4b, qwen3-0.6b, llama-3-70b, yi-34b, internlm2-20b, mixtral-8x22b, gpt-oss-20b, "
           "gpt-oss-120b";
}

const char *qm_shape_name(int i) {
    return i >= 0 && i < N_SHAPES ? shapes[i].name : NULL;
}

const char *qm_shape_config(const char *name) {
    for (int i = 0; i < N_SHAPES; i++)
        if (!strcmp(shapes[i].name, name))
            return shapes[i].config;
    return NULL;
}

/* Keeps the first layers; a list with an entry a layer is cut too. */
static int cut_layers(json_t *config, const char *shape, int64_t layers, struct qm_error *err) {
    int64_t all = 0;
    int rc = qm_json_int(config, "num_hidden_layers", shape, 1, QM_MAX_LAYERS, &all, err);
    if (rc)
        return rc;
    if (all == 0)
        return QM_OK; /* refused for it when it is opened */
    if (layers > all)
        return qm_fail(err, QM_USAGE, "--layers: %s has %lld layers, found %lld", shape, (long long)all,
                       (long long)layers);
    json_t *types = json_object_get(config, "layer_types");
    while (json_is_array(types) && json_array_size(types) > (size_t)layers)
        json_array_remove(types, json_array_size(types) - 1);
    return json_object_set_new(config, "num_hidden_layers", json_integer(layers))
               ? qm_fail_memory(err, 64, "the config")
               : QM_OK;
}

static int change_dtype(json_t *config, const char *dtype, struct qm_error *err) {
    static const struct {
        const char *name, *published;
    } types[] = {{"bf16", "bfloat16"}, {"f16", "float16"}, {"f32", "float32"}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!strcmp(dtype, types[i].name)) {
            json_object_del(config, "torch_dtype"); /* the older of the two keys */
            return json_object_set_new(config, "dtype", json_string(types[i].published))
                       ? qm_fail_memory(err, 64, "the config")
                       : QM_OK;
        }
    return qm_fail(err, QM_USAGE, "--dtype: expected bf16, f16 or f32, found \"%s\"", dtype);
}

int qm_shape_open(const char *shape, int64_t layers, const char *dtype, const struct qm_overrides *overrides,
                  struct qm_model **out, struct qm_error *err) {
    json_t *config = NULL;
    const char *text = qm_shape_config(shape);
    int rc;
    *out = NULL;
    if (text)
        rc = qm_json_parse(text, strlen(text), shape, &config, err);
    else if (qm_file_there(shape))
        rc = qm_json_load(shape, CONFIG_LIMIT, &config, err);
    else
        rc = qm_fail(err, QM_USAGE, "--random: expected %s, or the path of a config.json, found \"%s\"",
                     qm_shape_names(), shape);
    if (!rc && !qm_json_is_object(config))
        rc = qm_fail(err, QM_INPUT, "%s: expected an object, found %s", shape, qm_json_type_name(config));
    if (!rc && layers)
        rc = cut_layers(config, shape, layers, err);
    if (!rc && dtype)
        rc = change_dtype(config, dtype, err);
    if (!rc)
        rc = qm_model_from_config(config, shape, overrides, out, err);
    json_decref(config);
    return rc;
}
