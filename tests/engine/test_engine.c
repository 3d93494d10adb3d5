/* What the engine refuses, and that refusing changes nothing: bad steps, full contexts, too little memory, weights
 * that are not finite, files that shrink; and that its memory is what the plan says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/report.h"
#include "engine/sequence.h"
#include "tests/support/model_files.h"
#include "tests/support/run_model.h"

#define QWEN3 "tests/data/reference/qwen3"
#define GPT_OSS "tests/data/reference/gpt_oss"

static struct qm_engine_options options(int64_t context) {
    return (struct qm_engine_options){.threads = 2, .isa = qm_isa_best(), .context = context, .kv_type = -1};
}

static int step(struct qm_engine *e, struct qm_sequence *s, const int32_t *ids, int64_t n, struct qm_error *err) {
    struct qm_step_rows one = {.sequence = s, .tokens = ids, .n = n};
    return qm_engine_step(e, &one, 1, err);
}

static void test_bad_steps(void **state) {
    (void)state;
    struct run_model m;
    run_model_open(&m, QWEN3, NULL, options(10));
    struct qm_error err;
    struct qm_sequence *s, *second;
    assert_int_equal(qm_sequence_open(m.engine, &s, &err), QM_OK);
    assert_int_equal(qm_sequence_open(m.engine, &second, &err), QM_FIT);
    const int32_t bad[] = {5, -1}, high[] = {512}, good[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    assert_int_equal(step(m.engine, s, bad, 2, &err), QM_INPUT);
    assert_non_null(strstr(err.message, "token 1 is id -1"));
    assert_int_equal(step(m.engine, s, high, 1, &err), QM_INPUT);
    assert_int_equal(step(m.engine, s, good, 11, &err), QM_INPUT);
    assert_non_null(strstr(err.message, "context of 10"));
    assert_int_equal(err.remedy, QM_REMEDY_LARGER_CONTEXT);
    assert_int_equal(step(m.engine, s, good, 0, &err), QM_USAGE);
    struct qm_step_rows twice[2] = {{.sequence = s, .tokens = good, .n = 1}, {.sequence = s, .tokens = good, .n = 1}};
    assert_int_equal(qm_engine_step(m.engine, twice, 2, &err), QM_USAGE);
    assert_int_equal(qm_sequence_length(s), 0);
    assert_int_equal(step(m.engine, s, good, 10, &err), QM_OK);
    assert_int_equal(qm_sequence_length(s), 10);
    assert_int_equal(step(m.engine, s, good, 1, &err), QM_INPUT);
    qm_sequence_close(s);
    assert_int_equal(qm_sequence_open(m.engine, &s, &err), QM_OK);
    qm_sequence_close(s);
    run_model_close(&m);
}

static void test_options(void **state) {
    (void)state;
    struct qm_error err;
    struct qm_model *m;
    struct qm_engine *e;
    assert_int_equal(qm_model_open(QWEN3, NULL, &m, &err), QM_OK);
    struct qm_engine_options o = options((int64_t)1 << 34);
    assert_int_equal(qm_engine_open(m, &o, &e, &err), QM_FIT);
    assert_non_null(strstr(err.message, "KV cache for"));
    assert_null(e);
    o = options(64);
    o.kv_type = QM_MXFP4;
    assert_int_equal(qm_engine_open(m, &o, &e, &err), QM_USAGE);
    o = options(-1);
    assert_int_equal(qm_engine_open(m, &o, &e, &err), QM_USAGE);
    o = options(64);
    o.isa = QM_ISA_COUNT;
    assert_int_equal(qm_engine_open(m, &o, &e, &err), QM_FIT);
    qm_model_close(m);
}

static int stop_loading(void *arg, const char *what, uint64_t done, uint64_t total) {
    (void)what;
    assert_true(done <= total);
    ++*(int *)arg;
    return 1;
}

static void test_interrupted_load(void **state) {
    (void)state;
    struct qm_error err;
    struct qm_model *m;
    struct qm_engine *e;
    int calls = 0;
    assert_int_equal(qm_model_open(QWEN3, NULL, &m, &err), QM_OK);
    struct qm_engine_options o = options(64);
    o.threads = 1;
    o.progress = stop_loading;
    o.progress_arg = &calls;
    assert_int_equal(qm_engine_open(m, &o, &e, &err), QM_INTERRUPTED);
    assert_int_equal(calls, 1);
    qm_model_close(m);
}

/* Damages one value of a tensor: the load is refused and names it. */
static void refused(const char *from, const char *tensor, uint64_t at, const void *value, size_t n, const char *says) {
    char *dir = test_folder();
    test_copy_model(from, dir);
    uint64_t bytes, offset = test_tensor_offset(dir, "model.safetensors", tensor, &bytes);
    assert_true(at + n <= bytes);
    test_overwrite(dir, "model.safetensors", offset + at, value, n);
    struct qm_error err = {0};
    struct qm_model *m;
    struct qm_engine *e;
    assert_int_equal(qm_model_open(dir, NULL, &m, &err), QM_OK);
    struct qm_engine_options o = options(64);
    assert_int_equal(qm_engine_open(m, &o, &e, &err), QM_INPUT);
    if (!strstr(err.message, tensor) || !strstr(err.message, says))
        fail_msg("\"%s\" does not name %s and \"%s\"", err.message, tensor, says);
    qm_model_close(m);
    test_folder_remove(dir);
}

