/* The units' bytes are the engine's own: for every architecture and KV type their sums are the memory table, and the
 * table is what the engine's arenas take. Placements: what each device holds adds up, and what can't be is refused. */
#include <stdlib.h>
#include <string.h>

#include "engine/kv.h"
#include "engine/nodes.h"
#include "engine/packed.h"
#include "engine/placement.h"
#include "engine/units.h"
#include "tests/planner/plan_models.h"
#include "tests/support/reference.h"
#include "tests/support/support.h"

static struct qm_model *open_model(const char *name) {
    char dir[TEST_PATH];
    struct qm_model *m;
    struct qm_error err;
    snprintf(dir, sizeof dir, "tests/data/reference/%s", name);
    if (qm_model_open(dir, NULL, &m, &err))
        fail_msg("%s", err.message);
    return m;
}

static void each_model(void (*test)(const struct qm_model *m)) {
    for (int i = 0; reference_names[i]; i++) {
        struct qm_model *m = open_model(reference_names[i]);
        test(m);
        qm_model_close(m);
    }
}

static const struct qm_binding anywhere = {.node = -1};
static const enum qm_dtype kv_types[] = {QM_BF16, QM_F16, QM_F32};
static const struct qm_workload workloads[] = {
    {.context = 700, .sequences = 1, .chunk = 512, .threads = 2},
    {.context = 2000, .sequences = 3, .chunk = 40, .threads = 5}, /* a window holds less than the context */
};

static void sum_units(const struct qm_model *m, const struct qm_workload *w, uint64_t *weights, uint64_t *kv) {
    *weights = qm_unit_weight_bytes(m, QM_UNIT_EMBED, -1, 0) + qm_unit_weight_bytes(m, QM_UNIT_HEAD, -1, 0);
    *kv = 0;
    for (int64_t l = 0; l < m->config.layers; l++) {
        *weights += qm_unit_weight_bytes(m, QM_UNIT_ATTENTION, l, 0) + qm_unit_weight_bytes(m, QM_UNIT_FFN, l, 0) +
                    qm_unit_weight_bytes(m, QM_UNIT_EXPERT, l, m->config.experts);
        *kv += qm_unit_kv_bytes(m, w, l);
    }
}

static void sums_are_the_table(const struct qm_model *m) {
    for (size_t i = 0; i < sizeof workloads / sizeof *workloads; i++)
        for (size_t t = 0; t < sizeof kv_types / sizeof *kv_types; t++) {
            struct qm_workload w = workloads[i];
            struct qm_memory_table table;
            struct qm_forward forward;
            struct qm_kv arena;
            struct qm_error err;
            uint64_t weights, kv;
            w.kv_type = kv_types[t];
            qm_memory_estimate(m, &w, &table);
            sum_units(m, &w, &weights, &kv);
            assert_int_equal(weights, table.weights);
            assert_int_equal(kv, table.kv);
            assert_int_equal(qm_forward_build(m, &forward, &err), QM_OK);
            assert_int_equal(qm_kv_open(&m->config, &forward, &w, NULL, &anywhere, 1, &arena, &err), QM_OK);
            assert_int_equal(arena.memory[0].bytes, kv);
            qm_kv_close(&arena);
            qm_forward_free(&forward);
        }
}

static void weights_are_the_arena(const struct qm_model *m) {
    const struct qm_kernels *kernels;
    struct qm_team *team;
    struct qm_packed packed;
    struct qm_error err;
    uint64_t weights, kv;
    assert_int_equal(qm_kernels_get(qm_isa_best(), &kernels, &err), QM_OK);
    assert_int_equal(qm_team_create(1, &team, &err), QM_OK);
    const struct qm_packed_setup setup = {.model = m, .kernels = kernels, .team = team, .bindings = &anywhere};
    assert_int_equal(qm_packed_open(&setup, &packed, &err), QM_OK);
    sum_units(m, &workloads[0], &weights, &kv);
    assert_int_equal(packed.memory[0].bytes, weights);
    const struct qm_node_range share = qm_node_range_in(team, 0);
    assert_int_equal(qm_node_weights(m, NULL, QM_DEVICE_CPU, &share), weights);
    qm_packed_free(&packed);
    qm_team_destroy(team);
}

