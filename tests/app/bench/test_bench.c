/* bench: lists of the command line, what a case costs against counts by hand, statistics, and the fields of a row. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "app/bench/bench.h"
#include "base/json.h"
#include "engine/report.h"
#include "tests/support/support.h"

static void test_lists(void **state) {
    (void)state;
    struct qm_bench_list l;
    struct qm_error err;
    assert_int_equal(qm_bench_list_parse("-p", "512,4096", 0, 100000, &l, &err), QM_OK);
    assert_int_equal(l.n, 2);
    assert_int_equal(l.value[1], 4096);
    assert_int_equal(qm_bench_list_parse("-p", "0", 0, 1, &l, &err), QM_OK);
    static const char *const wrong[] = {"",     ",",  "1,", ",1",  "1,,2", "a",
                                        "1 ,2", "-1", "6",  "1;2", "1e3",  "99999999999999999999999999999999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(qm_bench_list_parse("--n-prompt", wrong[i], 0, 5, &l, &err), QM_USAGE);
        assert_non_null(strstr(err.message, "--n-prompt"));
    }
    char many[200] = "1";
    for (int i = 0; i < QM_BENCH_LIST; i++)
        strcat(many, ",1");
    assert_int_equal(qm_bench_list_parse("-p", many, 0, 5, &l, &err), QM_USAGE);
}

/* 2 layers, hidden 32, 4 heads of 16, 2 KV heads, ffn 48, vocabulary 64, tied: every product counted by hand. */
static const char DENSE[] =
    "{\"architectures\":[\"Qwen3ForCausalLM\"],\"model_type\":\"qwen3\",\"vocab_size\":64,\"hidden_size\":32,"
    "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":16,"
    "\"intermediate_size\":48,\"rms_norm_eps\":1e-6,\"rope_theta\":10000,\"max_position_embeddings\":1024,"
    "\"hidden_act\":\"silu\",\"tie_word_embeddings\":true,\"torch_dtype\":\"bfloat16\"}";
enum {
    LAYER_WEIGHTS = (4 + 2 + 2) * 16 * 32 + 4 * 16 * 32 + 2 * 48 * 32 + 48 * 32,
    HEAD_WEIGHTS = 64 * 32,
    KEY = 4 * 4 * 16 /* FLOPs of one query on one key and value, all heads */
};

/* 8 experts, 2 a token, of width 16. */
static const char MOE[] =
    "{\"architectures\":[\"Qwen3MoeForCausalLM\"],\"model_type\":\"qwen3_moe\",\"vocab_size\":64,\"hidden_size\":32,"
    "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":16,"
    "\"intermediate_size\":48,\"moe_intermediate_size\":16,\"num_experts\":8,\"num_experts_per_tok\":2,"
    "\"norm_topk_prob\":true,\"decoder_sparse_step\":1,\"mlp_only_layers\":[],\"rms_norm_eps\":1e-6,"
    "\"rope_theta\":10000,\"max_position_embeddings\":1024,\"hidden_act\":\"silu\",\"tie_word_embeddings\":false,"
    "\"torch_dtype\":\"bfloat16\"}";

static struct qm_model *open_model(const char *config) {
    json_t *root;
    struct qm_model *m;
    struct qm_error err;
    assert_int_equal(qm_json_parse(config, strlen(config), "test", &root, &err), QM_OK);
    if (qm_model_from_config(root, "test", NULL, &m, &err))
        fail_msg("%s", err.message);
    json_decref(root);
    return m;
}

