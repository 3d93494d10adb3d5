/* The search: what it finds fits, is not slower than what it could have had, and its bound holds. */
#include <math.h>

#include "engine/units.h"
#include "planner/search.h"
#include "tests/planner/plan_models.h"

static struct qm_search_ask make_ask(const struct qm_model *m, const struct qm_machine_model *s) {
    struct qm_search_ask a = {
        .setup = {.model = m,
                  .speed = s,
                  .workload = {.context = 4096, .sequences = 1, .chunk = 256, .kv_type = QM_BF16, .threads = 4}},
        .scenario = {.sequences = 1, .prompt = 600, .generate = 200},
        .last_layers = -1};
    a.budget[0] = s->memory;
    for (int d = 0; d < s->devices; d++)
        a.budget[d + 1] = s->device[d].memory;
    return a;
}

static void must_fit(const struct qm_search_ask *a, const struct qm_placement *p) {
    struct qm_error err;
    assert_int_equal(qm_placement_check(p, a->setup.model, &err), QM_OK);
    for (int d = 0; d < p->devices; d++) {
        struct qm_device_memory m;
        qm_placement_memory(p, a->setup.model, &a->setup.workload, d, &m);
        assert_true(m.total <= a->budget[d]);
    }
}

static double find(const struct qm_search_ask *a, struct qm_search_result *out) {
    struct qm_error err;
    if (qm_search(a, out, &err))
        fail_msg("%s", err.message);
    must_fit(a, &out->placement);
    assert_true(out->bound <= out->seconds * (1 + 1e-9));
    double seconds = out->seconds;
    qm_placement_free(&out->placement);
    return seconds;
}

static uint64_t scratch_bytes(const struct qm_search_ask *a) {
    struct qm_workload w = a->setup.workload;
    struct qm_scratch_layout s;
    w.threads = 1;
    qm_scratch_plan(a->setup.model, &w, &s);
    return s.total;
}

/* Few units: all placements are tried. The same with one expert more than that are not, and may be no better. */
static void test_small(void **state) {
    (void)state;
    struct qm_model *m = plan_model(3, 512, 0);
    struct qm_machine_model s = plan_machine();
    plan_add_card(&s, 1 << 20);
    struct qm_search_ask a = make_ask(m, &s);
    struct qm_search_result r;
    a.budget[1] = scratch_bytes(&a) + 4 * qm_unit_weight_bytes(m, QM_UNIT_FFN, 0, 0);
    double exact = find(&a, &r);
    assert_true(r.exact);
    assert_true(r.tried > 100);
    /* no single unit elsewhere makes it faster */
    struct qm_error err;
    struct qm_search_result again;
    assert_int_equal(qm_search(&a, &again, &err), QM_OK);
    struct qm_time_setup t = a.setup;
    t.placement = &again.placement;
    for (int64_t l = 0; l < 3; l++) {
        uint8_t was = again.placement.layer[l].attention;
        struct qm_layer_placement kept = again.placement.layer[l];
        struct qm_device_memory device;
        struct qm_scenario_time time;
        again.placement.layer[l].attention = !was;
        again.placement.layer[l].stream_attention = 0;
        qm_placement_memory(&again.placement, m, &t.workload, 1, &device);
        qm_time_scenario(&t, &a.scenario, &time);
        assert_true(device.total > a.budget[1] || time.prefill.seconds + time.decode.seconds >= exact * (1 - 1e-9));
        again.placement.layer[l] = kept;
    }
    qm_placement_free(&again.placement);
    qm_model_close(m);
}

/* Two of eight experts are always chosen, the others never: the card takes those two, and the bound holds. */
static void test_counted(void **state) {
    (void)state;
    enum { LAYERS = 12, EXPERTS = 8, FIRST = 5 };
    struct qm_model *m = plan_model(LAYERS, 512, EXPERTS);
    struct qm_machine_model s = plan_machine();
    struct qm_routing_profile p;
    struct qm_error err;
    plan_add_card(&s, 0);
    struct qm_search_ask a = make_ask(m, &s);
    struct qm_search_result r;
    assert_int_equal(qm_routing_profile_open(&m->config, &p, &err), QM_OK);
    p.tokens = 100;
    for (int64_t l = 0; l < LAYERS; l++)
        p.count[l * EXPERTS + FIRST] = p.count[l * EXPERTS + FIRST + 1] = 100;
    uint64_t one = qm_unit_weight_bytes(m, QM_UNIT_EXPERT, 0, 1);
    for (uint64_t experts = 0; experts <= 3 * LAYERS; experts += LAYERS / 2) {
        a.budget[1] = scratch_bytes(&a) + experts * one;
        a.setup.routing = NULL;
        double even = find(&a, &r);
        a.setup.routing = &p;
        assert_true(experts == 0 || find(&a, &r) < even);
        assert_int_equal(qm_search(&a, &r, &err), QM_OK);
        for (int64_t e = 0; e < LAYERS * EXPERTS; e++) { /* others only to have the whole layer there */
            const uint8_t *chosen = r.placement.expert;
            int64_t first = e / EXPERTS * EXPERTS + FIRST;
            assert_true(chosen[e] == 0 || (chosen[first] && chosen[first + 1]) || e == first || e == first + 1);
        }
        qm_placement_free(&r.placement);
    }
    qm_routing_profile_free(&p);
    qm_model_close(m);
}