static void placed_all_on_the_cpu(const struct qm_model *m) {
    struct qm_placement p;
    struct qm_error err;
    struct qm_memory_table table;
    struct qm_device_memory cpu, device;
    assert_int_equal(qm_placement_open(m, 2, &p, &err), QM_OK);
    assert_int_equal(qm_placement_check(&p, m, &err), QM_OK);
    struct qm_workload w = workloads[0];
    w.kv_type = qm_kv_default_type(&m->config);
    qm_memory_estimate(m, &w, &table);
    qm_placement_memory(&p, m, &w, QM_DEVICE_CPU, &cpu);
    qm_placement_memory(&p, m, &w, 1, &device);
    assert_int_equal(cpu.weights, table.weights);
    assert_int_equal(cpu.kv, table.kv);
    assert_int_equal(cpu.activations, table.scratch);
    assert_int_equal(cpu.total, table.total);
    assert_int_equal(device.total, 0);
    qm_placement_free(&p);
}

/* Half of the layers and the head elsewhere, half of the experts of the others. */
static void placed_on_two(const struct qm_model *m) {
    struct qm_placement p, copy;
    struct qm_error err;
    struct qm_memory_table table;
    struct qm_device_memory cpu, device;
    assert_int_equal(qm_placement_open(m, 2, &p, &err), QM_OK);
    for (int64_t l = 0; l < p.layers; l++) {
        bool first = l < p.layers / 2, moe = m->config.layer[l].moe;
        p.layer[l].attention = first;
        p.layer[l].ffn = first && !moe;
        for (int64_t e = 0; e < p.experts && moe; e++)
            p.expert[l * p.experts + e] = first || e % 2;
    }
    p.head = 1;
    assert_int_equal(qm_placement_check(&p, m, &err), QM_OK);
    assert_int_equal(qm_placement_copy(&p, &copy, &err), QM_OK);
    struct qm_workload w = workloads[1];
    w.kv_type = QM_F16;
    qm_memory_estimate(m, &w, &table);
    qm_placement_memory(&copy, m, &w, QM_DEVICE_CPU, &cpu);
    qm_placement_memory(&copy, m, &w, 1, &device);
    uint64_t slack = (uint64_t)(m->config.layers * 4 * 64); /* halves of vectors, each rounded up to 64 bytes */
    uint64_t sum = cpu.weights + device.weights - qm_unit_tied_bytes(m);
    assert_true(sum >= table.weights && sum <= table.weights + slack);
    assert_int_equal(cpu.kv + device.kv, table.kv);
    assert_true(device.activations && !device.workspace && device.activations < cpu.activations);
    qm_placement_free(&p);
    qm_placement_free(&copy);
}

