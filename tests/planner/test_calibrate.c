/* Calibration: which parts are measured, in which order and until when, and what is kept of it; by a clock and by
 * measurements that the test makes up. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "planner/calibrate_private.h"
#include "tests/support/support.h"

enum { DENSE = 1U << QM_KERNELS_DENSE_BF16, ATTENTION = 1U << QM_KERNELS_ATTENTION_128 };

static struct {
    double clock, began, takes;                   /* seconds since the beginning; of a round */
    double efficiency[QM_CALIBRATION_KERNELS][5]; /* what each round of a part finds */
    int fails_at, code;    /* the round, counted over all parts from 1, that fails; 0: none does */
    struct qm_noise noise; /* beside all of it */
    char order[64];        /* the parts of the rounds, a digit each */
    char notes[4096];
    int progress, stop_at, last_done, last_total;
} fake;

static int one_round(enum qm_calibration_kernels part, const struct qm_calibration_setup *s,
                     struct qm_calibration_samples *samples, struct qm_error *err) {
    size_t n = strlen(fake.order);
    assert_true(n + 1 < sizeof fake.order);
    fake.order[n] = (char)('0' + (int)part);
    assert_true(s->until == fake.began + 110); /* by the clock of the test */
    fake.clock += fake.takes;
    if (fake.fails_at == (int)n + 1)
        return qm_fail(err, (enum qm_code)fake.code, "failed by the test");
    struct qm_calibration_point *p = &samples->point[0];
    samples->points = 1;
    p->rows = 1;
    p->efficiency[p->n] = fake.efficiency[part][p->n];
    p->n++;
    return QM_OK;
}

static double now(void) {
    return 1000 + fake.clock;
}

static struct qm_noise noise(const struct qm_noise_watch *w) {
    (void)w;
    return fake.noise;
}

static const struct qm_calibration_means means = {one_round, now, noise};

static int progress(void *arg, const char *what, uint64_t done, uint64_t total) {
    (void)arg;
    assert_string_equal(what, "measuring the kernels");
    fake.last_done = (int)done;
    fake.last_total = (int)total;
    return ++fake.progress == fake.stop_at;
}

static void note(void *arg, const char *line) {
    (void)arg;
    size_t n = strlen(fake.notes);
    snprintf(fake.notes + n, sizeof fake.notes - n, "%s\n", line);
}

static char dir[TEST_PATH];
static struct qm_machine *machine;
static struct qm_machine_profile *profile;

static int setup(void **state) {
    (void)state;
    static const double efficiency[5] = {0.5, 0.8, 0.81, 0.82, 0.83};
    memset(&fake, 0, sizeof fake);
    fake.takes = 1;
    fake.noise = (struct qm_noise){0.01, -1, 0, NULL};
    for (int i = 0; i < QM_CALIBRATION_KERNELS; i++)
        memcpy(fake.efficiency[i], efficiency, sizeof efficiency);
    test_temp_dir(dir);
    machine = calloc(1, sizeof *machine);
    profile = calloc(1, sizeof *profile);
    assert_true(machine && profile);
    snprintf(machine->identity, sizeof machine->identity, "a machine of the test");
    return 0;
}

static int teardown(void **state) {
    (void)state;
    free(machine);
    free(profile);
    test_remove_tree(dir);
    return 0;
}

static int measure(unsigned needed, bool quiet, struct qm_calibration *kept, struct qm_error *err) {
    struct qm_calibration_wish wish = {machine, profile, QM_ISA_SCALAR, needed, quiet};
    struct qm_measuring with = {dir, progress, note, NULL};
    memset(fake.order, 0, sizeof fake.order);
    fake.notes[0] = 0;
    fake.progress = 0;
    fake.began = now();
    return qm_calibration_measure_by(&means, &wish, &with, kept, err);
}

static double dense_share(const struct qm_calibration *c) {
    const struct qm_efficiency_curve *s = &c->efficiency.kernel[QM_KERNEL_DENSE][QM_BF16];
    return s->n ? s->efficiency[0] : 0;
}

static double attention_share(const struct qm_calibration *c) {
    const struct qm_efficiency_curve *s = &c->efficiency.kernel[QM_KERNEL_ATTENTION_128][QM_BF16];
    return s->n ? s->efficiency[0] : 0;
}

