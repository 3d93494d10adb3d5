/* The plan's answer: which context is taken, what fits, what is said where it does not, and what would help. */
#include <stdio.h>
#include <stdlib.h>

#include "app/plan/plan.h"
#include "base/size.h"
#include "tests/planner/plan_models.h"

enum { LAYERS = 4, MOST = 65536 /* positions of the model */ };

static struct qm_model *model;
static struct qm_machine_model speed;
static struct qm_plan_ask ask;
static struct qm_plan_answer answer;

static int setup(void **state) {
    (void)state;
    model = plan_model(LAYERS, 8192, 0);
    speed = plan_machine();
    ask = (struct qm_plan_ask){.chunk = 256,
                               .scenario = {.sequences = 1, .prompt = 600, .generate = 200},
                               .kv_type = -1,
                               .last_layers = -1,
                               .speed = &speed};
    return 0;
}

static int teardown(void **state) {
    (void)state;
    qm_model_close(model);
    return 0;
}

static void must_answer(void) {
    struct qm_error err;
    if (qm_plan_answer(&ask, model, "a model", &answer, &err))
        fail_msg("%s", err.message);
    assert_int_equal(qm_plan_check(&ask, model, &err), QM_OK);
    for (int d = 0; d < answer.placement.devices; d++)
        assert_true(answer.memory[d].total <= answer.available[d]);
}

static double seconds_of(void) {
    must_answer();
    double s = answer.scenario.prefill.seconds + answer.scenario.decode.seconds;
    qm_plan_answer_free(&answer);
    return s;
}

static void must_refuse(enum qm_code code, const char *want) {
    struct qm_error err;
    assert_int_equal(qm_plan_answer(&ask, model, "a model", &answer, &err), code);
    assert_string_equal(err.message, want);
    qm_plan_answer_free(&answer);
    assert_int_equal(qm_plan_check(&ask, model, &err), code); /* bytes alone tell the same */
    assert_string_equal(err.message, want);
}

static uint64_t needs(int64_t context) {
    struct qm_memory_table t;
    struct qm_workload w = {
        .context = context, .sequences = 1, .chunk = 256, .nodes = 1, .kv_type = QM_BF16, .threads = 4};
    qm_memory_estimate(model, &w, &t);
    return t.total;
}

/* The model's context where nothing else is asked for, as much as the scenario needs where that is more, and the
 * largest that fits where memory is short. */
static void the_context_is_chosen(void **state) {
    (void)state;
    must_answer();
    assert_int_equal(answer.workload.context, MOST);
    assert_int_equal(answer.workload.kv_type, QM_BF16);
    assert_int_equal(answer.workload.threads, 4); /* of the machine's cores */
    assert_true(answer.available[0] == speed.memory - QM_MEMORY_RESERVE);
    assert_true(answer.memory[0].total == needs(MOST));
    assert_int_equal(answer.n_at, 3); /* depths 0, 4096, 16384; 65536 leaves no room for a prompt */
    qm_plan_answer_free(&answer);

    ask.scenario.prompt = MOST + 100;
    must_answer();
    assert_int_equal(answer.workload.context, MOST + 300);
    qm_plan_answer_free(&answer);

    ask.scenario.prompt = 600;
    ask.ram = needs(20 * QM_CONTEXT_STEP) + QM_MEMORY_RESERVE;
    must_answer();
    assert_int_equal(answer.workload.context, 20 * QM_CONTEXT_STEP);
    qm_plan_answer_free(&answer);
    ask.ram--;
    must_answer();
    assert_int_equal(answer.workload.context, 19 * QM_CONTEXT_STEP);
    qm_plan_answer_free(&answer);
    ask.context = 1000;
    must_answer();
    assert_int_equal(answer.workload.context, 1000);
    qm_plan_answer_free(&answer);
}

