/* What the small files beside a vocabulary change: generated folders against what transformers made of them (see
 * tests/data/tokenizers/beside/beside.py), and cases by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "tests/support/model_files.h"
#include "text/tokenizer/tokenizer.h"

#define SPM "tests/data/tokenizers/small-a-spm-bpe/tokenizer.model"

static void copy_model(const char *folder) {
    struct qm_buf bytes = {0};
    struct qm_error err;
    assert_int_equal(qm_read_file(SPM, 1 << 20, &bytes, &err), QM_OK);
    test_write(folder, "tokenizer.model", bytes.data, bytes.len);
    qm_buf_free(&bytes);
}

static void write_files(const char *folder, const json_t *files, const json_t *bases) {
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)files, name, v) {
        if (!strcmp(name, "tokenizer.model")) {
            copy_model(folder);
            continue;
        }
        if (!strcmp(name, "tokenizer.json"))
            json_object_set(v, "model", json_object_get(bases, json_string_value(json_object_get(v, "model"))));
        char *text = json_dumps(v, JSON_COMPACT);
        test_write(folder, name, text, strlen(text));
        free(text);
    }
}

static void assert_text(const json_t *wanted, const struct qm_buf *b, size_t folder, size_t row) {
    if (json_string_length(wanted) != b->len || (b->len && memcmp(json_string_value(wanted), b->data, b->len) != 0))
        fail_msg("folder %zu, row %zu: expected \"%s\", found \"%s\"", folder, row, json_string_value(wanted),
                 b->data ? b->data : "");
}

static void check_row(const struct qm_tokenizer *t, const json_t *text, const json_t *row, size_t folder, size_t n) {
    const json_t *wanted = json_array_get(row, 0);
    struct qm_ids ids = {0};
    struct qm_error err;
    if (qm_tokenizer_encode(t, json_string_value(text), json_string_length(text), true, true, &ids, &err))
        fail_msg("folder %zu, row %zu: %s", folder, n, err.message);
    bool same = ids.len == json_array_size(wanted);
    for (size_t i = 0; same && i < ids.len; i++)
        same = ids.data[i] == json_integer_value(json_array_get(wanted, i));
    if (!same) {
        char *w = json_dumps(wanted, JSON_COMPACT);
        fail_msg("folder %zu, row %zu \"%s\": expected %s, found %zu ids, %d ...", folder, n, json_string_value(text),
                 w, ids.len, ids.len ? (int)ids.data[0] : -1);
    }
    for (int skip = 0; skip < 2 && json_array_size(row) > 1; skip++) {
        struct qm_buf b = {0};
        assert_int_equal(qm_tokenizer_decode(t, ids.data, ids.len, skip, &b, &err), QM_OK);
        assert_text(json_array_get(row, 1 + (size_t)skip), &b, folder, n);
        qm_buf_free(&b);
    }
    qm_ids_free(&ids);
}

static void generated(void **state) {
    (void)state;
    struct qm_error err;
    json_t *root, *folder;
    size_t i, k;
    if (qm_json_load("tests/data/tokenizers/beside/beside.json", 64 << 20, &root, &err))
        fail_msg("%s", err.message);
    const json_t *texts = json_object_get(root, "texts"), *row;
    json_array_foreach(json_object_get(root, "folders"), i, folder) {
        char *dir = test_folder();
        struct qm_tokenizer *t;
        write_files(dir, json_object_get(folder, "files"), json_object_get(root, "bases"));
        if (qm_tokenizer_load(dir, &t, &err))
            fail_msg("folder %zu: %s", i, err.message);
        json_array_foreach(json_object_get(folder, "rows"), k, row) check_row(t, json_array_get(texts, k), row, i, k);
        assert_int_equal(qm_tokenizer_eos(t), json_integer_value(json_object_get(folder, "eos")));
        qm_tokenizer_free(t);
        test_folder_remove(dir);
    }
    assert_true(i > 100);
    json_decref(root);
}

/* The ids of a text, with a folder of SentencePiece's model and these files. */
static void assert_ids(const char *config, const char *map, const char *added, const char *text, const char *wanted) {
    char *dir = test_folder();
    struct qm_tokenizer *t;
    struct qm_ids ids = {0};
    struct qm_buf b = {0};
    struct qm_error err;
    copy_model(dir);
    if (config)
        test_write(dir, "tokenizer_config.json", config, strlen(config));
    if (map)
        test_write(dir, "special_tokens_map.json", map, strlen(map));
    if (added)
        test_write(dir, "added_tokens.json", added, strlen(added));
    if (qm_tokenizer_load(dir, &t, &err))
        fail_msg("%s", err.message);
    assert_int_equal(qm_tokenizer_encode(t, text, strlen(text), true, true, &ids, &err), QM_OK);
    for (size_t i = 0; i < ids.len; i++)
        assert_int_equal(qm_buf_printf(&b, &err, i ? " %d" : "%d", ids.data[i]), QM_OK);
    assert_string_equal(b.data ? b.data : "", wanted);
    qm_buf_free(&b);
    qm_ids_free(&ids);
    qm_tokenizer_free(t);
    test_folder_remove(dir);
}

