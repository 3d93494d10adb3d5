/* The runner of compare on a tiny model: rounds and answers of every kind of configuration, what is not run, a device
 * that fails, the reference that another takes the place of, an interruption. No time is asserted. */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "app/compare/run.h"
#include "app/machine/model.h"
#include "app/offload.h"
#include "tests/support/support.h"

enum { GENERATE = 4, ROUNDS = 3 };

static struct qm_model *model;
static char cache[TEST_PATH];
static struct qm_progress silent = {.quiet = true};
static volatile sig_atomic_t stop;

static int set_up(void **state) {
    (void)state;
    struct qm_error err;
    test_temp_dir(cache); /* the hash of the weights is kept */
    setenv("XDG_CACHE_HOME", cache, 1);
    if (qm_model_open("tests/data/reference/qwen3_moe", NULL, &model, &err))
        fail_msg("%s", err.message);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    qm_model_close(model);
    test_remove_tree(cache);
    return 0;
}

struct comparison {
    struct qm_compare_task task;
    struct qm_compare_report report;
    struct qm_meter meter;
};

/* Runs the configurations; the result of qm_compare_run. */
static int compare(const char *configs, struct comparison *c, struct qm_error *err) {
    static const int32_t prompts[2][9] = {{1, 2, 3, 4, 5, 6, 7, 8, 9}, {9, 8, 7, 6, 5}};
    static const int64_t lengths[2] = {9, 5};
    struct qm_compare_task *t = &c->task;
    *t = (struct qm_compare_task){.model = model,
                                  .model_name = "tiny",
                                  .prompts = 2,
                                  .generate = GENERATE,
                                  .chunk = 4,
                                  .context = 9 + GENERATE,
                                  .rounds = ROUNDS,
                                  .threads = 2,
                                  .kv_type = -1,
                                  .isa = QM_ISA_SCALAR,
                                  .progress = &silent,
                                  .meter = &c->meter,
                                  .stop = &stop};
    t->sampling = qm_sampling_default;
    for (int p = 0; p < 2; p++) {
        t->prompt[p].data = malloc(sizeof prompts[p]);
        assert_non_null(t->prompt[p].data);
        memcpy(t->prompt[p].data, prompts[p], sizeof prompts[p]);
        t->prompt[p].len = (size_t)lengths[p];
    }
    c->report = (struct qm_compare_report){
        .prompts = 2, .rounds = ROUNDS, .prompt_tokens = 14, .generate = GENERATE, .bound = 0.001};
    int rc = qm_app_machine_unmeasured(&t->speed, err);
    t->speed.read = t->speed.bf16 = t->speed.f32 = 1e6; /* so slow that a device is worth its transfers */
    if (!rc)
        rc = qm_meter_open("/nowhere", &c->meter, err);
    if (!rc)
        rc = qm_compare_specs_parse(configs, t, err);
    if (!rc)
        rc = qm_compare_plan(t, &c->report, err);
    if (rc)
        fail_msg("%s", err->message);
    return qm_compare_run(t, &c->report, err);
}

static void finish(struct comparison *c) {
    qm_compare_report_free(&c->report);
    qm_compare_task_free(&c->task);
    qm_meter_close(&c->meter);
    free(c);
}

static struct comparison *new_comparison(void) {
    struct comparison *c = calloc(1, sizeof *c);
    assert_non_null(c);
    return c;
}

static void test_rounds(void **state) {
    (void)state;
    struct comparison *c = new_comparison();
    struct qm_compare_report *r = &c->report;
    struct qm_error err;
    if (compare("cpu,quiet:50,emulated:1GiB,auto,gpu", c, &err))
        fail_msg("%s", err.message);
    assert_int_equal(r->configs, 5);
    assert_int_equal(r->rounds, ROUNDS);
    assert_int_equal(r->reference, 0);
    assert_true(r->agree);
    for (int i = 0; i < 3; i++) {
        const struct qm_compare_config *k = &r->config[i];
        assert_string_equal(k->why_not, "");
        assert_string_equal(k->failed, "");
        assert_false(k->unsteady);
        assert_int_equal(k->prefill.measured.n, ROUNDS);
        assert_int_equal(k->decode.measured.n, ROUNDS);
        assert_true(k->decode.measured.median > 0 && k->first.measured.median > 0);
        assert_int_equal(k->threads, 2);
        assert_in_range(k->threads_used, 1, 2);
        assert_true(k->n_prefill_at > 0 && k->n_decode_at > 0);
        for (int p = 0; p < 2; p++) {
            assert_int_equal(k->n_answer[p], GENERATE);
            assert_memory_equal(k->answer[p], r->config[0].answer[p], GENERATE * sizeof(int32_t));
        }
        assert_true(isnan(k->watts)); /* no sensor is there */
    }
    assert_true(r->config[1].agreement.compared > 0);
    assert_int_equal(r->config[1].agreement.first_difference, -1);
    assert_true(r->config[2].emulated);
    assert_int_equal(r->config[2].n_layers, model->config.layers);
    assert_true(r->config[2].layer[0].away > 0 || r->config[2].layer[1].away > 0);
    assert_true(isnan(r->config[2].gb_s) && r->config[0].gb_s > 0);
    for (int i = 3; i < 5; i++) { /* no device for the planner; a card: predicted, not run */
        assert_string_not_equal(r->config[i].why_not, "");
        assert_int_equal(r->config[i].decode.measured.n, 0);
        assert_null(r->config[i].answer[0]);
    }
    finish(c);
}

/* What fails is set aside, the others go on; nothing of a first round that is not whole counts. */
static void test_failure(void **state) {
    (void)state;
    struct comparison *c = new_comparison();
    struct qm_compare_report *r = &c->report;
    struct qm_error err;
    if (compare("emulated:1GiB,fail=2,cpu", c, &err))
        fail_msg("%s", err.message);
    assert_memory_equal(r->config[0].failed, "round 1: ", 9);
    assert_int_equal(r->config[0].decode.measured.n, 0);
    assert_null(r->config[0].answer[0]);
    assert_int_equal(r->reference, 1);
    assert_int_equal(r->config[1].decode.measured.n, ROUNDS);
    finish(c);

    c = new_comparison();
    assert_int_equal(compare("emulated:1GiB,fail=2", c, &err), QM_SYSTEM); /* of every one */
    assert_int_equal(c->report.reference, -1);
    finish(c);
}

static void test_nothing_to_run(void **state) {
    (void)state;
    struct comparison *c = new_comparison();
    struct qm_error err;
    assert_int_equal(compare("gpu", c, &err), QM_OK);
    assert_int_equal(c->report.reference, -1);
    assert_false(c->report.agree);
    finish(c);
}

static void test_interrupted(void **state) {
    (void)state;
    struct comparison *c = new_comparison();
    struct qm_error err;
    stop = 1;
    assert_int_equal(compare("cpu,quiet", c, &err), QM_INTERRUPTED);
    stop = 0;
    finish(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounds),
        cmocka_unit_test(test_failure),
        cmocka_unit_test(test_nothing_to_run),
        cmocka_unit_test(test_interrupted),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
