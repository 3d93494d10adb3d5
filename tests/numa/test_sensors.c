/* Sensors and the power cap on trees of files: what is there, what is missing, forbidden, malformed, huge or wrapped.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "numa/energy.h"
#include "numa/power_cap.h"
#include "numa/sensors.h"
#include "tests/support/support.h"

/* Writes root/sys/class/NAME, with the directories it needs. */
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

static void put_package(const char *root, const char *energy, const char *range) {
    put(root, "powercap/intel-rapl:0/name", "package-0\n");
    put(root, "powercap/intel-rapl:0/energy_uj", energy);
    put(root, "powercap/intel-rapl:0/max_energy_range_uj", range);
}

static struct qm_sensors *open_sensors(const char *root, struct qm_reading *first) {
    struct qm_sensors *s;
    struct qm_error err = {0};
    assert_int_equal(qm_sensors_open(root, &s, &err), QM_OK);
    qm_sensors_read(s, first);
    return s;
}

static void check_why(const struct qm_sensors *s, enum qm_sensor which, const char *part) {
    if (!strstr(qm_sensors_why(s, which), part))
        fail_msg("%s: \"%s\" does not say \"%s\"", qm_sensor_name(which), qm_sensors_why(s, which), part);
}

static void test_nothing_there(void **state) {
    (void)state;
    char root[TEST_PATH];
    struct qm_reading r;
    test_temp_dir(root);
    struct qm_sensors *s = open_sensors(root, &r);
    for (int k = 0; k < QM_SENSOR_COUNT; k++)
        assert_true(isnan(r.value[k]));
    check_why(s, QM_SENSOR_ENERGY, "powercap is not there");
    check_why(s, QM_SENSOR_TEMPERATURE, "hwmon is not there");
    check_why(s, QM_SENSOR_FAN, "hwmon is not there");
    qm_sensors_close(s);
    put(root, "hwmon/hwmon0/name", "nvme\n");
    put(root, "hwmon/hwmon0/temp1_input", "40000\n"); /* no processor's */
    s = open_sensors(root, &r);
    check_why(s, QM_SENSOR_TEMPERATURE, "has no temperature of a processor");
    check_why(s, QM_SENSOR_FAN, "has no fan");
    qm_sensors_close(s);
    qm_sensors_close(NULL);
    test_remove_tree(root);
}

static void test_all_there(void **state) {
    (void)state;
    char root[TEST_PATH];
    struct qm_reading r;
    test_temp_dir(root);
    put_package(root, "1000000\n", "262143328850\n");
    put(root, "hwmon/hwmon0/name", "nvme\n");
    put(root, "hwmon/hwmon0/temp1_input", "90000\n");
    put(root, "hwmon/hwmon1/name", "k10temp\n");
    put(root, "hwmon/hwmon1/temp1_input", "61250\n");
    put(root, "hwmon/hwmon1/temp3_input", "48000\n");
    put(root, "hwmon/hwmon1/temp1_max", "99000\n");
    put(root, "hwmon/hwmon1/temp1_inputs", "99000\n");
    put(root, "hwmon/hwmon1/temp_input", "99000\n");
    put(root, "hwmon/hwmon2/name", "coretemp\n");
    put(root, "hwmon/hwmon2/temp2_input", "70500\n");
    put(root, "hwmon/hwmon3/name", "nct6775\n");
    put(root, "hwmon/hwmon3/fan1_input", "0\n");
    put(root, "hwmon/hwmon3/fan2_input", "1234\n");
    put(root, "hwmon/hwmon3/temp1_input", "95000\n"); /* of the board */
    put(root, "hwmon/other/name", "coretemp\n");
    struct qm_sensors *s = open_sensors(root, &r);
    for (int k = 0; k < QM_SENSOR_COUNT; k++)
        assert_string_equal(qm_sensors_why(s, (enum qm_sensor)k), "");
    assert_float_equal(r.value[QM_SENSOR_ENERGY], 0, 0);
    assert_float_equal(r.value[QM_SENSOR_TEMPERATURE], 70.5, 1e-9);
    assert_float_equal(r.value[QM_SENSOR_FAN], 1234, 0);
    put_package(root, "3500000\n", "262143328850\n");
    put(root, "hwmon/hwmon2/temp2_input", "-5000\n");
    qm_sensors_read(s, &r);
    assert_float_equal(r.value[QM_SENSOR_ENERGY], 2.5, 1e-9);
    assert_float_equal(r.value[QM_SENSOR_TEMPERATURE], 61.25, 1e-9);
    qm_sensors_close(s);
    test_remove_tree(root);
}

