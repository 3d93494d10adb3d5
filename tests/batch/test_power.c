/* Whether the machine runs on battery, by trees like sysfs. */
#include "tests/support/support.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "batch/power.h"

static char dir[TEST_PATH];

static int set_up(void **state) {
    (void)state;
    test_temp_dir(dir);
    char path[TEST_PATH];
    static const char *const folders[] = {"sys", "sys/class", "sys/class/power_supply"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        test_path(path, dir, folders[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    test_remove_tree(dir);
    return 0;
}

static void supply(const char *name, const char *file, const char *value) {
    char relative[100], path[TEST_PATH];
    snprintf(relative, sizeof relative, "sys/class/power_supply/%s", name);
    test_path(path, dir, relative);
    mkdir(path, 0700);
    snprintf(relative, sizeof relative, "sys/class/power_supply/%s/%s", name, file);
    test_path(path, dir, relative);
    test_write_file(path, value, strlen(value));
}

static void test_supplies(void **state) {
    (void)state;
    assert_false(qm_on_battery("/nonexistent"));
    assert_false(qm_on_battery(dir)); /* a desktop: none at all */
    supply("BAT0", "type", "Battery\n");
    assert_false(qm_on_battery(dir)); /* it does not say */
    supply("BAT0", "status", "Discharging\n");
    assert_true(qm_on_battery(dir));
    supply("AC", "type", "Mains\n");
    supply("AC", "online", "0\n");
    assert_true(qm_on_battery(dir));
    supply("AC", "online", "1\n");
    assert_false(qm_on_battery(dir));
    supply("AC", "online", "0\n");
    supply("BAT0", "status", "Charging\n");
    assert_false(qm_on_battery(dir));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_supplies, set_up, tear_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
