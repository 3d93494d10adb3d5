/* Energy, temperature and fan over a piece of work, from numa/sensors.h: the mean power and the highest of the
 * others. */
#ifndef QM_APP_METER_H
#define QM_APP_METER_H

#include <jansson.h>
#include <stddef.h>

#include "base/error.h"
#include "numa/sensors.h"

struct qm_meter {
    struct qm_sensors *sensors;
    double began, ticked; /* seconds, monotonic; of the last reading */
    double joules_before;
    double seconds, joules, celsius, fan_rpm; /* since qm_meter_begin; NaN: not readable */
};

int qm_meter_open(const char *root, struct qm_meter *m, struct qm_error *err);
void qm_meter_close(struct qm_meter *m);
void qm_meter_begin(struct qm_meter *m);
/* Call it now and then: reads where a second has gone, so that no counter wraps unseen. */
void qm_meter_tick(struct qm_meter *m);
void qm_meter_end(struct qm_meter *m);
/* Mean watts; NaN. */
double qm_meter_watts(const struct qm_meter *m);

/* "12.3 J/token; 85 W; at most 67 °C; fan 1200/min", of what is readable; "" where nothing is (machine says why). */
void qm_meter_text(const struct qm_meter *m, double tokens, char *out, size_t size);
/* {joules_per_token, watts, celsius, fan_rpm, not_readable: {energy, temperature, fan}}, null for what is not there. */
json_t *qm_meter_json(const struct qm_meter *m, double tokens);

#endif