static void test_work(void **state) {
    (void)state;
    struct qm_model *m = open_model(DENSE);
    struct qm_work w;
    /* 5 tokens at depth 3 see 4 + 5 + 6 + 7 + 8 keys; the head for the last only */
    qm_bench_work(m, QM_BF16, &(struct qm_bench_case){.n_prompt = 5, .n_depth = 3, .batch = 1}, 512, &w);
    assert_float_equal(w.flops, 2.0 * 5 * 2 * LAYER_WEIGHTS + 2.0 * HEAD_WEIGHTS + 2.0 * 30 * KEY, 0.5);
    double norms = 2 * (2 * 32 + 2 * 16) * 4 + 32 * 4;
    assert_float_equal(w.weight_bytes, 2.0 * (2 * LAYER_WEIGHTS + HEAD_WEIGHTS) + norms, 0.5);
    assert_float_equal(w.kv_bytes, 2.0 * 3 * 2 * 2 * 16 * 2, 0.5);
    double once = w.flops;
    /* cut in steps of 2: the same FLOPs, weights three times (the head's once), more keys and values read back */
    qm_bench_work(m, QM_BF16, &(struct qm_bench_case){.n_prompt = 5, .n_depth = 3, .batch = 1}, 2, &w);
    assert_float_equal(w.flops, once, 0.5);
    assert_float_equal(w.weight_bytes, 2.0 * (3 * 2 * LAYER_WEIGHTS + HEAD_WEIGHTS) + 3 * (norms - 128) + 3 * 128, 0.5);
    assert_float_equal(w.kv_bytes, 2.0 * (3 + 5 + 7) * 2 * 2 * 16 * 2, 0.5);
    /* two sequences generate 3 tokens each at depth 10: weights three times, keys of both */
    qm_bench_work(m, QM_BF16, &(struct qm_bench_case){.n_gen = 3, .n_depth = 10, .batch = 2}, 512, &w);
    assert_float_equal(w.flops, 6 * 2.0 * (2 * LAYER_WEIGHTS + HEAD_WEIGHTS) + 2.0 * 2 * (11 + 12 + 13) * KEY, 0.5);
    assert_float_equal(w.kv_bytes, 2.0 * 2 * (10 + 11 + 12) * 2 * 2 * 16 * 2, 0.5);
    qm_model_close(m);
}

static void test_experts(void **state) {
    (void)state;
    struct qm_model *m = open_model(MOE);
    struct qm_work one = {0}, many = {0};
    qm_work_add_step(m, QM_BF16, 1, 0, 1, 1, &one);
    double attention = (4 + 2 + 2) * 16 * 32 + 4 * 16 * 32, expert = 3 * 16 * 32, router = 8 * 32;
    assert_float_equal(one.flops, 2 * (2 * (attention + router + 2 * expert) + 64 * 32) + 2 * KEY, 0.5);
    /* one token touches two experts; 16 tokens 8 (1 - 0.75^16) of them, nearly all */
    qm_work_add_step(m, QM_BF16, 1, 0, 16, 1, &many);
    double touched = 8 * (1 - pow(0.75, 16));
    assert_float_equal(many.weight_bytes - one.weight_bytes, 2 * 2 * expert * (touched - 2), 0.5);
    qm_model_close(m);
}

/* What is counted for one token is what the engine says it reads; windows too. */
static void test_as_the_engine(void **state) {
    (void)state;
    struct qm_model *m = open_model(MOE);
    struct qm_engine *e;
    struct qm_error err;
    struct qm_engine_options o = {.threads = 1, .isa = QM_ISA_SCALAR, .context = 64, .kv_type = -1};
    m->config.layer[1].window = 8;
    assert_int_equal(qm_engine_open(m, &o, &e, &err), QM_OK);
    for (int64_t depth = 0; depth < 64; depth += 7) {
        struct qm_work w = {0};
        qm_work_add_step(m, qm_engine_kv_type(e), 1, depth, 1, 1, &w);
        assert_float_equal(w.weight_bytes + w.kv_bytes, (double)qm_engine_decode_bytes(e, depth), 0.5);
    }
    struct qm_work w = {0};
    qm_work_add_step(m, QM_BF16, 1, 5, 10, 0, &w); /* keys seen: 6..15, and 6, 7, then 8 each */
    struct qm_work none = {0};
    qm_work_add_step(m, QM_BF16, 1, 0, 10, 0, &none); /* 1..10, and 1..8, 8, 8 */
    assert_float_equal(w.flops - none.flops, (105.0 + 77 - 55 - 52) * KEY, 0.5);
    qm_engine_close(e);
    qm_model_close(m);
}

