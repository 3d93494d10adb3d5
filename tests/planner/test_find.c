/* Finding what was measured of this machine, and who is notified: nothing here measures for longer than it takes to say
 * no. */
#include "planner/find.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "planner/calibrate.h"
#include "planner/measure.h"
#include "tests/support/support.h"

/* What was reported, line by line; progress as "WHAT DONE of TOTAL". */
struct reported {
    char text[4096];
    int calls, stop_at; /* the call of progress that says no; 0: none does */
};

static void add(struct reported *t, const char *line) {
    size_t n = strlen(t->text);
    snprintf(t->text + n, sizeof t->text - n, "%s\n", line);
}

static int progress(void *arg, const char *what, uint64_t done, uint64_t total) {
    struct reported *t = arg;
    char line[256];
    snprintf(line, sizeof line, "%s %d%s", what, (int)done, done < total ? "" : " of all");
    add(t, line);
    return ++t->calls == t->stop_at;
}

static void note(void *arg, const char *line) {
    add(arg, line);
}

struct world {
    char dir[TEST_PATH];
    struct qm_machine machine;
    struct qm_machine_found found;
    struct reported reported;
    struct qm_measuring with;
};

static struct world *open_world(void) {
    struct world *w = calloc(1, sizeof *w);
    struct qm_error err;
    assert_non_null(w);
    test_temp_dir(w->dir);
    if (qm_machine_describe(&w->machine, &err))
        fail_msg("%s", err.message);
    w->reported.stop_at = 1;
    w->with = (struct qm_measuring){.cache = w->dir, .progress = progress, .note = note, .arg = &w->reported};
    return w;
}

static void close_world(struct world *w) {
    qm_machine_free(&w->machine);
    test_remove_tree(w->dir);
    free(w);
}

static struct qm_machine_profile profile_of(const struct qm_machine *m) {
    struct qm_machine_profile p = {.measured = "2026-01-15T12:00:00Z",
                                   .nodes = 1,
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
                                   .others = 0.5,
                                   .stolen = -1};
    snprintf(p.identity, sizeof p.identity, "%s", m->identity);
    snprintf(p.isa, sizeof p.isa, "%s", qm_isa_name(QM_ISA_SCALAR));
    p.scaling[0].n = 1;
    p.scaling[0].point[0].threads = 1;
    p.scaling[0].point[0].rate = 8e10;
    p.between[0][0] = 8e10;
    return p;
}

static int find(struct world *w, bool refresh, struct qm_error *err) {
    w->reported = (struct reported){.stop_at = 1};
    return qm_machine_find(&w->machine, QM_ISA_SCALAR, refresh, NULL, &w->with, &w->found, err);
}

static void test_kept_or_measured(void **state) {
    (void)state;
    struct world *w = open_world();
    struct qm_machine_profile p = profile_of(&w->machine), out;
    struct qm_error err;
    char path[TEST_PATH];
    static const char begins[] = "measuring this machine: a few seconds\nmeasuring this machine 0\n";

    /* nothing is kept: measuring begins, is reported, and ends when it is refused; nothing is kept of it */
    assert_int_equal(find(w, false, &err), QM_INTERRUPTED);
    assert_string_equal(w->reported.text, begins);
    assert_int_equal(w->reported.calls, 1);
    assert_int_equal(test_count_entries(w->dir), 0);
    assert_false(qm_machine_kept(&w->machine, QM_ISA_SCALAR, w->dir, &out));

    assert_int_equal(qm_machine_profile_path(p.identity, p.isa, w->dir, path, sizeof path, &err), QM_OK);
    assert_int_equal(qm_machine_profile_save(path, &p, &err), QM_OK);
    assert_int_equal(find(w, false, &err), QM_OK);
    assert_string_equal(w->reported.text, "");
    assert_string_equal(w->found.path, path);
    assert_false(w->found.measured);
    assert_true(w->found.profile.median_read == 8e10);
    assert_true(qm_machine_kept(&w->machine, QM_ISA_SCALAR, w->dir, &out));
    assert_false(qm_machine_kept(&w->machine, QM_ISA_AVX2, w->dir, &out)); /* of another instruction set */
    assert_false(qm_machine_kept(&w->machine, QM_ISA_SCALAR, NULL, &out));

    /* asked to measure again: as if there were none, and what is kept stays when it is interrupted */
    assert_int_equal(find(w, true, &err), QM_INTERRUPTED);
    assert_string_equal(w->reported.text, begins);
    assert_int_equal(find(w, false, &err), QM_OK);

    test_write_file(path, "{", 1);
    assert_int_equal(find(w, false, &err), QM_INTERRUPTED);
    assert_memory_equal(w->reported.text, "measuring again: ", 17);
    assert_non_null(strstr(w->reported.text, path));
    close_world(w);
}

