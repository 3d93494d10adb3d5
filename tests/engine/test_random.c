/* Random weights, of a model that is opened from its config alone: the same each time and for any number of threads,
 * finite, of the shapes that the config says. They keep a prompt's tokens apart: they choose experts evenly, as bench
 * counts bytes and FLOPs. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/shapes.h"
#include "base/json.h"
#include "engine/engine.h"
#include "engine/report.h"
#include "engine/sequence.h"
#include "tests/support/support.h"

enum { TOKENS = 256 };

static const char config[] = "{\"model_type\": \"qwen3_moe\", \"hidden_act\": \"silu\", \"torch_dtype\": \"bfloat16\","
                             "\"hidden_size\": 512, \"num_attention_heads\": 8, \"num_key_value_heads\": 2,"
                             "\"head_dim\": 64, \"vocab_size\": 1024, \"intermediate_size\": 256,"
                             "\"num_hidden_layers\": 4, \"rms_norm_eps\": 1e-6, \"max_position_embeddings\": 4096,"
                             "\"tie_word_embeddings\": false, \"norm_topk_prob\": true, \"num_experts\": 32,"
                             "\"num_experts_per_tok\": 4, \"moe_intermediate_size\": 64, \"rope_theta\": 10000.0}";

static void test_experts_are_chosen_evenly(void **state) {
    (void)state;
    char dir[TEST_PATH], path[TEST_PATH];
    struct qm_model *m;
    struct qm_engine *e;
    struct qm_sequence *s;
    struct qm_routing_profile routing;
    struct qm_error err;
    test_temp_dir(dir);
    test_path(path, dir, "config.json");
    test_write_file(path, config, sizeof config - 1);
    if (qm_shape_open(path, 0, NULL, NULL, &m, &err))
        fail_msg("%s", err.message);
    struct qm_engine_options o = {
        .threads = 2, .isa = qm_isa_best(), .context = TOKENS, .chunk = TOKENS, .kv_type = QM_BF16};
    if (qm_engine_open(m, &o, &e, &err) || qm_routing_profile_open(&m->config, &routing, &err) ||
        qm_sequence_open(e, &s, &err))
        fail_msg("%s", err.message);
    qm_engine_set_routing(e, &routing);
    int32_t tokens[TOKENS];
    for (int i = 0; i < TOKENS; i++)
        tokens[i] = i * 37 % 1024;
    struct qm_step_rows step = {.sequence = s, .tokens = tokens, .n = TOKENS};
    assert_int_equal(qm_engine_step(e, &step, 1, &err), QM_OK);
    for (int64_t i = 0; i < routing.layers * routing.experts; i++) {
        uint64_t mean = TOKENS * 4 / 32;
        if (routing.count[i] < mean / 3 || routing.count[i] > mean * 3)
            fail_msg("layer %lld, expert %lld: %llu tokens, %llu on average", (long long)(i / routing.experts),
                     (long long)(i % routing.experts), (unsigned long long)routing.count[i], (unsigned long long)mean);
    }
    qm_sequence_close(s);
    qm_engine_close(e);
    qm_routing_profile_free(&routing);
    qm_model_close(m);
    test_remove_tree(dir);
}

enum { VOCAB = 512, HIDDEN = 128, LAYERS = 2, HEADS = 4, KV_HEADS = 2, HEAD_DIM = 64, FFN = 192, PROMPT = 9 };

/* `more` holds the fields of the architecture's own. */
static struct qm_model *open_model(const char *type, const char *class, const char *dtype, const char *more) {
    char text[1024];
    json_t *root;
    struct qm_model *m = NULL;
    struct qm_error err;
    snprintf(text, sizeof text,
             "{\"model_type\": \"%s\", \"architectures\": [\"%s\"], \"hidden_act\": \"silu\", \"torch_dtype\": \"%s\","
             "\"hidden_size\": %d, \"num_attention_heads\": %d, \"num_key_value_heads\": %d, \"head_dim\": %d,"
             "\"vocab_size\": %d, \"intermediate_size\": %d, \"num_hidden_layers\": %d, \"rms_norm_eps\": 1e-6,"
             "\"max_position_embeddings\": 256, \"rope_theta\": 10000.0, \"tie_word_embeddings\": false%s}",
             type, class, dtype, HIDDEN, HEADS, KV_HEADS, HEAD_DIM, VOCAB, FFN, LAYERS, more);
    if (qm_json_parse(text, strlen(text), "config", &root, &err) ||
        qm_model_from_config(root, "config", NULL, &m, &err))
        fail_msg("%s: %s", type, err.message);
    json_decref(root);
    return m;
}

/* The logits of all tokens of a prompt. */
static void run(const struct qm_model *m, int threads, int32_t first, float *logits) {
    struct qm_engine_options o = {
        .threads = threads, .isa = qm_isa_best(), .context = PROMPT, .chunk = PROMPT, .kv_type = -1};
    struct qm_engine *e;
    struct qm_sequence *s = NULL;
    struct qm_error err;
    int32_t tokens[PROMPT];
    for (int i = 0; i < PROMPT; i++)
        tokens[i] = (first + i * 37) % VOCAB;
    if (qm_engine_open(m, &o, &e, &err) || qm_sequence_open(e, &s, &err))
        fail_msg("%s", err.message);
    struct qm_step_rows step = {.sequence = s, .tokens = tokens, .n = PROMPT, .n_logits = PROMPT, .logits = logits};
    if (qm_engine_step(e, &step, 1, &err))
        fail_msg("%s", err.message);
    qm_sequence_close(s);
    qm_engine_close(e);
}

