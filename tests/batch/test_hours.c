/* Times of day: midnight, and clocks put forward and back. */
#include "tests/support/support.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "batch/hours.h"

/* Central European rules, written out so that no table of zones is needed: forward on the last Sunday of March at
 * 2:00, back on the last of October at 3:00. */
static const char ZONE[] = "CET-1CEST,M3.5.0,M10.5.0/3";

static int set_zone(void **state) {
    (void)state;
    setenv("TZ", ZONE, 1);
    tzset();
    return 0;
}

/* The local time; of two the one with this dst. */
static time_t at(int year, int month, int day, int hour, int minute, int dst) {
    struct tm t = {.tm_year = year - 1900,
                   .tm_mon = month - 1,
                   .tm_mday = day,
                   .tm_hour = hour,
                   .tm_min = minute,
                   .tm_isdst = dst};
    return mktime(&t);
}

static void test_parse(void **state) {
    (void)state;
    struct qm_hours h;
    struct qm_error err;
    int seconds;
    assert_int_equal(qm_hours_parse("22:00-07:30", "--hours", &h, &err), 0);
    assert_int_equal(h.from, 22 * 3600);
    assert_int_equal(h.to, 7 * 3600 + 1800);
    assert_int_equal(qm_day_time_parse("7:00", "--until", &seconds, &err), 0);
    assert_int_equal(seconds, 7 * 3600);
    assert_int_equal(qm_day_time_parse("23:59:59", "--until", &seconds, &err), 0);
    assert_int_equal(seconds, QM_DAY_SECONDS - 1);
    static const char *const bad[] = {"", "7", "24:00", "07:60", "07:00:60", "07:00 ", "-7:00", "007:00", "a", "7:"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(qm_day_time_parse(bad[i], "--until", &seconds, &err), QM_USAGE);
        assert_non_null(strstr(err.message, "--until"));
    }
    static const char *const bad_hours[] = {"22:00", "22:00-", "22:00-22:00", "22:00-7:00-8:00", "22:00 - 7:00"};
    for (size_t i = 0; i < sizeof bad_hours / sizeof *bad_hours; i++)
        assert_int_equal(qm_hours_parse(bad_hours[i], "--hours", &h, &err), QM_USAGE);
}

/* What was meant is reported, and nothing is guessed where it can't be. */
static void test_meant(void **state) {
    (void)state;
    static const char *const times[][2] = {{"7am", "07:00"},     {"7 pm", "19:00"},  {"12am", "00:00"},
                                           {"12 p.m.", "12:00"}, {"7", "07:00"},     {"2230", "22:30"},
                                           {"22h", "22:00"},     {"22h30", "22:30"}, {"24:00", "00:00"},
                                           {"7:30PM", "19:30"},  {"7.15", "07:15"},  {"07:00 ", "07:00"}};
    static const char *const hours[][2] = {{"22-7", "22:00-07:00"},
                                           {"10pm-6am", "22:00-06:00"},
                                           {"22:00-7", "22:00-07:00"},
                                           {"22:00 - 7:00", "22:00-07:00"},
                                           {"22h-7h30", "22:00-07:30"},
                                           {"2200-0700", "22:00-07:00"},
                                           {"10 pm to 6 am", "22:00-06:00"},
                                           {"22\xE2\x80\x93"
                                            "7",
                                            "22:00-07:00"}};
    static const char *const none[] = {"25", "13pm", "0am", "7xm", "07:60", "am", "12345", "7:", "-7", "late"};
    struct qm_hours h;
    struct qm_error err;
    int seconds;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        assert_int_equal(qm_day_time_parse(times[i][0], "--until", &seconds, &err), QM_USAGE);
        char *meant = strstr(err.message, "did you mean ");
        if (!meant || strncmp(meant + 13, times[i][1], 5) != 0)
            fail_msg("%s: %s", times[i][0], err.message);
    }
    for (size_t i = 0; i < sizeof hours / sizeof *hours; i++) {
        assert_int_equal(qm_hours_parse(hours[i][0], "--hours", &h, &err), QM_USAGE);
        char *meant = strstr(err.message, "did you mean ");
        if (!meant || strncmp(meant + 13, hours[i][1], 11) != 0)
            fail_msg("%s: %s", hours[i][0], err.message);
    }
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_int_equal(qm_day_time_parse(none[i], "--until", &seconds, &err), QM_USAGE);
        assert_null(strstr(err.message, "did you mean"));
    }
    assert_int_equal(qm_hours_parse("22-22", "--hours", &h, &err), QM_USAGE);
    assert_null(strstr(err.message, "did you mean"));
}

