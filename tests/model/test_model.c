/* Opening models: the reference folders, whether their runs put every published row where it belongs, and the
 * ways in which files and config.json can fail to belong together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "model/model.h"
#include "tests/support/model_files.h"

static const struct {
    const char *folder;
    int64_t weights, parameters, active; /* counted from the files' headers by a separate script */
} models[] = {
    {QM_REFERENCE "gpt_oss", 55, 765808, 280576},
    {QM_REFERENCE "internlm2", 21, 195008, 161792},
    {QM_REFERENCE "llama", 21, 195008, 161792},
    {QM_REFERENCE "llama_dynamic", 21, 195008, 161792},
    {QM_REFERENCE "llama_f16", 21, 195008, 161792},
    {QM_REFERENCE "llama_linear", 33, 196736, 161792},
    {QM_REFERENCE "mistral", 21, 195008, 161792},
    {QM_REFERENCE "mistral_nemo", 21, 231872, 198656},
    {QM_REFERENCE "mixtral", 24, 841664, 255488},
    {QM_REFERENCE "qwen2", 23, 162624, 161792},
    {QM_REFERENCE "qwen3", 26, 199296, 198656},
    {QM_REFERENCE "qwen3_f32", 27, 232064, 198656},
    {QM_REFERENCE "qwen3_moe", 30, 362624, 163328},
    {QM_REFERENCE "qwen3_moe_mixed", 29, 319104, 175104},
    {QM_REFERENCE "qwen3_yarn", 27, 232064, 198656},
    {QM_REFERENCE "yi", 21, 195008, 161792},
    {"data/demo", 39, 1643904, 626688},
};

static struct qm_model *open_model(const char *folder, const struct qm_overrides *o) {
    struct qm_model *m;
    struct qm_error err;
    if (qm_model_open(folder, o, &m, &err))
        fail_msg("%s", err.message);
    return m;
}

static int64_t tensor_rows(const struct qm_tensor *t, bool vector, bool blocks) {
    int64_t rows = 1;
    for (int i = 0; i < t->dims - (vector ? 0 : blocks ? 2 : 1); i++)
        rows *= t->shape[i];
    return rows;
}

/* Marks the rows of the weight that the run makes; none may be made twice, none of the tensor used twice. */
static void mark_run(const struct qm_model *m, const struct qm_weight *w, const struct qm_run *r, unsigned char *made,
                     unsigned char **taken) {
    int64_t rows = tensor_rows(r->tensor, w->vector, r->scales != NULL);
    unsigned char **t = &taken[r->tensor - m->shards->tensors];
    if (!*t)
        *t = calloc(1, (size_t)rows);
    assert_true(r->expert >= 0 && r->expert < w->experts);
    for (int64_t i = 0; i < r->count; i++) {
        int64_t dst = r->dst + i, src = r->src + i * r->step;
        if (r->interleave) {
            assert_int_equal(r->interleave, 32);
            dst = dst / 16 * 32 + dst % 16 + r->shift;
        }
        assert_true(dst >= 0 && dst < w->n && src >= 0 && src < rows);
        assert_int_equal(made[r->expert * w->n + dst]++, 0);
        assert_int_equal((*t)[src]++, 0);
    }
}

static void check_weight(const struct qm_model *m, const struct qm_weight *w, unsigned char **taken) {
    const struct qm_config *c = &m->config;
    unsigned char *made = calloc(1, (size_t)(w->experts * w->n));
    assert_non_null(made);
    for (int64_t i = 0; i < w->n_runs; i++) {
        const struct qm_run *r = &w->runs[i];
        assert_int_equal(r->tensor->dtype, w->dtype == QM_MXFP4 ? QM_U8 : w->dtype);
        assert_int_equal(r->scales != NULL, w->dtype == QM_MXFP4);
        mark_run(m, w, r, made, taken);
    }
    bool gate_up = w->role == QM_W_GATE_UP || w->role == QM_W_GATE_UP_BIAS;
    int64_t ffn = w->layer >= 0 && c->layer[w->layer].moe ? c->moe_ffn : c->ffn;
    for (int64_t row = 0; row < w->experts * w->n; row++) {
        int64_t r = row % w->n;
        bool padding = gate_up && r / 32 * 16 + r % 16 >= ffn;
        assert_int_equal(made[row], padding ? 0 : 1);
    }
    free(made);
}