static const struct {
    const char *type, *class, *dtype, *more;
    bool experts;
} cases[] = {
    {"qwen3", "Qwen3ForCausalLM", "bfloat16", "", false},
    {"qwen3", "Qwen3ForCausalLM", "float16", "", false},
    {"llama", "LlamaForCausalLM", "float32", ", \"attention_bias\": true, \"mlp_bias\": true", false},
    {"qwen3_moe", "Qwen3MoeForCausalLM", "bfloat16",
     ", \"num_experts\": 8, \"num_experts_per_tok\": 2, \"moe_intermediate_size\": 64, \"norm_topk_prob\": true,"
     "\"decoder_sparse_step\": 1, \"mlp_only_layers\": []",
     true},
    {"gpt_oss", "GptOssForCausalLM", "bfloat16",
     ", \"num_local_experts\": 8, \"num_experts_per_tok\": 2, \"sliding_window\": 128, \"swiglu_limit\": 7.0,"
     "\"attention_bias\": true, \"quantization_config\": {\"quant_method\": \"mxfp4\"}",
     true},
};

static void test_the_same_and_finite(void **state) {
    (void)state;
    enum { N = PROMPT * VOCAB };
    float *one = calloc(N, sizeof *one), *more = calloc(N, sizeof *more), *other = calloc(N, sizeof *other);
    assert_true(one && more && other);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct qm_model *m = open_model(cases[i].type, cases[i].class, cases[i].dtype, cases[i].more);
        for (int j = 0; j < N; j++)
            one[j] = more[j] = NAN;
        run(m, 1, 3, one);
        run(m, 3, 3, more); /* opened anew, by other threads */
        run(m, 1, 4, other);
        assert_memory_equal(one, more, N * sizeof *one);
        double sum = 0, squares = 0;
        for (int j = 0; j < N; j++) {
            if (!isfinite(one[j]))
                fail_msg("%s %s: logit %d of token %d is not finite", cases[i].type, cases[i].dtype, j % VOCAB,
                         j / VOCAB);
            sum += (double)one[j];
            squares += (double)one[j] * (double)one[j];
        }
        assert_true(squares / N > 1.01 * (sum / N) * (sum / N) + 1e-12); /* not all the same */
        for (int t = 0; t < PROMPT; t++) { /* no token's logits are those of another, nor of another prompt's */
            assert_memory_not_equal(one + t * VOCAB, other + t * VOCAB, VOCAB * sizeof *one);
            assert_true(t == 0 || memcmp(one + t * VOCAB, one + (t - 1) * VOCAB, VOCAB * sizeof *one) != 0);
        }
        qm_model_close(m);
    }
    free(one);
    free(more);
    free(other);
}

static const struct qm_weight *find(const struct qm_model *m, enum qm_role role, int64_t layer) {
    for (int64_t i = 0; i < m->n_weights; i++)
        if (m->weights[i].role == role && m->weights[i].layer == layer)
            return &m->weights[i];
    fail_msg("no weight of role %d in layer %lld", (int)role, (long long)layer);
    return NULL;
}

static void must_be(const struct qm_weight *w, int64_t experts, int64_t n, int64_t k) {
    assert_int_equal(w->experts, experts);
    assert_int_equal(w->n, n);
    assert_int_equal(w->k, k);
    assert_int_equal(w->n_runs, 0); /* no file has them */
}

static void test_shapes(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct qm_model *m = open_model(cases[i].type, cases[i].class, cases[i].dtype, cases[i].more);
        bool mxfp4 = m->config.expert_dtype == QM_MXFP4;
        int64_t ffn = cases[i].experts && !mxfp4 ? 64 : FFN, experts = cases[i].experts ? 8 : 1;
        enum qm_dtype type = cases[i].dtype[0] == 'b' ? QM_BF16 : !strcmp(cases[i].dtype, "float16") ? QM_F16 : QM_F32;
        assert_null(m->shards);
        must_be(find(m, QM_W_EMBED, -1), 1, VOCAB, HIDDEN);
        must_be(find(m, QM_W_HEAD, -1), 1, VOCAB, HIDDEN);
        for (int64_t l = 0; l < LAYERS; l++) {
            must_be(find(m, QM_W_QKV, l), 1, (HEADS + 2 * KV_HEADS) * HEAD_DIM, HIDDEN);
            must_be(find(m, QM_W_O, l), 1, HIDDEN, HEADS * HEAD_DIM);
            must_be(find(m, QM_W_GATE_UP, l), experts, 2 * ffn, HIDDEN);
            must_be(find(m, QM_W_DOWN, l), experts, HIDDEN, ffn);
            assert_int_equal(find(m, QM_W_QKV, l)->dtype, type);
            assert_int_equal(find(m, QM_W_DOWN, l)->dtype, mxfp4 ? QM_MXFP4 : type);
            if (cases[i].experts)
                must_be(find(m, QM_W_ROUTER, l), 1, 8, HIDDEN);
        }
        qm_model_close(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_experts_are_chosen_evenly),
                                       cmocka_unit_test(test_the_same_and_finite), cmocka_unit_test(test_shapes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
