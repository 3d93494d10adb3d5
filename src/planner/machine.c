/* Rates by threads, efficiency by rows, and what is assumed where nothing was measured. */
#include "planner/machine.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *qm_kernel_class_name(enum qm_kernel_class k) {
    static const char *const names[] = {"dense", "experts", "attention_64", "attention_128"};
    return names[k];
}

const char *qm_mark_name(enum qm_mark m) {
    static const char *const names[] = {"measured", "published", "estimated", "given", "default"};
    return names[m];
}

const struct qm_efficiency_curve *qm_efficiency_at(const struct qm_efficiency *e, enum qm_kernel_class k,
                                                   enum qm_dtype t) {
    static const struct qm_efficiency_curve limit = {.n = 1, .rows = {1}, .efficiency = {1}};
    if (e->kernel[k][t].n)
        return &e->kernel[k][t];
    if (k == QM_KERNEL_EXPERTS && e->kernel[QM_KERNEL_DENSE][t].n)
        return &e->kernel[QM_KERNEL_DENSE][t];
    return e->kernel[k][QM_BF16].n ? &e->kernel[k][QM_BF16] : &limit;
}

/* The rate of one node: linear between the measured points, and the last one's beyond them. */
static double node_read(const struct qm_node_model *n, double threads) {
    double before = 0, rate_before = 0;
    for (int i = 0; i < n->n; i++) {
        double at = n->read[i].threads, rate = n->read[i].rate;
        if (threads <= at)
            return rate_before + (rate - rate_before) * (threads - before) / (at - before);
        before = at;
        rate_before = rate;
    }
    return rate_before;
}

double qm_machine_model_read(const struct qm_machine_model *s, int threads) {
    if (threads <= 0 || threads >= s->cores)
        return s->read;
    double sum = 0, most = 0;
    for (int i = 0; i < s->nodes; i++) {
        sum += node_read(&s->node[i], (double)threads * s->node[i].cores / s->cores);
        most += node_read(&s->node[i], s->node[i].cores);
    }
    return sum / most * s->read;
}

double qm_machine_model_flops(const struct qm_machine_model *s, enum qm_dtype t, int threads) {
    double all = t == QM_F16 || t == QM_F32 ? s->f32 : s->bf16;
    return threads <= 0 || threads >= s->cores ? all : all * threads / s->cores;
}

static void set(struct qm_efficiency_curve *s, int n, const double (*points)[2]) {
    s->n = n;
    for (int i = 0; i < n; i++) {
        s->rows[i] = points[i][0];
        s->efficiency[i] = points[i][1];
    }
}

void qm_efficiency_default(struct qm_efficiency *e) {
    static const double dense[][2] = {{1, 0.93}, {8, 0.82}, {64, 0.88}, {512, 0.9}};
    static const double experts[][2] = {{1, 0.88}, {8, 0.7}, {32, 0.7}, {64, 0.75}, {512, 0.85}};
    static const double mxfp4[][2] = {{1, 0.8}, {8, 0.55}, {64, 0.6}, {512, 0.65}};
    static const double attention[][2] = {{1, 0.85}, {8, 0.55}, {96, 0.62}};
    *e = (struct qm_efficiency){.value_ns = 1.0, .route_ns = 1.0};
    set(&e->kernel[QM_KERNEL_DENSE][QM_BF16], 4, dense);
    set(&e->kernel[QM_KERNEL_EXPERTS][QM_BF16], 5, experts);
    set(&e->kernel[QM_KERNEL_EXPERTS][QM_MXFP4], 4, mxfp4);
    set(&e->kernel[QM_KERNEL_ATTENTION_64][QM_BF16], 3, attention);
    set(&e->kernel[QM_KERNEL_ATTENTION_128][QM_BF16], 3, attention);
}

void qm_efficiency_fill(struct qm_efficiency *e) {
    struct qm_efficiency by_default;
    qm_efficiency_default(&by_default);
    for (int k = 0; k < QM_KERNEL_CLASSES; k++)
        for (int t = 0; t < QM_DTYPE_COUNT; t++)
            if (!e->kernel[k][t].n)
                e->kernel[k][t] = by_default.kernel[k][t];
}

/* Digits with a point, and an exponent; -1 where there are none, or the number is not finite. */
static double read_decimal(const char *text, const char **end) {
    char *after;
    *end = text;
    if (text[0] < '0' || text[0] > '9' || text[1] == 'x' || text[1] == 'X')
        return -1;
    double x = strtod(text, &after);
    *end = after;
    return isfinite(x) ? x : -1;
}

