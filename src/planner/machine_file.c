/* The file of a described machine, and the efficiency of the kernels, which this machine's profile has too. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "planner/machine.h"

enum { VERSION = 1 };

/* An object being read: each field that is taken is counted, so that what is left over is found. */
struct reader {
    const json_t *object;
    const char *name, *where;
    size_t taken;
    struct qm_machine_model *speed; /* whose marks are counted; may be NULL */
};

static const json_t *take(struct reader *r, const char *key) {
    const json_t *v = json_object_get(r->object, key);
    r->taken += v != NULL;
    return v;
}

static int finish(const struct reader *r, struct qm_error *err) {
    if (r->taken == json_object_size(r->object))
        return QM_OK;
    return qm_fail(err, QM_INPUT, "%s: %s: %zu fields are not known here", r->name, r->where,
                   json_object_size(r->object) - r->taken);
}

static int open_object(struct reader *r, const json_t *v, const char *name, const char *where,
                       struct qm_machine_model *speed, struct qm_error *err) {
    *r = (struct reader){.object = v, .name = name, .where = where, .speed = speed};
    if (qm_json_is_object(v))
        return QM_OK;
    return qm_fail(err, QM_INPUT, "%s: %s: expected an object, found %s", name, where,
                   v ? qm_json_type_name(v) : "nothing");
}

/* X, or {"value": X, "is": "published" | "estimated"}. */
static int number(const struct reader *r, const json_t *v, const char *key, double least, double most, double *out,
                  enum qm_mark *mark, struct qm_error *err) {
    enum qm_mark is = QM_MARK_MEASURED;
    if (qm_json_is_object(v)) {
        const char *text = json_string_value(json_object_get(v, "is"));
        is = text && !strcmp(text, "published") ? QM_MARK_PUBLISHED : QM_MARK_ESTIMATED;
        if (json_object_size(v) != 2 || !text || (is == QM_MARK_ESTIMATED && strcmp(text, "estimated") != 0))
            return qm_fail(
                err, QM_INPUT,
                "%s: %s: \"%s\": expected a number, or {\"value\": X, \"is\": \"published\" or \"estimated\"}", r->name,
                r->where, key);
        v = json_object_get(v, "value");
    }
    *out = json_number_value(v);
    if (!json_is_number(v) || !(*out >= least && *out <= most))
        return qm_fail(err, QM_INPUT, "%s: %s: \"%s\": expected a number from %g to %g", r->name, r->where, key, least,
                       most);
    if (r->speed)
        r->speed->marks[is]++;
    if (mark)
        *mark = is;
    return QM_OK;
}

struct field {
    const char *key;
    double least, most;
    double *to;
    enum qm_mark *mark;
    bool optional;
};

static int numbers(struct reader *r, const struct field *fields, size_t n, struct qm_error *err) {
    int rc = QM_OK;
    for (size_t i = 0; i < n && !rc; i++) {
        const json_t *v = take(r, fields[i].key);
        if (v || !fields[i].optional)
            rc = number(r, v, fields[i].key, fields[i].least, fields[i].most, fields[i].to, fields[i].mark, err);
    }
    return rc;
}

static int text_of(struct reader *r, const char *key, char *out, size_t size, struct qm_error *err) {
    const char *text = json_string_value(take(r, key));
    if (!text || !*text || strlen(text) >= size)
        return qm_fail(err, QM_INPUT, "%s: %s: \"%s\": expected a text of 1 to %zu bytes", r->name, r->where, key,
                       size - 1);
    snprintf(out, size, "%s", text);
    return QM_OK;
}

