/* Where an engine's memory is: on nodes made up of the one that every machine has, all of it is accounted for and in
 * place; what the system refuses is reported and changes no result. */
#include "tests/support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "engine/report.h"
#include "tests/support/run_model.h"

enum { NODES = 3 };

static int cpus[NODES], node_of[] = {0, 1, 2}, numbers[NODES];
static struct qm_topology made_up = {.packages = 1, .core_cpu = cpus, .core_node = node_of, .node_number = numbers};

static struct qm_engine_options options(int nodes, int number) {
    made_up.nodes = made_up.cores = made_up.cpus = nodes;
    for (int i = 0; i < nodes; i++)
        numbers[i] = number;
    return (struct qm_engine_options){
        .isa = run_model_isa(), .context = 1500, .chunk = 64, .kv_type = -1, .topology = &made_up};
}

static int find_cpu(void **state) {
    (void)state;
    struct qm_topology here;
    if (qm_topology_load(NULL, &here, NULL))
        return -1;
    for (int i = 0; i < NODES; i++)
        cpus[i] = here.core_cpu[i % here.cores];
    qm_topology_free(&here);
    return 0;
}

/* KV pages are not there until tokens are. */
static void check_counts(const struct qm_engine *e, int nodes, bool used, bool distinct) {
    uint64_t weights = 0, kv = 0, kv_pages = 0;
    assert_int_equal(qm_engine_nodes(e), nodes);
    for (int i = 0; i < nodes; i++) {
        struct qm_engine_node n = qm_engine_node(e, i);
        assert_int_equal(n.threads, 1);
        weights += n.weights.bytes;
        kv += n.kv.bytes;
        assert_true((n.in_weights.pages > 0) == distinct);
        assert_int_equal(n.in_weights.in_place, n.in_weights.pages);
        assert_int_equal(n.in_kv.in_place, n.in_kv.pages);
        kv_pages += n.in_kv.pages;
    }
    assert_int_equal(weights, qm_engine_memory(e)->weights);
    assert_int_equal(kv, qm_engine_memory(e)->kv);
    assert_true((kv_pages > 0) == (used && distinct));
}

static void check_model(const char *dir, int nodes) {
    struct run_model m;
    int32_t ids[600];
    for (int i = 0; i < 600; i++)
        ids[i] = i % 50;
    run_model_open(&m, dir, NULL, options(nodes, 0));
    bool distinct = access("/sys/devices/system/node/node0", F_OK) == 0;
    for (int i = 0; i < nodes; i++)
        distinct = distinct && !qm_engine_node(m.engine, i).weights.bind_error;
    check_counts(m.engine, nodes, false, distinct);
    free(run_logits(m.engine, ids, 600, 64, 1));
    check_counts(m.engine, nodes, true, distinct);
    assert_string_equal(qm_engine_notes(m.engine), "");
    struct qm_engine_load load = qm_engine_load(m.engine);
    assert_int_equal(load.bytes, qm_engine_memory(m.engine)->weights);
    assert_true(load.seconds > 0 && !load.dropped_cache);
    run_model_close(&m);
}

static void test_in_place(void **state) {
    (void)state;
    static const char *const dirs[] = {"tests/data/reference/qwen3", "tests/data/reference/mixtral",
                                       "tests/data/reference/gpt_oss"};
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
        for (int nodes = 1; nodes <= NODES; nodes++)
            check_model(dirs[i], nodes);
}

/* A node of which nothing can be read, and that nothing can be bound to. */
static void test_node_that_is_gone(void **state) {
    (void)state;
    static const char dir[] = "tests/data/reference/qwen3";
    int32_t ids[70];
    for (int i = 0; i < 70; i++)
        ids[i] = i;
    struct run_model m;
    run_model_open(&m, dir, NULL, options(2, -1));
    float *expected = run_logits(m.engine, ids, 70, 64, 1);
    size_t bytes = (size_t)m.model->config.vocab * sizeof *expected;
    run_model_close(&m);

    run_model_open(&m, dir, NULL, options(2, 1000));
    assert_non_null(strstr(qm_engine_notes(m.engine), "NUMA node 1000: its free memory can't be read"));
    for (int i = 0; i < 2; i++) {
        assert_true(qm_engine_node(m.engine, i).weights.bind_error != 0);
        assert_true(qm_engine_node(m.engine, i).kv.bind_error != 0);
    }
    float *found = run_logits(m.engine, ids, 70, 64, 1);
    assert_memory_equal(found, expected, bytes);
    free(found);
    free(expected);
    run_model_close(&m);
}