int qm_size_parse(const char *option, const char *text, uint64_t *out, struct qm_error *err) {
    static const struct {
        const char *suffix;
        double bytes;
    } units[] = {
        {"GiB", 1 << 30},         {"G", 1 << 30},         {"GB", 1e9},  {"MiB", 1 << 20}, {"M", 1 << 20}, {"MB", 1e6},
        {"TiB", 1099511627776.0}, {"T", 1099511627776.0}, {"TB", 1e12}, {"B", 1},         {"", 1}};
    const char *end;
    double x = read_decimal(text, &end);
    for (size_t i = 0; x >= 0 && i < sizeof units / sizeof *units; i++)
        if (!strcmp(end, units[i].suffix) && x * units[i].bytes < 1e18) {
            *out = (uint64_t)(x * units[i].bytes);
            return QM_OK;
        }
    return qm_fail(err, QM_USAGE, "%s: expected a size such as 90GiB, 500GB or 1.5TB, found \"%s\"", option, text);
}

/* "500T", "1.5P", "1792e9". */
static bool parse_rate(const char *text, double unit, double *out) {
    const char *end;
    double x = read_decimal(text, &end);
    if (x <= 0)
        return false;
    if (*end == 'G' || *end == 'T' || *end == 'P')
        unit = *end == 'G' ? 1e9 : *end == 'T' ? 1e12 : 1e15, end++;
    *out = x * unit;
    return !*end && *out > 0 && *out < 1e18;
}

static int device_field(const char *option, const char *key, const char *value, struct qm_device_model *d,
                        struct qm_error *err) {
    double op;
    char title[96];
    snprintf(title, sizeof title, "%s: %s", option, key);
    if (!strcmp(key, "fail") && d->emulated && parse_rate(value, 1, &op)) {
        d->fail_at = (int64_t)op;
        return d->fail_at ? QM_OK : qm_fail(err, QM_USAGE, "%s: expected an op from 1 on", title);
    }
    if (!strcmp(key, "free") && d->emulated)
        return qm_size_parse(title, value, &d->free, err);
    const struct {
        const char *key;
        double unit, *to, *also;
    } fields[] = {{"bandwidth", 1e9, &d->read, NULL}, {"bf16", 1e12, &d->bf16, NULL},
                  {"f32", 1e12, &d->f32, NULL},       {"pcie", 1e9, &d->up, &d->down},
                  {"up", 1e9, &d->up, NULL},          {"down", 1e9, &d->down, NULL},
                  {"launch", 1, &d->launch_us, NULL}, {"handover", 1, &d->transfer_us, NULL},
                  {"watts", 1, &d->watts, NULL}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (!strcmp(key, fields[i].key)) {
            if (!parse_rate(value, fields[i].unit, fields[i].to))
                return qm_fail(err, QM_USAGE, "%s: expected a number above 0, found \"%s\"", title, value);
            if (fields[i].also)
                *fields[i].also = *fields[i].to;
            d->read_mark = fields[i].to == &d->read ? QM_MARK_GIVEN : d->read_mark;
            d->bf16_mark = fields[i].to == &d->bf16 ? QM_MARK_GIVEN : d->bf16_mark;
            return QM_OK;
        }
    return qm_fail(err, QM_USAGE,
                   "%s: expected bandwidth, bf16, f32, pcie, up, down, launch, handover or watts, found \"%s\"", option,
                   key);
}

int qm_device_model_parse(const char *option, const char *text, struct qm_device_model *out, struct qm_error *err) {
    char copy[512], *save = NULL;
    *out = (struct qm_device_model){.memory_mark = QM_MARK_GIVEN,
                                    .read_mark = QM_MARK_ESTIMATED,
                                    .bf16_mark = QM_MARK_ESTIMATED,
                                    .read = 1792e9,
                                    .bf16 = 400e12,
                                    .f32 = 100e12,
                                    .read_efficiency = 0.85,
                                    .flops_efficiency = 0.7,
                                    .attention_efficiency = 0.5,
                                    .up = 55e9,
                                    .down = 55e9,
                                    .cpu_read_busy = 0.9,
                                    .launch_us = 3,
                                    .transfer_us = 10};
    if (strlen(text) >= sizeof copy)
        return qm_fail(err, QM_USAGE, "%s: more than %zu bytes", option, sizeof copy - 1);
    memcpy(copy, text, strlen(text) + 1);
    char *colon = strchr(copy, ':');
    if (!colon || colon == copy || colon - copy >= (int)sizeof out->name)
        return qm_fail(err, QM_USAGE,
                       "%s: expected NAME:SIZE,... such as emulated:90GiB,bandwidth=1792,bf16=500T,pcie=55, "
                       "found \"%s\"",
                       option, text);
    *colon = 0;
    memcpy(out->name, copy, strlen(copy) + 1);
    out->emulated = !strncmp(copy, "emulated", 8);
    char *field = strtok_r(colon + 1, ",", &save);
    int rc = qm_size_parse(option, field ? field : "", &out->memory, err);
    while (!rc && (field = strtok_r(NULL, ",", &save))) {
        char *equals = strchr(field, '=');
        if (equals)
            *equals = 0;
        rc = device_field(option, field, equals ? equals + 1 : "", out, err);
    }
    if (!rc && out->memory == 0)
        rc = qm_fail(err, QM_USAGE, "%s: %s: expected some memory", option, out->name);
    out->up_busy = 0.9 * out->up;
    out->down_busy = 0.9 * out->down;
    return rc;
}
