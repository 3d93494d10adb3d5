/* config.json: published forms, what is refused and how, and the knobs that override it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "model/config.h"

/* A small config of each architecture. */
#define SIZES                                                                                                          \
    "\"vocab_size\":512,\"hidden_size\":64,\"num_hidden_layers\":4,\"num_attention_heads\":4,"                         \
    "\"num_key_value_heads\":2,\"intermediate_size\":96,\"max_position_embeddings\":4096,\"rms_norm_eps\":1e-6"
#define LLAMA "{\"model_type\":\"llama\"," SIZES "}"
#define QWEN2 "{\"model_type\":\"qwen2\"," SIZES "}"
#define QWEN3 "{\"model_type\":\"qwen3\"," SIZES "}"
#define MISTRAL "{\"model_type\":\"mistral\"," SIZES "}"
#define INTERNLM2 "{\"model_type\":\"internlm2\"," SIZES "}"
#define SMOLLM3 "{\"model_type\":\"smollm3\"," SIZES "}"
#define MINISTRAL3 "{\"model_type\":\"mistral3\",\"text_config\":{\"model_type\":\"ministral3\"," SIZES "}}"
#define MINIMAX_M2                                                                                                     \
    "{\"model_type\":\"minimax_m2\",\"num_local_experts\":8,\"num_experts_per_tok\":2,\"head_dim\":32," SIZES "}"
#define GLM4_MOE                                                                                                       \
    "{\"model_type\":\"glm4_moe\",\"n_routed_experts\":8,\"num_experts_per_tok\":3,\"moe_intermediate_size\":"         \
    "48," SIZES "}"
#define MIXTRAL "{\"model_type\":\"mixtral\",\"num_local_experts\":8,\"num_experts_per_tok\":2," SIZES "}"
#define QWEN3_MOE                                                                                                      \
    "{\"model_type\":\"qwen3_moe\",\"num_experts\":8,\"num_experts_per_tok\":2,\"moe_intermediate_size\":48," SIZES "}"
#define GPT_OSS                                                                                                        \
    "{\"model_type\":\"gpt_oss\",\"num_local_experts\":8,\"num_experts_per_tok\":2,"                                   \
    "\"quantization_config\":{\"quant_method\":\"mxfp4\"}," SIZES "}"

static json_t *parse(const char *text) {
    struct qm_error err;
    json_t *v;
    if (qm_json_parse(text, strlen(text), "case", &v, &err))
        fail_msg("%s: %s", text, err.message);
    return v;
}

/* The base with the fields of `change` set. */
static int read_config(const char *base, const char *change, struct qm_config *c, struct qm_error *err) {
    json_t *root = parse(base), *fields = parse(change);
    assert_int_equal(json_object_update(root, fields), 0);
    json_decref(fields);
    int rc = qm_config_parse(root, "config.json", c, err);
    json_decref(root);
    return rc;
}

static struct qm_config accept(const char *base, const char *change) {
    struct qm_config c;
    struct qm_error err;
    if (read_config(base, change, &c, &err))
        fail_msg("%s with %s: %s", base, change, err.message);
    return c;
}

