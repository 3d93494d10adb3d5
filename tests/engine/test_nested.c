/* The text's model inside one of more than text, and tensors of parts that are not run: the same bits as the text's
 * model alone, with what is left out counted, and everything else still refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/model_files.h"
#include "tests/support/run_model.h"
#include "tests/support/support.h"
#include "tests/support/weight_files.h"

enum { TOKENS = 24 };
static const char TEXT[] = QM_REFERENCE "mistral", NORM[] = "model.norm.weight";

static float *logits_of(const char *folder, int64_t *n) {
    int32_t ids[TOKENS];
    struct run_model r;
    run_model_open(&r, folder, NULL,
                   (struct qm_engine_options){.threads = 2, .isa = run_model_isa(), .context = 64, .kv_type = -1});
    for (int i = 0; i < TOKENS; i++)
        ids[i] = (i * 37 + 11) % (int)r.model->config.vocab;
    *n = TOKENS * r.model->config.vocab;
    float *logits = run_logits(r.engine, ids, TOKENS, 64, TOKENS);
    run_model_close(&r);
    return logits;
}

static char *copy(struct test_weights *w) {
    char *folder = test_folder();
    test_copy_model(TEXT, folder);
    test_weights_read(folder, w);
    return folder;
}

/* Puts the text's fields under "text_config", those in `outside` (ends with NULL) at the top. */
static void nest(const char *folder, const char *type, const char *class_name, const char *const *outside) {
    size_t n;
    char *text = test_read(folder, "config.json", &n);
    json_t *inner = json_loads(text, 0, NULL), *root = json_object();
    free(text);
    json_object_set_new(root, "model_type", json_string(type));
    json_object_set_new(root, "architectures", json_pack("[s]", class_name));
    json_object_set_new(root, "vision_config", json_pack("{s:s, s:i}", "model_type", "pixtral", "hidden_size", 16));
    json_object_del(inner, "architectures");
    for (; *outside; outside++) {
        json_object_set(root, *outside, json_object_get(inner, *outside));
        json_object_del(inner, *outside);
    }
    json_object_set_new(root, "text_config", inner);
    text = json_dumps(root, 0);
    test_write(folder, "config.json", text, strlen(text));
    free(text);
    json_decref(root);
}

static void must_be_the_same(const char *folder) {
    int64_t n, m;
    float *want = logits_of(TEXT, &n), *got = logits_of(folder, &m);
    assert_int_equal(n, m);
    assert_memory_equal(got, want, (size_t)n * sizeof *got);
    free(want);
    free(got);
}

static void refused(char *folder, const char *why) {
    struct qm_model *m;
    struct qm_error err;
    assert_int_equal(qm_model_open(folder, NULL, &m, &err), QM_INPUT);
    if (!strstr(err.message, why))
        fail_msg("\"%s\" does not say \"%s\"", err.message, why);
    test_folder_remove(folder);
}

static void text_inside_a_model_of_images(void **state) {
    (void)state;
    static const struct {
        const char *model, *rest, *tower;
    } forms[] = {{"language_model.model.", "language_model.", "vision_tower."},
                 {"model.language_model.", "", "model.vision_tower."},
                 {"model.", "", "multi_modal_projector."}};
    static const char *const outside[][3] = {
        {NULL}, {"torch_dtype", "tie_word_embeddings", NULL}, {"eos_token_id", NULL}};
    for (size_t i = 0; i < 3; i++) {
        struct test_weights w;
        char name[100], *folder = copy(&w);
        uint64_t bytes = 2 * test_weights_find(&w, NORM)->bytes;
        for (int t = 0; t < 2; t++) {
            snprintf(name, sizeof name, "%slayer.%d.weight", forms[i].tower, t);
            test_weights_copy(&w, NORM, name);
        }
        char head[100];
        snprintf(head, sizeof head, "%slm_head.", forms[i].rest);
        test_weights_rename(&w, "lm_head.", head);
        snprintf(name, sizeof name, "old.%s", forms[i].tower); /* out of the way of the prefix */
        test_weights_rename(&w, forms[i].tower, name);
        test_weights_rename(&w, "model.", forms[i].model);
        test_weights_rename(&w, name, forms[i].tower);
        test_weights_write(folder, &w);
        nest(folder, "mistral3", "Mistral3ForConditionalGeneration", outside[i]);
        struct qm_model *m;
        struct qm_error err;
        if (qm_model_open(folder, NULL, &m, &err))
            fail_msg("%s", err.message);
        assert_true(m->config.nested);
        assert_string_equal(m->config.model_type, "mistral");
        assert_int_equal(m->config.end_tokens[0], 2);
        assert_int_equal(m->left_out[QM_LEFT_IMAGES].tensors, 2);
        assert_int_equal(m->left_out[QM_LEFT_IMAGES].bytes, bytes);
        assert_non_null(strstr(m->notes, "left out: 2 tensors of images"));
        qm_model_close(m);
        must_be_the_same(folder);
        test_folder_remove(folder);
    }
}