/* Weights and KV of up to three nodes are those of the arenas there, and whole pages add what the plan says. */
static void nodes_are_the_arenas(const struct qm_model *m) {
    enum { NODES = 3 };
    int cpu[NODES] = {0}, node_of[NODES] = {0, 1, 2}, numbers[NODES] = {-1, -1, -1};
    const struct qm_binding bindings[NODES] = {anywhere, anywhere, anywhere};
    const struct qm_kernels *kernels;
    struct qm_error err;
    assert_int_equal(qm_kernels_get(qm_isa_best(), &kernels, &err), QM_OK);
    for (int nodes = 1; nodes <= NODES; nodes++)
        for (size_t t = 0; t < sizeof kv_types / sizeof *kv_types; t++) {
            struct qm_topology topology = {.nodes = nodes,
                                           .packages = 1,
                                           .cores = nodes,
                                           .cpus = nodes,
                                           .core_cpu = cpu,
                                           .core_node = node_of,
                                           .node_number = numbers};
            struct qm_workload w = workloads[1];
            struct qm_team *team;
            struct qm_packed packed;
            struct qm_forward forward;
            struct qm_kv kv;
            struct qm_placement p;
            struct qm_scratch_layout scratch;
            struct qm_device_memory cpu_memory;
            struct qm_node_memory sum = {0}, on;
            uint64_t slack = 0;
            w.kv_type = kv_types[t];
            w.threads = w.nodes = nodes;
            assert_int_equal(qm_team_create_on(&topology, nodes, &team, &err), QM_OK);
            const struct qm_packed_setup setup = {.model = m, .kernels = kernels, .team = team, .bindings = bindings};
            assert_int_equal(qm_packed_open(&setup, &packed, &err), QM_OK);
            assert_int_equal(qm_forward_build(m, &forward, &err), QM_OK);
            assert_int_equal(qm_kv_open(&m->config, &forward, &w, NULL, bindings, nodes, &kv, &err), QM_OK);
            qm_scratch_plan(m, &w, &scratch);
            for (int node = 0; node < nodes; node++) {
                qm_node_memory(m, &w, NULL, node, &on);
                assert_int_equal(on.weights, packed.memory[node].bytes);
                assert_int_equal(on.kv, kv.memory[node].bytes);
                sum.weights += on.weights;
                sum.kv += on.kv;
                sum.activations += on.activations;
                sum.slack += on.slack;
                const uint64_t parts[] = {packed.memory[node].bytes, kv.memory[node].bytes, scratch.thread_bytes,
                                          node ? 0 : scratch.thread0};
                for (int i = 0; i < 4; i++)
                    slack += qm_memory_mapped(parts[i], parts[i] < 2 << 20 ? QM_PAGES_PLAIN : QM_PAGES_THP) - parts[i];
            }
            assert_int_equal(sum.slack, slack);
            assert_int_equal(qm_placement_open(m, 2, &p, &err), QM_OK);
            qm_placement_memory(&p, m, &w, QM_DEVICE_CPU, &cpu_memory);
            assert_int_equal(sum.weights, cpu_memory.weights);
            assert_int_equal(sum.kv, cpu_memory.kv);
            assert_int_equal(sum.activations, cpu_memory.activations);
            assert_int_equal(qm_slack(&p, m, &w, QM_DEVICE_CPU), slack);
            for (int64_t l = 0; l < p.layers; l++) { /* what a placement takes away is gone from the nodes too */
                p.layer[l].attention = 1;
                if (m->config.layer[l].moe)
                    p.expert[l * p.experts] = 1;
                else
                    p.layer[l].ffn = 1, p.layer[l].ffn_cpu = QM_FFN_UNIT;
            }
            qm_placement_memory(&p, m, &w, QM_DEVICE_CPU, &cpu_memory);
            sum = (struct qm_node_memory){0};
            for (int node = 0; node < nodes; node++) {
                qm_node_memory(m, &w, &p, node, &on);
                sum.weights += on.weights;
                sum.kv += on.kv;
            }
            assert_int_equal(sum.weights, cpu_memory.weights);
            assert_int_equal(sum.kv, 0);
            qm_placement_free(&p);
            qm_kv_close(&kv);
            qm_forward_free(&forward);
            qm_packed_free(&packed);
            qm_team_destroy(team);
        }
}

/* An attention map is counted where it is asked for, by what logits allocates. */
static void maps_are_counted(const struct qm_model *m) {
    struct qm_workload w = workloads[0];
    struct qm_memory_table without, with;
    qm_memory_estimate(m, &w, &without);
    w.map_tokens = 700;
    qm_memory_estimate(m, &w, &with);
    assert_int_equal(without.maps, 0);
    assert_int_equal(with.maps, 4 * 512 * 700 * m->config.heads);
    assert_int_equal(with.total, without.total + with.maps);
    struct qm_config c = m->config;
    c.vocab = 1 << 17; /* a piece holds 128 MiB of logits at most, and one token */
    assert_int_equal(qm_attention_map_piece(&c, 512, 700), (128 << 20) / (4 << 17) + 1);
}

static void test_nodes(void **state) {
    (void)state;
    each_model(nodes_are_the_arenas);
    each_model(maps_are_counted);
}

static void test_sums(void **state) {
    (void)state;
    each_model(sums_are_the_table);
}

static void test_arena(void **state) {
    (void)state;
    each_model(weights_are_the_arena);
}

static void test_placed(void **state) {
    (void)state;
    each_model(placed_all_on_the_cpu);
    each_model(placed_on_two);
}

static void test_workspace(void **state) {
    (void)state;
    struct qm_model *m = open_model("qwen3_moe_mixed"); /* a dense layer and layers of experts */
    struct qm_placement p;
    struct qm_error err;
    struct qm_device_memory device;
    struct qm_workload w = workloads[0];
    int64_t moe = 0;
    while (!m->config.layer[moe].moe)
        moe++;
    assert_int_equal(qm_placement_open(m, 3, &p, &err), QM_OK);
    p.expert[moe * p.experts] = 1;
    p.layer[moe].stream_ffn = 2;
    p.stream_rows = 64;
    assert_int_equal(qm_placement_check(&p, m, &err), QM_OK);
    qm_placement_memory(&p, m, &w, 2, &device);
    assert_int_equal(device.weights, 0);
    assert_int_equal(device.workspace, 2 * qm_unit_weight_bytes(m, QM_UNIT_EXPERT, moe, p.experts - 1));
    p.layer[moe].stream_attention = 2;
    p.layer[moe].stream_ffn = 0;
    qm_placement_memory(&p, m, &w, 2, &device);
    assert_int_equal(device.workspace,
                     2 * (qm_unit_weight_bytes(m, QM_UNIT_ATTENTION, moe, 0) + qm_unit_kv_bytes(m, &w, moe)));
    p.stream_rows = 0;
    qm_placement_memory(&p, m, &w, 2, &device);
    assert_int_equal(device.total, 0);
    qm_placement_free(&p);
    qm_model_close(m);
}