static const struct {
    const char *base, *change, *wanted;
} refused[] = {
    {LLAMA, "{\"model_type\":\"gemma\"}",
     "model_type \"gemma\" is not implemented; expected one of glm4_moe, gpt_oss, internlm2"},
    {LLAMA, "{\"model_type\":null}", "\"model_type\": expected one of"},
    {LLAMA, "{\"model_type\":7}", "\"model_type\" must be a string"},
    {LLAMA, "{\"architectures\":[\"LlamaForSequenceClassification\"]}", "LlamaForSequenceClassification\" is not"},
    {LLAMA, "{\"architectures\":\"LlamaForCausalLM\"}", "\"architectures\": expected"},
    {LLAMA, "{\"vocab_size\":null}", "\"vocab_size\": expected an integer from 1 to 16777216, found nothing"},
    {LLAMA, "{\"vocab_size\":0}", "\"vocab_size\" must be from 1"},
    {LLAMA, "{\"vocab_size\":\"512\"}", "\"vocab_size\" must be an integer"},
    {LLAMA, "{\"hidden_size\":99999999}", "\"hidden_size\" must be from"},
    {LLAMA, "{\"num_hidden_layers\":1025}", "\"num_hidden_layers\" must be from 1 to 1024"},
    {LLAMA, "{\"num_hidden_layers\":-1}", "\"num_hidden_layers\" must be"},
    {LLAMA, "{\"num_attention_heads\":0}", "\"num_attention_heads\" must be"},
    {LLAMA, "{\"intermediate_size\":1.5}", "\"intermediate_size\" must be an integer"},
    {LLAMA, "{\"max_position_embeddings\":0}", "\"max_position_embeddings\" must be"},
    {LLAMA, "{\"num_key_value_heads\":3}", "expected a multiple of num_key_value_heads, 3, found 4"},
    {LLAMA, "{\"hidden_size\":66}", "expected a multiple of num_attention_heads, 4"},
    {LLAMA, "{\"head_dim\":15}", "head_dim: expected an even number"},
    {LLAMA, "{\"hidden_size\":60}", "head_dim: expected an even number"},
    {LLAMA, "{\"rms_norm_eps\":null}", "\"rms_norm_eps\": expected a number"},
    {LLAMA, "{\"rms_norm_eps\":-1}", "\"rms_norm_eps\": expected a number"},
    {LLAMA, "{\"tie_word_embeddings\":1}", "\"tie_word_embeddings\" must be true or false"},
    {LLAMA, "{\"torch_dtype\":16}", "\"torch_dtype\" must be a string"},
    {LLAMA, "{\"eos_token_id\":NaN}", "\"eos_token_id\": expected a token id, found NaN"},
    {LLAMA, "{\"eos_token_id\":1e400}", "\"eos_token_id\": expected a token id, found Infinity"},
    {LLAMA, "{\"eos_token_id\":\"2\"}", "\"eos_token_id\": expected a token id, found a string"},
    {LLAMA, "{\"eos_token_id\":[1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8]}", "at most 16 token ids, found 17"},
    {LLAMA, "{\"hidden_act\":\"gelu\"}", "\"hidden_act\": expected \"silu\", found \"gelu\""},
    {LLAMA, "{\"partial_rotary_factor\":0.5}", "\"partial_rotary_factor\": expected 1 or nothing, found 0.5"},
    {LLAMA, "{\"attn_logit_softcapping\":50.0}", "\"attn_logit_softcapping\""},
    {LLAMA, "{\"final_logit_softcapping\":30.0}", "\"final_logit_softcapping\""},
    {LLAMA, "{\"query_pre_attn_scalar\":256}", "\"query_pre_attn_scalar\""},
    {LLAMA, "{\"clip_qkv\":8}", "\"clip_qkv\""},
    {LLAMA, "{\"residual_multiplier\":0.22}", "\"residual_multiplier\""},
    {LLAMA, "{\"logits_scaling\":8}", "\"logits_scaling\""},
    {LLAMA, "{\"embedding_multiplier\":12}", "\"embedding_multiplier\""},
    {LLAMA, "{\"attention_multiplier\":0.1}", "\"attention_multiplier\""},
    {LLAMA, "{\"no_rope_layers\":[1,1,1,0]}", "\"no_rope_layers\""},
    {LLAMA, "{\"rope_interleaved\":true}", "\"rope_interleaved\""},
    {LLAMA, "{\"text_config\":{}}", "\"text_config\": expected null or nothing, found an object"},
    {LLAMA, "{\"no_rope_layers\":1}", "\"no_rope_layers\": expected 1 for every layer, found 1"},
    {LLAMA, "{\"pruned_heads\":{\"0\":[1]}}", "\"pruned_heads\": expected nothing in it"},
    {LLAMA, "{\"rotary_dim\":8}", "\"rotary_dim\": expected null or nothing, found 8"},
    {LLAMA, "{\"attention_out_bias\":true}", "\"attention_out_bias\": expected false or nothing"},
    {LLAMA, "{\"rope_parameters\":{\"rope_type\":\"default\",\"llama_4_scaling_beta\":0.1}}",
     "\"llama_4_scaling_beta\""},
    {SMOLLM3, "{\"no_rope_layers\":[1,1,0]}", "\"no_rope_layers\": expected a list of 4"},
    {SMOLLM3, "{\"no_rope_layers\":[1,1,0,2]}", "\"no_rope_layers\"[3]: expected 0 or 1"},
    {SMOLLM3, "{\"no_rope_layer_interval\":0}", "\"no_rope_layer_interval\" must be"},
    {MINISTRAL3, "{\"text_config\":7}", "\"text_config\": expected an object in a mistral3 model"},
    {MINIMAX_M2, "{\"rotary_dim\":34}", "\"rotary_dim\": expected an even number of at most head_dim, 32"},
    {MINIMAX_M2, "{\"rotary_dim\":7}", "\"rotary_dim\": expected an even number"},
    {MINIMAX_M2, "{\"partial_rotary_factor\":2}", "\"partial_rotary_factor\": expected an even number"},
    {MINIMAX_M2, "{\"scoring_func\":\"softmax\"}", "\"scoring_func\": expected \"sigmoid\""},
    {MINIMAX_M2, "{\"qk_norm_type\":\"per_head\"}", "\"qk_norm_type\": expected \"per_layer\""},
    {MINIMAX_M2, "{\"attn_type_list\":[1,0,1]}", "\"attn_type_list\"[1]: expected 1"},
    {MINIMAX_M2, "{\"shared_intermediate_size\":64}", "\"shared_intermediate_size\": expected 0"},
    {MINIMAX_M2, "{\"layernorm_mlp_beta\":2}", "\"layernorm_mlp_beta\": expected 1"},
    {MINIMAX_M2, "{\"use_qk_norm\":false}", "\"use_qk_norm\""},
    {GLM4_MOE, "{\"n_group\":3}", "\"n_group\": expected equal groups of two or more of the 8 experts, found 3"},
    {GLM4_MOE, "{\"n_group\":8}", "\"n_group\": expected equal groups"},
    {GLM4_MOE, "{\"n_group\":4,\"topk_group\":5}", "\"topk_group\" must be from 1 to 4"},
    {GLM4_MOE, "{\"n_group\":4,\"topk_group\":1}",
     "\"topk_group\": expected groups with at least num_experts_per_tok, 3"},
    {GLM4_MOE, "{\"routed_scaling_factor\":0}", "\"routed_scaling_factor\": expected a number above 0"},
    {GLM4_MOE, "{\"scoring_func\":\"softmax\",\"hidden_act\":\"gelu\"}", "\"hidden_act\""},
    {GLM4_MOE, "{\"n_shared_experts\":999999}", "\"n_shared_experts\" must be"},
    {MIXTRAL, "{\"n_shared_experts\":1}", "\"n_shared_experts\": expected 0 or nothing, found 1"},
    {MIXTRAL, "{\"scoring_func\":\"sigmoid\"}", "\"scoring_func\": expected \"softmax\", found \"sigmoid\""},
    {LLAMA, "{\"sliding_window\":4096}", "\"sliding_window\": expected null"},
    {LLAMA, "{\"use_qk_norm\":true}", "\"use_qk_norm\""},
    {QWEN3, "{\"use_qk_norm\":false}", "\"use_qk_norm\""},
    {LLAMA, "{\"layer_types\":[\"full_attention\"]}", "\"layer_types\": expected a list of 4"},
    {LLAMA, "{\"layer_types\":[\"full_attention\",\"full_attention\",\"full_attention\",\"sliding_attention\"]}",
     "\"layer_types\"[3]: expected full_attention"},
    {QWEN3, "{\"layer_types\":[\"linear_attention\",\"full_attention\",\"full_attention\",\"full_attention\"]}",
     "found \"linear_attention\", which is not implemented"},
    {QWEN3, "{\"layer_types\":[\"sliding_attention\",\"full_attention\",\"full_attention\",\"full_attention\"]}",
     "expected \"sliding_window\" to be a number in use"},
    {LLAMA, "{\"quantization_config\":{\"quant_method\":\"fp8\"}}", "quant_method \"fp8\" is not implemented"},
    {LLAMA, "{\"quantization_config\":{\"quant_method\":\"mxfp4\"}}", "quant_method \"mxfp4\" is not implemented"},
    {GPT_OSS, "{\"quantization_config\":null}", "expected quant_method \"mxfp4\""},
    {GPT_OSS, "{\"hidden_size\":72}", "multiples of 32 for MXFP4"},
    {GPT_OSS, "{\"swiglu_limit\":-1}", "\"swiglu_limit\""},
    {MIXTRAL, "{\"num_experts_per_tok\":9}", "\"num_experts_per_tok\" must be from 1 to 8, found 9"},
    {MIXTRAL, "{\"num_local_experts\":null}", "\"num_local_experts\": expected an integer"},
    {QWEN3_MOE, "{\"mlp_only_layers\":[4]}", "expected layers below 4"},
    {QWEN3_MOE, "{\"mlp_only_layers\":1}", "expected a list of layers"},
    {QWEN3_MOE, "{\"decoder_sparse_step\":0}", "\"decoder_sparse_step\" must be"},
    {MISTRAL, "{\"sliding_window\":0}", "\"sliding_window\" must be from 1"},
    {LLAMA, "{\"rope_theta\":0}", "rope_theta: expected a number from 1 to 1e15"},
    {LLAMA, "{\"rope_theta\":\"1e4\"}", "\"rope_theta\" must be a number"},
    {LLAMA, "{\"rope_scaling\":[]}", "rope_scaling: expected an object"},
    {LLAMA, "{\"rope_scaling\":{\"type\":\"longrope\",\"factor\":2}}", "rope type \"longrope\" is not implemented"},
    {LLAMA, "{\"rope_scaling\":{\"type\":\"su\",\"factor\":2}}", "rope type \"su\""},
    {LLAMA, "{\"rope_scaling\":{\"type\":\"mrope\",\"mrope_section\":[1]}}", "\"mrope_section\""},
    {LLAMA, "{\"rope_scaling\":{\"type\":\"mrope\"}}", "rope type \"mrope\""},
    {LLAMA, "{\"rope_scaling\":{\"factor\":2}}", "expected \"rope_type\" beside \"factor\""},
    {LLAMA, "{\"rope_scaling\":{\"type\":\"linear\",\"rope_type\":\"yarn\",\"factor\":2}}", "to agree"},
    {LLAMA, "{\"rope_scaling\":{\"type\":\"linear\"}}", "factor: expected a number from 1 to 1e6, found 0"},
    {LLAMA, "{\"rope_scaling\":{\"type\":\"linear\",\"factor\":0.5}}", "factor: expected a number from 1"},
    {LLAMA, "{\"rope_scaling\":{\"type\":\"linear\",\"factor\":\"2\"}}", "\"factor\" must be a number"},
    {LLAMA, "{\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8}}", "\"low_freq_factor\": expected a number"},
    {LLAMA, "{\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_freq_factor\":4}}",
     "low_freq_factor < high_freq_factor"},
    {LLAMA, "{\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":8,\"beta_fast\":1,\"beta_slow\":2}}", "beta_fast"},
    {LLAMA, "{\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":8,\"attention_factor\":0}}", "attention_factor"},
    {LLAMA, "{\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":8,\"original_max_position_embeddings\":0}}",
     "\"original_max_position_embeddings\" must be"},
    {LLAMA, "{\"rope_theta\":1,\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":8}}", "above 1 for yarn"},
    {LLAMA, "{\"head_dim\":2,\"rope_scaling\":{\"rope_type\":\"dynamic\",\"factor\":8}}", "more than 2 for dynamic"},
    {LLAMA, "{\"rope_parameters\":{\"rope_type\":\"default\",\"partial_rotary_factor\":0.5}}", "partial_rotary_factor"},
    {LLAMA,
     "{\"rope_scaling\":{\"type\":\"linear\",\"factor\":2},\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":4}"
     "}",
     "found both"},
    {QWEN3,
     "{\"rope_parameters\":{\"full_attention\":{\"rope_theta\":1e4},\"sliding_attention\":{\"rope_theta\":1e5}}}",
     "\"sliding_attention\" differs"},
    {QWEN3, "{\"rope_parameters\":{\"full_attention\":{\"rope_theta\":1e4},\"sliding_attention\":null}}",
     "expected an object for each layer type"},
};

