/* An engine beside another: on its threads, and paused by its power cap. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/sequence.h"
#include "numa/power_cap.h"
#include "tests/support/run_model.h"
#include "tests/support/support.h"

/* A processor that always draws far more than it may. */
struct hot {
    char energy[2 * TEST_PATH];
    double now, joules;
    int slept;
};

static double now(void *arg) {
    struct hot *h = arg;
    h->now += 0.3;
    h->joules += 1000;
    FILE *f = fopen(h->energy, "wb");
    assert_non_null(f);
    fprintf(f, "%.0f\n", h->joules * 1e6);
    assert_int_equal(fclose(f), 0);
    return h->now;
}

static void rest(void *arg, double seconds) {
    struct hot *h = arg;
    assert_true(seconds > 0);
    h->slept++;
}

static void put(const char *root, const char *name, const char *text) {
    char path[2 * TEST_PATH];
    snprintf(path, sizeof path, "%s/sys/class/powercap/intel-rapl:0/%s", root, name);
    for (char *slash = strchr(path + strlen(root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(path, 0755);
        *slash = '/';
    }
    test_write_file(path, text, strlen(text));
}

static void step(struct qm_engine *e, struct qm_sequence *s) {
    const int32_t token = 5;
    struct qm_error err;
    if (qm_engine_step(e, &(struct qm_step_rows){.sequence = s, .tokens = &token, .n = 1}, 1, &err))
        fail_msg("%s", err.message);
    assert_int_equal(qm_sequence_truncate(s, 0), 0);
}

static void paused_by_the_other(void **state) {
    (void)state;
    struct run_model first, beside;
    struct qm_sequence *s;
    struct qm_power_cap *cap;
    struct qm_error err;
    struct hot hot = {.joules = 1};
    char root[TEST_PATH];
    test_temp_dir(root);
    put(root, "name", "package-0\n");
    put(root, "max_energy_range_uj", "262143328850000\n");
    put(root, "energy_uj", "0\n");
    snprintf(hot.energy, sizeof hot.energy, "%s/sys/class/powercap/intel-rapl:0/energy_uj", root);
    struct qm_engine_options o = {.threads = 2, .isa = run_model_isa(), .context = 64, .kv_type = -1};
    run_model_open(&first, "tests/data/reference/qwen3", NULL, o);
    o.beside = first.engine;
    run_model_open(&beside, "tests/data/reference/qwen3", NULL, o);
    assert_ptr_equal(qm_engine_team(beside.engine), qm_engine_team(first.engine));
    assert_int_equal(qm_sequence_open(beside.engine, &s, &err), QM_OK);
    step(beside.engine, s);
    const struct qm_clock clock = {now, rest, &hot};
    if (qm_power_cap_open(root, 10, &clock, &cap, &err))
        fail_msg("%s", err.message);
    qm_engine_set_power_cap(first.engine, cap);
    for (int i = 0; i < 20000 && !hot.slept; i++)
        step(beside.engine, s);
    assert_true(hot.slept > 0);
    qm_sequence_close(s);
    run_model_close(&beside);
    run_model_close(&first);
    test_remove_tree(root);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(paused_by_the_other)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