/* More memory on the card is never slower; a card that holds everything gets everything that pays. */
static void test_memory(void **state) {
    (void)state;
    struct qm_model *m = plan_model(12, 512, 8);
    struct qm_machine_model s = plan_machine();
    plan_add_card(&s, 0);
    struct qm_search_ask a = make_ask(m, &s);
    struct qm_search_result r;
    double before = INFINITY, bound_before = INFINITY;
    uint64_t scratch = scratch_bytes(&a), layer = 0;
    layer = qm_unit_weight_bytes(m, QM_UNIT_EXPERT, 0, 8) + qm_unit_weight_bytes(m, QM_UNIT_ATTENTION, 0, 0) +
            qm_unit_kv_bytes(m, &a.setup.workload, 0);
    for (int layers = 0; layers <= 15; layers += 3) {
        a.budget[1] = layers ? scratch + (uint64_t)layers * layer : 0;
        double seconds = find(&a, &r);
        assert_false(r.exact);
        assert_true(seconds <= before * 1.0001);
        assert_true(r.bound <= bound_before * 1.0001);
        before = seconds;
        bound_before = r.bound;
    }
    struct qm_error err;
    assert_int_equal(qm_search(&a, &r, &err), QM_OK);
    assert_int_equal(qm_placement_experts_on(&r.placement, 11, 1), 8);
    assert_int_equal(r.placement.head, 1);
    qm_placement_free(&r.placement);
    qm_model_close(m);
}

/* Two cards share the layers; RAM that is short makes units move even where that is slower. */
static void test_needed(void **state) {
    (void)state;
    struct qm_model *m = plan_model(12, 512, 0);
    struct qm_machine_model s = plan_machine();
    plan_add_card(&s, 1 << 20);
    plan_add_card(&s, 1 << 20);
    struct qm_search_ask a = make_ask(m, &s);
    struct qm_search_result r;
    struct qm_error err;
    struct qm_memory_table table;
    qm_memory_estimate(m, &a.setup.workload, &table);
    a.budget[1] = a.budget[2] = scratch_bytes(&a) + table.weights / 2;
    assert_int_equal(qm_search(&a, &r, &err), QM_OK);
    must_fit(&a, &r.placement);
    struct qm_device_memory one, two;
    qm_placement_memory(&r.placement, m, &a.setup.workload, 1, &one);
    qm_placement_memory(&r.placement, m, &a.setup.workload, 2, &two);
    assert_true(one.weights && two.weights);
    qm_placement_free(&r.placement);
    s.device[0].read = s.device[1].read = 1e8; /* slower than the CPU */
    s.device[0].bf16 = s.device[1].bf16 = 1e8;
    assert_int_equal(qm_search(&a, &r, &err), QM_OK);
    qm_placement_memory(&r.placement, m, &a.setup.workload, 1, &one);
    assert_int_equal(one.total, 0);
    qm_placement_free(&r.placement);
    a.budget[0] = table.total - table.weights / 4;
    assert_int_equal(qm_search(&a, &r, &err), QM_OK); /* slower, but it fits */
    must_fit(&a, &r.placement);
    qm_placement_free(&r.placement);
    a.budget[0] = table.weights / 8;
    a.budget[1] = a.budget[2] = 1 << 20;
    assert_int_equal(qm_search(&a, &r, &err), QM_FIT);
    assert_non_null(strstr(err.message, "short"));
    assert_int_equal(err.remedy, QM_REMEDY_MORE_MEMORY);
    qm_model_close(m);
}

/* A card as fast as the CPU: both compute every FFN at once, which is faster than either; on a small model and on one
 * whose placements are too many to be tried. */
static void test_split_ffn(void **state) {
    (void)state;
    for (int layers = 2; layers <= 12; layers += 10) {
        struct qm_model *m = plan_model(layers, 512, 0);
        struct qm_machine_model s = plan_machine();
        plan_add_card(&s, (uint64_t)1 << 30);
        s.device[0].read = s.read;
        s.device[0].bf16 = s.bf16;
        s.device[0].transfer_us = 0.1;
        struct qm_search_ask a = make_ask(m, &s);
        struct qm_search_result r;
        struct qm_error err;
        assert_int_equal(qm_search(&a, &r, &err), QM_OK);
        must_fit(&a, &r.placement);
        assert_int_equal(r.exact, layers == 2);
        assert_true(r.bound > 0 && r.bound <= r.seconds);
        double split = r.seconds;
        struct qm_time_setup t = a.setup;
        t.placement = &r.placement;
        for (int64_t l = 0; l < layers; l++) {
            assert_int_equal(r.placement.layer[l].ffn, 1);
            assert_in_range(r.placement.layer[l].ffn_cpu, 384, 640); /* of 1024 */
            r.placement.layer[l].ffn_cpu = 0;
            r.placement.layer[l].stream_ffn = 0;
        }
        struct qm_scenario_time time;
        qm_time_scenario(&t, &a.scenario, &time);
        assert_true(time.prefill.seconds + time.decode.seconds > 1.2 * split);
        for (int64_t l = 0; l < layers; l++)
            r.placement.layer[l].ffn = QM_DEVICE_CPU;
        qm_time_scenario(&t, &a.scenario, &time);
        assert_true(time.prefill.seconds + time.decode.seconds > 1.2 * split);
        qm_placement_free(&r.placement);
        struct qm_pin pin;
        assert_int_equal(qm_pin_parse("--pin", "ffn 1", m, &s, &pin, &err), QM_OK);
        a.pins = &pin;
        a.n_pins = 1;
        assert_int_equal(qm_search(&a, &r, &err), QM_OK); /* what is pinned is whole */
        assert_int_equal(r.placement.layer[1].ffn, 1);
        assert_int_equal(r.placement.layer[1].ffn_cpu, 0);
        assert_true(r.placement.layer[0].ffn_cpu > 0);
        qm_placement_free(&r.placement);
        qm_model_close(m);
    }
}