static void test_not_finite(void **state) {
    (void)state;
    const uint16_t infinity = 0x7F80, nan = 0xFFC1;
    const uint8_t scale = 255;
    refused(QWEN3, "model.layers.1.mlp.up_proj.weight", 2 * (3 * 64 + 7), &nan, 2, "value 199 (row 3, column 7)");
    refused(QWEN3, "model.embed_tokens.weight", 0, &infinity, 2, "value 0");
    refused(QWEN3, "model.norm.weight", 2 * 5, &infinity, 2, "value 5");
    refused(GPT_OSS, "model.layers.2.mlp.experts.gate_up_proj_scales", 192 * 2 + 5, &scale, 1, "scale 1 of row 194");
    refused(GPT_OSS, "model.layers.0.self_attn.sinks", 2, &nan, 2, "value 1");
}

static void test_shrinking_file(void **state) {
    (void)state;
    char *dir = test_folder();
    test_copy_model(QWEN3, dir);
    struct qm_error err = {0};
    struct qm_model *m;
    struct qm_engine *e;
    assert_int_equal(qm_model_open(dir, NULL, &m, &err), QM_OK);
    char path[256];
    strcat(strcpy(path, dir), "/model.safetensors");
    assert_int_equal(truncate(path, 200000), 0);
    struct qm_engine_options o = options(64);
    assert_int_equal(qm_engine_open(m, &o, &e, &err), QM_INPUT);
    assert_non_null(strstr(err.message, "shrank"));
    qm_model_close(m);
    test_folder_remove(dir);
}

static void test_memory_table(void **state) {
    (void)state;
    struct run_model m;
    run_model_open(&m, GPT_OSS, NULL, options(4096));
    const struct qm_memory_table *t = qm_engine_memory(m.engine);
    struct qm_workload w = {.context = 4096, .sequences = 1, .chunk = 512, .kv_type = QM_BF16, .threads = 2};
    struct qm_memory_table plan;
    qm_memory_estimate(m.model, &w, &plan);
    assert_memory_equal(t, &plan, sizeof plan);
    /* two layers keep 4096 tokens of 2 heads of 32 keys and values; two a window of 16 and a chunk of 512 */
    uint64_t token = 2 * 2 * 32 * 2;
    assert_int_equal(plan.kv, 2 * 4096 * token + 2 * 6 * 128 * token);
    assert_int_equal(plan.kv_per_token, 2 * token);
    assert_true(qm_engine_decode_bytes(m.engine, 4096) > qm_engine_decode_bytes(m.engine, 1));
    run_model_close(&m);
}

