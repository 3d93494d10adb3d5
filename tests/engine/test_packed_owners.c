/* Weights that are loaded to whoever owns them: the pieces that devices are handed, and what stays on the CPU or is
 * taken over from a device, are the same bytes as those of the whole model on the CPU; nothing is anywhere twice but
 * what both need; what is not there ends the program. */
#include "engine/packed.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/device.h"
#include "engine/units.h"
#include "tests/support/run_model.h"
#include "tests/support/support.h"

enum { DEVICES = 3, NODES = 2 };

static const int cpu[] = {0, 0}, node_of[] = {0, 1}, numbers[] = {-1, -1};
static const struct qm_topology two_nodes = {.nodes = NODES,
                                             .packages = 1,
                                             .cores = 2,
                                             .cpus = 2,
                                             .core_cpu = (int *)cpu,
                                             .core_node = (int *)node_of,
                                             .node_number = (int *)numbers};
static const struct qm_binding anywhere[NODES] = {{.node = -1}, {.node = -1}};

/* A device that holds each piece against the whole model. */
struct checker {
    struct qm_device device;
    const struct qm_model *model;
    const struct qm_placement *placement;
    const struct qm_packed *whole;
    int number;
    _Atomic uint64_t bytes;
    _Atomic int wrong;
};

/* Columns [k, k + n_k) of a panel of the whole matrix. */
static bool same_columns(const struct qm_packed_weight *whole, int64_t expert, int64_t panel, const void *bytes,
                         int64_t k, int64_t n_k) {
    return !memcmp(qm_packed_panel(whole, expert, panel) + qm_panel_bytes(whole->type, k), bytes,
                   (size_t)qm_panel_bytes(whole->type, n_k));
}

static int put(struct qm_device *d, int32_t weight, int64_t expert, int64_t first, int64_t panels, const void *bytes,
               struct qm_error *err) {
    struct checker *c = (struct checker *)d;
    const struct qm_packed_weight *whole = &c->whole->weights[weight];
    struct qm_weight_part part = qm_placement_part(c->placement, c->model, &c->model->weights[weight], c->number);
    bool of_experts = qm_unit_of(c->model, &c->model->weights[weight]) == QM_UNIT_EXPERT;
    (void)err;
    if (!part.experts ||
        (of_experts && qm_placement_expert(c->placement, c->model->weights[weight].layer, expert) != c->number))
        atomic_fetch_add(&c->wrong, 1);
    if (whole->vector) {
        uint64_t n = (uint64_t)part.weight.n * sizeof(float);
        if (memcmp(qm_packed_vector(whole, expert) + part.panel * QM_PANEL_ROWS, bytes, n) != 0)
            atomic_fetch_add(&c->wrong, 1);
        atomic_fetch_add(&c->bytes, n);
        return QM_OK;
    }
    uint64_t stride = qm_plan_panel_bytes(whole->type, part.weight.k);
    for (int64_t p = 0; p < panels; p++)
        if (!same_columns(whole, expert, first + p, (const uint8_t *)bytes + (uint64_t)p * stride, part.k,
                          part.weight.k))
            atomic_fetch_add(&c->wrong, 1);
    atomic_fetch_add(&c->bytes, (uint64_t)panels * stride);
    return QM_OK;
}

/* What a device is handed in all: vectors' padding is not. */
static uint64_t wanted_bytes(const struct qm_model *m, const struct qm_placement *p, int device) {
    uint64_t bytes = 0;
    for (int64_t i = 0; i < m->n_weights; i++) {
        struct qm_weight_part part = qm_placement_part(p, m, &m->weights[i], device);
        bytes += part.weight.vector ? (uint64_t)(part.experts * part.weight.n) * sizeof(float)
                                    : qm_weight_part_bytes(&part.weight, part.experts);
    }
    return bytes;
}

/* Of a set that is in memory of the host: each panel that a placement has there. */
static void check_set(const struct qm_model *m, const struct qm_placement *p, int device, const struct qm_packed *whole,
                      const struct qm_packed *found) {
    for (int64_t i = 0; i < m->n_weights; i++) {
        const struct qm_packed_weight *a = &whole->weights[i], *b = &found->weights[i];
        struct qm_weight_part part = qm_placement_part(p, m, &m->weights[i], device);
        int64_t there = 0;
        for (int64_t e = 0; e < a->experts && part.experts; e++) {
            if (b->slot && b->slot[e] < 0)
                continue;
            assert_true(!b->slot || b->slot[e] == there);
            there++;
            for (int64_t panel = b->first; !a->vector && panel < b->first + b->held; panel++)
                assert_true(same_columns(a, e, panel, qm_packed_panel(b, e, panel), b->first_k, b->held_k));
            if (a->vector)
                assert_memory_equal(qm_packed_vector(a, e) + part.panel * QM_PANEL_ROWS, qm_packed_vector(b, e),
                                    (size_t)b->held * sizeof(float));
        }
        assert_int_equal(there, part.experts);
    }
}