static void test_midnight(void **state) {
    (void)state;
    struct qm_hours night = {22 * 3600, 7 * 3600}, day = {9 * 3600, 17 * 3600};
    assert_true(qm_hours_contain(&night, at(2026, 1, 15, 22, 0, 0)));
    assert_true(qm_hours_contain(&night, at(2026, 1, 15, 23, 59, 0)));
    assert_true(qm_hours_contain(&night, at(2026, 1, 16, 0, 0, 0)));
    assert_true(qm_hours_contain(&night, at(2026, 1, 16, 6, 59, 0)));
    assert_false(qm_hours_contain(&night, at(2026, 1, 16, 7, 0, 0)));
    assert_false(qm_hours_contain(&night, at(2026, 1, 16, 21, 59, 0)));
    assert_true(qm_hours_contain(&day, at(2026, 1, 16, 9, 0, 0)));
    assert_false(qm_hours_contain(&day, at(2026, 1, 16, 17, 0, 0)));
    assert_int_equal(qm_hours_next_change(&night, at(2026, 1, 15, 23, 0, 0)), 8 * 3600);
    assert_int_equal(qm_hours_next_change(&night, at(2026, 1, 15, 12, 0, 0)), 10 * 3600);
}

static void test_next(void **state) {
    (void)state;
    int seven = 7 * 3600;
    assert_int_equal(qm_day_time_next(seven, at(2026, 1, 15, 6, 0, 0)), at(2026, 1, 15, 7, 0, 0));
    assert_int_equal(qm_day_time_next(seven, at(2026, 1, 15, 7, 0, 0)), at(2026, 1, 16, 7, 0, 0));
    assert_int_equal(qm_day_time_next(seven, at(2026, 12, 31, 22, 0, 0)), at(2027, 1, 1, 7, 0, 0));
}

static void test_forward(void **state) {
    (void)state;
    /* 29 March 2026: 2:00 becomes 3:00. The night is an hour shorter. */
    time_t evening = at(2026, 3, 28, 22, 0, 0);
    assert_int_equal(qm_day_time_next(7 * 3600, evening) - evening, 8 * 3600);
    /* 2:30 does not exist: it has passed when the clock shows 3:30, and the day after it is there again. */
    time_t left_out = qm_day_time_next(2 * 3600 + 1800, evening);
    assert_true(left_out > at(2026, 3, 29, 1, 59, 0));
    assert_true(left_out <= at(2026, 3, 29, 3, 30, 1));
    assert_int_equal(qm_day_time_next(2 * 3600 + 1800, at(2026, 3, 29, 4, 0, 1)), at(2026, 3, 30, 2, 30, 1));
    struct qm_hours gap = {2 * 3600, 3 * 3600};
    for (time_t t = evening; t < evening + 12 * 3600; t += 60)
        assert_false(qm_hours_contain(&gap, t));
}

static void test_back(void **state) {
    (void)state;
    /* 25 October 2026: 3:00 becomes 2:00. The night is an hour longer. */
    time_t evening = at(2026, 10, 24, 22, 0, 1);
    assert_int_equal(qm_day_time_next(7 * 3600, evening) - evening, 10 * 3600);
    /* 2:30 is shown twice; the first counts, then the second. */
    time_t first = at(2026, 10, 25, 2, 30, 1), second = at(2026, 10, 25, 2, 30, 0);
    assert_int_equal(second - first, 3600);
    assert_int_equal(qm_day_time_next(2 * 3600 + 1800, evening), first);
    assert_int_equal(qm_day_time_next(2 * 3600 + 1800, first), second);
    struct qm_hours twice = {2 * 3600, 3 * 3600};
    int minutes = 0;
    for (time_t t = evening; t < evening + 12 * 3600; t += 60)
        minutes += qm_hours_contain(&twice, t);
    assert_int_equal(minutes, 120);
}

/* A zone without summer time: asking mktime for one must not shift anything. */
static void test_no_summer(void **state) {
    (void)state;
    setenv("TZ", "UTC0", 1);
    tzset();
    assert_int_equal(qm_day_time_next(7 * 3600, 0), 7 * 3600);
    assert_int_equal(qm_day_time_next(7 * 3600, 7 * 3600), 31 * 3600);
    struct qm_hours night = {22 * 3600, 7 * 3600};
    assert_int_equal(qm_hours_next_change(&night, 23 * 3600), 8 * 3600);
    set_zone(state);
}

