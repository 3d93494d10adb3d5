/* Model folders as people publish them, where the files are not what config.json says: names without "model.", classes
 * without a head, a head beside a tied embedding, types of their own. tests/engine/test_published.c computes with
 * them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"
#include "tests/support/model_files.h"
#include "tests/support/reference.h"
#include "tests/support/support.h"
#include "tests/support/weight_files.h"

static const char HEAD[] = "lm_head.weight", EMBED[] = "model.embed_tokens.weight";

static char *copy_of(const char *name, struct test_weights *w) {
    char from[256], *folder = test_folder();
    snprintf(from, sizeof from, QM_REFERENCE "%s", name);
    test_copy_model(from, folder);
    test_weights_read(folder, w);
    return folder;
}

static struct qm_model *open_and_remove(char *folder) {
    struct qm_model *m;
    struct qm_error err;
    int rc = qm_model_open(folder, NULL, &m, &err);
    test_folder_remove(folder);
    if (rc)
        fail_msg("%s", err.message);
    return m;
}

static void refused(char *folder, const char *why) {
    struct qm_model *m;
    struct qm_error err;
    assert_int_equal(qm_model_open(folder, NULL, &m, &err), QM_INPUT);
    if (!strstr(err.message, why))
        fail_msg("\"%s\" does not say \"%s\"", err.message, why);
    test_folder_remove(folder);
}

static void assert_notes(const struct qm_model *m, const char *what) {
    if (!strstr(m->notes, what))
        fail_msg("\"%s\" is not in \"%s\"", what, m->notes);
}

/* "Qwen3ForCausalLM" -> "Qwen3Model" */
static void name_class(const char *folder, bool base) {
    size_t n;
    char *text = test_read(folder, "config.json", &n), name[100];
    json_t *root = json_loads(text, 0, NULL);
    const char *class_name = json_string_value(json_array_get(json_object_get(root, "architectures"), 0));
    const char *end = strstr(class_name, "ForCausalLM"); /* none: of more than text, which has one class */
    if (end) {
        snprintf(name, sizeof name, "[\"%.*s%s\"]", (int)(end - class_name), class_name,
                 base ? "Model" : "ForCausalLM");
        test_edit_config(folder, "architectures", name);
    }
    json_decref(root);
    free(text);
}

static const char *head_of(const char *name) {
    return strcmp(name, "internlm2") ? HEAD : "output.weight";
}

/* Every architecture, with either class, as Qwen3-Embedding is published. */
static void names_without_the_prefix(void **state) {
    (void)state;
    for (int i = 0; reference_names[i]; i++)
        for (int base = 0; base < 2; base++) {
            struct test_weights w;
            char whole[256];
            snprintf(whole, sizeof whole, QM_REFERENCE "%s", reference_names[i]);
            struct qm_model *m, *want;
            struct qm_error err;
            assert_int_equal(qm_model_open(whole, NULL, &want, &err), 0);
            char *folder = copy_of(reference_names[i], &w);
            test_weights_cut_prefix(&w, "model.");
            test_weights_write(folder, &w);
            name_class(folder, base);
            m = open_and_remove(folder);
            if (!strstr(want->notes, "model.")) /* a note with a name in it */
                assert_string_equal(m->notes, want->notes);
            assert_int_equal(m->parameters, want->parameters);
            assert_int_equal(m->n_weights, want->n_weights);
            assert_int_equal(m->weights[m->n_weights - 1].n_runs, want->weights[want->n_weights - 1].n_runs);
            assert_false(m->config.no_head);
            qm_model_close(m);
            qm_model_close(want);
        }
}

