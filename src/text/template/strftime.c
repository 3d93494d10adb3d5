/* strftime in the C locale, whatever the process's locale is: the conversions of C, glibc's flags (-, _, 0,
 * ^) and Python's %f. Time zones are unknown here: %z and %Z are empty, as for a naive datetime. */
#include <stdio.h>
#include <string.h>

#include "text/template/eval.h"

static const char *const DAYS[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
static const char *const MONTHS[] = {"January", "February", "March",     "April",   "May",      "June",
                                     "July",    "August",   "September", "October", "November", "December"};

struct clock {
    struct tpl_sb *b;
    const struct tm *tm;
    char flag;
    int width; /* 0: the conversion's own */
};

static void number(const struct clock *c, long n, int width, char fill) {
    char text[128];
    fill = c->flag == '_' ? ' ' : c->flag == '0' ? '0' : fill;
    if (c->width) {
        width = c->width;
        fill = c->flag == '_' ? ' ' : '0';
    } else if (c->flag == '-') {
        width = 0;
    }
    snprintf(text, sizeof text, fill == '0' ? "%0*ld" : "%*ld", width, n);
    tpl_sb_z(c->b, text);
}

static void word(const struct clock *c, const char *s, size_t n) {
    size_t len = strnlen(s, n);
    if ((size_t)c->width > len)
        tpl_sb_fill(c->b, c->flag == '0' ? '0' : ' ', (size_t)c->width - len);
    for (size_t i = 0; i < n && s[i]; i++) {
        char ch = c->flag == '^' && s[i] >= 'a' && s[i] <= 'z' ? (char)(s[i] - 32) : s[i];
        tpl_sb_add(c->b, &ch, 1);
    }
}

/* The year and week of ISO 8601. */
static void iso_week(const struct tm *tm, long *year, long *week) {
    int day = (tm->tm_wday + 6) % 7; /* from Monday */
    *year = tm->tm_year + 1900L;
    *week = (tm->tm_yday - day + 10) / 7;
    for (int step = 0; step < 2; step++) {
        bool before = *week < 1;
        long y = before ? *year - 1 : *year;
        bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
        if (before) {
            *year = y;
            *week = (tm->tm_yday + 365 + leap - day + 10) / 7;
        } else if (*week == 53 && tm->tm_yday - day + 3 >= 365 + leap) {
            *year = y + 1;
            *week = 1;
        }
    }
}

static void expand(struct clock *c, const char *s, size_t n, int depth);

static void again(struct clock *c, const char *format, int depth) {
    c->flag = 0;
    c->width = 0;
    expand(c, format, strlen(format), depth + 1);
}

static bool date_part(struct clock *c, char what) {
    const struct tm *tm = c->tm;
    long year = tm->tm_year + 1900L, iso_year, week;
    iso_week(tm, &iso_year, &week);
    switch (what) {
    case 'Y': number(c, year, 0, '0'); return true;
    case 'C': number(c, year / 100, 2, '0'); return true;
    case 'y': number(c, year % 100, 2, '0'); return true;
    case 'G': number(c, iso_year, 0, '0'); return true;
    case 'g': number(c, iso_year % 100, 2, '0'); return true;
    case 'V': number(c, week, 2, '0'); return true;
    case 'U': number(c, (tm->tm_yday + 7 - tm->tm_wday) / 7, 2, '0'); return true;
    case 'W': number(c, (tm->tm_yday + 7 - (tm->tm_wday + 6) % 7) / 7, 2, '0'); return true;
    case 'm': number(c, tm->tm_mon + 1, 2, '0'); return true;
    case 'd': number(c, tm->tm_mday, 2, '0'); return true;
    case 'e': number(c, tm->tm_mday, 2, ' '); return true;
    case 'j': number(c, tm->tm_yday + 1, 3, '0'); return true;
    case 'u': number(c, tm->tm_wday ? tm->tm_wday : 7, 1, '0'); return true;
    case 'w': number(c, tm->tm_wday, 1, '0'); return true;
    default: return false;
    }
}

static bool time_part(struct clock *c, char what) {
    const struct tm *tm = c->tm;
    int hour12 = tm->tm_hour % 12 ? tm->tm_hour % 12 : 12;
    switch (what) {
    case 'H': number(c, tm->tm_hour, 2, '0'); return true;
    case 'k': number(c, tm->tm_hour, 2, ' '); return true;
    case 'I': number(c, hour12, 2, '0'); return true;
    case 'l': number(c, hour12, 2, ' '); return true;
    case 'M': number(c, tm->tm_min, 2, '0'); return true;
    case 'S': number(c, tm->tm_sec, 2, '0'); return true;
    case 'f': tpl_sb_z(c->b, "000000"); return true; /* struct tm has whole seconds */
    case 'z':
    case 'Z': return true;
    default: return false;
    }
}

static bool composed(struct clock *c, char what, int depth) {
    static const struct {
        char what;
        const char *format;
    } table[] = {{'c', "%a %b %e %H:%M:%S %Y"},
                 {'D', "%m/%d/%y"},
                 {'F', "%Y-%m-%d"},
                 {'r', "%I:%M:%S %p"},
                 {'R', "%H:%M"},
                 {'T', "%H:%M:%S"},
                 {'x', "%m/%d/%y"},
                 {'X', "%H:%M:%S"},
                 {'n', "\n"},
                 {'t', "\t"}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].what == what) {
            again(c, table[i].format, depth);
            return true;
        }
    return false;
}

static bool name_part(struct clock *c, char what) {
    const struct tm *tm = c->tm;
    const char *day = DAYS[(unsigned)tm->tm_wday % 7], *month = MONTHS[(unsigned)tm->tm_mon % 12];
    switch (what) {
    case 'a': word(c, day, 3); return true;
    case 'A': word(c, day, 9); return true;
    case 'b':
    case 'h': word(c, month, 3); return true;
    case 'B': word(c, month, 9); return true;
    case 'p': word(c, tm->tm_hour < 12 ? "AM" : "PM", 2); return true;
    case 'P': word(c, tm->tm_hour < 12 ? "am" : "pm", 2); return true;
    case '%': tpl_sb_z(c->b, "%"); return true;
    default: return false;
    }
}

static void expand(struct clock *c, const char *s, size_t n, int depth) {
    for (size_t i = 0; i < n; i++) {
        if (s[i] != '%' || i + 1 == n) {
            tpl_sb_add(c->b, s + i, 1);
            continue;
        }
        size_t from = i++;
        c->flag = strchr("-_0^", s[i]) && s[i] ? s[i] : 0;
        i += c->flag != 0;
        for (c->width = 0; i < n && s[i] >= '0' && s[i] <= '9' && c->width < 10; i++)
            c->width = c->width * 10 + (s[i] - '0');
        char what = i < n ? s[i] : 0;
        if (!what || !(date_part(c, what) || time_part(c, what) || name_part(c, what) || composed(c, what, depth)))
            tpl_sb_add(c->b, s + from, (i < n ? i + 1 : n) - from);
    }
}

struct tpl_val tpl_strftime(struct tpl *t, const struct tpl_str *format) {
    struct tpl_sb b = {.t = t};
    struct clock c = {.b = &b, .tm = t->now};
    tpl_charge(t, format->len);
    expand(&c, format->s, format->len, 0);
    return tpl_sb_done(&b);
}
