/* Random weights keep a prompt's tokens apart: they choose experts evenly, as bench counts bytes and FLOPs. */
#include "app/shapes.h"
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
    struct qm_step step = {.sequence = s, .tokens = tokens, .n = TOKENS};
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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_experts_are_chosen_evenly)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