static void test_figures(void **state) {
    (void)state;
    struct qm_bench_result *r = calloc(1, sizeof *r);
    struct qm_bench_figures f;
    r->which = (struct qm_bench_case){.n_gen = 10, .batch = 2};
    r->n = 4;
    const double seconds[] = {2, 1, 4, 1.25};
    memcpy(r->seconds, seconds, sizeof seconds);
    r->work = (struct qm_work){.flops = 1e9, .weight_bytes = 6e9, .kv_bytes = 2e9};
    r->limits = (struct qm_limits){.peak = {.read = 1e10, .bf16 = 1e12, .f32 = 5e11}};
    r->joules = NAN;
    qm_bench_figure(r, &f);
    assert_float_equal(f.tokens, 20, 0);
    assert_float_equal(f.avg_ns, 2.0625e9, 1);
    assert_float_equal(f.avg_ts, (10 + 20 + 5 + 16) / 4.0, 1e-9);
    assert_float_equal(f.stddev_ts, sqrt((2.75 * 2.75 + 7.25 * 7.25 + 7.75 * 7.75 + 3.25 * 3.25) / 3), 1e-9);
    assert_float_equal(f.median_ts, 13, 1e-9);
    assert_float_equal(f.gb_s, 8 * 13.0 / 20, 1e-9);
    assert_true(f.limit_is_read);
    assert_float_equal(f.limit_share, 0.8 * 13 / 20, 1e-9);
    assert_true(isnan(f.joules_per_token) && isnan(f.whole_ts));
    r->joules = 400;
    r->whole_work = (struct qm_work){.flops = 1e9, .weight_bytes = 12e9, .kv_bytes = 4e9};
    qm_bench_figure(r, &f);
    assert_float_equal(f.joules_per_token, 5, 1e-9);
    assert_float_equal(f.whole_ts, 6.5, 1e-9);
    r->work.flops = 1e12; /* bound by multiply-adds, of F32 where that is the type */
    r->product = QM_F32;
    qm_bench_figure(r, &f);
    assert_false(f.limit_is_read);
    assert_float_equal(f.limit_share, 2 * 13.0 / 20, 1e-9);
    free(r);
}

static int keep_row(void *arg, const struct qm_engine *e, const struct qm_bench_result *r, struct qm_error *err) {
    void **to = arg;
    (void)err;
    json_array_append_new(to[0], qm_bench_row(to[1], e, r));
    return QM_OK;
}