static bool load(struct qm_calibration *out) {
    char path[4200];
    struct qm_error why;
    return qm_calibration_load(machine->identity, QM_ISA_SCALAR, dir, out, path, &why);
}

static const char begins[] = "measuring the kernels that are needed: one or two minutes, once for this build of them\n";

/* By rounds, so that what disturbs the machine for a while meets one round of a part; three where two agree. What was
 * found is kept, and not measured again. */
static void parts_take_turns(void **state) {
    (void)state;
    struct qm_calibration kept, back;
    struct qm_error err;
    assert_int_equal(measure(DENSE | ATTENTION, true, &kept, &err), QM_OK);
    assert_string_equal(fake.order, "010101");
    assert_string_equal(fake.notes, begins);
    assert_true(dense_share(&kept) == (0.8 + 0.81) / 2 && attention_share(&kept) == dense_share(&kept));
    assert_int_equal(kept.tried, DENSE | ATTENTION);
    assert_true(kept.noise.others == 0.01);
    assert_int_equal(fake.last_done, fake.last_total);
    assert_int_equal(fake.last_total, 10); /* five rounds of two */
    assert_true(load(&back));
    assert_true(dense_share(&back) == dense_share(&kept) && back.tried == kept.tried);

    assert_int_equal(measure(DENSE, true, &kept, &err), QM_OK);
    assert_string_equal(fake.order, "");
    assert_string_equal(fake.notes, "");
    assert_true(dense_share(&kept) == dense_share(&back));

    /* only what is missing is measured, and stands beside what is kept */
    unsigned more = DENSE | 1U << QM_KERNELS_DENSE_F32;
    assert_int_equal(measure(more, true, &kept, &err), QM_OK);
    assert_string_equal(fake.order, "666");
    assert_true(load(&back));
    assert_true(dense_share(&back) == (0.8 + 0.81) / 2 && attention_share(&back) == dense_share(&back));
    assert_int_equal(back.efficiency.kernel[QM_KERNEL_DENSE][QM_F32].n, 1);
}

/* Five rounds where no two agree; the highest alone is not believed. */
static void turns_that_disagree_are_more(void **state) {
    (void)state;
    struct qm_calibration kept;
    struct qm_error err;
    static const double apart[5] = {0.3, 0.4, 0.5, 0.6, 0.9};
    memcpy(fake.efficiency[0], apart, sizeof apart);
    assert_int_equal(measure(DENSE, true, &kept, &err), QM_OK);
    assert_string_equal(fake.order, "00000");
    assert_true(dense_share(&kept) == 0.6);
}

/* After 45 seconds no part is begun, after 70 no round more than three is taken, after 110 nothing. */
static void time_is_limited(void **state) {
    (void)state;
    struct qm_calibration kept;
    struct qm_error err;
    fake.takes = 50;
    assert_int_equal(measure(DENSE | ATTENTION, true, &kept, &err), QM_OK);
    assert_string_equal(fake.order, "000"); /* at 0, 50 and 100; the other part at 50 would be its first */
    assert_true(dense_share(&kept) > 0 && attention_share(&kept) == 0);
    assert_int_equal(kept.tried, DENSE | ATTENTION);
    assert_string_equal(strstr(fake.notes, "default"), "default efficiencies for attention with heads of 128: not "
                                                       "measured yet (interrupted; resumes next time)\n");

    static const double apart[5] = {0.3, 0.4, 0.5, 0.6, 0.9};
    memcpy(fake.efficiency[QM_KERNELS_DENSE_F16], apart, sizeof apart);
    fake.clock = 0, fake.takes = 30; /* at 0, 30, 60; a fourth at 90 is not needed */
    assert_int_equal(measure(1U << QM_KERNELS_DENSE_F16, true, &kept, &err), QM_OK);
    assert_string_equal(fake.order, "555");

    fake.clock = 0, fake.takes = 120; /* one round of a part says nothing */
    assert_int_equal(measure(1U << QM_KERNELS_DENSE_F32, true, &kept, &err), QM_OK);
    assert_string_equal(fake.order, "6");
    assert_int_equal(kept.efficiency.kernel[QM_KERNEL_DENSE][QM_F32].n, 0);
}

