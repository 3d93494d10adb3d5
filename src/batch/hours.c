/* Times of day by the local clock. */
#include "batch/hours.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* One or two digits below `limit`. */
static bool take_number(const char **s, int limit, int *out) {
    int n = 0, v = 0;
    for (; **s >= '0' && **s <= '9' && n < 2; n++)
        v = v * 10 + *(*s)++ - '0';
    *out = v;
    return n > 0 && v < limit;
}

static bool take_time(const char **s, int *seconds) {
    int hour, minute, second = 0;
    if (!take_number(s, 24, &hour) || *(*s)++ != ':' || !take_number(s, 60, &minute))
        return false;
    if (**s == ':') {
        ++*s;
        if (!take_number(s, 60, &second))
            return false;
    }
    *seconds = (hour * 60 + minute) * 60 + second;
    return true;
}

/* --- what was meant: "7am", "10 pm", "22", "2200", "22h30" --- */

static void skip_blanks(const char **s) {
    *s += strspn(*s, " \t");
}

static bool guess_time(const char **s, int *minutes) {
    size_t digits = strspn(*s, "0123456789");
    int hour, minute = 0;
    bool half = false; /* of the day: am or pm */
    if (digits > 4 || !take_number(s, 25, &hour))
        return false;
    if (**s && strchr(":.hH", **s)) {
        bool may_end = **s == 'h' || **s == 'H';
        ++*s;
        bool more = **s >= '0' && **s <= '9';
        if ((more || !may_end) && !take_number(s, 60, &minute))
            return false;
    } else if (digits > 2 && !take_number(s, 60, &minute)) {
        return false;
    }
    skip_blanks(s);
    if (**s && strchr("aApP", **s)) {
        bool afternoon = **s == 'p' || **s == 'P';
        *s += 1 + ((*s)[1] == '.');
        if ((**s != 'm' && **s != 'M') || hour < 1 || hour > 12)
            return false;
        *s += 1 + ((*s)[1] == '.');
        hour = hour % 12 + (afternoon ? 12 : 0);
        half = true;
    }
    *minutes = hour * 60 + minute;
    if (!half && *minutes == 24 * 60)
        *minutes = 0;
    skip_blanks(s);
    return *minutes < 24 * 60;
}

static bool guess_range(const char *s, int *from, int *to) {
    static const char *const betweens[] = {"-", "\xE2\x80\x93", "..", "to ", "until "};
    skip_blanks(&s);
    if (!guess_time(&s, from))
        return false;
    for (size_t i = 0; i < sizeof betweens / sizeof *betweens; i++)
        if (!strncmp(s, betweens[i], strlen(betweens[i]))) {
            s += strlen(betweens[i]);
            skip_blanks(&s);
            return guess_time(&s, to) && !*s && *from != *to;
        }
    return false;
}

int qm_day_time_parse(const char *text, const char *option, int *seconds, struct qm_error *err) {
    const char *s = text;
    if (take_time(&s, seconds) && !*s)
        return QM_OK;
    int minutes;
    s = text;
    if (guess_time(&s, &minutes) && !*s)
        return qm_fail(err, QM_USAGE, "%s: expected a time of day like 07:00, found \"%s\"; did you mean %02d:%02d?",
                       option, text, minutes / 60, minutes % 60);
    return qm_fail(err, QM_USAGE, "%s: expected a time of day like 07:00, found \"%s\"", option, text);
}

int qm_hours_parse(const char *text, const char *option, struct qm_hours *out, struct qm_error *err) {
    const char *s = text;
    if (take_time(&s, &out->from) && *s++ == '-' && take_time(&s, &out->to) && !*s && out->from != out->to)
        return QM_OK;
    int from, to;
    if (guess_range(text, &from, &to))
        return qm_fail(err, QM_USAGE,
                       "%s: expected two times of day like 22:00-07:00, found \"%s\"; did you mean "
                       "%02d:%02d-%02d:%02d?",
                       option, text, from / 60, from % 60, to / 60, to % 60);
    return qm_fail(err, QM_USAGE, "%s: expected two times of day like 22:00-07:00, found \"%s\"", option, text);
}

static int day_time(time_t now, struct tm *local) {
    localtime_r(&now, local);
    return (local->tm_hour * 60 + local->tm_min) * 60 + (local->tm_sec < 60 ? local->tm_sec : 59);
}

bool qm_hours_contain(const struct qm_hours *h, time_t now) {
    struct tm local;
    int t = day_time(now, &local);
    return h->from < h->to ? t >= h->from && t < h->to : t >= h->from || t < h->to;
}

time_t qm_day_time_next(int seconds, time_t now) {
    struct tm local;
    day_time(now, &local);
    for (int day = 0; day <= 2; day++) {
        struct tm wanted = {.tm_year = local.tm_year,
                            .tm_mon = local.tm_mon,
                            .tm_mday = local.tm_mday + day,
                            .tm_hour = seconds / 3600,
                            .tm_min = seconds / 60 % 60,
                            .tm_sec = seconds % 60};
        /* By both meanings: a time shown twice is two moments. */
        time_t best = -1;
        for (int dst = 1; dst >= 0; dst--) {
            struct tm try = wanted;
            try.tm_isdst = dst;
            time_t t = mktime(&try);
            bool same = try.tm_hour == wanted.tm_hour && try.tm_min == wanted.tm_min;
            if (t > now && same && (best < 0 || t < best))
                best = t;
        }
        if (best >= 0)
            return best;
        /* A time that is left out is passed when the clock jumps: where the clock stood before plus the seconds. */
        struct tm try = wanted;
        try.tm_isdst = -1;
        time_t t = mktime(&try);
        bool left_out = try.tm_hour != wanted.tm_hour || try.tm_min != wanted.tm_min;
        if (left_out && t > now)
            return t;
    }
    return now + QM_DAY_SECONDS;
}

time_t qm_hours_next_change(const struct qm_hours *h, time_t now) {
    time_t from = qm_day_time_next(h->from, now), to = qm_day_time_next(h->to, now);
    return (from < to ? from : to) - now;
}

enum qm_batch_gate qm_batch_gate(const struct qm_batch_times *t, time_t now, double saving, bool on_battery) {
    if (t->has_until && (double)now + saving >= (double)t->until)
        return QM_GATE_STOP;
    if (t->has_hours && !qm_hours_contain(&t->hours, now))
        return QM_GATE_PAUSE_HOURS;
    return t->pause_on_battery && on_battery ? QM_GATE_PAUSE_BATTERY : QM_GATE_WORK;
}

time_t qm_batch_done_by(const struct qm_batch_times *t, time_t now, double seconds) {
    enum { CHANGES = 10000 }; /* of years of nights; then as if there were no hours */
    for (int i = 0; i < CHANGES && t->has_hours && seconds > 0; i++) {
        time_t change = qm_hours_next_change(&t->hours, now);
        if (qm_hours_contain(&t->hours, now)) {
            if (seconds <= (double)change)
                break;
            seconds -= (double)change;
        }
        now += change;
    }
    return now + (time_t)fmin(fmax(seconds, 0) + 0.5, 1e12);
}

const char *qm_batch_soon_text(time_t when, time_t now, char *out, size_t size) {
    struct tm local;
    const char *format = when - now < QM_DAY_SECONDS       ? "%H:%M"
                         : when - now < 6 * QM_DAY_SECONDS ? "%a %H:%M"
                                                           : "%Y-%m-%d %H:%M";
    *out = 0;
    if (localtime_r(&when, &local))
        strftime(out, size, format, &local);
    return out;
}