static void reference_models(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        struct qm_model *m = open_model(models[i].folder, NULL);
        assert_int_equal(m->n_weights, models[i].weights);
        assert_int_equal(m->parameters, models[i].parameters);
        assert_int_equal(m->active_parameters, models[i].active);
        assert_string_equal(m->notes, "");
        unsigned char **taken = calloc((size_t)m->shards->n_tensors, sizeof *taken);
        assert_non_null(taken);
        for (int64_t w = 0; w < m->n_weights; w++)
            check_weight(m, &m->weights[w], taken);
        for (int64_t t = 0; t < m->shards->n_tensors; t++) { /* every row of every tensor is used, scales by blocks */
            const char *name = m->shards->tensors[t].name;
            if (!taken[t] && !strstr(name, "_scales"))
                fail_msg("%s: %s is not used", models[i].folder, name);
            int64_t rows = taken[t] ? tensor_rows(&m->shards->tensors[t], m->shards->tensors[t].dims == 1,
                                                  strstr(name, "_blocks") != NULL)
                                    : 0;
            for (int64_t r = 0; r < rows; r++)
                assert_int_equal(taken[t][r], 1);
            free(taken[t]);
        }
        free(taken);
        qm_model_close(m);
    }
}

/* The published row that makes row `dst` of the weight of one expert. */
static int64_t source_row(const struct qm_weight *w, int64_t expert, int64_t dst, const char **name) {
    for (int64_t i = 0; i < w->n_runs; i++) {
        const struct qm_run *r = &w->runs[i];
        for (int64_t j = 0; r->expert == expert && j < r->count; j++) {
            int64_t at = r->dst + j;
            if ((r->interleave ? at / 16 * 32 + at % 16 + r->shift : at) == dst) {
                *name = r->tensor->name;
                return r->src + j * r->step;
            }
        }
    }
    return -1;
}

static void expect_row(const struct qm_weight *w, int64_t expert, int64_t dst, const char *name, int64_t src) {
    const char *found = "";
    int64_t row = source_row(w, expert, dst, &found);
    if (row != src || (src >= 0 && strcmp(found, name) != 0))
        fail_msg("row %lld: expected row %lld of %s, found row %lld of %s", (long long)dst, (long long)src, name,
                 (long long)row, found);
}

