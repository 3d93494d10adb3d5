/* --template-arg and --now. */
#include "app/template_args.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"

int qm_template_args(const struct qm_texts *list, json_t *into, struct qm_error *err) {
    for (size_t i = 0; i < list->n; i++) {
        const char *text = list->text[i];
        size_t n = strcspn(text, "=");
        if (n == 0 || !text[n])
            return qm_fail(err, QM_USAGE, "--template-arg: expected NAME=VALUE, found \"%s\"", text);
        const char *value = text + n + 1;
        json_t *parsed = NULL;
        if (qm_json_parse(value, strlen(value), "--template-arg", &parsed, NULL))
            parsed = json_string(value);
        if (!parsed || json_object_setn_new(into, text, n, parsed))
            return qm_fail(err, QM_USAGE, "--template-arg: expected NAME=VALUE in UTF-8, found \"%s\"", text);
    }
    return QM_OK;
}

int qm_template_now(const char *text, struct tm *out, struct qm_error *err) {
    if (!text) {
        time_t now = time(NULL);
        localtime_r(&now, out);
        return QM_OK;
    }
    struct tm t = {0};
    static const char shape[] = "dddd-dd-ddTdd:dd:dd";
    bool shaped = strlen(text) == sizeof shape - 1;
    for (size_t i = 0; shaped && shape[i]; i++)
        shaped = shape[i] == 'd' ? text[i] >= '0' && text[i] <= '9' : text[i] == shape[i];
    if (shaped && sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d", &t.tm_year, &t.tm_mon, &t.tm_mday, &t.tm_hour, &t.tm_min,
                         &t.tm_sec) == 6) {
        t.tm_year -= 1900;
        t.tm_mon -= 1;
        struct tm normal = t;
        timegm(&normal); /* also finds the day of the week and of the year */
        if (normal.tm_year == t.tm_year && normal.tm_mon == t.tm_mon && normal.tm_mday == t.tm_mday &&
            normal.tm_hour == t.tm_hour && normal.tm_min == t.tm_min && normal.tm_sec == t.tm_sec) {
            *out = normal;
            return QM_OK;
        }
    }
    return qm_fail(err, QM_USAGE, "--now: expected a time like 2026-01-15T12:00:00, found \"%s\"", text);
}
