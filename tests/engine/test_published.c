/* Computing with weights as people publish them (tests/model/test_published.c opens them): what is the same values in
 * other types or under other names gives the same logits, bit for bit where the products are the same ones. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/memory.h"
#include "engine/report.h"
#include "tests/support/model_files.h"
#include "tests/support/reference.h"
#include "tests/support/run_model.h"
#include "tests/support/support.h"
#include "tests/support/weight_files.h"

enum { TOKENS = 40 };

/* Logits of every token, to free. Memory is what was planned. */
static float *logits_of(const char *folder, int64_t *n) {
    int32_t ids[TOKENS];
    struct run_model r;
    struct qm_memory_table table;
    struct qm_engine_options o = {.threads = 2, .isa = run_model_isa(), .context = 64, .kv_type = QM_F32};
    run_model_open(&r, folder, NULL, o);
    for (int i = 0; i < TOKENS; i++)
        ids[i] = (i * 37 + 11) % (int)r.model->config.vocab;
    struct qm_workload w = {.context = 64, .sequences = 1, .chunk = 64, .threads = 2, .kv_type = QM_F32};
    qm_memory_estimate(r.model, &w, &table);
    assert_int_equal(qm_engine_memory(r.engine)->weights, table.weights);
    *n = TOKENS * r.model->config.vocab;
    float *logits = run_logits(r.engine, ids, TOKENS, 64, TOKENS);
    run_model_close(&r);
    return logits;
}

static char *copy_of(const char *name, struct test_weights *w) {
    char from[256], *folder = test_folder();
    snprintf(from, sizeof from, QM_REFERENCE "%s", name);
    test_copy_model(from, folder);
    test_weights_read(folder, w);
    return folder;
}

/* Writes the changed weights and compares with the model as it was: relative error at most `most`. */
static void compare(const char *what, const char *name, char *folder, struct test_weights *w, double most) {
    char original[256];
    int64_t n, m;
    snprintf(original, sizeof original, QM_REFERENCE "%s", name);
    test_weights_write(folder, w);
    float *want = logits_of(original, &n), *got = logits_of(folder, &m);
    assert_int_equal(n, m);
    double error = relative_error(got, want, n);
    print_message("%-16s %-30s error %.2e of %.2e\n", name, what, error, most);
    if (!(error <= most))
        fail_msg("%s, %s: relative error %g, at most %g", name, what, error, most);
    if (most == 0)
        assert_memory_equal(got, want, (size_t)n * sizeof *got);
    free(want);
    free(got);
    test_folder_remove(folder);
}

static void names_without_the_prefix(void **state) {
    (void)state;
    for (int i = 0; reference_names[i]; i++) {
        struct test_weights w;
        char *folder = copy_of(reference_names[i], &w);
        test_weights_cut_prefix(&w, "model.");
        compare("bare names", reference_names[i], folder, &w, 0);
    }
}

/* Vectors and routers are F32 in memory whatever they were published as; a tied head is the embedding. */
static void the_same_bits(void **state) {
    (void)state;
    static const char *const parts[] = {"norm", "bias", "mlp.gate.", "mlp.router.", "block_sparse_moe.gate", "sinks"};
    for (int i = 0; reference_names[i]; i++) {
        struct test_weights w;
        char *folder = copy_of(reference_names[i], &w);
        for (size_t p = 0; p < sizeof parts / sizeof *parts; p++)
            test_weights_cast(&w, parts[p], QM_F32);
        compare("F32 vectors and routers", reference_names[i], folder, &w, 0);
    }
    struct test_weights w;
    char *folder = copy_of("qwen3", &w);
    test_weights_copy(&w, "model.embed_tokens.weight", "lm_head.weight");
    compare("a head equal to the embedding", "qwen3", folder, &w, 0);
    folder = copy_of("yi", &w);
    test_edit_config(folder, "tie_word_embeddings", "true");
    compare("tied by config.json alone", "yi", folder, &w, 0);
    folder = copy_of("llama", &w);
    test_edit_config(folder, "torch_dtype", "\"float32\"");
    compare("torch_dtype unlike the files", "llama", folder, &w, 0);
}

/* Against the reference's logits in float32: no further than the reference is in the model's own type. */
static void check_reference(const char *name, const char *part, double most) {
    struct reference r;
    struct test_weights w;
    struct run_model m;
    int64_t n[4], shape[4];
    reference_open(&r, name);
    const int32_t *ids = reference_tensor(&r, "ids", n);
    const float *want = reference_tensor(&r, "logits", shape);
    char *folder = copy_of(name, &w);
    assert_true(test_weights_cast(&w, part, QM_F32) > 0);
    test_weights_write(folder, &w);
    run_model_open(&m, folder, NULL, (struct qm_engine_options){.threads = 2, .isa = run_model_isa(), .kv_type = -1});
    float *logits = run_logits(m.engine, ids, n[0], 512, n[0]);
    double error = relative_error(logits, want, n[0] * shape[1]);
    most = most > 0 ? most : reference_number(&r, "native_error", 0);
    print_message("%-16s F32: %-25s error %.2e of %.2e\n", name, part, error, most);
    if (!(error <= most))
        fail_msg("%s, %s: relative error %g, at most %g", name, part, error, most);
    free(logits);
    run_model_close(&m);
    reference_close(&r);
    test_folder_remove(folder);
}

static void matrices_in_f32(void **state) {
    (void)state;
    static const struct {
        const char *model, *part;
    } all[] = {
        {"qwen3_moe", "lm_head"},    {"qwen3_moe", "embed"},     {"qwen3_moe", "self_attn.k_proj"},
        {"qwen3_moe", "experts.3."}, {"qwen3_moe", "down_proj"}, {"llama_f16", "up_proj"},
        {"qwen2", "embed"},          {"gpt_oss", "q_proj"},      {"gpt_oss", "lm_head"},
        {"internlm2", "wqkv"},       {"mixtral", "w1"},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        check_reference(all[i].model, all[i].part, 0);
}

static void all_in_f32(void **state) {
    (void)state;
    check_reference("qwen3_moe", "", 2e-5);
    check_reference("llama", "", 2e-5);
    check_reference("mixtral", "", 2e-5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_without_the_prefix),
        cmocka_unit_test(the_same_bits),
        cmocka_unit_test(matrices_in_f32),
        cmocka_unit_test(all_in_f32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
