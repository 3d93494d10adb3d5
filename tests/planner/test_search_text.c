/* What the search says where nothing fits, and what it answers where the number of layers is given: words, parts and
 * bytes. */
#include <stdio.h>

#include "base/size.h"
#include "engine/units.h"
#include "planner/search.h"
#include "tests/planner/plan_models.h"

enum { LAYERS = 4 };

static struct qm_model *model;
static struct qm_machine_model speed;
static struct qm_search_ask ask;
static struct qm_memory_table whole;

static int setup(void **state) {
    (void)state;
    model = plan_model(LAYERS, 8192, 0);
    speed = plan_machine();
    plan_add_card(&speed, (uint64_t)1 << 36);
    ask = (struct qm_search_ask){
        .setup = {.model = model,
                  .speed = &speed,
                  .workload = {.context = 65536, .sequences = 1, .chunk = 256, .kv_type = QM_BF16, .threads = 4}},
        .scenario = {.sequences = 1, .prompt = 600, .generate = 200},
        .budget = {(uint64_t)1 << 40, (uint64_t)1 << 36},
        .last_layers = -1};
    qm_memory_estimate(model, &ask.setup.workload, &whole);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    qm_model_close(model);
    return 0;
}

static void must_refuse(const char *want, enum qm_remedy remedy) {
    struct qm_search_result r;
    struct qm_error err;
    assert_int_equal(qm_search(&ask, &r, &err), QM_FIT);
    assert_string_equal(err.message, want);
    assert_int_equal(err.remedy, remedy);
    assert_null(r.placement.layer);
}

/* The CPU's bytes that are short are those of the placement that needs least of them, and the part is the first that
 * has no room. */