/* Random depth: as long as asked for, the same from the same seed however it is cut, and what follows works. */
static void fill_and_step(const char *dir, uint64_t seed, int64_t cut, float *logits) {
    struct run_model m;
    struct qm_error err;
    struct qm_sequence *s;
    struct qm_engine_options o = options(300);
    o.chunk = 16;
    run_model_open(&m, dir, NULL, o);
    assert_int_equal(qm_sequence_open(m.engine, &s, &err), QM_OK);
    assert_int_equal(qm_sequence_fill_random(s, cut, seed, &err), QM_OK);
    assert_int_equal(qm_sequence_fill_random(s, 250 - cut, seed, &err), QM_OK);
    assert_int_equal(qm_sequence_length(s), 250);
    assert_int_equal(qm_sequence_fill_random(s, 51, seed, &err), QM_INPUT);
    assert_int_equal(qm_sequence_fill_random(s, -1, seed, &err), QM_INPUT);
    assert_int_equal(qm_sequence_length(s), 250);
    struct qm_step_rows one = {.sequence = s, .tokens = (int32_t[]){5, 6}, .n = 2, .n_logits = 1, .logits = logits};
    assert_int_equal(qm_engine_step(m.engine, &one, 1, &err), QM_OK);
    assert_int_equal(qm_sequence_truncate(s, 250), 250);
    qm_sequence_close(s);
    run_model_close(&m);
}

static void test_random_depth(void **state) {
    (void)state;
    static const char *const dirs[] = {QWEN3, GPT_OSS};
    static float a[512], b[512], c[512];
    for (int i = 0; i < 2; i++) {
        fill_and_step(dirs[i], 1, 0, a);
        fill_and_step(dirs[i], 1, 77, b);
        fill_and_step(dirs[i], 2, 0, c);
        for (int v = 0; v < 512; v++)
            assert_true(a[v] - a[v] == 0.0f);
        assert_memory_equal(a, b, sizeof a);
        assert_memory_not_equal(a, c, sizeof a);
    }
}

/* With a profile every op is counted, and the results are the same bits. */
static void test_profile(void **state) {
    (void)state;
    struct run_model m;
    struct qm_error err;
    struct qm_sequence *s;
    static float logits[2][512];
    run_model_open(&m, QWEN3, NULL, options(16));
    assert_int_equal(qm_sequence_open(m.engine, &s, &err), QM_OK);
    struct qm_engine_profile p = {0};
    for (int i = 0; i < 2; i++) {
        struct qm_step_rows one = {
            .sequence = s, .tokens = (int32_t[]){5, 6}, .n = 2, .n_logits = 1, .logits = logits[i]};
        qm_engine_set_profile(m.engine, i ? &p : NULL);
        assert_int_equal(qm_engine_step(m.engine, &one, 1, &err), QM_OK);
        assert_int_equal(qm_sequence_truncate(s, 0), 0);
    }
    uint64_t layers = (uint64_t)m.model->config.layers;
    assert_int_equal(p.steps, 1);
    assert_int_equal(p.calls[QM_OP_QKV], layers);
    assert_int_equal(p.calls[QM_OP_HEAD], 1);
    assert_true(p.seconds[QM_OP_FFN_UP] > 0 && p.regions >= layers * 5);
    assert_memory_equal(logits[0], logits[1], sizeof logits[0]);
    qm_sequence_close(s);
    run_model_close(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_steps),        cmocka_unit_test(test_options),
        cmocka_unit_test(test_interrupted_load), cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_shrinking_file),   cmocka_unit_test(test_memory_table),
        cmocka_unit_test(test_random_depth),     cmocka_unit_test(test_profile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