static void refusals(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct qm_config c;
        struct qm_error err = {0};
        int rc = read_config(refused[i].base, refused[i].change, &c, &err);
        if (rc != QM_INPUT)
            fail_msg("%s: expected QM_INPUT, found %d", refused[i].change, rc);
        if (!strstr(err.message, refused[i].wanted) || !strstr(err.message, "config.json"))
            fail_msg("%s: expected \"%s\", found \"%s\"", refused[i].change, refused[i].wanted, err.message);
    }
    struct qm_config c;
    struct qm_error err = {0};
    json_t *list = json_array();
    assert_int_equal(qm_config_parse(list, "x", &c, &err), QM_INPUT);
    json_decref(list);
}

static void common_fields(void **state) {
    (void)state;
    struct qm_config c = accept(LLAMA, "{}");
    assert_int_equal(c.head_dim, 16);
    assert_int_equal(c.bos_token, -1);
    assert_int_equal(c.n_end_tokens, 0);
    assert_false(c.dtype_given);
    assert_int_equal(c.dtype, QM_BF16);
    assert_true(c.rope.theta == 10000);
    assert_int_equal(c.rope.original_max_positions, 4096);
    assert_false(c.tie_embeddings);
    qm_config_free(&c);

    c = accept(LLAMA,
               "{\"head_dim\":null,\"num_key_value_heads\":null,\"torch_dtype\":\"torch.float16\","
               "\"bos_token_id\":1,\"eos_token_id\":[2,5],\"tie_word_embeddings\":true,\"attention_dropout\":0.1,"
               "\"rope_scaling\":null,\"pruned_heads\":{},\"no_rope_layers\":[1,1,1,1],\"logits_scaling\":1,\"n_shared_"
               "experts\":0,\"scoring_func\":\"softmax\",\"hidden_act\":\"silu\",\"alibi\":false}");
    assert_int_equal(c.head_dim, 16);
    assert_int_equal(c.kv_heads, 4);
    assert_int_equal(c.dtype, QM_F16);
    assert_int_equal(c.expert_dtype, QM_F16);
    assert_int_equal(c.bos_token, 1);
    assert_int_equal(c.n_end_tokens, 2);
    assert_int_equal(c.end_tokens[1], 5);
    assert_true(c.tie_embeddings);
    qm_config_free(&c);

    c = accept(LLAMA, "{\"head_dim\":32,\"dtype\":\"float32\",\"eos_token_id\":2,\"attention_bias\":true,"
                      "\"mlp_bias\":true,\"architectures\":[\"LlamaForCausalLM\"]}");
    assert_int_equal(c.head_dim, 32);
    assert_int_equal(c.dtype, QM_F32);
    assert_int_equal(c.n_end_tokens, 1);
    assert_true(c.qkv_bias && c.o_bias && c.mlp_bias);
    qm_config_free(&c);
}