static void without_a_head_the_model_gives_embeddings(void **state) {
    (void)state;
    for (int i = 0; reference_names[i]; i++)
        for (int way = 0; way < 3; way++) { /* names and class of a model without a head, or one of them */
            struct test_weights w;
            char *folder = copy_of(reference_names[i], &w);
            if (!test_weights_find(&w, head_of(reference_names[i]))) {
                for (size_t j = 0; j < w.n; j++)
                    free(w.w[j].data);
                free(w.w);
                test_folder_remove(folder);
                continue; /* tied */
            }
            test_weights_drop(&w, head_of(reference_names[i]));
            if (way != 1)
                test_weights_cut_prefix(&w, "model.");
            test_weights_write(folder, &w);
            name_class(folder, way != 2);
            struct qm_model *m = open_and_remove(folder);
            assert_true(m->config.no_head);
            assert_null(qm_model_weight(m, -1, QM_W_HEAD));
            assert_notes(m, "the model gives embeddings, and no text\n");
            qm_model_close(m);
        }
    struct test_weights w;
    char *folder = copy_of("yi", &w);
    test_weights_drop(&w, HEAD);
    test_weights_write(folder, &w);
    refused(folder, "tensor \"lm_head.weight\": expected BF16 [512, 64] by config.json, found in no file");
}

static void other_classes_are_refused(void **state) {
    (void)state;
    static const char *const classes[] = {"[\"Qwen3ForSequenceClassification\"]", "[\"Qwen3\"]", "[\"Qwen3ModelX\"]",
                                          "[\"LlamaModel\"]", "[\"\"]"};
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        char *folder = test_folder();
        test_copy_model(QM_REFERENCE "qwen3", folder);
        test_edit_config(folder, "architectures", classes[i]);
        refused(folder, "is not implemented; expected \"Qwen3ForCausalLM\"");
    }
    char *folder = test_folder(); /* as the first conversions of Llama wrote it */
    test_copy_model(QM_REFERENCE "llama", folder);
    test_edit_config(folder, "architectures", "[\"LLaMAForCausalLM\"]");
    qm_model_close(open_and_remove(folder));
}

static void a_head_beside_a_tied_embedding(void **state) {
    (void)state;
    struct test_weights w;
    char *folder = copy_of("qwen3", &w);
    test_weights_copy(&w, EMBED, HEAD);
    test_weights_write(folder, &w);
    struct qm_model *m = open_and_remove(folder);
    int64_t parameters = m->parameters;
    assert_true(m->config.tie_embeddings);
    assert_null(qm_model_weight(m, -1, QM_W_HEAD));
    assert_string_equal(m->notes, "ignored: lm_head.weight, which equals the embedding that config.json ties it to\n");
    qm_model_close(m);

    folder = copy_of("qwen3", &w); /* equal in values, of another type */
    test_weights_copy(&w, EMBED, HEAD);
    test_weights_cast(&w, HEAD, QM_F32);
    test_weights_write(folder, &w);
    m = open_and_remove(folder);
    assert_true(m->config.tie_embeddings);
    qm_model_close(m);

    folder = copy_of("qwen3", &w); /* the last value differs */
    test_weights_copy(&w, EMBED, HEAD);
    struct test_weight *head = test_weights_find(&w, HEAD);
    head->data[head->bytes - 1] ^= 0x80;
    test_weights_write(folder, &w);
    m = open_and_remove(folder);
    assert_false(m->config.tie_embeddings);
    assert_non_null(qm_model_weight(m, -1, QM_W_HEAD));
    assert_int_equal(m->parameters, parameters + m->config.vocab * m->config.hidden);
    assert_string_equal(m->notes, "config.json ties the head to the embedding (tie_word_embeddings), but "
                                  "lm_head.weight in the files differs from it: it is used as the head\n");
    qm_model_close(m);

    folder = copy_of("qwen3", &w); /* it would be the head, but has not its shape */
    test_weights_copy(&w, EMBED, HEAD);
    strcpy(test_weights_find(&w, HEAD)->shape, "[64,512]");
    test_weights_write(folder, &w);
    refused(folder, "tensor \"lm_head.weight\": expected BF16 [512, 64] by config.json, found BF16 [64, 512]");
}