static void place(struct qm_placement *p, const struct qm_model *m) {
    for (int64_t l = 0; l < p->layers; l++) {
        p->layer[l].attention = (uint8_t)(l % DEVICES);
        for (int64_t e = 0; e < p->experts && m->config.layer[l].moe; e++)
            p->expert[l * p->experts + e] = (uint8_t)((e + l) % DEVICES);
        if (m->config.layer[l].moe)
            continue;
        p->layer[l].ffn = (uint8_t)(1 + l % 2);
        p->layer[l].ffn_cpu = l == 1 ? 0 : QM_FFN_UNIT;
    }
    p->head = 2;
}

static void test_owners(void **state) {
    struct qm_model *m = NULL;
    struct qm_team *team = NULL;
    struct qm_placement p = {0};
    struct qm_error err;
    struct qm_packed whole, set[DEVICES];
    struct checker device[DEVICES];
    const struct qm_kernels *kernels = NULL;
    if (qm_model_open(*state, NULL, &m, &err) || qm_kernels_get(run_model_isa(), &kernels, &err) ||
        qm_team_create_on(&two_nodes, 2, &team, &err) || qm_placement_open(m, DEVICES, &p, &err))
        fail_msg("%s", err.message);
    struct qm_packed_setup s = {.model = m, .kernels = kernels, .team = team, .bindings = anywhere};
    struct qm_packed_owner owner[DEVICES] = {{.packed = &whole}};
    assert_int_equal(qm_packed_open(&s, &whole, &err), QM_OK);
    assert_int_equal(qm_packed_load(&s, owner, 1, &err), QM_OK);
    place(&p, m);
    assert_int_equal(qm_placement_check(&p, m, &err), QM_OK);
    s.placement = &p;
    assert_int_equal(qm_packed_open(&s, &set[0], &err), QM_OK);
    owner[0].packed = &set[0];
    for (int d = 1; d < DEVICES; d++) {
        device[d] = (struct checker){.device = {.put = put}, .model = m, .placement = &p, .whole = &whole, .number = d};
        owner[d].device = &device[d].device;
    }
    assert_int_equal(qm_packed_load(&s, owner, DEVICES, &err), QM_OK);
    check_set(m, &p, 0, &whole, &set[0]);
    uint64_t all = set[0].memory[0].bytes + set[0].memory[1].bytes;
    struct qm_memory_table table;
    struct qm_workload w = {.context = 256, .sequences = 1, .chunk = 8, .threads = 2, .kv_type = QM_BF16};
    qm_placement_estimate(&p, m, &w, &table);
    assert_int_equal(all, table.weights);
    for (int d = 1; d < DEVICES; d++) {
        assert_int_equal(device[d].wrong, 0);
        assert_int_equal(device[d].bytes, wanted_bytes(m, &p, d));
        assert_true(device[d].bytes > 0);
        s.device = d; /* what is taken over when it is lost */
        assert_int_equal(qm_packed_open(&s, &set[d], &err), QM_OK);
        memset(owner, 0, sizeof owner);
        owner[d].packed = &set[d];
        assert_int_equal(qm_packed_load(&s, owner, DEVICES, &err), QM_OK);
        check_set(m, &p, d, &whole, &set[d]);
    }
    for (int d = 0; d < DEVICES; d++)
        qm_packed_free(&set[d]);
    qm_packed_free(&whole);
    qm_placement_free(&p);
    qm_team_destroy(team);
    qm_model_close(m);
}

static const uint8_t *touch(const struct qm_packed_weight *w, int64_t expert, int64_t panel) {
    return qm_packed_panel(w, expert, panel);
}

/* In a child, which it ends. */
static bool ends(const struct qm_packed_weight *w, int64_t expert, int64_t panel) {
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        if (!freopen("/dev/null", "w", stderr))
            _exit(2);
        _exit(touch(w, expert, panel) ? 0 : 1);
    }
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void test_absent(void **state) {
    (void)state;
    uint8_t panels[2 * 64];
    static const int32_t slot[] = {-1, 0};
    struct qm_packed_range range = {.first = 2, .end = 4, .data = panels, .expert_stride = 2 * 64};
    const struct qm_packed_weight w = {
        .experts = 2, .n = 64, .panels = 4, .first = 2, .held = 2, .slot = slot, .panel_stride = 64, .ranges = &range};
    assert_ptr_equal(qm_packed_panel(&w, 1, 3), panels + 64);
    assert_false(ends(&w, 1, 2));
    assert_true(ends(&w, 1, 1));
    assert_true(ends(&w, 1, 4));
    assert_true(ends(&w, 0, 2));
}

#define ON(name)                                                                                                       \
    { "owners, " name, test_owners, NULL, NULL, "tests/data/reference/" name }

int main(void) {
    const struct CMUnitTest tests[] = {
        ON("llama"),   ON("llama_linear"), ON("qwen3_moe_mixed"), ON("gpt_oss"), /* MXFP4, biases of experts */
        ON("mixtral"), ON("llama_f16"),    ON("qwen3_f32"),       cmocka_unit_test(test_absent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