/* A whole run: prompt and generation at two depths, with the fields that llama-bench has and ours. */
static void test_run(void **state) {
    (void)state;
    static const char *const fields[] = {
        "build_commit",   "cpu_info",   "model_filename",   "model_type",     "model_size",
        "model_n_params", "n_batch",    "n_threads",        "type_k",         "n_prompt",
        "n_gen",          "n_depth",    "test_time",        "avg_ns",         "stddev_ns",
        "avg_ts",         "stddev_ts",  "samples_ns",       "samples_ts",     "limit_share",
        "gb_s",           "gflop_s",    "joules_per_token", "joules_reason",  "median_ts",
        "limit_by",       "limit_gb_s", "limit_gflop_s",    "whole_model_ts", "profile"};
    struct qm_model *m = open_model(MOE);
    static const volatile sig_atomic_t no_stop;
    static const char *const sensed[] = {"joules_per_token", "watts", "temp_c", "fan_rpm"};
    struct qm_progress progress = {.quiet = true};
    struct qm_error err;
    for (int filled = 0; filled < 2; filled++) {
        struct qm_bench_plan plan = {.prompt = {{5, 0}, 2},
                                     .gen = {{3}, 1},
                                     .depth = {{0, 20}, 2},
                                     .batch = {{1, 3}, 2},
                                     .repetitions = 2,
                                     .chunk = 8,
                                     .isa = QM_ISA_SCALAR,
                                     .kv_type = -1,
                                     .fill_depth = filled,
                                     .profile = true};
        struct qm_bench_subject subject = {.model = m,
                                           .whole = m,
                                           .name = "tiny",
                                           .cpu = "a CPU",
                                           .not_readable = {"none", "none", "none"},
                                           .fill_depth = filled};
        plan.quiet.share = filled ? 0.3 : 0;
        json_t *rows = json_array();
        struct qm_meter meter;
        assert_int_equal(qm_meter_open("/nowhere", &meter, &err), 0);
        struct qm_bench_run run = {.plan = &plan,
                                   .meter = &meter,
                                   .subject = &subject,
                                   .progress = &progress,
                                   .stop = &no_stop,
                                   .result = keep_row,
                                   .arg = (void *[]){rows, &subject}};
        if (qm_bench_run(&run, 2, &err))
            fail_msg("%s", err.message);
        assert_int_equal(json_array_size(rows), 8);
        for (size_t i = 0; i < 8; i++) {
            const json_t *row = json_array_get(rows, i);
            for (size_t f = 0; f < sizeof fields / sizeof *fields; f++)
                if (!json_object_get(row, fields[f]))
                    fail_msg("no field %s", fields[f]);
            assert_int_equal(json_array_size(json_object_get(row, "samples_ns")), 2);
            assert_int_equal(json_integer_value(json_object_get(row, "n_prompt")), i % 2 ? 0 : 5);
            assert_int_equal(json_integer_value(json_object_get(row, "n_gen")), i % 2 ? 3 : 0);
            assert_int_equal(json_integer_value(json_object_get(row, "n_depth")), i / 2 % 2 ? 20 : 0);
            assert_int_equal(json_integer_value(json_object_get(row, "n_seqs")), i / 4 ? 3 : 1);
            assert_true(json_number_value(json_object_get(row, "limit_share")) > 0);
            for (int k = 0; k < 4; k++)
                assert_true(json_is_null(json_object_get(row, sensed[k])));
            assert_string_equal(json_string_value(json_object_get(row, "fan_reason")), "none");
            assert_in_range(json_integer_value(json_object_get(row, "n_threads_used")), filled && i % 2 ? 1 : 2, 2);
            assert_true(json_is_null(json_object_get(row, "quiet_share")) == (!filled || i % 2 == 0));
            assert_string_equal(json_string_value(json_object_get(row, "depth_filled")), i / 2 % 2 == 0 ? "none"
                                                                                         : filled       ? "random"
                                                                                                        : "computed");
            const json_t *us = json_object_get(json_object_get(row, "profile"), "us_per_step");
            assert_true(json_number_value(json_object_get(us, "moe_up")) > 0);
        }
        json_decref(rows);
        qm_meter_close(&meter);
    }
    qm_model_close(m);
}

static void test_stopped(void **state) {
    (void)state;
    struct qm_model *m = open_model(DENSE);
    static const volatile sig_atomic_t stop = 1;
    struct qm_progress progress = {.quiet = true};
    struct qm_bench_plan plan = {.prompt = {{5}, 1},
                                 .gen = {{3}, 1},
                                 .depth = {{0}, 1},
                                 .batch = {{1}, 1},
                                 .repetitions = 2,
                                 .chunk = 8,
                                 .isa = QM_ISA_SCALAR,
                                 .kv_type = -1};
    struct qm_bench_subject subject = {.model = m, .name = "tiny"};
    struct qm_error err;
    struct qm_meter meter;
    assert_int_equal(qm_meter_open("/nowhere", &meter, &err), 0);
    struct qm_bench_run run = {
        .plan = &plan, .subject = &subject, .progress = &progress, .meter = &meter, .stop = &stop};
    assert_int_equal(qm_bench_run(&run, 1, &err), QM_INTERRUPTED);
    qm_meter_close(&meter);
    qm_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),         cmocka_unit_test(test_work),    cmocka_unit_test(test_experts),
        cmocka_unit_test(test_as_the_engine), cmocka_unit_test(test_figures), cmocka_unit_test(test_run),
        cmocka_unit_test(test_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