static void what_does_not_fit_is_explained(void **state) {
    (void)state;
    char want[512];
    struct qm_memory_table t;
    struct qm_workload w = {
        .context = 40000, .sequences = 1, .chunk = 256, .nodes = 1, .kv_type = QM_BF16, .threads = 4};
    static const char form[] = "the %s are %.2f GiB short: %.2f GiB needed (weights %.2f, keys and values for 1 x %lld "
                               "tokens %.2f, activations %.2f), %.2f GiB available; %s";
    ask.context = 700;
    must_refuse(QM_USAGE, "--context 700: the scenario needs 800 tokens (depth 0, prompt 600, generate 200)");

    qm_memory_estimate(model, &w, &t);
    ask.context = w.context;
    uint64_t available = needs(20 * QM_CONTEXT_STEP);
    ask.ram = available + QM_MEMORY_RESERVE;
    snprintf(want, sizeof want, form, "keys and values", qm_gib(t.total - available), qm_gib(t.total),
             qm_gib(t.weights), (long long)w.context, qm_gib(t.kv), qm_gib(t.scratch), qm_gib(available), "");
    size_t n = strlen(want);
    snprintf(want + n, sizeof want - n, "--context %d fits", 20 * QM_CONTEXT_STEP);
    must_refuse(QM_FIT, want);

    available = t.weights - 1000000000;
    ask.ram = available + QM_MEMORY_RESERVE;
    snprintf(want, sizeof want, form, "weights", qm_gib(t.weights - available), qm_gib(t.total), qm_gib(t.weights),
             (long long)w.context, qm_gib(t.kv), qm_gib(t.scratch), qm_gib(available),
             "no context fits: the weights alone are more");
    must_refuse(QM_FIT, want);

    ask.kv_type = QM_F32; /* less than a step of these, more than one of half of them */
    available = needs(QM_CONTEXT_STEP);
    ask.ram = available + QM_MEMORY_RESERVE;
    w.kv_type = QM_F32;
    qm_memory_estimate(model, &w, &t);
    snprintf(want, sizeof want, form, "keys and values", qm_gib(t.total - available), qm_gib(t.total),
             qm_gib(t.weights), (long long)w.context, qm_gib(t.kv), qm_gib(t.scratch), qm_gib(available), "");
    n = strlen(want);
    snprintf(want + n, sizeof want - n, "--kv-type bf16 --context %d fits", QM_CONTEXT_STEP);
    must_refuse(QM_FIT, want);
}

static const struct qm_plan_hint *hint(const char *change) {
    for (int i = 0; i < answer.n_hints; i++)
        if (!strcmp(answer.hint[i].change, change))
            return &answer.hint[i];
    return NULL;
}

/* What would help is what the plan says once it is so; what wins most stands first, what wins little nowhere. */
static void hints_come_true(void **state) {
    (void)state;
    ask.threads = 1; /* of four cores, which read twice as much */
    ask.kv_type = QM_F32;
    must_answer();
    double now = answer.scenario.prefill.seconds + answer.scenario.decode.seconds;
    assert_true(answer.n_hints > 1 && answer.n_hints <= QM_PLAN_HINTS);
    for (int i = 0; i < answer.n_hints; i++) {
        assert_true(answer.hint[i].seconds <= 0.98 * now);
        assert_true(i == 0 || answer.hint[i - 1].seconds <= answer.hint[i].seconds);
    }
    assert_non_null(hint("more threads (--threads 4)"));
    assert_null(hint("fewer threads (--threads 1)"));
    double threads = hint("more threads (--threads 4)")->seconds;
    qm_plan_answer_free(&answer);
    ask.threads = 4;
    assert_true(seconds_of() == threads);

    must_answer();
    assert_non_null(hint("memory twice as fast"));
    double memory = hint("memory twice as fast")->seconds;
    assert_null(hint("more threads (--threads 4)")); /* they are there */
    qm_plan_answer_free(&answer);
    speed.read *= 2;
    assert_true(seconds_of() == memory);
}

