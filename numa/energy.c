/* Reads /sys/class/powercap/intel-rapl:* (the name is the same on AMD). */
#include "numa/energy.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "numa/internal.h"

enum { MAX_DOMAINS = 64 };

struct domain {
    char path[512]; /* of its directory */
    uint64_t last, range;
    double joules;
};

struct qm_energy {
    struct domain domain[MAX_DOMAINS];
    int n;
};

static int refuse(const char *path, struct qm_error *err) {
    return qm_fail(err, QM_SYSTEM, "%s can't be read (%s)%s", path, errno ? strerror(errno) : "no number of a counter",
                   errno == EACCES ? ": it is for root unless the administrator allows it" : "");
}

static int read_counter(const char *dir, const char *name, uint64_t *out, struct qm_error *err) {
    char path[600];
    int64_t v;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (!qm_read_number(path, &v) || v < 0)
        return refuse(path, err);
    *out = (uint64_t)v;
    return QM_OK;
}

/* A counter above its range would not be one. */
static int read_energy(const struct domain *d, uint64_t *out, struct qm_error *err) {
    int rc = read_counter(d->path, "energy_uj", out, err);
    if (!rc && *out > d->range)
        rc = qm_fail(err, QM_SYSTEM, "%s/energy_uj is above its range: %" PRIu64 " of %" PRIu64, d->path, *out,
                     d->range);
    return rc;
}

/* Packages, and their memory; not cores and uncore (a package holds them), nor psys (it holds packages). */
static bool counted(const char *dir) {
    char name[64];
    return qm_first_word(dir, "name", name, sizeof name) &&
           (strncmp(name, "package", 7) == 0 || strcmp(name, "dram") == 0);
}

static int add_domain(struct qm_energy *e, const char *dir, struct qm_error *err) {
    if (!counted(dir) || e->n == MAX_DOMAINS)
        return QM_OK;
    struct domain *d = &e->domain[e->n];
    snprintf(d->path, sizeof d->path, "%s", dir);
    int rc = read_counter(dir, "max_energy_range_uj", &d->range, err);
    if (!rc)
        rc = read_energy(d, &d->last, err);
    e->n += !rc;
    return rc;
}

int qm_energy_open(const char *root, struct qm_energy **out, struct qm_error *err) {
    char base[256], dir[512];
    *out = NULL;
    snprintf(base, sizeof base, "%s/sys/class/powercap", root);
    DIR *d = opendir(base);
    if (!d)
        return qm_fail(err, QM_SYSTEM, "%s is not there: no energy counters (a virtual machine, or no powercap driver)",
                       base);
    struct qm_energy *e = calloc(1, sizeof *e);
    int rc = e ? QM_OK : qm_fail_memory(err, sizeof *e, "energy counters");
    for (struct dirent *entry; !rc && (entry = readdir(d)) != NULL;) {
        if (strncmp(entry->d_name, "intel-rapl:", 11) != 0)
            continue;
        if (snprintf(dir, sizeof dir, "%s/%s", base, entry->d_name) < (int)sizeof dir)
            rc = add_domain(e, dir, err);
    }
    closedir(d);
    if (!rc && e->n == 0)
        rc = qm_fail(err, QM_SYSTEM, "%s has no energy counter of a processor package", base);
    if (rc) {
        free(e);
        return rc;
    }
    *out = e;
    return QM_OK;
}

void qm_energy_close(struct qm_energy *e) {
    free(e);
}

int qm_energy_domains(const struct qm_energy *e) {
    return e->n;
}

int qm_energy_joules(struct qm_energy *e, double *joules, struct qm_error *err) {
    *joules = 0;
    for (int i = 0; i < e->n; i++) {
        struct domain *d = &e->domain[i];
        uint64_t at;
        int rc = read_energy(d, &at, err);
        if (rc)
            return rc;
        uint64_t used = at >= d->last ? at - d->last : d->range - d->last + at;
        d->last = at;
        d->joules += (double)used * 1e-6;
        *joules += d->joules;
    }
    return QM_OK;
}