/* What says nothing, or nothing that is used here, refuses no model. */
static void says_nothing(void **state) {
    (void)state;
    static const struct {
        const char *name;
        bool given;
        enum qm_dtype dtype;
    } types[] = {{"auto", false, QM_BF16}, {"float64", false, QM_BF16}, {"", false, QM_BF16},
                 {"half", true, QM_F16},   {"float", true, QM_F32},     {"torch.half", true, QM_F16}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char text[64];
        snprintf(text, sizeof text, "{\"torch_dtype\":\"%s\"}", types[i].name);
        struct qm_config c = accept(LLAMA, text);
        assert_int_equal(c.dtype_given, types[i].given);
        assert_int_equal(c.dtype, types[i].dtype);
        qm_config_free(&c);
    }
    struct qm_config c = accept(LLAMA, "{\"architectures\":[],\"hidden_act\":\"swish\",\"eos_token_id\":[2,"
                                       "1000000000000000000000,-1000000000000000000000]}");
    assert_int_equal(c.n_end_tokens, 3);
    assert_int_equal(c.end_tokens[0], 2);
    assert_int_equal(c.end_tokens[1], INT32_MAX);
    assert_int_equal(c.end_tokens[2], -1);
    qm_config_free(&c);
}

static void rope_forms(void **state) {
    (void)state;
    static const char *const forms[] = {
        "{\"rope_theta\":5e5,\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":"
        "1024}}",
        "{\"rope_theta\":5e5,\"rope_scaling\":{\"rope_type\":\"yarn\",\"type\":\"yarn\",\"factor\":4.0,"
        "\"original_max_position_embeddings\":1024}}",
        "{\"rope_parameters\":{\"rope_theta\":500000,\"rope_type\":\"yarn\",\"factor\":4,"
        "\"original_max_position_embeddings\":1024}}",
        "{\"rope_theta\":1,\"rope_parameters\":{\"full_attention\":{\"rope_theta\":500000,\"rope_type\":\"yarn\","
        "\"factor\":4,\"original_max_position_embeddings\":1024},\"sliding_attention\":{\"rope_theta\":500000,"
        "\"rope_type\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":1024}}}",
        "{\"rope_theta\":5e5,\"original_max_position_embeddings\":1024,\"rope_scaling\":{\"type\":\"yarn\",\"factor\":"
        "4}}",
    };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct qm_config c = accept(QWEN3, forms[i]);
        assert_int_equal(c.rope.kind, QM_ROPE_YARN);
        assert_true(c.rope.theta == 500000 && c.rope.factor == 4);
        assert_true(c.rope.beta_fast == 32 && c.rope.beta_slow == 1);
        assert_true(isnan(c.rope.attention_factor) && c.rope.truncate);
        assert_int_equal(c.rope.original_max_positions, 1024);
        qm_config_free(&c);
    }
}

