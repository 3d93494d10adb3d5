/* The clock of a step with devices: hand-overs, streaming through two slots, parts at once; all by hand-made numbers.
 */
#include "engine/timeline.h"
#include "tests/support/support.h"

/* Links of 10 bytes a second up and 5 down, half of that while the CPU works. */
static const struct qm_speed_device devices[] = {
    {.up = 10, .down = 5, .up_busy = 5, .down_busy = 2.5, .handover_us = 1e6},
    {.up = 100, .down = 100, .up_busy = 100, .down_busy = 100},
};

static void near(double found, double want) {
    if (found < want - 1e-9 || found > want + 1e-9)
        fail_msg("%g s, expected %g s", found, want);
}

static void on_the_cpu(void **state) {
    (void)state;
    struct qm_timeline t;
    qm_timeline_begin(&t, devices);
    qm_timeline_work(&t, 2, 0);
    qm_timeline_work(&t, 3, 0);
    near(qm_timeline_end(&t), 5);
    near(t.cpu_busy, 5);
}

static void handed_over(void **state) {
    (void)state;
    struct qm_timeline t;
    qm_timeline_begin(&t, devices);
    qm_timeline_move(&t, 1, 20); /* 2 s, and 1 s for handing over */
    qm_timeline_move(&t, 1, 20); /* it is there */
    qm_timeline_work(&t, 4, 0);
    near(t.ready, 7);
    qm_timeline_move(&t, 2, 20); /* down in 4 s and 1 s, up in 0.2 s */
    near(t.ready, 12.2);
    qm_timeline_move(&t, QM_DEVICE_CPU, 100);
    near(qm_timeline_end(&t), 13.2);
    near(t.lane[1].up_busy, 2);
    near(t.lane[1].down_busy, 4);
}

/* The transfer of a piece begins when the one before is there and the one before that has been computed. */
static void streamed(void **state) {
    (void)state;
    struct qm_timeline t;
    qm_timeline_begin(&t, devices);
    qm_timeline_move(&t, 1, 0);
    near(t.ready, 1);
    qm_timeline_work(&t, 5, 30); /* there at 3 */
    near(t.ready, 8);
    qm_timeline_work(&t, 5, 30); /* there at 6: no waiting */
    near(t.ready, 13);
    qm_timeline_work(&t, 5, 60); /* goes up from 8, when its slot is free, to 14 */
    near(t.ready, 19);
    near(qm_timeline_end(&t), 19);
}

static void nobody_waits_for_what_comes_down(void **state) {
    (void)state;
    struct qm_timeline t;
    qm_timeline_begin(&t, devices);
    qm_timeline_move(&t, 1, 0);
    qm_timeline_work(&t, 1, 0);
    qm_timeline_down(&t, 1, 50); /* from 2 to 12 */
    qm_timeline_work(&t, 3, 0);
    near(t.ready, 5);
    near(qm_timeline_end(&t), 12);
}

static void parts_at_once(void **state) {
    (void)state;
    struct qm_timeline t;
    struct qm_parts parts;
    qm_timeline_begin(&t, devices);
    qm_timeline_work(&t, 1, 0);
    qm_timeline_part_begin(&t, &parts);
    qm_timeline_part(&t, &parts, QM_DEVICE_CPU, 4, 0, 10, 10); /* to 5: nothing crosses */
    qm_timeline_part(&t, &parts, 1, 2, 0, 10, 5);              /* up 2 + 1, work 2, down 2 + 1: to 9 */
    qm_timeline_part(&t, &parts, 2, 2, 0, 10, 5);
    qm_timeline_part_end(&t, &parts);
    near(t.ready, 9);
    qm_timeline_move(&t, 1, 10); /* not busy any more */
    near(t.ready, 11);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(on_the_cpu),    cmocka_unit_test(handed_over),
        cmocka_unit_test(streamed),      cmocka_unit_test(nobody_waits_for_what_comes_down),
        cmocka_unit_test(parts_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
