/* Energy, and /sys/class/hwmon/hwmonN: the drivers of processors for temperatures, any driver for fans. What the
 * files say is checked: a number that makes no sense is a reason, not a reading. */
#include "numa/sensors.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "numa/energy.h"
#include "numa/internal.h"

enum { FILES = 64, PATH = 600 };

struct files {
    char path[FILES][PATH];
    int n;
};

struct qm_sensors {
    struct qm_energy *energy;
    struct files files[QM_SENSOR_COUNT]; /* of temperature and fan */
    char why[QM_SENSOR_COUNT][512];
};

static const struct {
    const char *name, *prefix;
    double least, most, scale; /* of the number in the file; what it counts */
} kinds[QM_SENSOR_COUNT] = {
    [QM_SENSOR_ENERGY] = {"energy", NULL, 0, 0, 0},
    [QM_SENSOR_TEMPERATURE] = {"temperature", "temp", -60000, 200000, 1e-3},
    [QM_SENSOR_FAN] = {"fan", "fan", 0, 100000, 1},
};

const char *qm_sensor_name(enum qm_sensor which) {
    return kinds[which].name;
}

static bool of_processor(const char *driver) {
    static const char *const drivers[] = {"coretemp", "k10temp", "zenpower", "k8temp", "via_cputemp", "cpu_thermal"};
    for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++)
        if (!strcmp(driver, drivers[i]))
            return true;
    return false;
}

/* "temp12_input" */
static bool is_input(const char *name, const char *prefix) {
    size_t n = strlen(prefix), digits = strncmp(name, prefix, n) ? 0 : strspn(name + n, "0123456789");
    return digits > 0 && !strcmp(name + n + digits, "_input");
}

static void add_files(struct qm_sensors *s, const char *dir) {
    char driver[64] = "";
    DIR *d = opendir(dir);
    if (!d)
        return;
    qm_first_word(dir, "name", driver, sizeof driver);
    for (struct dirent *entry; (entry = readdir(d)) != NULL;)
        for (int k = QM_SENSOR_TEMPERATURE; k < QM_SENSOR_COUNT; k++) {
            struct files *f = &s->files[k];
            if (!is_input(entry->d_name, kinds[k].prefix) || (k == QM_SENSOR_TEMPERATURE && !of_processor(driver)))
                continue;
            if (f->n < FILES && snprintf(f->path[f->n], PATH, "%s/%s", dir, entry->d_name) < PATH)
                f->n++;
        }
    closedir(d);
}

static void find_hwmon(struct qm_sensors *s, const char *root) {
    char base[PATH / 2], dir[PATH];
    snprintf(base, sizeof base, "%s/sys/class/hwmon", root);
    DIR *d = opendir(base);
    for (struct dirent *entry; d && (entry = readdir(d)) != NULL;)
        if (!strncmp(entry->d_name, "hwmon", 5) &&
            snprintf(dir, sizeof dir, "%s/%s", base, entry->d_name) < (int)sizeof dir)
            add_files(s, dir);
    for (int k = QM_SENSOR_TEMPERATURE; k < QM_SENSOR_COUNT; k++)
        if (!d)
            snprintf(s->why[k], sizeof s->why[k],
                     "%s is not there: no hardware monitoring (a virtual machine, or no driver)", base);
        else if (s->files[k].n == 0)
            snprintf(s->why[k], sizeof s->why[k], "%s has no %s%s", base, kinds[k].name,
                     k == QM_SENSOR_TEMPERATURE ? " of a processor" : "");
    if (d)
        closedir(d);
}

int qm_sensors_open(const char *root, struct qm_sensors **out, struct qm_error *err) {
    struct qm_error why = {0};
    struct qm_sensors *s = *out = calloc(1, sizeof *s);
    if (!s)
        return qm_fail_memory(err, sizeof *s, "sensors");
    if (qm_energy_open(root, &s->energy, &why))
        snprintf(s->why[QM_SENSOR_ENERGY], sizeof s->why[0], "%.500s", why.message);
    find_hwmon(s, root);
    return QM_OK;
}

void qm_sensors_close(struct qm_sensors *s) {
    if (!s)
        return;
    qm_energy_close(s->energy);
    free(s);
}

/* The largest number of its files. One that can't be read spoils the rest no more than it has to: an unplugged fan's
 * is an error of its own. */
static double read_files(struct qm_sensors *s, int k) {
    struct files *f = &s->files[k];
    double most = NAN;
    for (int i = 0; i < f->n; i++) {
        int64_t v = 0;
        errno = 0;
        bool ok = qm_read_number(f->path[i], &v);
        if (ok && (double)v >= kinds[k].least && (double)v <= kinds[k].most)
            most = isnan(most) ? (double)v : fmax(most, (double)v);
        else if (isnan(most))
            snprintf(s->why[k], sizeof s->why[k], "%.400s: %s", f->path[i],
                     ok || errno == 0 ? "no number that makes sense" : strerror(errno));
    }
    if (!isnan(most))
        s->why[k][0] = 0;
    return most * kinds[k].scale;
}

void qm_sensors_read(struct qm_sensors *s, struct qm_reading *out) {
    struct qm_error why = {0};
    out->value[QM_SENSOR_ENERGY] = NAN;
    if (s->energy && qm_energy_joules(s->energy, &out->value[QM_SENSOR_ENERGY], &why)) {
        snprintf(s->why[QM_SENSOR_ENERGY], sizeof s->why[0], "%.500s", why.message);
        out->value[QM_SENSOR_ENERGY] = NAN;
    } else if (s->energy) {
        s->why[QM_SENSOR_ENERGY][0] = 0;
    }
    for (int k = QM_SENSOR_TEMPERATURE; k < QM_SENSOR_COUNT; k++)
        out->value[k] = read_files(s, k);
}

const char *qm_sensors_why(const struct qm_sensors *s, enum qm_sensor which) {
    return s->why[which];
}