static void layers_that_predict_further_are_left_out(void **state) {
    (void)state;
    for (int given = 0; given < 3; given++) { /* the file counts none, as many as there are, one fewer */
        struct test_weights w;
        struct qm_model *m;
        struct qm_error err;
        char *folder = copy(&w), name[100];
        test_weights_copy(&w, NORM, "mtp.fc.weight");
        qm_model_open(TEXT, NULL, &m, &err);
        int layers = (int)m->config.layers;
        qm_model_close(m);
        for (int l = 0; l < 2; l++) {
            snprintf(name, sizeof name, "model.layers.%d.shared_head.norm.weight", layers + l);
            test_weights_copy(&w, NORM, name);
        }
        test_weights_write(folder, &w);
        if (given)
            test_edit_config(folder, "num_nextn_predict_layers", given == 1 ? "2" : "1");
        if (given != 1) {
            refused(folder, "found this one left over");
            continue;
        }
        if (qm_model_open(folder, NULL, &m, &err))
            fail_msg("%s", err.message);
        assert_int_equal(m->left_out[QM_LEFT_MTP].tensors, 3);
        assert_non_null(strstr(m->notes, "left out: 3 tensors of multi-token prediction"));
        qm_model_close(m);
        must_be_the_same(folder);
        test_folder_remove(folder);
    }
}

static void what_does_not_belong_is_refused(void **state) {
    (void)state;
    struct test_weights w;
    static const char *const none[] = {NULL};
    char *folder = copy(&w); /* a tower in a model of text alone */
    test_weights_copy(&w, NORM, "vision_tower.layer.0.weight");
    test_weights_write(folder, &w);
    refused(folder, "tensor \"vision_tower.layer.0.weight\"");
    folder = copy(&w); /* a part that is not known */
    test_weights_copy(&w, NORM, "touch_tower.layer.0.weight");
    test_weights_write(folder, &w);
    nest(folder, "mistral3", "Mistral3ForConditionalGeneration", none);
    refused(folder, "tensor \"touch_tower.layer.0.weight\"");
    folder = copy(&w);
    test_weights_write(folder, &w);
    nest(folder, "mistral3", "Mistral3ForSomethingElse", none);
    refused(folder, "\"Mistral3ForSomethingElse\" is not implemented; expected \"Mistral3ForConditionalGeneration\"");
    folder = copy(&w);
    test_weights_write(folder, &w);
    nest(folder, "mistral4711", "Mistral3ForConditionalGeneration", none);
    refused(folder, "model_type \"mistral4711\" is not implemented");
    folder = copy(&w);
    test_weights_write(folder, &w);
    nest(folder, "mistral3", "Mistral3ForConditionalGeneration", none);
    test_edit_config(folder, "text_config", "[1]");
    refused(folder, "\"text_config\": expected an object in a mistral3 model, found a list");
}

/* Types that no weight has are read, so that a tensor of them is refused by what it is for. */
static void a_weight_of_codes_is_refused_by_its_type(void **state) {
    (void)state;
    struct test_weights w;
    char *folder = copy(&w);
    struct test_weight *norm = test_weights_find(&w, NORM);
    norm->type = QM_F8_E4M3;
    norm->bytes /= 2;
    test_weights_write(folder, &w);
    refused(folder, "tensor \"model.norm.weight\": expected BF16 [64] by config.json, found F8_E4M3 [64]");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_inside_a_model_of_images),
        cmocka_unit_test(layers_that_predict_further_are_left_out),
        cmocka_unit_test(what_does_not_belong_is_refused),
        cmocka_unit_test(a_weight_of_codes_is_refused_by_its_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