static void the_cpu_is_short(void **state) {
    (void)state;
    char want[256];
    static const char form[] =
        "the CPU is %.2f GiB short for the %s, with all that fits on the devices: %.2f GiB of RAM are there";
    speed.devices = 0; /* all of it is the CPU's */
    const struct {
        uint64_t available;
        const char *part;
    } cases[] = {{whole.weights / 2, "weights"},
                 {whole.weights + whole.scratch / 2, "activations"},
                 {whole.weights + whole.scratch, "keys and values"},
                 {whole.total - 1, "keys and values"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ask.budget[0] = cases[i].available;
        snprintf(want, sizeof want, form, qm_gib(whole.total - cases[i].available), cases[i].part,
                 qm_gib(cases[i].available));
        must_refuse(want, QM_REMEDY_MORE_MEMORY);
    }
    ask.budget[0] = whole.total;
    struct qm_search_result r;
    struct qm_error err;
    assert_int_equal(qm_search(&ask, &r, &err), QM_OK);
    assert_int_equal(r.tried, 1);
    qm_placement_free(&r.placement);
}

static uint64_t card_bytes(const struct qm_placement *p, uint64_t *weights) {
    struct qm_device_memory m;
    qm_placement_memory(p, model, &ask.setup.workload, 1, &m);
    *weights = m.weights;
    return m.total;
}

/* What is pinned to a device has its bytes there, whichever part of them has no room. */
static void pins_are_short(void **state) {
    (void)state;
    struct qm_pin pin;
    struct qm_error err;
    struct qm_search_result r;
    char want[256];
    uint64_t weights, total;
    assert_int_equal(qm_pin_parse("--pin", "layers 0-1 on card1", model, &speed, &pin, &err), QM_OK);
    ask.pins = &pin;
    ask.n_pins = 1;
    assert_int_equal(qm_search(&ask, &r, &err), QM_OK);
    for (int64_t l = 0; l < LAYERS; l++) /* what is pinned, alone */
        if (l > 1) {
            r.placement.layer[l] = (struct qm_layer_placement){0};
        } else {
            assert_int_equal(r.placement.layer[l].attention, 1);
            assert_int_equal(r.placement.layer[l].ffn, 1);
        }
    r.placement.head = 0;
    r.placement.stream_rows = 0;
    total = card_bytes(&r.placement, &weights);
    qm_placement_free(&r.placement);
    const struct {
        uint64_t available;
        const char *part;
    } cases[] = {{weights / 2, "weights"}, {weights + 1, "activations"}, {total - 1, "keys and values"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ask.budget[1] = cases[i].available;
        snprintf(want, sizeof want,
                 "card1 is %.2f GiB short for the %s pinned to it: %.2f GiB needed, %.2f GiB available",
                 qm_gib(total - cases[i].available), cases[i].part, qm_gib(total) + 0.005, qm_gib(cases[i].available));
        must_refuse(want, QM_REMEDY_FEWER_PINS);
    }
    ask.budget[1] = total;
    assert_int_equal(qm_search(&ask, &r, &err), QM_OK);
    qm_placement_free(&r.placement);
}

/* So many layers from the end, the head only where all are; one more than fits is refused with its bytes. */
static void the_last_layers(void **state) {
    (void)state;
    struct qm_search_result r;
    struct qm_error err;
    for (int64_t n = 0; n <= LAYERS; n++) {
        ask.last_layers = n;
        assert_int_equal(qm_search(&ask, &r, &err), QM_OK);
        for (int64_t l = 0; l < LAYERS; l++) {
            assert_int_equal(r.placement.layer[l].attention, l >= LAYERS - n);
            assert_int_equal(r.placement.layer[l].ffn, l >= LAYERS - n);
        }
        assert_int_equal(r.placement.head, n == LAYERS);
        assert_true(r.bound == 0 && r.tried == 1 && !r.exact && r.seconds > 0);
        qm_placement_free(&r.placement);
    }
    struct qm_workload one = ask.setup.workload;
    struct qm_scratch_layout scratch;
    one.threads = 1;
    qm_scratch_plan(model, &one, &scratch);
    uint64_t layer = qm_unit_weight_bytes(model, QM_UNIT_ATTENTION, 0, 0) + qm_unit_kv_bytes(model, &one, 0) +
                     qm_unit_weight_bytes(model, QM_UNIT_FFN, 0, 0);
    char want[256];
    ask.last_layers = 3;
    ask.budget[1] = scratch.total + 3 * layer - 1; /* a byte */
    snprintf(want, sizeof want, "the devices are 0.00 GiB short for the last 3 layers: %.2f GiB needed, %.2f GiB free",
             qm_gib(3 * layer), qm_gib(3 * layer - 1));
    must_refuse(want, QM_REMEDY_FEWER_LAYERS);
    ask.budget[1]++;
    assert_int_equal(qm_search(&ask, &r, &err), QM_OK);
    qm_placement_free(&r.placement);
    ask.budget[1] = 0;
    snprintf(want, sizeof want, "the devices are %.2f GiB short for the last 3 layers: %.2f GiB needed, 0.00 GiB free",
             qm_gib(3 * layer), qm_gib(3 * layer));
    must_refuse(want, QM_REMEDY_FEWER_LAYERS);
}

/* What a pin may be, where its layers end and which devices there are. */
static void pins_are_explained(void **state) {
    (void)state;
    static const struct {
        const char *text, *want;
    } cases[] = {{"wheels",
                  "--pin: expected layers, attention, ffn, experts (of layers A-B) or head, on a device, such as "
                  "'layers 0-3' or 'experts 10 on cpu', found \"wheels\""},
                 {"layers 2-4", "--pin: the model has layers 0-3, found \"layers 2-4\""},
                 {"ffn 3-2", "--pin: the model has layers 0-3, found \"ffn 3-2\""},
                 {"head on moon", "--pin: no device is called \"moon\"; the first is card1"}};
    struct qm_pin pin;
    struct qm_error err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(qm_pin_parse("--pin", cases[i].text, model, &speed, &pin, &err), QM_USAGE);
        assert_string_equal(err.message, cases[i].want);
    }
    assert_int_equal(qm_pin_parse("--pin", "attention 1-2 on cpu", model, &speed, &pin, &err), QM_OK);
    assert_true(pin.what == QM_PIN_ATTENTION && pin.first == 1 && pin.last == 2 && pin.device == 0);
    assert_int_equal(qm_pin_parse("--pin", "ffn", model, &speed, &pin, &err), QM_OK);
    assert_true(pin.what == QM_PIN_FFN && pin.first == 0 && pin.last == 3 && pin.device == 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(the_cpu_is_short), TEST(pins_are_short), TEST(the_last_layers),
                                       TEST(pins_are_explained)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