static void files_of_another_type_than_config_says(void **state) {
    (void)state;
    static const struct {
        enum qm_dtype type;
        const char *name, *says;
    } types[] = {
        {QM_BF16, "BF16", "\"bfloat16\""}, {QM_F16, "F16", "\"float16\""}, {QM_F32, "F32", "\"torch.float32\""}};
    for (int config_says = 0; config_says < 3; config_says++)
        for (int is = 0; is < 3; is++) {
            struct test_weights w;
            char note[200], *folder = copy_of("mixtral", &w);
            test_weights_cast(&w, "", types[is].type);
            test_weights_write(folder, &w);
            test_edit_config(folder, config_says == 1 ? "dtype" : "torch_dtype", types[config_says].says);
            struct qm_model *m = open_and_remove(folder);
            snprintf(note, sizeof note, "config.json says %s, but the files are %s: the files count\n",
                     types[config_says].name, types[is].name);
            assert_string_equal(m->notes, config_says == is ? "" : note);
            assert_int_equal(m->config.dtype, types[is].type);
            assert_int_equal(m->config.expert_dtype, types[is].type);
            for (int64_t i = 0; i < m->n_weights; i++)
                assert_int_equal(m->weights[i].dtype, types[is].type);
            qm_model_close(m);
        }
}

/* Each tensor in its own type; a weight made of tensors of several is F32. */
static void types_of_single_tensors(void **state) {
    (void)state;
    static const struct {
        const char *model, *part;
        enum qm_dtype to;
        enum qm_role role;
        enum qm_dtype becomes;
        const char *note;
    } all[] = {
        {"qwen3_moe", "norm", QM_F32, QM_W_ATTN_NORM, QM_F32,
         "13 tensors (model.layers.0.input_layernorm.weight, ...) are F32"},
        {"qwen3_moe", HEAD, QM_F32, QM_W_HEAD, QM_F32,
         "lm_head.weight is F32, unlike most weights, and is used as it is\n"},
        {"qwen3_moe", "mlp.gate.", QM_F32, QM_W_ROUTER, QM_F32, "(model.layers.0.mlp.gate.weight, ...) are F32"},
        {"qwen3_moe", "embed", QM_F16, QM_W_EMBED, QM_F16, "model.embed_tokens.weight is F16"},
        {"qwen3_moe", "layers.0.self_attn.k_proj", QM_F32, QM_W_QKV, QM_F32, "k_proj.weight is F32"},
        {"qwen3_moe", "layers.0.self_attn.k_proj", QM_F16, QM_W_QKV, QM_F32, "k_proj.weight is F16"},
        {"qwen3_moe", "layers.0.mlp.experts.3.up_proj", QM_F16, QM_W_GATE_UP, QM_F32, "up_proj.weight is F16"},
        {"qwen3_moe", "layers.0.mlp.experts", QM_F16, QM_W_DOWN, QM_F16, "are F16"},
        {"llama_f16", "norm", QM_BF16, QM_W_FFN_NORM, QM_BF16, "are BF16"},
        {"llama_f16", "o_proj", QM_BF16, QM_W_O, QM_BF16, "are BF16"},
        {"qwen3_f32", "norm", QM_BF16, QM_W_FFN_NORM, QM_BF16, "are BF16"},
        {"gpt_oss", "sinks", QM_F32, QM_W_SINKS, QM_F32, "are F32"},
        {"gpt_oss", "router", QM_F32, QM_W_ROUTER, QM_F32, "are F32"},
        {"internlm2", "wqkv", QM_F32, QM_W_QKV, QM_F32, "are F32"},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct test_weights w;
        char *folder = copy_of(all[i].model, &w);
        assert_true(test_weights_cast(&w, all[i].part, all[i].to) > 0);
        test_weights_write(folder, &w);
        struct qm_model *m = open_and_remove(folder);
        const struct qm_weight *weight = qm_model_weight(m, all[i].role < QM_W_ATTN_NORM ? -1 : 0, all[i].role);
        assert_int_equal(weight->dtype, all[i].becomes);
        assert_int_equal(m->config.dtype, strcmp(all[i].model, "llama_f16") == 0   ? QM_F16
                                          : strcmp(all[i].model, "qwen3_f32") == 0 ? QM_F32
                                                                                   : QM_BF16);
        assert_notes(m, all[i].note);
        qm_model_close(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_without_the_prefix),
        cmocka_unit_test(without_a_head_the_model_gives_embeddings),
        cmocka_unit_test(other_classes_are_refused),
        cmocka_unit_test(a_head_beside_a_tied_embedding),
        cmocka_unit_test(files_of_another_type_than_config_says),
        cmocka_unit_test(types_of_single_tensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