/* No folder is nothing to say a word about; one whose name is too long is. Nobody need listen. */
static void test_nowhere(void **state) {
    (void)state;
    struct world *w = open_world();
    struct qm_error err;
    w->with.cache = NULL;
    assert_int_equal(find(w, false, &err), QM_INTERRUPTED);
    assert_string_equal(w->found.path, "");
    assert_string_equal(w->reported.text, "measuring this machine: a few seconds\nmeasuring this machine 0\n");

    static char deep[sizeof w->found.path + 1];
    memset(deep, 'x', sizeof deep - 1);
    w->with.cache = deep;
    assert_int_equal(find(w, false, &err), QM_INTERRUPTED);
    assert_string_equal(w->found.path, "");
    assert_memory_equal(w->reported.text, "the profile is not kept: the path of the cache directory is too long\n", 69);

    w->with.note = NULL;
    assert_int_equal(find(w, false, &err), QM_INTERRUPTED);
    assert_string_equal(w->reported.text, "measuring this machine 0\n");
    close_world(w);
}

/* On a busy machine nothing is measured again, and the planner is given the median rates and what was beside them. */
static void test_busy(void **state) {
    (void)state;
    struct world *w = open_world();
    struct qm_machine_model *speed = calloc(1, sizeof *speed);
    struct qm_noise now = {.others = 0.4, .stolen = -1};
    struct qm_error err;
    assert_non_null(speed);
    w->found.profile = profile_of(&w->machine);
    assert_int_equal(qm_machine_check(&w->machine, QM_ISA_SCALAR, &now, &w->with, &w->found, speed, &err), QM_OK);
    assert_string_equal(w->reported.text,
                        "the machine is busy (other programs used 40 % of the CPUs' time): the profile of "
                        "2026-01-15T12:00:00Z is used as it is\n");
    assert_true(speed->read == 8e10 && speed->bf16 == 1.8e12 && speed->f32 == 7e11);
    assert_string_equal(speed->noise, "machine: other programs used 50 % of the CPUs' time");
    free(speed);
    close_world(w);
}

/* One round over the kernels needs minutes: it is reported before the first. */
static void test_calibration_reported(void **state) {
    (void)state;
    struct world *w = open_world();
    struct qm_machine_profile p = profile_of(&w->machine);
    struct qm_calibration kept;
    struct qm_error err;
    struct qm_calibration_wish wish = {&w->machine, &p, QM_ISA_SCALAR, 1U << QM_KERNELS_DENSE_BF16, true};
    int rc = qm_calibration_measure(&wish, &w->with, &kept, &err);
    assert_int_equal(rc, QM_INTERRUPTED);
    assert_string_equal(w->reported.text,
                        "measuring the kernels that are needed: one or two minutes, once for this build "
                        "of them\nmeasuring the kernels 0\n");
    assert_int_equal(test_count_entries(w->dir), 0);
    close_world(w);
}

/* What is kept is read back and not measured again; another machine's is said, and is. */
static void test_calibration_kept(void **state) {
    (void)state;
    struct world *w = open_world();
    struct qm_machine_profile p = profile_of(&w->machine);
    struct qm_calibration kept, back, saved = {.tried = 1, .noise = {0.01, -1, 0, NULL}};
    struct qm_error err;
    char path[4200], missing[256];
    struct qm_efficiency efficiency;
    saved.efficiency.kernel[QM_KERNEL_DENSE][QM_BF16] =
        (struct qm_efficiency_curve){.n = 1, .rows = {1}, .efficiency = {0.75}};
    saved.efficiency.value_ns = saved.efficiency.route_ns = 1;
    const char *identity = w->machine.identity;
    assert_false(qm_calibration_load(identity, QM_ISA_SCALAR, NULL, &back, path, &err));
    assert_string_equal(path, "");
    assert_false(qm_calibration_load(identity, QM_ISA_SCALAR, w->dir, &back, path, &err));
    assert_int_equal(err.code, QM_OK);
    assert_non_null(strstr(path, "/kernels-"));
    assert_int_equal(qm_calibration_save(path, identity, QM_ISA_SCALAR, &saved, &err), QM_OK);
    if (!qm_calibration_load(identity, QM_ISA_SCALAR, w->dir, &back, path, &err))
        fail_msg("%s", err.message);
    assert_true(back.efficiency.kernel[QM_KERNEL_DENSE][QM_BF16].efficiency[0] == 0.75);

    unsigned needed = 1U << QM_KERNELS_DENSE_BF16;
    struct qm_calibration_wish wish = {&w->machine, &p, QM_ISA_SCALAR, needed, true};
    int rc = qm_calibration_measure(&wish, &w->with, &kept, &err);
    assert_int_equal(rc, QM_OK);
    assert_string_equal(w->reported.text, "");
    qm_calibration_efficiency(&kept, needed | 1U << QM_KERNELS_DENSE_F16, &efficiency, missing);
    assert_string_equal(missing, "products of F16");

    assert_int_equal(qm_calibration_save(path, "another", QM_ISA_SCALAR, &saved, &err), QM_OK);
    rc = qm_calibration_measure(&wish, &w->with, &kept, &err);
    assert_int_equal(rc, QM_INTERRUPTED);
    assert_memory_equal(w->reported.text, "measuring the kernels again: ", 29);
    assert_non_null(strstr(w->reported.text, "is of another machine or instruction set: \"another\""));
    close_world(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kept_or_measured), cmocka_unit_test(test_nowhere),
                                       cmocka_unit_test(test_busy), cmocka_unit_test(test_calibration_reported),
                                       cmocka_unit_test(test_calibration_kept)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
