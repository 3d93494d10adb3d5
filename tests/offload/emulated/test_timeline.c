/* The clock of an emulated device: transfers, streaming through two places, work beside the CPU's; all by hand-made
 * numbers. */
#include "offload/emulated/timeline.h"
#include "tests/support/support.h"

/* A link of 10 bytes a second up and 5 down, half of that while the CPU works; a second for handing over. */
static const struct qm_emulated_config device = {
    .up = 10, .down = 5, .up_busy = 5, .down_busy = 2.5, .transfer_us = 1e6};

static void near(double found, double want) {
    if (found < want - 1e-9 || found > want + 1e-9)
        fail_msg("%g s, expected %g s", found, want);
}

static void transferred(void **state) {
    (void)state;
    struct qm_timeline t = {.device = &device};
    near(qm_timeline_send(&t, 1, 20), 4); /* 2 s, and 1 s for handing over */
    near(qm_timeline_work(&t, 1, 4, -1), 8);
    near(qm_timeline_work(&t, 1, 2, -1), 10);
    near(qm_timeline_receive(&t, 1, 20), 15); /* down in 4 s and 1 s */
    near(qm_timeline_receive(&t, 20, 5), 22); /* asked for late */
    near(t.up_busy, 2);
    near(t.down_busy, 5);
    near(t.work_busy, 6);
}

/* The link is free while the device works, so the next transfer is there in time. */
static void ahead(void **state) {
    (void)state;
    struct qm_timeline t = {.device = &device};
    qm_timeline_send(&t, 0, 10);
    near(qm_timeline_work(&t, 0, 10, -1), 12);
    near(qm_timeline_send(&t, 0, 20), 4);
    near(qm_timeline_work(&t, 0, 1, -1), 13);
}

/* The transfer of a piece begins when the one before is there and the one before that has been computed. */
static void streamed(void **state) {
    (void)state;
    struct qm_timeline t = {.device = &device};
    int place = qm_timeline_stream(&t, 1, 30); /* there at 4 */
    near(qm_timeline_work(&t, 1, 5, place), 9);
    int second = qm_timeline_stream(&t, 1, 30); /* there at 7: no waiting */
    assert_int_not_equal(place, second);
    near(qm_timeline_work(&t, 1, 5, second), 14);
    assert_int_equal(qm_timeline_stream(&t, 1, 60), place); /* goes up from 9, when its place is free, to 15 */
    near(qm_timeline_work(&t, 1, 5, place), 20);
    near(qm_timeline_end(&t), 20);
}

static void nobody_waits_for_what_comes_down(void **state) {
    (void)state;
    struct qm_timeline t = {.device = &device};
    near(qm_timeline_work(&t, 1, 1, -1), 2);
    qm_timeline_down(&t, 50); /* from 2 to 12 */
    near(qm_timeline_work(&t, 1, 3, -1), 5);
    near(qm_timeline_end(&t), 12);
}

/* As long as the CPU computes, links are slower: before, across and after the moment from which it waits. */
static void beside_the_cpu(void **state) {
    (void)state;
    struct qm_timeline t = {.device = &device, .waits = 10};
    near(qm_timeline_send(&t, 0, 20), 5);  /* 4 s at half the rate */
    near(qm_timeline_send(&t, 8, 30), 13); /* 10 bytes by 10, 20 more in 2 s */
    near(qm_timeline_send(&t, 20, 30), 24);
    near(qm_timeline_work(&t, 0, 1, -1), 25);
    near(t.up_busy, 11);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transferred),    cmocka_unit_test(ahead),
        cmocka_unit_test(streamed),       cmocka_unit_test(nobody_waits_for_what_comes_down),
        cmocka_unit_test(beside_the_cpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