static void model_alone(void **state) {
    (void)state;
    assert_ids(NULL, NULL, NULL, "<s></s><pad>", "1 1 2 3"); /* control pieces are tokens, with no file beside */
    assert_ids("{\"add_bos_token\":false,\"add_eos_token\":true}", NULL, NULL, "<s>", "1 2");
    /* InternLM2: an id within the vocabulary is renamed; the old name is text. */
    assert_ids("{\"add_bos_token\":false,\"added_tokens_decoder\":{\"1400\":{\"content\":\"<|im_start|>\"},"
               "\"1401\":{\"content\":\"<|plugin|>\",\"special\":true}}}",
               NULL, NULL, "<|plugin|><|plugin|>", "1401 1401");
    /* ChatML fine-tunes: ids beyond it. */
    assert_ids("{\"add_bos_token\":false}", NULL, "{\"<|a|>\":1500,\"<|b|>\":1503}", "<|b|><|a|>", "1503 1500");
    assert_ids("{\"add_bos_token\":false}", "{\"additional_special_tokens\":[\"<|a|>\",{\"content\":\"<|b|>\"}]}", NULL,
               "<|b|><|a|>", "1501 1500");
    assert_ids("{\"bos_token\":null}", NULL, NULL, "</s>", "2");
    /* with added_tokens_decoder the older files do not count */
    assert_ids("{\"add_bos_token\":false,\"added_tokens_decoder\":{\"1500\":{\"content\":\"<|a|>\"}}}", NULL,
               "{\"<|a|>\":1700}", "<|a|>", "1500");
}

/* A class that only config.json's model_type suggests and that does not fit the vocabulary changes no template. */
static void class_that_does_not_fit(void **state) {
    (void)state;
    static const char file[] =
        "{\"added_tokens\":[{\"id\":1,\"content\":\"<|begin|>\",\"special\":true}],"
        "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"
        "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<|begin|>\"}},"
        "{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{\"<|begin|>\":{\"ids\":[1]}}},"
        "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}";
    static const char config[] = "{\"model_type\":\"llama\"}";
    char *dir = test_folder();
    struct qm_tokenizer *t;
    struct qm_ids ids = {0};
    struct qm_error err;
    test_write(dir, "tokenizer.json", file, sizeof file - 1);
    test_write(dir, "config.json", config, sizeof config - 1);
    if (qm_tokenizer_load(dir, &t, &err))
        fail_msg("%s", err.message);
    assert_int_equal(qm_tokenizer_encode(t, "a", 1, true, true, &ids, &err), QM_OK);
    assert_true(ids.len == 2 && ids.data[0] == 1 && ids.data[1] == 0);
    assert_int_equal(qm_tokenizer_eos(t), -1);
    qm_ids_free(&ids);
    qm_tokenizer_free(t);
    test_folder_remove(dir);
}

static void refused(void **state) {
    (void)state;
    static const struct {
        const char *config, *map, *added, *part;
    } cases[] = {
        {"[]", NULL, NULL, "tokenizer_config.json: expected an object"},
        {"{\"added_tokens_decoder\":[]}", NULL, NULL, "\"added_tokens_decoder\": expected an object"},
        {"{\"added_tokens_decoder\":{\"x\":{}}}", NULL, NULL, "found \"x\""},
        {"{\"added_tokens_decoder\":{\"99999999999\":{}}}", NULL, NULL, "found \"99999999999\""},
        {"{\"added_tokens_decoder\":{\"-1\":{\"content\":\"a\"}}}", NULL, NULL, "found \"-1\""},
        {"{\"added_tokens_decoder\":{\"1\":\"a\"}}", NULL, NULL, "expected an object for id 1, found a string"},
        {"{\"added_tokens_decoder\":{\"1\":{\"content\":5}}}", NULL, NULL, "\"content\""},
        {"{\"added_tokens_decoder\":{\"1\":{\"content\":\"a\",\"lstrip\":1}}}", NULL, NULL, "\"lstrip\""},
        {"{\"bos_token\":5}", NULL, NULL, "\"bos_token\": expected a token's text"},
        {"{\"add_bos_token\":\"yes\"}", NULL, NULL, "\"add_bos_token\""},
        {"{\"legacy\":2}", NULL, NULL, "\"legacy\""},
        {"{\"additional_special_tokens\":\"<a>\"}", NULL, NULL, "additional_special_tokens: expected a list"},
        {"{\"extra_special_tokens\":1e999}", NULL, NULL, "extra_special_tokens: expected a list"},
        {NULL, "{\"additional_special_tokens\":[7]}", NULL, "additional_special_tokens: expected a token's text"},
        {NULL, "{\"eos_token\":[]}", NULL, "special_tokens_map.json: \"eos_token\""},
        {NULL, NULL, "{\"a\":-5}", "added_tokens.json: \"a\": expected an id from 0"},
        {NULL, NULL, "{\"a\":\"b\"}", "added_tokens.json: \"a\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *dir = test_folder();
        struct qm_tokenizer *t;
        struct qm_error err = {0};
        copy_model(dir);
        const char *texts[] = {cases[i].config, cases[i].map, cases[i].added};
        static const char *const names[] = {"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"};
        for (int k = 0; k < 3; k++)
            if (texts[k])
                test_write(dir, names[k], texts[k], strlen(texts[k]));
        int rc = qm_tokenizer_load(dir, &t, &err);
        if (rc != QM_INPUT || !strstr(err.message, cases[i].part))
            fail_msg("case %zu: expected \"%s\", found %d \"%s\"", i, cases[i].part, rc, err.message);
        test_folder_remove(dir);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(generated), cmocka_unit_test(model_alone),
                                       cmocka_unit_test(class_that_does_not_fit), cmocka_unit_test(refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