/* As transformers and vLLM take them. 4096 is the file's own maximum. */
static void a_scaling_raises_the_context(void **state) {
    (void)state;
    static const struct {
        const char *change;
        int64_t most, positions;
    } all[] = {
        /* by hand, as Qwen's model cards say: 40960 -> 131072 there */
        {"{\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4.0,\"original_max_position_embeddings\":2048}}", 8192,
         8192},
        {"{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4}}", 16384, 16384},
        {"{\"rope_parameters\":{\"rope_theta\":1e6,\"rope_type\":\"yarn\",\"factor\":4}}", 16384, 16384},
        {"{\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4},\"rope_parameters\":{\"rope_theta\":1e6}}", 16384,
         16384},
        {"{\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4},\"rope_parameters\":{\"rope_theta\":1e6,\"rope_"
         "type\":"
         "\"default\"}}",
         16384, 16384},
        {"{\"original_max_position_embeddings\":2048,\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4}}", 8192,
         8192},
        {"{\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":2,\"original_max_position_embeddings\":1024}}", 4096,
         4096},
        {"{\"rope_scaling\":{\"rope_type\":\"yarn\",\"original_max_position_embeddings\":1024}}", 4096, 4096},
        {"{\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.5}}", 10240, 10240},
        {"{\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2}}", 8192, 4096},
        {"{\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":32,\"low_freq_factor\":1,\"high_freq_factor\":4,"
         "\"original_max_position_embeddings\":1024}}",
         4096, 4096},
        {"{\"rope_scaling\":{\"type\":\"linear\",\"factor\":1e6}}", QM_MAX_POSITIONS, QM_MAX_POSITIONS},
        {"{\"rope_scaling\":null}", 4096, 4096},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct qm_config c = accept(QWEN3, all[i].change);
        if (c.max_positions != all[i].most || c.default_positions != all[i].positions || c.file_positions != 4096)
            fail_msg("%s: %lld, %lld", all[i].change, (long long)c.max_positions, (long long)c.default_positions);
        if (strstr(all[i].change, "1e6,"))
            assert_true(c.rope.theta == 1e6);
        qm_config_free(&c);
    }
}

