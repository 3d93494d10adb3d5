/* What the machine shows of its own effort: energy by the processor's counters (numa/energy.h), the processors'
 * temperature and the fans by Linux's hwmon. What can't be read has a reason instead, and the rest goes on.
 * Reading takes system calls, and of some processors' temperatures an interrupt on each core: once a second is often
 * enough. Not thread-safe. */
#ifndef QM_NUMA_SENSORS_H
#define QM_NUMA_SENSORS_H

#include "base/error.h"

struct qm_sensors;

enum qm_sensor { QM_SENSOR_ENERGY, QM_SENSOR_TEMPERATURE, QM_SENSOR_FAN, QM_SENSOR_COUNT };

struct qm_reading {
    double value[QM_SENSOR_COUNT]; /* NaN: not readable. Joules since qm_sensors_open; degrees Celsius of the hottest
                                      sensor of a processor; turns a minute of the fastest fan */
};

/* root: put before /sys ("" is the machine itself; tests give a tree of their own). Fails only for want of memory. */
int qm_sensors_open(const char *root, struct qm_sensors **out, struct qm_error *err);
void qm_sensors_close(struct qm_sensors *s);
void qm_sensors_read(struct qm_sensors *s, struct qm_reading *out);
/* Why this one can't be read, or "". Lives until the next read. */
const char *qm_sensors_why(const struct qm_sensors *s, enum qm_sensor which);
/* "energy", "temperature", "fan". */
const char *qm_sensor_name(enum qm_sensor which);

#endif