static int parse_curve(const struct reader *r, const json_t *list, const char *key, struct qm_efficiency_curve *out,
                       struct qm_error *err) {
    size_t n = json_array_size(list);
    double before = 0;
    if (n < 1 || n > QM_EFFICIENCY_POINTS)
        return qm_fail(err, QM_INPUT, "%s: %s: \"%s\": expected 1 to %d pairs of rows and efficiency", r->name,
                       r->where, key, QM_EFFICIENCY_POINTS);
    for (size_t i = 0; i < n; i++) {
        const json_t *pair = json_array_get(list, i), *rows = json_array_get(pair, 0),
                     *efficiency = json_array_get(pair, 1);
        out->rows[i] = json_number_value(rows);
        out->efficiency[i] = json_number_value(efficiency);
        if (json_array_size(pair) != 2 || !json_is_number(rows) || !json_is_number(efficiency) ||
            !(out->rows[i] > before) || !(out->rows[i] <= 1e6) ||
            !(out->efficiency[i] >= 1e-4 && out->efficiency[i] <= 4))
            return qm_fail(err, QM_INPUT, "%s: %s: \"%s\": expected ascending rows, and efficiencies from 0.0001 to 4",
                           r->name, r->where, key);
        before = out->rows[i];
    }
    out->n = (int)n;
    return QM_OK;
}

static int parse_class(struct reader *r, enum qm_kernel_class k, struct qm_efficiency *out, struct qm_error *err) {
    struct reader types;
    int rc = open_object(&types, take(r, qm_kernel_class_name(k)), r->name, qm_kernel_class_name(k), NULL, err);
    for (int t = 0; t < QM_DTYPE_COUNT && !rc; t++) {
        const json_t *list = take(&types, qm_dtype_name(t));
        if (list)
            rc = parse_curve(&types, list, qm_dtype_name(t), &out->kernel[k][t], err);
    }
    return rc ? rc : finish(&types, err);
}

int qm_efficiency_parse(const json_t *root, const char *name, struct qm_efficiency *out, struct qm_error *err) {
    struct reader r;
    *out = (struct qm_efficiency){0};
    const struct field fields[] = {{"value_ns", 0, 1e6, &out->value_ns, NULL, false},
                                   {"route_ns", 0, 1e6, &out->route_ns, NULL, false}};
    int rc = open_object(&r, root, name, "efficiency", NULL, err);
    if (!rc)
        rc = numbers(&r, fields, 2, err);
    for (int k = 0; k < QM_KERNEL_CLASSES && !rc; k++)
        rc = parse_class(&r, (enum qm_kernel_class)k, out, err);
    return rc ? rc : finish(&r, err);
}

json_t *qm_efficiency_json(const struct qm_efficiency *e) {
    json_t *root = json_object();
    for (int k = 0; k < QM_KERNEL_CLASSES; k++) {
        json_t *types = json_object();
        for (int t = 0; t < QM_DTYPE_COUNT; t++) {
            const struct qm_efficiency_curve *s = &e->kernel[k][t];
            json_t *list = json_array();
            for (int i = 0; i < s->n; i++)
                json_array_append_new(list, json_pack("[f, f]", s->rows[i], s->efficiency[i]));
            if (s->n)
                json_object_set(types, qm_dtype_name(t), list);
            json_decref(list);
        }
        json_object_set_new(root, qm_kernel_class_name((enum qm_kernel_class)k), types);
    }
    json_object_set_new(root, "value_ns", json_real(e->value_ns));
    json_object_set_new(root, "route_ns", json_real(e->route_ns));
    return root;
}

static int parse_scaling(const struct reader *r, const json_t *list, struct qm_node_model *out, struct qm_error *err) {
    size_t n = json_array_size(list);
    if (n < 1 || n > QM_MODEL_POINTS)
        return qm_fail(err, QM_INPUT, "%s: %s: \"read_by_threads\": expected 1 to %d pairs of threads and rate",
                       r->name, r->where, QM_MODEL_POINTS);
    int before = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *pair = json_array_get(list, i), *threads = json_array_get(pair, 0);
        json_int_t v = json_integer_value(threads);
        if (json_array_size(pair) != 2 || !json_is_integer(threads) || v <= before || v > 65536)
            return qm_fail(err, QM_INPUT, "%s: %s: \"read_by_threads\": expected ascending pairs of threads and rate",
                           r->name, r->where);
        int rc = number(r, json_array_get(pair, 1), "read_by_threads", 1e6, 1e18, &out->read[i].rate, NULL, err);
        if (rc)
            return rc;
        out->read[i].threads = before = (int)v;
    }
    out->n = (int)n;
    return QM_OK;
}