/* Columns of an FFN take what the FFN of a model with so few takes, as packed, but for the other side's norm and bias.
 */
static void ffn_columns(const struct qm_model *m) {
    int64_t l = 0, all = m->config.ffn;
    while (l < m->config.layers && m->config.layer[l].moe)
        l++;
    if (l == m->config.layers)
        return;
    uint64_t whole = qm_unit_weight_bytes(m, QM_UNIT_FFN, l, 0);
    const struct qm_weight *norm = qm_model_weight(m, l, QM_W_FFN_NORM), *bias = qm_model_weight(m, l, QM_W_DOWN_BIAS);
    assert_int_equal(qm_unit_ffn_bytes(m, l, all, true), whole);
    assert_int_equal(qm_unit_ffn_bytes(m, l, 0, true), 0);
    for (int64_t here = QM_FFN_UNIT; here < all; here += QM_FFN_UNIT) {
        uint64_t both = qm_unit_ffn_bytes(m, l, here, true) + qm_unit_ffn_bytes(m, l, all - here, false);
        assert_int_equal(both, whole + qm_weight_bytes(norm));
        assert_int_equal(qm_unit_ffn_bytes(m, l, here, true) - qm_unit_ffn_bytes(m, l, here, false),
                         bias ? qm_weight_bytes(bias) : 0);
    }
    struct qm_placement p;
    struct qm_error err;
    struct qm_device_memory cpu, device;
    struct qm_memory_table table;
    struct qm_workload w = workloads[0];
    w.kv_type = QM_BF16;
    qm_memory_estimate(m, &w, &table);
    assert_int_equal(qm_placement_open(m, 2, &p, &err), QM_OK);
    p.layer[l].ffn = 1;
    p.layer[l].ffn_cpu = QM_FFN_UNIT;
    if (!qm_unit_ffn_divides(m, l)) {
        assert_int_equal(qm_placement_check(&p, m, &err), QM_INPUT);
        assert_non_null(strstr(err.message, "expected its FFN whole on one device, as its sum is normed"));
        qm_placement_free(&p);
        return;
    }
    assert_int_equal(qm_placement_check(&p, m, &err), QM_OK);
    qm_placement_memory(&p, m, &w, QM_DEVICE_CPU, &cpu);
    qm_placement_memory(&p, m, &w, 1, &device);
    assert_int_equal(device.weights, qm_unit_ffn_bytes(m, l, all - QM_FFN_UNIT, false));
    assert_int_equal(cpu.weights + device.weights, table.weights + qm_weight_bytes(norm));
    assert_true(device.activations > 0);
    p.layer[l].stream_ffn = 1;
    p.stream_rows = 8;
    qm_placement_memory(&p, m, &w, 1, &device);
    assert_int_equal(device.workspace, 2 * qm_unit_ffn_bytes(m, l, QM_FFN_UNIT, true));
    qm_placement_free(&p);
}

/* The arena of a model with so few columns. */
static void ffn_arena(void) {
    enum { ALL = 512, SOME = 160 };
    uint64_t bytes[2];
    for (int i = 0; i < 2; i++) {
        struct qm_model *m = plan_model_ffn(2, 128, 0, i ? ALL : SOME);
        const struct qm_kernels *kernels;
        struct qm_team *team;
        struct qm_packed packed;
        struct qm_error err;
        assert_int_equal(qm_kernels_get(qm_isa_best(), &kernels, &err), QM_OK);
        assert_int_equal(qm_team_create(1, &team, &err), QM_OK);
        const struct qm_packed_setup setup = {.model = m, .kernels = kernels, .team = team, .bindings = &anywhere};
        assert_int_equal(qm_packed_open(&setup, &packed, &err), QM_OK);
        bytes[i] = packed.memory[0].bytes;
        if (i)
            assert_int_equal(bytes[1] - bytes[0],
                             2 * (qm_unit_ffn_bytes(m, 0, ALL, true) - qm_unit_ffn_bytes(m, 0, SOME, true)));
        qm_packed_free(&packed);
        qm_team_destroy(team);
        qm_model_close(m);
    }
}