static void test_gate(void **state) {
    (void)state;
    time_t evening = at(2026, 1, 15, 23, 0, 0), morning = at(2026, 1, 16, 7, 0, 0);
    struct qm_batch_times t = {0};
    assert_int_equal(qm_batch_gate(&t, evening, 1e9, true), QM_GATE_WORK);
    t = (struct qm_batch_times){.has_until = true, .until = morning};
    assert_int_equal(qm_batch_gate(&t, morning - 61, 60, false), QM_GATE_WORK);
    assert_int_equal(qm_batch_gate(&t, morning - 60, 60, false), QM_GATE_STOP);
    assert_int_equal(qm_batch_gate(&t, morning + 5, 0, false), QM_GATE_STOP);
    t = (struct qm_batch_times){.has_hours = true, .hours = {22 * 3600, 7 * 3600}, .pause_on_battery = true};
    assert_int_equal(qm_batch_gate(&t, evening, 0, false), QM_GATE_WORK);
    assert_int_equal(qm_batch_gate(&t, evening, 0, true), QM_GATE_PAUSE_BATTERY);
    assert_int_equal(qm_batch_gate(&t, morning, 0, true), QM_GATE_PAUSE_HOURS);
    t.has_until = true;
    t.until = morning;
    assert_int_equal(qm_batch_gate(&t, morning, 0, true), QM_GATE_STOP);
}

/* Work of so many seconds ends when that many of them were within the hours. */
static void test_done_by(void **state) {
    (void)state;
    struct qm_batch_times t = {.has_hours = false};
    struct qm_error err;
    char text[64];
    time_t noon = at(2026, 12, 1, 12, 0, -1);
    assert_int_equal(qm_batch_done_by(&t, noon, 3600), noon + 3600);
    t.has_hours = true;
    assert_int_equal(qm_hours_parse("22:00-07:00", "--hours", &t.hours, &err), 0);
    assert_int_equal(qm_batch_done_by(&t, noon, 3600), at(2026, 12, 1, 23, 0, -1));
    assert_int_equal(qm_batch_done_by(&t, noon, 9 * 3600), at(2026, 12, 2, 7, 0, -1));
    assert_int_equal(qm_batch_done_by(&t, noon, 9 * 3600 + 60), at(2026, 12, 2, 22, 1, -1));
    assert_int_equal(qm_batch_done_by(&t, noon, 20 * 3600), at(2026, 12, 4, 0, 0, -1));
    assert_int_equal(qm_batch_done_by(&t, at(2026, 12, 2, 6, 0, -1), 2 * 3600), at(2026, 12, 2, 23, 0, -1));
    assert_int_equal(qm_batch_done_by(&t, noon, 0), noon);
    /* a night that an hour is put into, and one that lacks one */
    assert_int_equal(qm_batch_done_by(&t, at(2026, 10, 24, 22, 0, -1), 9 * 3600), at(2026, 10, 25, 6, 0, -1));
    assert_int_equal(qm_batch_done_by(&t, at(2026, 3, 28, 22, 0, -1), 8 * 3600), at(2026, 3, 29, 7, 0, -1));
    assert_true(qm_batch_done_by(&t, noon, 1e15) > noon); /* never, but it is reported at once */
    assert_string_equal(qm_batch_soon_text(at(2026, 12, 2, 3, 40, -1), noon, text, sizeof text), "03:40");
    assert_string_equal(qm_batch_soon_text(at(2026, 12, 2, 13, 0, -1), noon, text, sizeof text), "Wed 13:00");
    assert_string_equal(qm_batch_soon_text(at(2026, 12, 9, 13, 0, -1), noon, text, sizeof text), "2026-12-09 13:00");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_done_by),  cmocka_unit_test(test_parse),     cmocka_unit_test(test_meant),
        cmocka_unit_test(test_midnight), cmocka_unit_test(test_next),      cmocka_unit_test(test_forward),
        cmocka_unit_test(test_back),     cmocka_unit_test(test_no_summer), cmocka_unit_test(test_gate),
    };
    return cmocka_run_group_tests(tests, set_zone, NULL);
}