static void rows_of_fused_weights(void **state) {
    (void)state;
    struct qm_model *m = open_model(QM_REFERENCE "internlm2", NULL); /* 4 heads, 2 KV heads, head_dim 16 */
    const struct qm_weight *w = qm_model_weight(m, 1, QM_W_QKV);
    const char *name = "model.layers.1.attention.wqkv.weight";
    expect_row(w, 0, 0, name, 0);
    expect_row(w, 0, 31, name, 31);   /* q head 1 */
    expect_row(w, 0, 32, name, 64);   /* q head 2, after k and v of KV head 0 */
    expect_row(w, 0, 64, name, 32);   /* k head 0 */
    expect_row(w, 0, 80, name, 96);   /* k head 1 */
    expect_row(w, 0, 96, name, 48);   /* v head 0 */
    expect_row(w, 0, 127, name, 127); /* v head 1 */
    qm_model_close(m);

    m = open_model(QM_REFERENCE "qwen3", NULL);
    w = qm_model_weight(m, 2, QM_W_QKV);
    expect_row(w, 0, 127, "model.layers.2.self_attn.q_proj.weight", 127);
    expect_row(w, 0, 128, "model.layers.2.self_attn.k_proj.weight", 0);
    expect_row(w, 0, 192, "model.layers.2.self_attn.v_proj.weight", 0);
    w = qm_model_weight(m, 0, QM_W_GATE_UP);
    expect_row(w, 0, 15, "model.layers.0.mlp.gate_proj.weight", 15);
    expect_row(w, 0, 16, "model.layers.0.mlp.up_proj.weight", 0);
    expect_row(w, 0, 33, "model.layers.0.mlp.gate_proj.weight", 17);
    assert_null(qm_model_weight(m, -1, QM_W_HEAD));
    assert_null(qm_model_weight(m, 0, QM_W_SINKS));
    qm_model_close(m);

    m = open_model(QM_REFERENCE "gpt_oss", NULL); /* intermediate_size 96 */
    w = qm_model_weight(m, 3, QM_W_GATE_UP);
    assert_int_equal(w->dtype, QM_MXFP4);
    name = "model.layers.3.mlp.experts.gate_up_proj_blocks";
    expect_row(w, 0, 0, name, 0);
    expect_row(w, 0, 16, name, 1);
    expect_row(w, 5, 1, name, 5 * 192 + 2);
    expect_row(w, 5, 17 + 32, name, 5 * 192 + 2 * 17 + 1);
    expect_row(qm_model_weight(m, 3, QM_W_GATE_UP_BIAS), 5, 17, "model.layers.3.mlp.experts.gate_up_proj_bias",
               5 * 192 + 3);
    expect_row(qm_model_weight(m, 3, QM_W_DOWN), 2, 7, "model.layers.3.mlp.experts.down_proj_blocks", 2 * 64 + 7);
    expect_row(qm_model_weight(m, 3, QM_W_DOWN_BIAS), 2, 7, "model.layers.3.mlp.experts.down_proj_bias", 2 * 64 + 7);
    assert_string_equal(w->runs[0].scales->name, "model.layers.3.mlp.experts.gate_up_proj_scales");
    qm_model_close(m);

    m = open_model(QM_REFERENCE "mixtral", NULL);
    w = qm_model_weight(m, 0, QM_W_GATE_UP);
    expect_row(w, 7, 16, "model.layers.0.block_sparse_moe.experts.7.w3.weight", 0);
    expect_row(qm_model_weight(m, 0, QM_W_DOWN), 6, 1, "model.layers.0.block_sparse_moe.experts.6.w2.weight", 1);
    qm_model_close(m);
}

static void from_config(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        char path[256];
        struct qm_error err;
        json_t *json;
        struct qm_model *m, *opened = open_model(models[i].folder, NULL);
        snprintf(path, sizeof path, "%s/config.json", models[i].folder);
        assert_int_equal(qm_json_load(path, 1 << 20, &json, &err), 0);
        if (qm_model_from_config(json, path, NULL, &m, &err))
            fail_msg("%s", err.message);
        json_decref(json);
        assert_int_equal(m->n_weights, opened->n_weights);
        assert_int_equal(m->parameters, opened->parameters);
        assert_null(m->shards);
        for (int64_t w = 0; w < m->n_weights; w++) {
            const struct qm_weight *a = &m->weights[w], *b = &opened->weights[w];
            assert_true(a->role == b->role && a->n == b->n && a->k == b->k && a->dtype == b->dtype && a->n_runs == 0);
        }
        qm_model_close(m);
        qm_model_close(opened);
    }
}

static void overrides(void **state) {
    (void)state;
    struct qm_overrides o = {.experts_per_token = 4, .rope_theta = 5e6};
    struct qm_model *plain = open_model(QM_REFERENCE "qwen3_moe", NULL);
    struct qm_model *m = open_model(QM_REFERENCE "qwen3_moe", &o);
    assert_string_equal(m->notes, "experts per token: 2 -> 4\nrope theta: 10000000 -> 5000000\n");
    assert_int_equal(m->active_parameters - plain->active_parameters, 3 * 2 * 3 * 48 * 64);
    qm_model_close(plain);
    qm_model_close(m);
    struct qm_error err;
    assert_int_equal(qm_model_open(QM_REFERENCE "qwen3", &o, &m, &err), QM_USAGE);
    assert_null(m);
}