/* What does not fit or takes too long is stood in for; what else fails is an error, and nothing is kept. */
static void failures(void **state) {
    (void)state;
    struct qm_calibration kept, back;
    struct qm_error err;
    fake.fails_at = 2, fake.code = QM_SYSTEM;
    assert_int_equal(measure(DENSE | ATTENTION, true, &kept, &err), QM_SYSTEM);
    assert_string_equal(err.message, "failed by the test");
    assert_int_equal(test_count_entries(dir), 0);

    fake.clock = 0, fake.code = QM_FIT;
    assert_int_equal(measure(DENSE | ATTENTION, true, &kept, &err), QM_OK);
    assert_non_null(strstr(fake.notes, "default efficiencies for products of BF16, attention with heads of 128: not "
                                       "measured yet (failed by the test)\n"));
    assert_true(load(&back));
    assert_int_equal(back.tried, DENSE | ATTENTION);

    /* on a busy machine what was tried is not tried again, on a quiet one it is */
    fake.clock = 0, fake.fails_at = 0;
    assert_int_equal(measure(DENSE | ATTENTION, false, &kept, &err), QM_OK);
    assert_string_equal(fake.order, "");
    fake.fails_at = 3, fake.code = QM_STOPPED;
    assert_int_equal(measure(DENSE | ATTENTION, true, &kept, &err), QM_OK);
    assert_string_equal(fake.order, "010");
    assert_non_null(strstr(fake.notes, "(interrupted; resumes next time)"));
    fake.clock = 0, fake.fails_at = 0;
    assert_int_equal(measure(DENSE | ATTENTION, true, &kept, &err), QM_OK);
    assert_true(dense_share(&kept) > 0 && attention_share(&kept) > 0);
}

/* Whoever waits can end it before any round: nothing is kept then. */
static void it_can_be_interrupted(void **state) {
    (void)state;
    struct qm_calibration kept;
    struct qm_error err;
    fake.stop_at = 3;
    assert_int_equal(measure(DENSE, true, &kept, &err), QM_INTERRUPTED);
    assert_string_equal(fake.order, "00");
    assert_int_equal(fake.progress, 3); /* and is not asked again */
    assert_string_equal(err.message, "interrupted while measuring the kernels");
    assert_int_equal(test_count_entries(dir), 0);
}

/* What was measured beside noise is measured again once the machine is quiet, and given up for what is quieter only. */
static void the_quieter_one_is_kept(void **state) {
    (void)state;
    struct qm_calibration kept;
    struct qm_error err;
    fake.noise.others = 0.3;
    assert_int_equal(measure(DENSE, false, &kept, &err), QM_OK);
    double noisy = dense_share(&kept);
    static const double better[5] = {0.9, 0.9, 0.9, 0.9, 0.9};
    memcpy(fake.efficiency[0], better, sizeof better);

    fake.clock = 0;
    assert_int_equal(measure(DENSE, false, &kept, &err), QM_OK); /* still busy */
    assert_string_equal(fake.order, "");
    fake.noise.others = 0.4;
    assert_int_equal(measure(DENSE, true, &kept, &err), QM_OK);
    assert_string_equal(fake.order, "000");
    assert_true(dense_share(&kept) == noisy && kept.noise.others == 0.3);
    fake.clock = 0, fake.noise.others = 0.2;
    assert_int_equal(measure(DENSE, true, &kept, &err), QM_OK);
    assert_true(dense_share(&kept) == 0.9 && kept.noise.others == 0.2);
    assert_true(load(&kept));
    assert_true(dense_share(&kept) == 0.9);
}

/* Where nothing can be kept it is noted, and what was measured is used. */
static void what_cannot_be_kept_is_noted(void **state) {
    (void)state;
    struct qm_calibration kept;
    struct qm_error err;
    char path[TEST_PATH];
    snprintf(path, sizeof path, "%s", dir);
    snprintf(dir, sizeof dir, "/proc/nowhere");
    int rc = measure(DENSE, true, &kept, &err);
    snprintf(dir, sizeof dir, "%s", path);
    assert_int_equal(rc, QM_OK);
    assert_true(dense_share(&kept) > 0);
    assert_non_null(strstr(fake.notes, "the measured efficiencies are not kept: /proc/nowhere"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(parts_take_turns),
                                       TEST(turns_that_disagree_are_more),
                                       TEST(time_is_limited),
                                       TEST(failures),
                                       TEST(it_can_be_interrupted),
                                       TEST(the_quieter_one_is_kept),
                                       TEST(what_cannot_be_kept_is_noted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
