/* The meter over a tree of files: what it says of tokens, and of what is not there. */
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "app/meter.h"
#include "tests/support/support.h"

static void put(const char *root, const char *name, const char *text) {
    char path[2 * TEST_PATH];
    snprintf(path, sizeof path, "%s/sys/class/%s", root, name);
    for (char *slash = strchr(path + strlen(root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(path, 0755);
        *slash = '/';
    }
    test_write_file(path, text, strlen(text));
}

static void test_metered(void **state) {
    (void)state;
    char root[TEST_PATH], text[1400];
    struct qm_meter m;
    struct qm_error err;
    test_temp_dir(root);
    put(root, "powercap/intel-rapl:0/name", "package-0");
    put(root, "powercap/intel-rapl:0/energy_uj", "5000000");
    put(root, "powercap/intel-rapl:0/max_energy_range_uj", "100000000");
    put(root, "hwmon/hwmon0/name", "coretemp");
    put(root, "hwmon/hwmon0/temp1_input", "71000");
    put(root, "hwmon/hwmon0/fan1_input", "900");
    assert_int_equal(qm_meter_open(root, &m, &err), QM_OK);
    qm_meter_begin(&m);
    put(root, "powercap/intel-rapl:0/energy_uj", "25000000");
    put(root, "hwmon/hwmon0/temp1_input", "60000");
    put(root, "hwmon/hwmon0/fan1_input", "1100");
    qm_meter_end(&m);
    assert_float_equal(m.joules, 20, 1e-6);
    assert_true(qm_meter_watts(&m) > 0);
    m.seconds = 0.5;
    qm_meter_text(&m, 8, text, sizeof text);
    assert_string_equal(text, "2.5 J/token; 40.0 W; at most 71 °C; fan 1100/min");
    json_t *json = qm_meter_json(&m, 8);
    assert_float_equal(json_number_value(json_object_get(json, "joules_per_token")), 2.5, 1e-6);
    assert_float_equal(json_number_value(json_object_get(json, "watts")), 40, 1e-6);
    assert_float_equal(json_number_value(json_object_get(json, "celsius")), 71, 1e-6);
    assert_float_equal(json_number_value(json_object_get(json, "fan_rpm")), 1100, 1e-6);
    assert_true(json_is_null(json_object_get(json_object_get(json, "not_readable"), "fan")));
    json_decref(json);
    qm_meter_begin(&m); /* anew: what was highest before is forgotten */
    qm_meter_end(&m);
    assert_float_equal(m.celsius, 60, 1e-6);
    assert_float_equal(m.joules, 0, 1e-6);
    qm_meter_close(&m);
    test_remove_tree(root);
}

static void test_not_readable(void **state) {
    (void)state;
    char text[1400];
    struct qm_meter m;
    struct qm_error err;
    assert_int_equal(qm_meter_open("/nowhere", &m, &err), QM_OK);
    qm_meter_begin(&m);
    qm_meter_tick(&m);
    qm_meter_end(&m);
    qm_meter_text(&m, 8, text, sizeof text);
    assert_string_equal(text, ""); /* machine says why */
    json_t *json = qm_meter_json(&m, 0);
    assert_true(json_is_null(json_object_get(json, "watts")));
    assert_true(json_is_string(json_object_get(json_object_get(json, "not_readable"), "energy")));
    json_decref(json);
    qm_meter_close(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_metered), cmocka_unit_test(test_not_readable)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