/* A copy of a reference model with a field of its config.json changed. */
static char *edited(const char *model, const char *key, const char *json) {
    char *folder = test_folder();
    test_copy_model(model, folder);
    if (key)
        test_edit_config(folder, key, json);
    return folder;
}

static void folder_refused(char *folder, const char *wanted) {
    struct qm_model *m;
    struct qm_error err = {0};
    int rc = qm_model_open(folder, NULL, &m, &err);
    if (rc != QM_INPUT || !strstr(err.message, wanted))
        fail_msg("expected 3, \"%s\", found %d, \"%s\"", wanted, rc, err.message);
    assert_null(m);
    test_folder_remove(folder);
}

static void config_that_does_not_match(void **state) {
    (void)state;
    folder_refused(
        edited(QM_REFERENCE "qwen3", "num_hidden_layers", "4"),
        "tensor \"model.layers.3.input_layernorm.weight\": expected BF16 [64] by config.json, found in no file; "
        "and 10 more");
    folder_refused(edited(QM_REFERENCE "qwen3", "num_hidden_layers", "2"),
                   "tensor \"model.layers.2.input_layernorm.weight\": expected only the tensors of a qwen3 model of 2");
    folder_refused(edited(QM_REFERENCE "qwen3", "vocab_size", "1000"),
                   "model.safetensors: tensor \"model.embed_tokens.weight\": expected BF16 [1000, 64] by config.json, "
                   "found BF16 [512, 64]");
    folder_refused(edited(QM_REFERENCE "qwen3", "intermediate_size", "176"), "expected BF16 [176, 64]");
    folder_refused(edited(QM_REFERENCE "qwen3", "head_dim", "16"), "expected BF16 [64, 64]");
    folder_refused(edited(QM_REFERENCE "qwen3", "tie_word_embeddings", "false"), "tensor \"lm_head.weight\": expected");
    folder_refused(edited(QM_REFERENCE "qwen3", "model_type", "\"llama\""), "Qwen3ForCausalLM\" is not implemented");
    folder_refused(edited(QM_REFERENCE "llama_linear", "attention_bias", "false"),
                   "self_attn.k_proj.bias\": expected only");
    folder_refused(edited(QM_REFERENCE "mixtral", "num_local_experts", "9"), "gate.weight\": expected BF16 [9, 64]");
    folder_refused(edited(QM_REFERENCE "mixtral", "num_local_experts", "7"), "gate.weight\": expected BF16 [7, 64]");
    folder_refused(edited(QM_REFERENCE "gpt_oss", "intermediate_size", "128"),
                   "expected U8 [8, 256, 2] by config.json");
}

static void dtype_from_embedding(void **state) {
    (void)state;
    char *folder = edited(QM_REFERENCE "qwen3_f32", "torch_dtype", NULL);
    struct qm_model *m = open_model(folder, NULL);
    assert_int_equal(m->config.dtype, QM_F32);
    assert_int_equal(m->config.expert_dtype, QM_F32);
    qm_model_close(m);
    test_folder_remove(folder);
    folder = edited(QM_REFERENCE "gpt_oss", "torch_dtype", NULL);
    m = open_model(folder, NULL);
    assert_int_equal(m->config.expert_dtype, QM_MXFP4);
    qm_model_close(m);
    test_folder_remove(folder);
}

static void harmless_tensors(void **state) {
    (void)state;
    char *folder = test_folder();
    test_copy_model(QM_REFERENCE "yi", folder);
    /* One more shard, with frequencies as old checkpoints have them. */
    static const char name[] = "model.layers.0.self_attn.rotary_emb.inv_freq";
    char header[256];
    snprintf(header, sizeof header, "{\"%s\":{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[0,32]}}", name);
    test_write_safetensors(folder, "old.safetensors", header, 32);
    size_t n;
    char *text = test_read(folder, "model.safetensors.index.json", &n);
    json_t *index = json_loads(text, 0, NULL);
    json_object_set_new(json_object_get(index, "weight_map"), name, json_string("old.safetensors"));
    free(text);
    text = json_dumps(index, 0);
    test_write(folder, "model.safetensors.index.json", text, strlen(text));
    free(text);
    json_decref(index);
    struct qm_model *m = open_model(folder, NULL);
    assert_non_null(strstr(m->notes, "ignored: 1 rotary_emb.inv_freq tensors"));
    qm_model_close(m);
    test_folder_remove(folder);
}

