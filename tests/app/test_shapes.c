/* The shapes that bench --random knows: as many parameters as their publishers say, and layers cut. */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "app/shapes.h"
#include "tests/support/support.h"

static const struct {
    const char *name;
    double billions, active;
} published[] = {
    {"qwen3-30b-a3b", 30.53, 3.04}, /* published as 3.3: with the embedding, of which a token reads a row */
    {"qwen3-4b", 4.02, 4.02},       {"qwen3-0.6b", 0.596, 0.596},    {"llama-3-70b", 70.55, 69.5},
    {"yi-34b", 34.39, 33.93},       {"internlm2-20b", 19.86, 19.29}, {"mixtral-8x22b", 140.62, 38.96},
    {"gpt-oss-20b", 20.91, 3.61},   {"gpt-oss-120b", 116.83, 5.13},
};
enum { N = sizeof published / sizeof *published };

static void test_parameters(void **state) {
    (void)state;
    for (int i = 0; i < N; i++) {
        struct qm_model *m;
        struct qm_error err;
        if (qm_shape_open(published[i].name, 0, NULL, NULL, &m, &err))
            fail_msg("%s", err.message);
        double all = (double)m->parameters * 1e-9, active = (double)m->active_parameters * 1e-9;
        if (fabs(all / published[i].billions - 1) > 0.002 || fabs(active / published[i].active - 1) > 0.01)
            fail_msg("%s: %.3f billion parameters, %.3f active", published[i].name, all, active);
        assert_non_null(strstr(qm_shape_names(), published[i].name));
        qm_model_close(m);
    }
}

static void test_layers(void **state) {
    (void)state;
    struct qm_model *all, *some;
    struct qm_error err;
    assert_int_equal(qm_shape_open("gpt-oss-20b", 0, NULL, NULL, &all, &err), QM_OK);
    assert_int_equal(qm_shape_open("gpt-oss-20b", 8, NULL, NULL, &some, &err), QM_OK);
    assert_int_equal(some->config.layers, 8);
    assert_int_equal(some->config.layer[0].window, 128);
    assert_int_equal(some->config.layer[1].window, 0);
    int64_t ends = 2 * all->config.vocab * all->config.hidden + all->config.hidden;
    assert_int_equal((some->parameters - ends) * 3, all->parameters - ends);
    qm_model_close(all);
    qm_model_close(some);
    assert_int_equal(qm_shape_open("gpt-oss-20b", 25, NULL, NULL, &all, &err), QM_USAGE);
    assert_non_null(strstr(err.message, "24 layers"));
}

/* The type asked for is that of every matrix but experts in MXFP4, whichever key the config has. */
static void test_dtype(void **state) {
    (void)state;
    static const struct {
        const char *name;
        enum qm_dtype dtype;
    } types[] = {{"bf16", QM_BF16}, {"f16", QM_F16}, {"f32", QM_F32}};
    static const char *const shapes[] = {"qwen3-0.6b", "qwen3-30b-a3b", "gpt-oss-20b"};
    for (size_t i = 0; i < 9; i++) {
        struct qm_model *m;
        struct qm_error err;
        if (qm_shape_open(shapes[i % 3], 2, types[i / 3].name, NULL, &m, &err))
            fail_msg("%s", err.message);
        assert_int_equal(m->config.dtype, types[i / 3].dtype);
        bool experts = !strcmp(shapes[i % 3], "gpt-oss-20b");
        assert_int_equal(m->config.expert_dtype, experts ? QM_MXFP4 : types[i / 3].dtype);
        for (int64_t w = 0; w < m->n_weights; w++)
            if (!m->weights[w].vector && m->weights[w].experts == 1)
                assert_int_equal(m->weights[w].dtype, types[i / 3].dtype);
        qm_model_close(m);
    }
    struct qm_model *m;
    struct qm_error err;
    assert_int_equal(qm_shape_open("qwen3-0.6b", 2, "f64", NULL, &m, &err), QM_USAGE);
    assert_non_null(strstr(err.message, "--dtype: expected bf16, f16 or f32, found \"f64\""));
}

static void test_files(void **state) {
    (void)state;
    char dir[TEST_PATH], path[TEST_PATH];
    struct qm_model *m;
    struct qm_error err;
    test_temp_dir(dir);
    test_path(path, dir, "config.json");
    const char *config = qm_shape_config("qwen3-0.6b");
    test_write_file(path, config, strlen(config));
    assert_int_equal(qm_shape_open(path, 3, NULL, NULL, &m, &err), QM_OK);
    assert_int_equal(m->config.layers, 3);
    qm_model_close(m);
    char *newer = strdup(config), *key = strstr(newer, "torch_dtype"); /* "dtype" is its newer name */
    memmove(key, key + 6, strlen(key + 6) + 1);
    test_write_file(path, newer, strlen(newer));
    free(newer);
    assert_int_equal(qm_shape_open(path, 0, "f16", NULL, &m, &err), QM_OK);
    assert_int_equal(m->config.dtype, QM_F16);
    qm_model_close(m);
    test_write_file(path, "[1]", 3);
    assert_int_equal(qm_shape_open(path, 0, NULL, NULL, &m, &err), QM_INPUT);
    test_write_file(path, "{}", 2);
    assert_int_equal(qm_shape_open(path, 1, NULL, NULL, &m, &err), QM_INPUT);
    assert_int_equal(qm_shape_open("qwen-5", 0, NULL, NULL, &m, &err), QM_USAGE);
    assert_non_null(strstr(err.message, "qwen3-4b"));
    test_remove_tree(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_layers),
        cmocka_unit_test(test_dtype),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
