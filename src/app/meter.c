/* Readings over a piece of work. */
#include "app/meter.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/progress.h"

int qm_meter_open(const char *root, struct qm_meter *m, struct qm_error *err) {
    *m = (struct qm_meter){.joules = NAN, .celsius = NAN, .fan_rpm = NAN};
    return qm_sensors_open(root, &m->sensors, err);
}

void qm_meter_close(struct qm_meter *m) {
    qm_sensors_close(m->sensors);
    *m = (struct qm_meter){0};
}

/* fmax takes the number where the other is NaN. */
static double read_all(struct qm_meter *m) {
    struct qm_reading r;
    qm_sensors_read(m->sensors, &r);
    m->celsius = fmax(m->celsius, r.value[QM_SENSOR_TEMPERATURE]);
    m->fan_rpm = fmax(m->fan_rpm, r.value[QM_SENSOR_FAN]);
    m->ticked = qm_now();
    return r.value[QM_SENSOR_ENERGY];
}

void qm_meter_begin(struct qm_meter *m) {
    m->celsius = m->fan_rpm = m->joules = NAN;
    m->joules_before = read_all(m);
    m->began = m->ticked;
    m->seconds = 0;
}

void qm_meter_tick(struct qm_meter *m) {
    if (qm_now() - m->ticked >= 1)
        read_all(m);
}

void qm_meter_end(struct qm_meter *m) {
    m->joules = read_all(m) - m->joules_before;
    m->seconds = m->ticked - m->began;
}

double qm_meter_watts(const struct qm_meter *m) {
    return m->seconds > 0 ? m->joules / m->seconds : NAN;
}

static void append(char *out, size_t size, const char *text) {
    size_t n = strlen(out);
    snprintf(out + n, size - n, "%s%s", n ? "; " : "", text);
}

void qm_meter_text(const struct qm_meter *m, double tokens, char *out, size_t size) {
    char part[600];
    out[0] = 0;
    if (!isnan(m->joules) && tokens > 0) {
        snprintf(part, sizeof part, "%.3g J/token", m->joules / tokens);
        append(out, size, part);
    }
    if (!isnan(qm_meter_watts(m))) {
        snprintf(part, sizeof part, "%.1f W", qm_meter_watts(m));
        append(out, size, part);
    }
    if (!isnan(m->celsius)) {
        snprintf(part, sizeof part, "at most %.0f °C", m->celsius);
        append(out, size, part);
    }
    if (!isnan(m->fan_rpm)) {
        snprintf(part, sizeof part, "fan %.0f/min", m->fan_rpm);
        append(out, size, part);
    }
}

static json_t *real_or_null(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

json_t *qm_meter_json(const struct qm_meter *m, double tokens) {
    json_t *why = json_object();
    for (int k = 0; k < QM_SENSOR_COUNT; k++) {
        const char *reason = qm_sensors_why(m->sensors, (enum qm_sensor)k);
        json_object_set_new(why, qm_sensor_name((enum qm_sensor)k), reason[0] ? json_string(reason) : json_null());
    }
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "joules_per_token",
                     tokens > 0 ? real_or_null(m->joules / tokens) : json_null(), "watts",
                     real_or_null(qm_meter_watts(m)), "celsius", real_or_null(m->celsius), "fan_rpm",
                     real_or_null(m->fan_rpm), "not_readable", why);
}
