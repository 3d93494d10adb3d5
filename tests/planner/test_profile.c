/* The machine profile: kept and read back, and refused when it is damaged or another machine's. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "planner/profile.h"
#include "tests/support/support.h"

static struct qm_machine_profile example(void) {
    struct qm_machine_profile p = {.identity = "a CPU; cores 4",
                                   .isa = "avx512",
                                   .measured = "2026-01-15T12:00:00Z",
                                   .nodes = 2,
                                   .read = 9e10,
                                   .bf16_core = 5e11,
                                   .bf16 = 2e12,
                                   .f32_core = 2e11,
                                   .f32 = 8e11,
                                   .median_read = 8e10,
                                   .median_bf16 = 1.8e12,
                                   .median_f32 = 7e11,
                                   .region_us = 1.5,
                                   .barrier_us = 0.5,
                                   .others = 0.01,
                                   .stolen = -1};
    for (int n = 0; n < 2; n++) {
        p.scaling[n].n = 2;
        for (int i = 0; i < 2; i++) {
            p.scaling[n].point[i].threads = i + 1;
            p.scaling[n].point[i].rate = 2e10 * (i + 1);
            p.between[n][i] = 1e10 * (1 + n + i);
        }
    }
    return p;
}

static int parse(const char *text, size_t n, struct qm_machine_profile *p, struct qm_error *err) {
    json_t *root = NULL;
    int rc = qm_json_parse(text, n, "profile", &root, err);
    rc = rc ? rc : qm_machine_profile_from_json(root, "profile", p, err);
    json_decref(root);
    return rc;
}

static void test_round_trip(void **state) {
    (void)state;
    struct qm_machine_profile p = example(), back;
    struct qm_error err;
    char dir[TEST_PATH], path[512];
    bool found;
    test_temp_dir(dir);
    assert_int_equal(qm_machine_profile_path(p.identity, p.isa, dir, path, sizeof path, &err), QM_OK);
    assert_int_equal(qm_machine_profile_load(path, p.identity, "avx512", &back, &found, &err), QM_OK);
    assert_false(found);
    assert_int_equal(qm_machine_profile_save(path, &p, &err), QM_OK);
    if (qm_machine_profile_load(path, p.identity, "avx512", &back, &found, &err))
        fail_msg("%s", err.message);
    assert_true(found);
    assert_memory_equal(&p, &back, sizeof p);
    assert_int_equal(qm_machine_profile_load(path, "another", "avx512", &back, &found, &err), QM_INPUT);
    assert_non_null(strstr(err.message, "another machine"));
    assert_int_equal(qm_machine_profile_load(path, p.identity, "avx2", &back, &found, &err), QM_INPUT);
    test_write_file(path, "{", 1);
    assert_int_equal(qm_machine_profile_load(path, p.identity, "avx512", &back, &found, &err), QM_INPUT);
    test_write_file(path, "", 0);
    assert_int_equal(qm_machine_profile_load(path, p.identity, "avx512", &back, &found, &err), QM_INPUT);
    test_remove_tree(dir);
}

/* The fewest threads that read a node's memory at a share of its best, as many on each node. */
static void test_fewest_threads(void **state) {
    (void)state;
    struct qm_machine_profile p = example();
    assert_int_equal(qm_machine_profile_threads(&p, 0.97), 4);
    assert_int_equal(qm_machine_profile_threads(&p, 0.5), 2);
    p.scaling[0].point[0].rate = 3.9e10;
    assert_int_equal(qm_machine_profile_threads(&p, 0.97), 4); /* the other node needs two */
    p.scaling[1].point[0].rate = 5e10;
    assert_int_equal(qm_machine_profile_threads(&p, 0.97), 2);
}

