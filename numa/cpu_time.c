/* The first line of /proc/stat, and the process's own clock. */
#include "numa/cpu_time.h"

#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, LINE_BYTES = 512 };

static double own_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int qm_cpu_time_read(const char *root, struct qm_cpu_time *out, struct qm_error *err) {
    enum { USER, NICE, SYSTEM, IDLE, IOWAIT, IRQ, SOFTIRQ, STEAL, COLUMNS };
    unsigned long long t[COLUMNS];
    char path[PATH_BYTES], line[LINE_BYTES] = "";
    *out = (struct qm_cpu_time){0};
    if (snprintf(path, sizeof path, "%s/proc/stat", root) >= (int)sizeof path)
        return qm_fail(err, QM_SYSTEM, "%.200s...: path longer than %d bytes", path, PATH_BYTES - 1);
    FILE *f = fopen(path, "re");
    if (!f)
        return qm_fail_errno(err, "%s", path);
    bool read = fgets(line, sizeof line, f);
    fclose(f);
    if (!read || sscanf(line, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &t[USER], &t[NICE], &t[SYSTEM], &t[IDLE],
                        &t[IOWAIT], &t[IRQ], &t[SOFTIRQ], &t[STEAL]) != COLUMNS)
        return qm_fail(err, QM_SYSTEM, "%s: expected a line of the CPUs' times, found \"%.80s\"", path, line);
    double tick = 1.0 / (double)sysconf(_SC_CLK_TCK);
    for (int i = 0; i < COLUMNS; i++)
        out->total += (double)t[i] * tick;
    out->stolen = (double)t[STEAL] * tick;
    out->busy = out->total - out->stolen - (double)(t[IDLE] + t[IOWAIT]) * tick;
    out->own = own_seconds();
    return QM_OK;
}

static double between(double v, double least, double most) {
    return v < least ? least : v > most ? most : v;
}

void qm_cpu_time_shares(const struct qm_cpu_time *a, const struct qm_cpu_time *b, double *others, double *stolen) {
    double total = b->total - a->total;
    *others = *stolen = -1;
    if (total <= 0 || b->busy <= a->busy)
        return;
    *others = between((b->busy - a->busy - (b->own - a->own)) / total, 0, 1);
    *stolen = between((b->stolen - a->stolen) / total, 0, 1);
}