static void test_columns(void **state) {
    (void)state;
    each_model(ffn_columns);
    ffn_arena();
}

static void refused(struct qm_placement *p, const struct qm_model *m, const char *why) {
    struct qm_error err;
    assert_int_equal(qm_placement_check(p, m, &err), QM_INPUT);
    if (!strstr(err.message, why))
        fail_msg("%s", err.message);
    qm_placement_free(p);
    assert_int_equal(qm_placement_open(m, 2, p, &err), QM_OK);
}

static void test_check(void **state) {
    (void)state;
    struct qm_model *m = open_model("qwen3_moe_mixed"), *other = open_model("qwen3");
    struct qm_placement p;
    struct qm_error err;
    int64_t moe = 0, dense = 0;
    while (!m->config.layer[moe].moe)
        moe++;
    while (m->config.layer[dense].moe)
        dense++;
    assert_int_equal(qm_placement_open(m, 2, &p, &err), QM_OK);
    assert_int_equal(qm_placement_check(&p, other, &err), QM_INPUT);
    p.head = 2;
    refused(&p, m, "head is on device 2 of 2");
    p.layer[1].attention = 7;
    refused(&p, m, "layer 1 is on device 7");
    p.expert[dense * p.experts + 1] = 1;
    refused(&p, m, "has no experts");
    p.expert[moe * p.experts + 1] = 2;
    refused(&p, m, "expert 1 is on device 2");
    p.layer[moe].ffn = 1;
    refused(&p, m, "no dense FFN");
    p.layer[moe].ffn_cpu = QM_FFN_UNIT;
    refused(&p, m, "has no FFN on a device");
    p.layer[dense].ffn_cpu = QM_FFN_UNIT;
    refused(&p, m, "has no FFN on a device");
    const int32_t columns[] = {-QM_FFN_UNIT, QM_FFN_UNIT + 1, (int32_t)m->config.ffn, 5 * QM_FFN_UNIT};
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        p.layer[dense].ffn = 1;
        p.layer[dense].ffn_cpu = columns[i];
        refused(&p, m, "expected a multiple of 32 below 160");
    }
    p.layer[0].attention = p.layer[0].stream_attention = 1;
    refused(&p, m, "can't be streamed");
    memset(p.expert + moe * p.experts, 1, (size_t)p.experts);
    p.layer[moe].stream_ffn = 1;
    refused(&p, m, "nothing of its experts");
    qm_placement_free(&p);
    qm_model_close(m);
    qm_model_close(other);
}

/* What a thread packs and multiplies by itself has room in its part, whatever kernels pack it. */
static void private_part(const struct qm_model *m) {
    const struct qm_config *c = &m->config;
    const int64_t widths[] = {c->hidden, c->heads * c->head_dim, c->ffn, c->moe_ffn};
    for (size_t i = 0; i < sizeof workloads / sizeof *workloads; i++) {
        struct qm_scratch_layout s;
        qm_scratch_plan(m, &workloads[i], &s);
        assert_true(s.product_bytes >= (uint64_t)(workloads[i].chunk * 2 * QM_PANEL_ROWS) * sizeof(float));
        assert_true(s.product_bytes >= (uint64_t)(QM_PRIVATE_ROWS * s.ld_hidden) * sizeof(float));
        assert_true(s.queries - s.accumulator >= s.product_bytes);
        for (int isa = 0; isa < QM_ISA_COUNT; isa++) {
            const struct qm_kernels *k;
            if (qm_kernels_get((enum qm_isa)isa, &k, NULL))
                continue;
            for (size_t j = 0; j < 3 * sizeof widths / sizeof *widths; j++)
                if (widths[j / 3])
                    assert_true(k->type[kv_types[j % 3]].packed_bytes(QM_PRIVATE_ROWS, widths[j / 3]) <=
                                s.private_rows_bytes);
        }
    }
}

static void test_private_part(void **state) {
    (void)state;
    each_model(private_part);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums),      cmocka_unit_test(test_arena),        cmocka_unit_test(test_placed),
        cmocka_unit_test(test_workspace), cmocka_unit_test(test_columns),      cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_check),     cmocka_unit_test(test_private_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