static void expect_windows(const char *base, const char *change, const int64_t wanted[4]) {
    struct qm_config c = accept(base, change);
    for (int l = 0; l < 4; l++)
        if (c.layer[l].window != wanted[l])
            fail_msg("%s: layer %d: expected window %lld, found %lld", change, l, (long long)wanted[l],
                     (long long)c.layer[l].window);
    qm_config_free(&c);
}

#define ALL(w) ((const int64_t[4]){w, w, w, w})

static void windows(void **state) {
    (void)state;
    static const char types[] = "\"layer_types\":[\"full_attention\",\"sliding_attention\",\"full_attention\","
                                "\"full_attention\"]";
    char change[256];
    expect_windows(QWEN2, "{\"sliding_window\":64,\"max_window_layers\":2}", ALL(0));
    expect_windows(QWEN2, "{\"use_sliding_window\":false,\"sliding_window\":64,\"max_window_layers\":0}", ALL(0));
    expect_windows(QWEN2, "{\"use_sliding_window\":true,\"sliding_window\":64,\"max_window_layers\":3}",
                   (const int64_t[4]){0, 0, 0, 64});
    expect_windows(QWEN3, "{\"use_sliding_window\":true,\"sliding_window\":64,\"max_window_layers\":1}",
                   (const int64_t[4]){0, 64, 64, 64});
    expect_windows(QWEN3, "{\"use_sliding_window\":true,\"sliding_window\":64}", ALL(0));
    snprintf(change, sizeof change, "{\"use_sliding_window\":true,\"sliding_window\":32,%s}", types);
    expect_windows(QWEN3, change, (const int64_t[4]){0, 32, 0, 0});
    expect_windows(QWEN3_MOE, "{\"use_sliding_window\":true,\"sliding_window\":64,\"max_window_layers\":3}", ALL(64));
    expect_windows(QWEN3_MOE, "{\"sliding_window\":64}", ALL(0));
    expect_windows(MISTRAL, "{\"sliding_window\":64}", ALL(64));
    expect_windows(MISTRAL, "{\"sliding_window\":null}", ALL(0));
    expect_windows(MISTRAL, "{}", ALL(4096));
    expect_windows(MIXTRAL, "{}", ALL(0));
    expect_windows(MIXTRAL, "{\"sliding_window\":128}", ALL(128));
    expect_windows(GPT_OSS, "{}", (const int64_t[4]){128, 0, 128, 0});
    snprintf(change, sizeof change, "{\"sliding_window\":16,%s}", types);
    expect_windows(GPT_OSS, change, (const int64_t[4]){0, 16, 0, 0});
    expect_windows(INTERNLM2, "{}", ALL(0));
}