/* The CPU's columns of an FFN lie on some of the nodes only: all threads compute them. */
static void test_split_ffn(void **state) {
    (void)state;
    struct run_model m;
    struct qm_placement p;
    int32_t ids[70];
    float *expected = NULL;
    for (int i = 0; i < 70; i++)
        ids[i] = i;
    run_model_open(&m, "tests/data/reference/llama", NULL, options(1, -1));
    assert_int_equal(qm_placement_open(m.model, 2, &p, NULL), QM_OK);
    run_model_close(&m);
    for (int64_t l = 0; l < p.layers; l++) {
        p.layer[l].ffn = 1;
        p.layer[l].ffn_cpu = (int32_t)(1 + l) * QM_FFN_UNIT;
    }
    for (int nodes = 1; nodes <= NODES; nodes++) {
        const struct qm_device_setup card = test_device(&test_card);
        struct qm_engine_options o = options(nodes, 0);
        o.placement = &p;
        o.devices = &card;
        run_model_open(&m, "tests/data/reference/llama", NULL, o);
        float *found = run_logits(m.engine, ids, 70, nodes == 2 ? 1 : 64, 1);
        if (expected)
            assert_memory_equal(found, expected, (size_t)m.model->config.vocab * sizeof *expected);
        free(expected);
        expected = found;
        run_model_close(&m);
    }
    free(expected);
    qm_placement_free(&p);
}

static void test_more_threads_than_cores(void **state) {
    (void)state;
    struct run_model m;
    struct qm_engine_options o = options(2, 0);
    o.threads = 5;
    run_model_open(&m, "tests/data/reference/qwen3", NULL, o);
    assert_int_equal(qm_engine_nodes(m.engine), 1);
    assert_int_equal(qm_engine_node(m.engine, 0).number, -1);
    assert_non_null(strstr(qm_engine_notes(m.engine), "5 threads for 2 cores"));
    run_model_close(&m);
}

/* Logits of a made-up model whose router is more panels than there are nodes. */
static float *many_experts(int nodes) {
    struct run_model m;
    struct qm_error err;
    json_t *config;
    int32_t ids[40];
    for (int i = 0; i < 40; i++)
        ids[i] = i;
    if (qm_json_load("tests/data/reference/qwen3_moe/config.json", 1 << 20, &config, &err) ||
        json_object_set_new(config, "num_experts", json_integer(70)) ||
        qm_model_from_config(config, "many experts", NULL, &m.model, &err))
        fail_msg("%s", err.message);
    json_decref(config);
    struct qm_engine_options o = options(nodes, 0);
    if (qm_engine_open(m.model, &o, &m.engine, &err))
        fail_msg("%s", err.message);
    float *out = run_logits(m.engine, ids, 40, 39, 1); /* many rows, then one */
    run_model_close(&m);
    return out;
}

static void test_router_on_all_nodes(void **state) {
    (void)state;
    float *expected = many_experts(1);
    for (int nodes = 2; nodes <= NODES; nodes++) {
        float *found = many_experts(nodes);
        assert_memory_equal(found, expected, 50 * sizeof *found);
        free(found);
    }
    free(expected);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_place),
        cmocka_unit_test(test_router_on_all_nodes),
        cmocka_unit_test(test_node_that_is_gone),
        cmocka_unit_test(test_split_ffn),
        cmocka_unit_test(test_more_threads_than_cores),
    };
    return cmocka_run_group_tests(tests, find_cpu, NULL);
}
