/* The demonstration model as a whole, from request to answer: all sixty questions on the three logbooks, and the
 * published continuations of its three reference prompts, on every instruction set but the scalar one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "engine/sequence.h"
#include "session/generate.h"
#include "tests/support/reference.h"
#include "tests/support/run_model.h"
#include "tests/support/support.h"
#include "text/template/chat.h"

#define DEMO "data/demo"

enum { FILE_LIMIT = 1 << 24, ANSWER_TOKENS = 40 };

struct demo {
    struct run_model m;
    struct qm_tokenizer *tokenizer;
    struct qm_chat *chat;
    struct qm_sequence *sequence;
    struct qm_ids held; /* what the sequence holds */
};

static struct demo demo_open(enum qm_isa isa) {
    struct demo d = {0};
    struct qm_error err;
    run_model_open(&d.m, DEMO, NULL,
                   (struct qm_engine_options){.threads = 2, .isa = isa, .context = 8192, .kv_type = -1});
    if (qm_tokenizer_load(DEMO, &d.tokenizer, &err) || qm_chat_load(DEMO, NULL, &d.chat, &err) ||
        qm_sequence_open(d.m.engine, &d.sequence, &err))
        fail_msg("%s", err.message);
    return d;
}

static void demo_close(struct demo *d) {
    qm_sequence_close(d->sequence);
    qm_ids_free(&d->held);
    qm_chat_free(d->chat);
    qm_tokenizer_free(d->tokenizer);
    run_model_close(&d->m);
}

/* Greedy tokens after a prompt; what the sequence holds of it already is not computed again. */
static void generate(struct demo *d, const struct qm_ids *prompt, int64_t n, bool ignore_end,
                     struct qm_generate_result *out) {
    struct qm_error err;
    size_t common = 0;
    while (common + 1 < prompt->len && common < d->held.len && prompt->data[common] == d->held.data[common])
        common++;
    int64_t kept = qm_sequence_truncate(d->sequence, (int64_t)common);
    struct qm_generate g = {.engine = d->m.engine,
                            .sequence = d->sequence,
                            .decoding.tokenizer = d->tokenizer,
                            .prompt = prompt->data + kept,
                            .n_prompt = (int64_t)prompt->len - kept,
                            .decoding.max_tokens = n,
                            .decoding.sampling = qm_sampling_default,
                            .decoding.skip_special = true,
                            .decoding.top_logprobs = -1,
                            .decoding.ignore_end = ignore_end};
    if (qm_generate(&g, out, &err))
        fail_msg("%s", err.message);
    d->held.len = 0;
    for (size_t i = 0; i < prompt->len; i++)
        assert_int_equal(qm_ids_push(&d->held, prompt->data[i], &err), 0);
}

static void ask(struct demo *d, const json_t *request, const json_t *expected) {
    struct qm_error err;
    struct qm_buf prompt = {0};
    struct qm_ids ids = {0};
    struct qm_generate_result r;
    const char *want = json_string_value(json_object_get(expected, "expected"));
    assert_string_equal(json_string_value(json_object_get(request, "custom_id")),
                        json_string_value(json_object_get(expected, "custom_id")));
    assert_string_equal(json_string_value(json_object_get(expected, "model_bf16")),
                        json_string_value(json_object_get(expected, "model_fp32")));
    if (qm_chat_render(d->chat, json_object_get(request, "body"), NULL, &prompt, &err) ||
        qm_tokenizer_encode(d->tokenizer, prompt.data, prompt.len, false, true, &ids, &err))
        fail_msg("%s", err.message);
    generate(d, &ids, ANSWER_TOKENS, false, &r);
    assert_int_equal(r.finish, QM_FINISH_STOP);
    assert_string_equal(r.text.data, want);
    qm_generate_result_free(&r);
    qm_ids_free(&ids);
    qm_buf_free(&prompt);
}

static json_t *read_lines(const char *path) {
    struct qm_buf text = {0};
    struct qm_error err;
    json_t *all = json_array(), *one;
    assert_int_equal(qm_read_file(path, FILE_LIMIT, &text, &err), 0);
    for (char *at = text.data, *end; (end = strchr(at, '\n')); at = end + 1) {
        assert_int_equal(qm_json_parse(at, (size_t)(end - at), path, &one, &err), 0);
        json_array_append_new(all, one);
    }
    qm_buf_free(&text);
    return all;
}

/* One instruction set is enough for the sanitizers: kernels have tests of their own. */
static bool left_out(enum qm_isa isa) {
    return qm_isa_check(isa, NULL) || (!test_slow() && isa != run_model_isa());
}