static void architectures(void **state) {
    (void)state;
    struct qm_config c = accept(QWEN2, "{}");
    assert_true(c.qkv_bias && !c.o_bias && !c.qk_norm);
    qm_config_free(&c);
    c = accept(QWEN3, "{\"attention_bias\":true}");
    assert_true(c.qkv_bias && c.o_bias && c.qk_norm);
    qm_config_free(&c);
    c = accept(INTERNLM2, "{\"bias\":true,\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2.0}}");
    assert_true(c.qkv_bias && c.o_bias && c.rope.kind == QM_ROPE_DYNAMIC);
    qm_config_free(&c);
    c = accept(MIXTRAL, "{}");
    assert_true(c.experts == 8 && c.experts_per_token == 2 && c.moe_ffn == 96 && c.layer[3].moe);
    assert_true(c.routing == QM_ROUTE_SOFTMAX_TOPK_NORM && c.rope.theta == 1e6);
    qm_config_free(&c);
    c = accept(QWEN3_MOE, "{\"mlp_only_layers\":[1],\"decoder_sparse_step\":2,\"use_qk_norm\":true}");
    assert_true(!c.layer[0].moe && !c.layer[1].moe && !c.layer[2].moe && c.layer[3].moe);
    assert_true(c.routing == QM_ROUTE_SOFTMAX_TOPK && c.moe_ffn == 48 && c.ffn == 96);
    qm_config_free(&c);
    c = accept(GPT_OSS, "{\"swiglu_limit\":5.5}");
    assert_true(c.sinks && c.router_bias && c.mlp_bias && c.qkv_bias && c.o_bias && c.swiglu_limit == 5.5);
    assert_true(c.expert_dtype == QM_MXFP4 && c.routing == QM_ROUTE_TOPK_SOFTMAX && c.rope.theta == 150000);
    assert_true(c.activation == QM_ACT_SWIGLU_CLAMPED);
    qm_config_free(&c);
}