/* A copy of a reference model whose header has `with` in place of the first `what`, of the same length. */
static char *patched(const char *model, const char *what, const char *with) {
    char *folder = edited(model, NULL, NULL);
    size_t n, len = strlen(what);
    char *data = test_read(folder, "model.safetensors", &n);
    char *at = memmem(data, n, what, len);
    assert_non_null(at);
    assert_int_equal(strlen(with), len);
    memcpy(at, with, len);
    test_write(folder, "model.safetensors", data, n);
    free(data);
    return folder;
}

static void tensors_that_do_not_match(void **state) {
    (void)state;
    folder_refused(patched(QM_REFERENCE "qwen3", "\"dtype\":\"BF16\"", "\"dtype\":\"I16\" "),
                   "dtype I16 is not read; expected BF16, F16, F32, U8");
    folder_refused(patched(QM_REFERENCE "llama", "\"shape\":[64,64]", "\"shape\":[4096] "),
                   "expected BF16 [64, 64] by config.json, found BF16 [4096]");
    folder_refused(patched(QM_REFERENCE "llama", "\"shape\":[64,64]", "\"shape\":[32,64]"), "by its shape and dtype");
    folder_refused(
        patched(QM_REFERENCE "gpt_oss", "0.mlp.experts.down_proj_scales", "0.mlp.experts.down_proj_scalez"),
        "tensor \"model.layers.0.mlp.experts.down_proj_scales\": expected U8 [8, 64, 3] by config.json, found in "
        "no file; and 1 more");
    folder_refused(patched(QM_REFERENCE "gpt_oss", "0.mlp.experts.down_proj_blocks", "0.mlp.experts.down_proj_blockz"),
                   "down_proj_blocks\": expected U8 [8, 64, 3, 16] by config.json, found in no file; and 1 more");
}

static void damaged_files(void **state) {
    (void)state;
    char path[256];
    char *folder = edited(QM_REFERENCE "qwen3_yarn", NULL, NULL);
    snprintf(path, sizeof path, "%s/model-00002-of-00003.safetensors", folder);
    assert_int_equal(unlink(path), 0);
    folder_refused(folder, "model-00002-of-00003.safetensors: missing");

    folder = edited(QM_REFERENCE "qwen3_yarn", NULL, NULL);
    size_t n;
    char *data = test_read(folder, "model-00003-of-00003.safetensors", &n);
    test_write(folder, "model-00003-of-00003.safetensors", data, n - 1);
    free(data);
    folder_refused(folder, "the file is cut short");

    folder = edited(QM_REFERENCE "qwen3", NULL, NULL);
    snprintf(path, sizeof path, "%s/config.json", folder);
    assert_int_equal(unlink(path), 0);
    folder_refused(folder, "config.json: missing");

    folder = edited(QM_REFERENCE "qwen3", NULL, NULL);
    test_write(folder, "config.json", "{", 1);
    folder_refused(folder, "config.json: not valid JSON");

    folder_refused(test_folder(), "no model here");
    folder = test_folder();
    test_write(folder, "m.gguf", "GGUF", 4);
    folder_refused(folder, "quietmind reads safetensors");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_models),
        cmocka_unit_test(rows_of_fused_weights),
        cmocka_unit_test(from_config),
        cmocka_unit_test(overrides),
        cmocka_unit_test(config_that_does_not_match),
        cmocka_unit_test(dtype_from_embedding),
        cmocka_unit_test(harmless_tensors),
        cmocka_unit_test(tensors_that_do_not_match),
        cmocka_unit_test(damaged_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