/* A file that holds nonsense gives a reason, and is a reading again once it holds a number. */
static void test_malformed(void **state) {
    (void)state;
    static const char *const nonsense[] = {"",
                                           "\n",
                                           "hot\n",
                                           "12x\n",
                                           "1.5\n",
                                           "1 2\n",
                                           "99999999999999999999999999\n",
                                           "9223372036854775807\n",
                                           "-",
                                           "-9223372036854775808\n"};
    char root[TEST_PATH];
    struct qm_reading r;
    test_temp_dir(root);
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
        put_package(root, nonsense[i], "1000000\n");
        put(root, "hwmon/hwmon0/name", "coretemp");
        put(root, "hwmon/hwmon0/temp1_input", nonsense[i]);
        put(root, "hwmon/hwmon0/fan1_input", nonsense[i]);
        struct qm_sensors *s = open_sensors(root, &r);
        for (int k = 0; k < QM_SENSOR_COUNT; k++)
            assert_true(isnan(r.value[k]) && qm_sensors_why(s, (enum qm_sensor)k)[0] != 0);
        check_why(s, QM_SENSOR_TEMPERATURE, "temp1_input: no number that makes sense");
        put(root, "hwmon/hwmon0/temp1_input", "30000");
        qm_sensors_read(s, &r);
        assert_float_equal(r.value[QM_SENSOR_TEMPERATURE], 30, 1e-9);
        assert_string_equal(qm_sensors_why(s, QM_SENSOR_TEMPERATURE), "");
        qm_sensors_close(s);
    }
    char longer[4000];
    memset(longer, '1', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    put(root, "hwmon/hwmon0/fan1_input", longer);
    put(root, "hwmon/hwmon0/name", longer);
    struct qm_sensors *s = open_sensors(root, &r);
    assert_true(isnan(r.value[QM_SENSOR_FAN]));
    qm_sensors_close(s);
    test_remove_tree(root);
}

static void test_forbidden(void **state) {
    (void)state;
    char root[TEST_PATH], path[2 * TEST_PATH];
    struct qm_reading r;
    test_temp_dir(root);
    chmod(root, 0755);
    put_package(root, "5\n", "1000000\n");
    put(root, "hwmon/hwmon0/name", "coretemp\n");
    put(root, "hwmon/hwmon0/temp1_input", "30000\n");
    snprintf(path, sizeof path, "%s/sys/class/powercap/intel-rapl:0/energy_uj", root);
    chmod(path, 0);
    snprintf(path, sizeof path, "%s/sys/class/hwmon/hwmon0/temp1_input", root);
    chmod(path, 0);
    bool is_root = geteuid() == 0;
    if (is_root)
        assert_int_equal(seteuid(65534), 0);
    struct qm_sensors *s = open_sensors(root, &r);
    if (is_root)
        assert_int_equal(seteuid(0), 0);
    check_why(s, QM_SENSOR_ENERGY, "Permission denied): it is for root");
    check_why(s, QM_SENSOR_TEMPERATURE, "Permission denied");
    qm_sensors_close(s);
    test_remove_tree(root);
}

static double joules_after(struct qm_energy *e, const char *root, const char *energy, const char *range) {
    double joules = -1;
    struct qm_error err = {0};
    put_package(root, energy, range);
    assert_int_equal(qm_energy_joules(e, &joules, &err), QM_OK);
    return joules;
}

static void test_wrap(void **state) {
    (void)state;
    char root[TEST_PATH];
    struct qm_energy *e;
    struct qm_error err = {0};
    double joules;
    test_temp_dir(root);
    put_package(root, "9000000\n", "10000000\n");
    assert_int_equal(qm_energy_open(root, &e, &err), QM_OK);
    assert_float_equal(joules_after(e, root, "10000000\n", "10000000\n"), 1, 1e-9);
    assert_float_equal(joules_after(e, root, "0\n", "10000000\n"), 1, 1e-9);
    assert_float_equal(joules_after(e, root, "250000\n", "10000000\n"), 1.25, 1e-9);
    assert_float_equal(joules_after(e, root, "0\n", "10000000\n"), 11, 1e-9);
    put_package(root, "10000001\n", "10000000\n"); /* no counter counts above its range */
    assert_int_equal(qm_energy_joules(e, &joules, &err), QM_SYSTEM);
    assert_non_null(strstr(err.message, "above its range"));
    qm_energy_close(e);
    put_package(root, "0\n", "9223372036854775807\n");
    assert_int_equal(qm_energy_open(root, &e, &err), QM_OK);
    assert_float_equal(joules_after(e, root, "9223372036854775807\n", "1"), 9223372036854.775807, 1);
    assert_true(isfinite(joules_after(e, root, "9223372036854775806\n", "1")));
    qm_energy_close(e);
    test_remove_tree(root);
}

/* A machine that draws `rest` watts, and `work` more while it works. */
struct fake {
    char root[TEST_PATH];
    double now, joules, rest, work;
    uint64_t range;
};