/* Devices are used to the byte that is asked for, and not where they may not be. */
static void devices_are_bounded(void **state) {
    (void)state;
    plan_add_card(&speed, (uint64_t)64 << 30);
    double with = seconds_of();
    must_answer();
    assert_true(answer.memory[1].weights > 0 && answer.available[1] == (uint64_t)64 << 30);
    qm_plan_answer_free(&answer);

    ask.vram = (uint64_t)2 << 30;
    must_answer();
    assert_true(answer.available[1] == ask.vram && answer.memory[1].total + answer.slack[1] <= ask.vram);
    assert_non_null(hint("twice the memory on each device"));
    qm_plan_answer_free(&answer);
    assert_true(seconds_of() > with);

    ask.on_cpu = true;
    must_answer();
    assert_true(answer.available[1] == 0 && answer.memory[1].total == 0);
    assert_null(hint("twice the memory on each device"));
    qm_plan_answer_free(&answer);
}

/* A placement that is given is taken, or refused with what it lacks. */
static void a_given_placement_is_taken(void **state) {
    (void)state;
    struct qm_placement p;
    struct qm_device_memory m;
    struct qm_error err;
    char want[512];
    plan_add_card(&speed, (uint64_t)64 << 30);
    assert_int_equal(qm_placement_open(model, 2, &p, &err), QM_OK);
    p.layer[2].ffn = 1;
    ask.given = &p;
    ask.context = 4096;
    must_answer();
    assert_int_equal(answer.placement.layer[2].ffn, 1);
    assert_int_equal(answer.placement.layer[1].ffn, 0);
    struct qm_workload w = answer.workload;
    qm_plan_answer_free(&answer);
    qm_placement_memory(&p, model, &w, 1, &m);
    ask.vram = m.weights / 2;
    static const char form[] =
        "the plan: card1 is %.2f GiB short, for the weights: %.2f GiB needed, %.2f GiB available; %s";
    snprintf(want, sizeof want, form, qm_gib(m.total - ask.vram), qm_gib(m.total), qm_gib(ask.vram),
             "a smaller --context needs less, --offload auto plans anew");
    must_refuse(QM_FIT, want);
    ask.given_alone = true;
    snprintf(want, sizeof want, form, qm_gib(m.total - ask.vram), qm_gib(m.total), qm_gib(ask.vram),
             "it can have no other placement");
    must_refuse(QM_FIT, want);
    qm_placement_free(&p);
}

static void what_bounds_a_job_is_in_order(void **state) {
    (void)state;
    struct qm_plan_bound b[QM_PLAN_BOUNDS];
    struct qm_step_time t = {
        .seconds = 10, .reading = 2, .computing = 5, .attention = 0.04, .regions = 0.06, .transfer = 2.9};
    assert_int_equal(qm_plan_bounds(&t, b), 4); /* less than half a percent is left out */
    assert_string_equal(b[0].what, "multiply-adds");
    assert_string_equal(b[1].what, "transfers");
    assert_string_equal(b[2].what, "reading weights");
    assert_string_equal(b[3].what, "barriers");
    assert_true(b[0].share == 0.5 && b[2].share == 0.2);
    assert_int_equal(qm_plan_bounds(&(struct qm_step_time){0}, b), 0);
}

static void what_it_rests_on_is_said(void **state) {
    (void)state;
    char text[512];
    speed.efficiency_mark = QM_MARK_MEASURED;
    qm_plan_basis(&speed, text, sizeof text);
    assert_string_equal(text, "measured efficiencies");
    snprintf(speed.missing, sizeof speed.missing, "products of F16");
    snprintf(speed.noise, sizeof speed.noise, "machine: busy");
    qm_plan_basis(&speed, text, sizeof text);
    assert_string_equal(text, "measured efficiencies, default for products of F16; measured beside noise, so less "
                              "exact: machine: busy");
    speed.efficiency_mark = QM_MARK_DEFAULT;
    speed.missing[0] = speed.noise[0] = 0;
    qm_plan_basis(&speed, text, sizeof text);
    assert_string_equal(text, "default efficiencies");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_context_is_chosen),   TEST(what_does_not_fit_is_explained), TEST(hints_come_true),
        TEST(devices_are_bounded),     TEST(a_given_placement_is_taken),     TEST(what_bounds_a_job_is_in_order),
        TEST(what_it_rests_on_is_said)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
