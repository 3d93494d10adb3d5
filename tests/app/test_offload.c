/* Placements from wishes: what is refused before anything is measured, what each wish asks of the planner, a placement
 * that is kept and begun with again, devices with less free than they have. Nothing here measures or opens a device. */
#include <stdlib.h>
#include <string.h>

#include "app/offload.h"
#include "base/json.h"
#include "tests/support/support.h"

static const char CONFIG[] =
    "{\"architectures\":[\"Qwen3ForCausalLM\"],\"model_type\":\"qwen3\",\"vocab_size\":64,\"hidden_size\":32,"
    "\"num_hidden_layers\":3,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":16,"
    "\"intermediate_size\":48,\"rms_norm_eps\":1e-6,\"rope_theta\":10000,\"max_position_embeddings\":1024,"
    "\"hidden_act\":\"silu\",\"tie_word_embeddings\":true,\"torch_dtype\":\"bfloat16\"}";
enum { LAYERS = 3 };

static struct qm_model *model;
static struct qm_progress silent = {.quiet = true};
static const struct qm_scenario job = {.sequences = 1, .prompt = 64, .generate = 16};

static int open_model(void **state) {
    (void)state;
    json_t *root;
    struct qm_error err;
    if (qm_json_parse(CONFIG, strlen(CONFIG), "test", &root, &err) ||
        qm_model_from_config(root, "test", NULL, &model, &err))
        fail_msg("%s", err.message);
    json_decref(root);
    return 0;
}

static int close_model(void **state) {
    (void)state;
    qm_model_close(model);
    return 0;
}

static struct qm_offload_options wish(enum qm_offload_wish w, const char *text, const char *const *devices, size_t n) {
    return (struct qm_offload_options){.wish = w, .text = text, .devices = {devices, n}};
}

static struct qm_engine_options engine_options(void) {
    return (struct qm_engine_options){.kv_type = -1, .context = 128, .isa = QM_ISA_SCALAR, .threads = 2};
}

static const char *const one[] = {"emulated:64MiB"};

static void test_cards_are_refused(void **state) {
    (void)state;
    static const char *const card[] = {"emulated:1GiB", "gpu:90GiB"};
    struct qm_error err;
    struct qm_offload_options o = wish(QM_OFFLOAD_UNSAID, NULL, card, 2);
    assert_int_equal(qm_offload_refuse_cards(&o, &err), QM_USAGE);
    assert_non_null(strstr(err.message, "gpu"));
    assert_int_equal(qm_offload_check_devices(&o, &err), QM_OK); /* plan may predict for it */
    o.devices.n = 1;
    assert_int_equal(qm_offload_refuse_cards(&o, &err), QM_OK);
    o = wish(QM_OFFLOAD_REQUIRE, "require", NULL, 0);
    assert_int_equal(qm_offload_refuse_cards(&o, &err), QM_USAGE);
    static const char *const wrong[] = {"emulated:much"};
    o = wish(QM_OFFLOAD_UNSAID, NULL, wrong, 1);
    assert_int_equal(qm_offload_check_devices(&o, &err), QM_USAGE);
    assert_non_null(strstr(err.message, "much"));
}

static void test_too_many_devices(void **state) {
    (void)state;
    const char *many[QM_MAX_DEVICES];
    struct qm_error err;
    for (int d = 0; d < QM_MAX_DEVICES; d++)
        many[d] = "emulated:1MiB";
    const struct qm_offload_options o = wish(QM_OFFLOAD_UNSAID, NULL, many, QM_MAX_DEVICES);
    struct qm_machine_model *s = calloc(1, sizeof *s);
    assert_non_null(s);
    assert_int_equal(qm_offload_devices(&o, s, &err), QM_USAGE);
    assert_int_equal(s->devices, QM_MAX_DEVICES - 1);
    free(s);
}

/* What each wish asks of the planner. */
static void test_wishes(void **state) {
    (void)state;
    static const enum qm_offload_wish searched[] = {QM_OFFLOAD_UNSAID, QM_OFFLOAD_AUTO, QM_OFFLOAD_REQUIRE};
    struct qm_placement given = {0};
    struct qm_error err;
    for (size_t i = 0; i < sizeof searched / sizeof *searched; i++) {
        const struct qm_offload_options o = wish(searched[i], "auto", one, 1);
        struct qm_plan_ask ask = {0};
        assert_int_equal(qm_offload_what(&o, model, &ask, &given, &err), QM_OK);
        assert_false(ask.on_cpu);
        assert_int_equal(ask.last_layers, -1);
        assert_null(ask.given);
    }
    struct qm_plan_ask ask = {0};
    struct qm_offload_options o = wish(QM_OFFLOAD_NONE, "none", one, 1);
    assert_int_equal(qm_offload_what(&o, model, &ask, &given, &err), QM_OK);
    assert_true(ask.on_cpu);
    o = wish(QM_OFFLOAD_LAYERS, "2", one, 1);
    for (o.layers = -1; o.layers <= LAYERS + 1; o.layers++) {
        ask = (struct qm_plan_ask){0};
        bool possible = o.layers >= 0 && o.layers <= LAYERS;
        assert_int_equal(qm_offload_what(&o, model, &ask, &given, &err), possible ? QM_OK : QM_USAGE);
        assert_int_equal(ask.last_layers, o.layers);
        assert_false(ask.on_cpu);
    }
}