/* Two links carry more than one: layers of a long prompt are streamed to both cards. */
static void test_streamed_to_each(void **state) {
    (void)state;
    struct qm_model *m = plan_model(12, 512, 0);
    struct qm_machine_model s = plan_machine();
    plan_add_card(&s, 0);
    plan_add_card(&s, 0);
    struct qm_search_ask a = make_ask(m, &s);
    a.scenario = (struct qm_scenario){.sequences = 1, .prompt = 4096};
    a.setup.workload.context = 8192;
    for (int d = 0; d < 2; d++) { /* one link takes longer than the CPU would to compute what it brings, two do not */
        s.device[d].up_busy = 2e8;
        s.device[d].cpu_read_busy = 1;
    }
    /* room for two slots, and not for a unit beside them */
    a.budget[1] = a.budget[2] = scratch_bytes(&a) + 2 * qm_unit_weight_bytes(m, QM_UNIT_FFN, 0, 0) + 4096;
    struct qm_search_result both, one;
    struct qm_error err;
    assert_int_equal(qm_search(&a, &both, &err), QM_OK);
    must_fit(&a, &both.placement);
    int64_t streamed[3] = {0};
    for (int64_t l = 0; l < 12; l++)
        streamed[both.placement.layer[l].stream_ffn]++;
    assert_int_equal(streamed[1], streamed[2]);
    assert_true(streamed[1] > 0 && both.placement.stream_rows > 0);
    a.budget[2] = 0;
    assert_int_equal(qm_search(&a, &one, &err), QM_OK);
    assert_true(one.seconds > 1.1 * both.seconds); /* attention, on the CPU in both, is most of it */
    qm_placement_free(&both.placement);
    qm_placement_free(&one.placement);
    qm_model_close(m);
}

static void test_pins(void **state) {
    (void)state;
    struct qm_model *m = plan_model(12, 512, 8);
    struct qm_machine_model s = plan_machine();
    plan_add_card(&s, (uint64_t)1 << 30);
    struct qm_search_ask a = make_ask(m, &s);
    struct qm_search_result r;
    struct qm_error err;
    struct qm_pin pins[2];
    assert_int_equal(qm_pin_parse("--pin", "layers 2-3", m, &s, &pins[0], &err), QM_OK);
    assert_int_equal(qm_pin_parse("--pin", "experts 3 on cpu", m, &s, &pins[1], &err), QM_OK);
    assert_int_equal(pins[0].device, 1);
    a.pins = pins;
    a.n_pins = 2;
    assert_int_equal(qm_search(&a, &r, &err), QM_OK);
    assert_int_equal(r.placement.layer[3].attention, 1);
    assert_int_equal(qm_placement_experts_on(&r.placement, 2, 1), 8);
    assert_int_equal(qm_placement_experts_on(&r.placement, 3, 1), 0);
    qm_placement_free(&r.placement);
    a.budget[1] = 1 << 20;
    assert_int_equal(qm_search(&a, &r, &err), QM_FIT);
    assert_non_null(strstr(err.message, "pinned"));
    assert_int_equal(err.remedy, QM_REMEDY_FEWER_PINS);
    assert_int_equal(qm_pin_parse("a pin", "wheels 1", m, &s, &pins[0], &err), QM_USAGE);
    assert_memory_equal(err.message, "a pin: expected layers", 22);
    assert_int_equal(err.remedy, QM_REMEDY_NONE);
    const char *const bad[] = {
        "",           "layers",   "layers 1-", "layers 3-2",  "layers 0-12", "head 1", "layers 1 on moon",
        "layers 1 2", "wheels 1", "layers -1", "layers 1 on "};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (strcmp(bad[i], "layers") != 0)
            assert_int_equal(qm_pin_parse("--pin", bad[i], m, &s, &pins[0], &err), QM_USAGE);
    qm_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small),  cmocka_unit_test(test_counted),   cmocka_unit_test(test_memory),
        cmocka_unit_test(test_needed), cmocka_unit_test(test_split_ffn), cmocka_unit_test(test_streamed_to_each),
        cmocka_unit_test(test_pins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