static void pass(struct fake *f, double seconds, double watts) {
    char text[32], path[2 * TEST_PATH];
    f->now += seconds;
    f->joules += seconds * watts;
    snprintf(text, sizeof text, "%018llu\n", (unsigned long long)(f->joules * 1e6) % f->range);
    snprintf(path, sizeof path, "%s/sys/class/powercap/intel-rapl:0/energy_uj", f->root);
    FILE *file = fopen(path, "r+b"); /* in place: emptying it first would make the disk wait */
    if (!file)
        return;
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static double fake_now(void *arg) {
    return ((struct fake *)arg)->now;
}

static void fake_sleep(void *arg, double seconds) {
    struct fake *f = arg;
    assert_true(seconds > 0 && seconds < 60);
    pass(f, seconds, f->rest);
}

static struct qm_power_cap *open_cap(struct fake *f, double watts) {
    struct qm_power_cap *c;
    struct qm_error err = {0};
    struct qm_clock clock = {fake_now, fake_sleep, f};
    char range[32];
    test_temp_dir(f->root);
    snprintf(range, sizeof range, "%llu", (unsigned long long)f->range);
    put_package(f->root, "000000000000000000\n", range);
    if (qm_power_cap_open(f->root, watts, &clock, &c, &err))
        fail_msg("%s", err.message);
    return c;
}

/* Works for so many seconds in pieces, and gives the watts of that time. */
static double work(struct qm_power_cap *c, struct fake *f, double seconds, double piece) {
    double began = f->now, joules = f->joules;
    while (f->now - began < seconds) {
        pass(f, piece, f->rest + f->work);
        qm_power_cap_worked(c, piece);
    }
    return (f->joules - joules) / (f->now - began);
}

static void test_cap(void **state) {
    (void)state;
    static const struct {
        double watts, expected, paused;
    } cases[] = {{100, 100, 0.5}, {145, 145, 0.05}, {200, 150, 0}, {10, 55, 0.95}};
    static const double pieces[] = {0.004, 0.03, 0.15};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t p = 0; p < 3; p++) {
            struct fake f = {.rest = 50, .work = 100, .range = 200000000}; /* wraps every second or two */
            struct qm_power_cap_state s;
            struct qm_power_cap *c = open_cap(&f, cases[i].watts);
            qm_power_cap_look(c, &s);
            assert_true(isnan(s.watts) && s.paused == 0);
            work(c, &f, 8, pieces[p]);
            assert_float_equal(work(c, &f, 8, pieces[p]), cases[i].expected, 3);
            f.work = 200; /* the work has become harder */
            if (i == 0) {
                work(c, &f, 8, pieces[p]);
                assert_float_equal(work(c, &f, 8, pieces[p]), 100, 3);
            }
            qm_power_cap_look(c, &s);
            assert_true(s.watts > 40 && s.watts < 160);
            assert_float_equal(s.paused, cases[i].paused, i == 0 ? 0.2 : 0.05);
            qm_power_cap_close(c);
            test_remove_tree(f.root);
        }
}

/* A rest between two questions is not taken for work that draws little. */
static void test_rest(void **state) {
    (void)state;
    struct fake f = {.rest = 50, .work = 100, .range = 1000000000};
    struct qm_power_cap *c = open_cap(&f, 100);
    work(c, &f, 20, 0.01);
    double before = work(c, &f, 1, 0.01);
    pass(&f, 0.6, 50);
    double after = work(c, &f, 1, 0.01);
    assert_float_equal(before, after, 5);
    qm_power_cap_close(c);
    test_remove_tree(f.root);
}

static void test_cap_not_possible(void **state) {
    (void)state;
    struct fake f = {.rest = 50, .work = 100, .range = 1000000000};
    struct qm_error err = {0};
    struct qm_power_cap *c = open_cap(&f, 100), *none;
    work(c, &f, 20, 0.01);
    char path[2 * TEST_PATH];
    snprintf(path, sizeof path, "%s/sys/class/powercap/intel-rapl:0/energy_uj", f.root);
    assert_int_equal(unlink(path), 0); /* the duty stays */
    double paused = 0;
    for (int i = 0; i < 100; i++) {
        f.now += 0.01;
        paused += qm_power_cap_worked(c, 0.01);
    }
    assert_float_equal(paused, 1, 0.15);
    qm_power_cap_close(c);
    assert_int_equal(qm_power_cap_open(f.root, 100, NULL, &none, &err), QM_SYSTEM);
    assert_non_null(strstr(err.message, "energy_uj can't be read"));
    assert_null(none);
    assert_int_equal(qm_power_cap_open(f.root, 0, NULL, &none, &err), QM_USAGE);
    assert_int_equal(qm_power_cap_open(f.root, NAN, NULL, &none, &err), QM_USAGE);
    assert_int_equal(qm_power_cap_open(f.root, -1, NULL, &none, &err), QM_USAGE);
    qm_power_cap_close(NULL);
    test_remove_tree(f.root);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_there), cmocka_unit_test(test_all_there),
        cmocka_unit_test(test_malformed),     cmocka_unit_test(test_forbidden),
        cmocka_unit_test(test_wrap),          cmocka_unit_test(test_cap),
        cmocka_unit_test(test_rest),          cmocka_unit_test(test_cap_not_possible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