static void test_no_device(void **state) {
    (void)state;
    struct qm_offload *f;
    struct qm_error err;
    struct qm_engine_options e = engine_options();
    static const enum qm_offload_wish fine[] = {QM_OFFLOAD_UNSAID, QM_OFFLOAD_AUTO, QM_OFFLOAD_NONE};
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        const struct qm_offload_options o = wish(fine[i], "text", NULL, 0);
        assert_int_equal(qm_offload_open(&o, model, &job, &e, NULL, &silent, &f, &err), QM_OK);
        assert_null(f);
        assert_null(e.placement);
    }
    static const enum qm_offload_wish wrong[] = {QM_OFFLOAD_REQUIRE, QM_OFFLOAD_LAYERS, QM_OFFLOAD_FILE};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const struct qm_offload_options o = wish(wrong[i], "text", NULL, 0);
        assert_int_equal(qm_offload_open(&o, model, &job, &e, NULL, &silent, &f, &err), QM_USAGE);
    }
    const struct qm_offload_options o = wish(QM_OFFLOAD_AUTO, "auto", NULL, 0);
    assert_int_equal(qm_offload_open(&o, model, &job, &e, "a placement of two devices", &silent, &f, &err), QM_INPUT);
}

/* A placement by layers, without measuring; then the same text begins it again, whatever auto would choose. */
static void test_layers_and_kept(void **state) {
    (void)state;
    struct qm_error err;
    struct qm_offload *f;
    struct qm_engine_options e = engine_options();
    struct qm_offload_options o = wish(QM_OFFLOAD_LAYERS, "2", one, 1);
    char *text, *again;
    o.layers = 2;
    if (qm_offload_open(&o, model, &job, &e, "a kept one that is not looked at", &silent, &f, &err))
        fail_msg("%s", err.message);
    assert_non_null(e.placement);
    assert_false(e.devices_required);
    assert_string_equal(e.devices[0].name, "emulated");
    assert_int_equal(e.placement->layer[0].attention, QM_DEVICE_CPU);
    assert_int_equal(e.placement->layer[1].attention, 1);
    assert_int_equal(e.placement->layer[2].attention, 1);
    assert_int_equal(qm_offload_plan(f, model, &text, &err), QM_OK);
    qm_offload_free(f);

    e = engine_options();
    e.context = 0;
    o = wish(QM_OFFLOAD_REQUIRE, "require", one, 1);
    if (qm_offload_open(&o, model, &job, &e, text, &silent, &f, &err))
        fail_msg("%s", err.message);
    assert_true(e.devices_required);
    assert_int_equal(e.context, 1024); /* what fits is the model's own */
    assert_int_equal(qm_offload_plan(f, model, &again, &err), QM_OK);
    assert_string_equal(text, again);
    qm_offload_free(f);

    /* a device of another name, and one whose memory is not free any more: nothing else takes its place */
    static const char *const other[] = {"emulated2:64MiB"};
    o = wish(QM_OFFLOAD_AUTO, "auto", other, 1);
    assert_int_not_equal(qm_offload_open(&o, model, &job, &e, text, &silent, &f, &err), QM_OK);
    assert_non_null(strstr(err.message, "the devices are not those"));
    static const char *const no_room[] = {"emulated:64MiB,free=0.001MiB"};
    o = wish(QM_OFFLOAD_AUTO, "auto", no_room, 1);
    e = engine_options();
    assert_int_equal(qm_offload_open(&o, model, &job, &e, text, &silent, &f, &err), QM_FIT);
    free(text);
    free(again);
}

static void test_free_memory(void **state) {
    (void)state;
    struct qm_machine_model *s = calloc(1, sizeof *s);
    struct qm_plan_answer *a = calloc(1, sizeof *a);
    assert_true(s && a);
    s->devices = 2;
    s->device[0] = (struct qm_device_model){.name = "a", .memory = 1000};
    s->device[1] = (struct qm_device_model){.name = "b", .memory = 1000, .free = 500};
    a->placement.devices = 3;
    a->memory[1].total = 900;
    a->memory[2].total = 400;
    a->slack[2] = 100;
    assert_false(qm_offload_is_short(s, a)); /* free 0: not known; the other has just enough */
    a->slack[2]++;
    assert_true(qm_offload_is_short(s, a));
    qm_offload_take_free(s);
    assert_int_equal(s->device[0].memory, 1000);
    assert_int_equal(s->device[1].memory, 500);
    s->device[1].free = 2000; /* more than it has is not had */
    qm_offload_take_free(s);
    assert_int_equal(s->device[1].memory, 500);
    free(a);
    free(s);
}

static void test_drive(void **state) {
    (void)state;
    struct qm_machine_model *s = calloc(1, sizeof *s);
    struct qm_emulated_config config[QM_MAX_DEVICES];
    struct qm_device_setup setup[QM_MAX_DEVICES];
    static const char *const devices[] = {"emulated:1MiB,up=7,down=5,fail=3", "emulated2:2MiB"};
    const struct qm_offload_options o = wish(QM_OFFLOAD_AUTO, "auto", devices, 2);
    struct qm_error err;
    assert_non_null(s);
    assert_int_equal(qm_offload_devices(&o, s, &err), QM_OK);
    qm_offload_drive(s, config, setup);
    assert_string_equal(setup[0].name, "emulated");
    assert_string_equal(setup[1].name, "emulated2");
    assert_ptr_equal(setup[1].config, &config[1]);
    assert_true(config[0].up == 7e9 && config[0].down == 5e9);
    assert_int_equal(config[0].memory, 1 << 20);
    assert_int_equal(config[0].fail_after, 2);  /* the third op fails */
    assert_int_equal(config[1].fail_after, -1); /* never */
    free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cards_are_refused),
        cmocka_unit_test(test_too_many_devices),
        cmocka_unit_test(test_wishes),
        cmocka_unit_test(test_no_device),
        cmocka_unit_test(test_layers_and_kept),
        cmocka_unit_test(test_free_memory),
        cmocka_unit_test(test_drive),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