static void overrides(void **state) {
    (void)state;
    char notes[1024];
    struct qm_error err;
    struct qm_config c = accept(QWEN3_MOE, "{}");
    struct qm_overrides o = {.experts_per_token = 4, .rope_theta = 5e6, .rope_scaling = "yarn:factor=4,original=2048"};
    if (qm_config_override(&c, &o, notes, sizeof notes, &err))
        fail_msg("%s", err.message);
    assert_int_equal(c.experts_per_token, 4);
    assert_true(c.rope.theta == 5e6 && c.rope.kind == QM_ROPE_YARN && c.rope.factor == 4);
    assert_int_equal(c.rope.original_max_positions, 2048);
    assert_int_equal(c.max_positions, 8192);
    assert_string_equal(notes, "experts per token: 2 -> 4\nrope theta: 10000 -> 5000000\n"
                               "rope scaling: none -> yarn factor 4 of 2048 beta 32 to 1\n"
                               "max_position_embeddings: 4096 -> 8192\n");
    o = (struct qm_overrides){.experts_per_token = 4, .rope_theta = 5e6, .rope_scaling = "yarn:factor=4,original=2048"};
    assert_int_equal(qm_config_override(&c, &o, notes, sizeof notes, &err), 0);
    assert_string_equal(notes, "");
    o = (struct qm_overrides){.experts_per_token = 0, .rope_theta = 0, .rope_scaling = "llama3:factor=8,low=1,high=2"};
    assert_int_equal(qm_config_override(&c, &o, notes, sizeof notes, &err), 0);
    assert_true(c.rope.kind == QM_ROPE_LLAMA3 && c.rope.high_freq_factor == 2);
    assert_int_equal(c.max_positions, 16384);
    o.rope_scaling = "none";
    assert_int_equal(qm_config_override(&c, &o, notes, sizeof notes, &err), 0);
    assert_true(c.rope.kind == QM_ROPE_DEFAULT && c.max_positions == 4096);
    assert_int_equal(qm_config_override(&c, NULL, notes, sizeof notes, &err), 0);
    qm_config_free(&c);
}

static void overrides_refused(void **state) {
    (void)state;
    static const struct {
        const char *base;
        struct qm_overrides o;
        const char *wanted;
    } cases[] = {
        {LLAMA, {.experts_per_token = 2}, "a model with experts, found llama"},
        {MIXTRAL, {.experts_per_token = 9}, "expected 1 to 8, found 9"},
        {MIXTRAL, {.experts_per_token = -1}, "expected 1 to 8, found -1"},
        {LLAMA, {.rope_theta = -1}, "rope_theta"},
        {LLAMA, {.rope_theta = -1, .theta_name = "--theta"}, "--theta"},
        {MIXTRAL, {.experts_per_token = 9, .experts_name = "--experts"}, "--experts: expected 1 to 8, found 9"},
        {LLAMA, {.rope_scaling = "yarn", .scaling_name = "--scaling"}, "--scaling yarn: expected"},
        {LLAMA, {.rope_theta = NAN}, "rope_theta"},
        {LLAMA, {.rope_scaling = ""}, "yarn:factor=4,original=32768"},
        {LLAMA, {.rope_scaling = "yarn"}, "found no settings"},
        {LLAMA, {.rope_scaling = "none:factor=2"}, "found settings for none"},
        {LLAMA, {.rope_scaling = "longrope:factor=2"}, "found another kind"},
        {LLAMA, {.rope_scaling = "yarn:"}, "found \"\""},
        {LLAMA, {.rope_scaling = "yarn:factor"}, "found \"factor\""},
        {LLAMA, {.rope_scaling = "yarn:factor=x"}, "found \"factor=x\""},
        {LLAMA, {.rope_scaling = "yarn:factor=2,"}, "found \"\""},
        {LLAMA, {.rope_scaling = "yarn:factor=nan"}, "found \"factor=nan\""},
        {LLAMA, {.rope_scaling = "yarn:original=64"}, "found no factor"},
        {LLAMA, {.rope_scaling = "yarn:factor=2,original=1.5"}, "found \"original=1.5\""},
        {LLAMA, {.rope_scaling = "linear:factor=2,low=1"}, "found \"low=1\""},
        {LLAMA, {.rope_scaling = "linear:factor=0.1"}, "factor: expected a number from 1"},
        {LLAMA, {.rope_scaling = "llama3:factor=2,low=4,high=1"}, "low_freq_factor < high_freq_factor"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct qm_config c = accept(cases[i].base, "{}");
        struct qm_error err = {0};
        char notes[256];
        int rc = qm_config_override(&c, &cases[i].o, notes, sizeof notes, &err);
        if (rc != QM_USAGE || !strstr(err.message, cases[i].wanted))
            fail_msg("expected 2, \"%s\", found %d, \"%s\"", cases[i].wanted, rc, err.message);
        qm_config_free(&c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals),
        cmocka_unit_test(common_fields),
        cmocka_unit_test(says_nothing),
        cmocka_unit_test(rope_forms),
        cmocka_unit_test(a_scaling_raises_the_context),
        cmocka_unit_test(windows),
        cmocka_unit_test(architectures),
        cmocka_unit_test(overrides),
        cmocka_unit_test(overrides_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