static int parse_node(const json_t *v, const char *name, struct qm_machine_model *s, struct qm_error *err) {
    struct reader r;
    struct qm_node_model *node = &s->node[s->nodes];
    double memory = 0, cores = 0;
    const struct field fields[] = {{"memory", 1 << 20, 1e18, &memory, NULL, false},
                                   {"cores", 1, 4096, &cores, NULL, false}};
    int rc = open_object(&r, v, name, "nodes", s, err);
    if (!rc)
        rc = numbers(&r, fields, 2, err);
    if (!rc)
        rc = parse_scaling(&r, take(&r, "read_by_threads"), node, err);
    if (!rc)
        rc = finish(&r, err);
    if (rc)
        return rc;
    node->memory = (uint64_t)memory;
    node->cores = (int)cores;
    s->memory += node->memory;
    s->cores += node->cores;
    s->nodes++;
    return QM_OK;
}

static int parse_device(const json_t *v, const char *name, struct qm_machine_model *s, struct qm_error *err) {
    struct reader r;
    struct qm_device_model *d = &s->device[s->devices];
    double memory = 0, reserve = QM_CARD_RESERVE;
    const struct field fields[] = {
        {"memory", 1 << 20, 1e18, &memory, &d->memory_mark, false},
        {"reserve", 0, 1e18, &reserve, NULL, true},
        {"read", 1e6, 1e18, &d->read, &d->read_mark, false},
        {"bf16", 1e6, 1e21, &d->bf16, &d->bf16_mark, false},
        {"f32", 1e6, 1e21, &d->f32, NULL, false},
        {"share_read", 0.001, 1, &d->read_efficiency, NULL, false},
        {"share_flops", 0.001, 1, &d->flops_efficiency, NULL, false},
        {"share_attention", 0.001, 1, &d->attention_efficiency, NULL, false},
        {"up", 1e6, 1e18, &d->up, NULL, false},
        {"down", 1e6, 1e18, &d->down, NULL, false},
        {"up_busy", 1e6, 1e18, &d->up_busy, NULL, false},
        {"down_busy", 1e6, 1e18, &d->down_busy, NULL, false},
        {"cpu_read_busy", 0.001, 1, &d->cpu_read_busy, NULL, false},
        {"launch_us", 0, 1e6, &d->launch_us, NULL, false},
        {"handover_us", 0, 1e6, &d->transfer_us, NULL, false},
        {"watts", 0.1, 1e6, &d->watts, NULL, true},
        {"idle_watts", 0.1, 1e6, &d->idle_watts, NULL, true},
    };
    int rc = open_object(&r, v, name, "devices", s, err);
    if (!rc)
        rc = text_of(&r, "name", d->name, sizeof d->name, err);
    if (!rc)
        rc = numbers(&r, fields, sizeof fields / sizeof *fields, err);
    if (!rc)
        rc = finish(&r, err);
    if (rc)
        return rc;
    d->reserve = (uint64_t)(reserve < memory ? reserve : memory);
    d->memory = (uint64_t)memory - d->reserve;
    s->devices++;
    return QM_OK;
}

/* A list of 1 (or 0) to `most` values, each read by `each`. */
static int parse_list(struct reader *r, const char *key, size_t least, size_t most,
                      int (*each)(const json_t *v, const char *name, struct qm_machine_model *s, struct qm_error *err),
                      struct qm_error *err) {
    const json_t *list = take(r, key);
    size_t n = json_array_size(list);
    if ((list && !json_is_array(list)) || n < least || n > most)
        return qm_fail(err, QM_INPUT, "%s: \"%s\": expected a list of %zu to %zu", r->name, key, least, most);
    int rc = QM_OK;
    for (size_t i = 0; i < n && !rc; i++)
        rc = each(json_array_get(list, i), r->name, r->speed, err);
    return rc;
}