/* What shows that others were there, in words; on the edge nothing is said. */
static void test_noise(void **state) {
    (void)state;
    struct qm_machine_profile p = example();
    char why[512];
    p.others = 0.05, p.stolen = 0.02, p.median_read = p.read / 1.25;
    assert_false(qm_machine_profile_noisy(&p, why, sizeof why));
    assert_string_equal(why, "");
    p.others = 0.31, p.stolen = 0.04, p.median_read = p.read / 2;
    assert_true(qm_machine_profile_noisy(&p, why, sizeof why));
    assert_string_equal(why, "other programs used 31 % of the CPUs' time; the hypervisor took 4 % of the CPUs' time; "
                             "reading memory: the best pass is 2.00 times the median one");
    assert_true(qm_machine_profile_noisy(&p, why, 20)); /* cut, not written past */
    assert_int_equal(strlen(why), 19);
    p.others = p.stolen = -1;
    assert_true(qm_machine_profile_noisy(&p, why, sizeof why));
    assert_string_equal(why, "reading memory: the best pass is 2.00 times the median one");
}

/* A share of time is one, or not known. */
static void test_shares(void **state) {
    (void)state;
    static const char *const keys[] = {"others", "stolen"}, *const nonsense[] = {"-0.1", "1.01", "\"\"", "[]", "true"};
    struct qm_machine_profile p = example(), back;
    struct qm_error err;
    for (int k = 0; k < 2; k++)
        for (int i = -1; i < 5; i++) {
            json_t *root = qm_machine_profile_json(&p);
            json_object_del(root, keys[k]);
            if (i >= 0)
                json_object_set_new(root, keys[k], json_loads(nonsense[i], JSON_DECODE_ANY, NULL));
            char *text = json_dumps(root, 0);
            assert_int_equal(parse(text, strlen(text), &back, &err), QM_INPUT);
            free(text);
            json_decref(root);
        }
}

/* Cut anywhere, or with any value replaced by nonsense, it is refused. */
static void test_damaged(void **state) {
    (void)state;
    struct qm_machine_profile p = example(), back;
    struct qm_error err;
    json_t *root = qm_machine_profile_json(&p);
    char *text = json_dumps(root, JSON_COMPACT);
    for (size_t n = 0; n < strlen(text); n++)
        assert_int_equal(parse(text, n, &back, &err), QM_INPUT);
    static const char *const keys[] = {
        "version", "identity", "isa", "measured",  "read_by_threads", "read_between_nodes", "read",       "bf16_core",
        "bf16",    "f32_core", "f32", "region_us", "barrier_us",      "usual_read",         "usual_bf16", "usual_f32"};
    static const char *const nonsense[] = {"null",
                                           "-1",
                                           "0",
                                           "\"\"",
                                           "[]",
                                           "{}",
                                           "[[]]",
                                           "1e300",
                                           "true",
                                           "[[[1,1]],[[1,0]]]",
                                           "[[[2,1],[1,1]],[[1,1]]]",
                                           "[[1,1],[1]]"};
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        json_t *one = json_deep_copy(root);
        json_object_del(one, keys[k]);
        char *cut = json_dumps(one, 0);
        assert_int_equal(parse(cut, strlen(cut), &back, &err), QM_INPUT);
        free(cut);
        for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
            json_object_set_new(one, keys[k], json_loads(nonsense[i], JSON_DECODE_ANY, NULL));
            cut = json_dumps(one, 0);
            assert_int_equal(parse(cut, strlen(cut), &back, &err), QM_INPUT);
            free(cut);
        }
        json_decref(one);
    }
    json_object_set_new(root, "more", json_integer(1));
    char *more = json_dumps(root, 0);
    assert_int_equal(parse(more, strlen(more), &back, &err), QM_INPUT);
    free(more);
    free(text);
    json_decref(root);
}

static void test_path_of_cache(void **state) {
    (void)state;
    char a[512], b[512];
    struct qm_error err;
    assert_int_equal(qm_machine_profile_path("x", "avx2", "/cache", a, sizeof a, &err), QM_OK);
    assert_memory_equal(a, "/cache/machine-", 15);
    assert_int_equal(strlen(a), 15 + 16 + 5);
    assert_int_equal(qm_machine_profile_path("x", "avx512", "/cache", b, sizeof b, &err), QM_OK);
    assert_string_not_equal(a, b);
    assert_int_equal(qm_machine_profile_path("x", "avx2", "/cache", a, 20, &err), QM_INPUT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_fewest_threads), cmocka_unit_test(test_noise),
        cmocka_unit_test(test_shares),     cmocka_unit_test(test_damaged),        cmocka_unit_test(test_path_of_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
