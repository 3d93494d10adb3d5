/* Numbers as text. */
#include "report/numbers.h"

#include <math.h>
#include <stdio.h>

const char *qm_number_text(double x, int digits, char *out, size_t size) {
    if (!isfinite(x))
        snprintf(out, size, "-");
    else if (fabs(x) >= 1e6)
        snprintf(out, size, "%.*gM", digits, x * 1e-6);
    else if (fabs(x) >= pow(10, digits - 1))
        snprintf(out, size, "%.0f", x);
    else
        snprintf(out, size, "%.*g", digits, x);
    return out;
}

const char *qm_count_text(double n, char *out, size_t size) {
    snprintf(out, size, "%.2f %s", n * (n < 1e9 ? 1e-6 : 1e-9), n < 1e9 ? "M" : "B");
    return out;
}

static const char *scaled(double x, double step, const char *const units[5], char *out, size_t size) {
    int u = 0;
    while (x >= 999.5 && u < 4) {
        x /= step;
        u++;
    }
    snprintf(out, size, x < 99.5 && u > 0 ? "%.1f %s" : "%.0f %s", x, units[u]);
    return out;
}

const char *qm_bytes_text(double bytes, char *out, size_t size) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    return scaled(bytes, 1024, units, out, size);
}

const char *qm_bytes_rate_text(double rate, char *out, size_t size) {
    static const char *const units[] = {"B/s", "kB/s", "MB/s", "GB/s", "TB/s"};
    return scaled(rate, 1000, units, out, size);
}

const char *qm_rate_text(double rate, char *out, size_t size) {
    static const char *const units[] = {"G", "T", "P"};
    int u = 0;
    for (rate *= 1e-9; rate >= 1000 && u < 2; u++)
        rate *= 1e-3;
    snprintf(out, size, rate < 100 ? "%.1f %s" : "%.0f %s", rate, units[u]);
    return out;
}

const char *qm_duration_text(double seconds, char *out, size_t size) {
    if (!(fabs(seconds) < 1e15)) {
        snprintf(out, size, "-");
        return out;
    }
    long long s = (long long)(seconds + 0.5);
    if (seconds < 9.95)
        snprintf(out, size, "%.1f s", seconds);
    else if (s >= 48 * 3600)
        snprintf(out, size, "%lld days %lld h", s / 86400, s / 3600 % 24);
    else if (s >= 3600)
        snprintf(out, size, "%lld h %lld min", s / 3600, s / 60 % 60);
    else if (s >= 60)
        snprintf(out, size, "%lld min %lld s", s / 60, s % 60);
    else
        snprintf(out, size, "%lld s", s);
    return out;
}

const char *qm_calculated_duration_text(double seconds, char *out, size_t size) {
    if (!(seconds < 99.95))
        return qm_duration_text(seconds, out, size);
    if (seconds < 0.9995)
        snprintf(out, size, "%.0f ms", seconds * 1e3);
    else
        snprintf(out, size, "%.1f s", seconds);
    return out;
}