static int parse_source(const json_t *v, const char *name, struct qm_machine_model *s, struct qm_error *err) {
    const char *text = json_string_value(v);
    if (!text || strlen(text) >= sizeof s->source[0])
        return qm_fail(err, QM_INPUT, "%s: \"sources\": expected texts of at most %zu bytes", name,
                       sizeof s->source[0] - 1);
    snprintf(s->source[s->n_sources++], sizeof s->source[0], "%s", text);
    return QM_OK;
}

static int parse_speed(const json_t *root, const char *name, struct qm_machine_model *s, struct qm_error *err) {
    struct reader r;
    double version = 0;
    const struct field fields[] = {
        {"read", 1e6, 1e18, &s->read, &s->read_mark, false},
        {"bf16", 1e6, 1e21, &s->bf16, &s->bf16_mark, false},
        {"f32", 1e6, 1e21, &s->f32, NULL, false},
        {"region_us", 0, 1e6, &s->region_us, NULL, false},
        {"barrier_us", 0, 1e6, &s->barrier_us, NULL, false},
        {"watts", 0.1, 1e6, &s->watts, NULL, true},
        {"idle_watts", 0.1, 1e6, &s->idle_watts, NULL, true},
    };
    const struct field version_field = {"version", VERSION, VERSION, &version, NULL, false};
    int rc = open_object(&r, root, name, "the machine", NULL, err);
    if (!rc)
        rc = numbers(&r, &version_field, 1, err);
    r.speed = s;
    if (!rc)
        rc = text_of(&r, "name", s->name, sizeof s->name, err);
    if (!rc)
        rc = text_of(&r, "isa", s->isa, sizeof s->isa, err);
    if (!rc)
        rc = parse_list(&r, "sources", 0, QM_MAX_SOURCES, parse_source, err);
    if (!rc)
        rc = parse_list(&r, "nodes", 1, QM_MODEL_NODES, parse_node, err);
    if (!rc)
        rc = numbers(&r, fields, sizeof fields / sizeof *fields, err);
    const json_t *efficiency = rc ? NULL : take(&r, "efficiency");
    qm_efficiency_default(&s->efficiency);
    s->efficiency_mark = efficiency ? QM_MARK_ESTIMATED : QM_MARK_DEFAULT;
    if (efficiency)
        rc = qm_efficiency_parse(efficiency, name, &s->efficiency, err);
    qm_efficiency_fill(&s->efficiency);
    if (!rc)
        rc = parse_list(&r, "devices", 0, QM_MAX_DEVICES - 1, parse_device, err);
    return rc ? rc : finish(&r, err);
}

int qm_machine_model_parse(const char *text, size_t len, const char *name, struct qm_machine_model *out,
                           struct qm_error *err) {
    json_t *root = NULL;
    *out = (struct qm_machine_model){0};
    int rc = qm_json_parse_strict(text, len, name, &root, err);
    if (!rc)
        rc = parse_speed(root, name, out, err);
    json_decref(root);
    return rc;
}

int qm_machine_model_add_device(const char *text, size_t len, const char *name, struct qm_machine_model *s,
                                struct qm_error *err) {
    json_t *root = NULL;
    struct reader r = {0};
    double version = 0;
    const struct field version_field = {"version", VERSION, VERSION, &version, NULL, false};
    int rc = qm_json_parse_strict(text, len, name, &root, err);
    if (!rc)
        rc = open_object(&r, root, name, "the device", NULL, err);
    if (!rc)
        rc = numbers(&r, &version_field, 1, err);
    r.speed = s;
    if (!rc)
        rc = parse_list(&r, "sources", 0, (size_t)(QM_MAX_SOURCES - s->n_sources), parse_source, err);
    if (!rc && s->devices == QM_MAX_DEVICES - 1)
        rc = qm_fail(err, QM_USAGE, "%s: more than %d devices", name, QM_MAX_DEVICES - 1);
    if (!rc)
        rc = parse_device(take(&r, "device"), name, s, err);
    if (!rc)
        rc = finish(&r, err);
    json_decref(root);
    return rc;
}