static void test_answers(void **state) {
    enum qm_isa isa = *(const enum qm_isa *)*state;
    if (left_out(isa))
        skip();
    struct demo d = demo_open(isa);
    json_t *requests = read_lines(DEMO "/demo/batch.jsonl"), *expected = read_lines(DEMO "/demo/expected.jsonl");
    assert_int_equal(json_array_size(requests), 60);
    assert_int_equal(json_array_size(expected), 60);
    for (size_t i = 0; i < 60; i += test_slow() ? 1 : 4)
        ask(&d, json_array_get(requests, i), json_array_get(expected, i));
    json_decref(requests);
    json_decref(expected);
    demo_close(&d);
}

/* The greedy tokens, as far as the reference's F32 and BF16 ones agree; the logits of the last eight positions,
 * which are F32 arithmetic on the same weights (float32 .npy, 128 bytes of header). */
static void check_reference(struct demo *d, const char *name, const json_t *r) {
    enum { POSITIONS = 8, NPY_HEADER = 128 };
    struct qm_error err;
    struct qm_ids ids = {0};
    struct qm_generate_result out;
    struct qm_buf npy = {0};
    char path[256];
    const json_t *f32 = json_object_get(r, "greedy_fp32"), *bf16 = json_object_get(r, "greedy_bf16"),
                 *given = json_object_get(r, "ids");
    for (size_t i = 0; i < json_array_size(given); i++)
        assert_int_equal(qm_ids_push(&ids, (int32_t)json_integer_value(json_array_get(given, i)), &err), 0);
    size_t agree = 0;
    while (agree < json_array_size(f32) && json_equal(json_array_get(f32, agree), json_array_get(bf16, agree)))
        agree++;
    generate(d, &ids, (int64_t)agree, true, &out);
    assert_int_equal(out.ids.len, agree);
    for (size_t i = 0; i < agree; i++)
        assert_int_equal(out.ids.data[i], json_integer_value(json_array_get(f32, i)));
    snprintf(path, sizeof path, DEMO "/reference/%s.logits.npy", name);
    assert_int_equal(qm_read_file(path, FILE_LIMIT, &npy, &err), 0);
    int64_t vocab = d->m.model->config.vocab;
    assert_int_equal(npy.len, NPY_HEADER + POSITIONS * (size_t)vocab * sizeof(float));
    struct run_model again;
    run_model_open(
        &again, DEMO, NULL,
        (struct qm_engine_options){.threads = 2, .isa = qm_engine_isa(d->m.engine), .context = 8192, .kv_type = -1});
    float *logits = run_logits(again.engine, ids.data, (int64_t)ids.len, 512, POSITIONS);
    double error = relative_error(logits, (const float *)(const void *)(npy.data + NPY_HEADER), POSITIONS * vocab);
    print_message("%s: %zu of 32 greedy tokens compared, logits' error %.4f\n", name, agree, error);
    assert_true(error < 0.02);
    free(logits);
    run_model_close(&again);
    qm_buf_free(&npy);
    qm_generate_result_free(&out);
    qm_ids_free(&ids);
}

static void test_reference(void **state) {
    enum qm_isa isa = *(const enum qm_isa *)*state;
    if (left_out(isa))
        skip();
    struct demo d = demo_open(isa);
    json_t *all;
    struct qm_error err;
    assert_int_equal(qm_json_load(DEMO "/reference/reference.json", FILE_LIMIT, &all, &err), 0);
    const char *name;
    const json_t *r;
    size_t n = 0;
    json_object_foreach(all, name, r) {
        if (test_slow() || n == 0)
            check_reference(&d, name, r);
        n++;
    }
    assert_int_equal(n, 3);
    json_decref(all);
    demo_close(&d);
}

int main(void) {
    static enum qm_isa isa[] = {QM_ISA_AVX2, QM_ISA_AVX512, QM_ISA_AVX512BF16};
    const struct CMUnitTest tests[] = {
        {"answers on avx2", test_answers, NULL, NULL, &isa[0]},
        {"answers on avx512", test_answers, NULL, NULL, &isa[1]},
        {"answers on avx512bf16", test_answers, NULL, NULL, &isa[2]},
        {"reference on avx2", test_reference, NULL, NULL, &isa[0]},
        {"reference on avx512", test_reference, NULL, NULL, &isa[1]},
        {"reference on avx512bf16", test_reference, NULL, NULL, &isa[2]},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
