/* Writing and reading plans. */
#include "engine/plan_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"

enum { VERSION = 1 };

static int write_experts(const struct qm_placement *p, int64_t l, const char *const *names, struct qm_buf *b,
                         struct qm_error *err) {
    bool first = true;
    int rc = qm_buf_str(b, ", \"experts\": {", err);
    for (int d = 1; d < p->devices && !rc; d++) {
        bool any = false;
        for (int64_t e = 0, end; e < p->experts && !rc; e = end) {
            end = e + 1;
            if (qm_placement_expert(p, l, e) != d)
                continue;
            while (end < p->experts && qm_placement_expert(p, l, end) == d)
                end++;
            if (!any)
                rc = qm_buf_printf(b, err, "%s\"%s\": \"", first ? "" : ", ", names[d]);
            if (!rc && end - e > 1)
                rc = qm_buf_printf(b, err, "%s%" PRId64 "-%" PRId64, any ? "," : "", e, end - 1);
            else if (!rc)
                rc = qm_buf_printf(b, err, "%s%" PRId64, any ? "," : "", e);
            any = true;
            first = false;
        }
        if (any && !rc)
            rc = qm_buf_str(b, "\"", err);
    }
    return rc ? rc : qm_buf_str(b, "}", err);
}

static int write_ffn(const struct qm_placement *p, const struct qm_model *m, int64_t l, const char *const *names,
                     struct qm_buf *b, struct qm_error *err) {
    const struct qm_layer_placement *at = &p->layer[l];
    if (!at->ffn_cpu)
        return qm_buf_printf(b, err, ", \"ffn\": \"%s\"", names[at->ffn]);
    return qm_buf_printf(b, err, ", \"ffn\": {\"%s\": %" PRId64 ", \"%s\": %" PRId64 "}", names[QM_DEVICE_CPU],
                         qm_placement_columns_on(p, m, l, QM_DEVICE_CPU), names[at->ffn],
                         qm_placement_columns_on(p, m, l, at->ffn));
}

static int write_layer(const struct qm_placement *p, const struct qm_model *m, int64_t l, const char *const *names,
                       struct qm_buf *b, struct qm_error *err) {
    const struct qm_layer_placement *at = &p->layer[l];
    bool moe = m->config.layer[l].moe;
    int rc = qm_buf_printf(b, err, "  {\"attention\": \"%s\"", names[at->attention]);
    if (!rc)
        rc = moe ? write_experts(p, l, names, b, err) : write_ffn(p, m, l, names, b, err);
    if (!rc && (at->stream_attention || at->stream_ffn)) {
        rc = qm_buf_str(b, ", \"stream\": {", err);
        if (!rc && at->stream_attention)
            rc = qm_buf_printf(b, err, "\"attention\": \"%s\"%s", names[at->stream_attention],
                               at->stream_ffn ? ", " : "");
        if (!rc && at->stream_ffn)
            rc = qm_buf_printf(b, err, "\"%s\": \"%s\"", moe ? "experts" : "ffn", names[at->stream_ffn]);
        if (!rc)
            rc = qm_buf_str(b, "}", err);
    }
    return rc ? rc : qm_buf_str(b, l + 1 < p->layers ? "},\n" : "}]}\n", err);
}

int qm_plan_write(const struct qm_placement *p, const struct qm_model *m, const char *const *names, char **out,
                  struct qm_error *err) {
    const struct qm_config *c = &m->config;
    struct qm_buf b = {0};
    *out = NULL;
    int rc = qm_buf_printf(&b, err,
                           "{\"version\": %d,\n \"model\": {\"model_type\": \"%s\", \"layers\": %" PRId64
                           ", \"hidden\": %" PRId64 ", \"experts\": %" PRId64 ", \"parameters\": %" PRId64
                           "},\n \"head\": \"%s\", \"stream_rows\": %" PRId64 ",\n \"layer\": [\n",
                           VERSION, c->model_type, c->layers, c->hidden, c->experts, m->parameters, names[p->head],
                           p->stream_rows);
    for (int64_t l = 0; l < p->layers && !rc; l++)
        rc = write_layer(p, m, l, names, &b, err);
    if (rc)
        qm_buf_free(&b);
    *out = b.data;
    return rc;
}

struct reader {
    const char *name;
    const char *const *names;
    int devices;
    const struct qm_model *model;
    struct qm_placement *out;
    int64_t layer;
};

static int find_device(const struct reader *r, const json_t *v, const char *key, uint8_t *out, struct qm_error *err) {
    const char *text = json_string_value(v);
    for (int d = 0; d < r->devices && text; d++)
        if (!strcmp(text, r->names[d])) {
            *out = (uint8_t)d;
            return QM_OK;
        }
    char where[40] = "";
    if (r->layer >= 0)
        snprintf(where, sizeof where, "layer %" PRId64 ": ", r->layer);
    return qm_fail(err, QM_INPUT, "%s: %s\"%s\": expected the name of a device that is there, found %s%s%s", r->name,
                   where, key, text ? "\"" : "",
                   text ? text
                   : v  ? qm_json_type_name(v)
                        : "nothing",
                   text ? "\"" : "");
}

/* "0-31,40" */
static int place_experts(const struct reader *r, const char *text, uint8_t device, struct qm_error *err) {
    int64_t experts = r->out->experts;
    for (const char *at = text;; at++) {
        char *end;
        long long first = *at >= '0' && *at <= '9' ? strtoll(at, &end, 10) : -1, last = first;
        if (first >= 0 && *end == '-' && end[1] >= '0' && end[1] <= '9')
            last = strtoll(end + 1, &end, 10);
        if (first < 0 || last < first || last >= experts || (*end && *end != ','))
            return qm_fail(err, QM_INPUT,
                           "%s: layer %" PRId64 ": \"experts\": expected numbers from 0 to %" PRId64
                           " as in \"0-31,40\", found \"%s\"",
                           r->name, r->layer, experts - 1, text);
        for (long long e = first; e <= last; e++) {
            uint8_t *to = &r->out->expert[r->layer * experts + e];
            if (*to)
                return qm_fail(err, QM_INPUT, "%s: layer %" PRId64 ": expert %lld is placed twice", r->name, r->layer,
                               e);
            *to = device;
        }
        at = end;
        if (!*at)
            return QM_OK;
    }
}

static int parse_experts(const struct reader *r, json_t *map, struct qm_error *err) {
    const char *key;
    json_t *v;
    if (!qm_json_is_object(map))
        return qm_fail(err, QM_INPUT, "%s: layer %" PRId64 ": \"experts\": expected an object", r->name, r->layer);
    json_object_foreach(map, key, v) {
        uint8_t device = 0;
        json_t *named = json_string(key);
        int rc = find_device(r, named, "experts", &device, err);
        json_decref(named);
        if (!rc && (device == QM_DEVICE_CPU || !json_is_string(v)))
            rc = qm_fail(err, QM_INPUT,
                         "%s: layer %" PRId64 ": \"experts\": expected a text for each device but the CPU", r->name,
                         r->layer);
        if (!rc)
            rc = place_experts(r, json_string_value(v), device, err);
        if (rc)
            return rc;
    }
    return QM_OK;
}

/* A device's name, or {"cpu": 4096, "card": 24576}. */
static int parse_ffn(const struct reader *r, json_t *v, struct qm_layer_placement *at, struct qm_error *err) {
    int64_t all = r->model->config.ffn, here = 0, there = 0;
    const char *key;
    json_t *n;
    if (!qm_json_is_object(v))
        return find_device(r, v, "ffn", &at->ffn, err);
    json_object_foreach(v, key, n) {
        uint8_t device = 0;
        json_t *named = json_string(key);
        int rc = find_device(r, named, "ffn", &device, err);
        json_decref(named);
        if (rc)
            return rc;
        if (device != QM_DEVICE_CPU)
            at->ffn = device;
        *(device == QM_DEVICE_CPU ? &here : &there) = json_is_integer(n) ? json_integer_value(n) : 0;
    }
    if (json_object_size(v) != 2 || here < 1 || there < 1 || here > all || there != all - here || here % QM_FFN_UNIT)
        return qm_fail(err, QM_INPUT,
                       "%s: layer %" PRId64 ": \"ffn\": expected the columns of \"%s\", a multiple of %d, and those of "
                       "one device, together %" PRId64,
                       r->name, r->layer, r->names[QM_DEVICE_CPU], QM_FFN_UNIT, all);
    at->ffn_cpu = (int32_t)here;
    return QM_OK;
}

static int parse_layer(const struct reader *r, json_t *v, struct qm_error *err) {
    struct qm_layer_placement *at = &r->out->layer[r->layer];
    bool moe = r->model->config.layer[r->layer].moe;
    const char *ffn_key = moe ? "experts" : "ffn";
    json_t *attention = json_object_get(v, "attention"), *ffn = json_object_get(v, ffn_key);
    json_t *stream = json_object_get(v, "stream");
    size_t taken = (attention != NULL) + (ffn != NULL) + (stream != NULL);
    if (!qm_json_is_object(v) || taken != json_object_size(v))
        return qm_fail(err, QM_INPUT, "%s: layer %" PRId64 ": expected attention, %s and stream, and nothing else",
                       r->name, r->layer, ffn_key);
    int rc = find_device(r, attention, "attention", &at->attention, err);
    if (!rc && ffn)
        rc = moe ? parse_experts(r, ffn, err) : parse_ffn(r, ffn, at, err);
    if (rc || !stream)
        return rc;
    json_t *of_attention = json_object_get(stream, "attention"), *of_ffn = json_object_get(stream, ffn_key);
    if (!qm_json_is_object(stream) || json_object_size(stream) != (size_t)((of_attention != NULL) + (of_ffn != NULL)))
        return qm_fail(err, QM_INPUT, "%s: layer %" PRId64 ": \"stream\": expected attention and %s, and nothing else",
                       r->name, r->layer, ffn_key);
    if (of_attention)
        rc = find_device(r, of_attention, "stream", &at->stream_attention, err);
    if (!rc && of_ffn)
        rc = find_device(r, of_ffn, "stream", &at->stream_ffn, err);
    return rc;
}

static int check_model(const struct reader *r, const json_t *v, struct qm_error *err) {
    const struct qm_config *c = &r->model->config;
    const struct {
        const char *key;
        int64_t is;
    } numbers[] = {
        {"layers", c->layers}, {"hidden", c->hidden}, {"experts", c->experts}, {"parameters", r->model->parameters}};
    const char *type = json_string_value(json_object_get(v, "model_type"));
    if (!type || json_object_size(v) != 5)
        return qm_fail(err, QM_INPUT, "%s: \"model\": expected model_type, layers, hidden, experts and parameters",
                       r->name);
    if (strcmp(type, c->model_type) != 0)
        return qm_fail(err, QM_INPUT, "%s is a plan of another model: %s, this one is %s", r->name, type,
                       c->model_type);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        const json_t *n = json_object_get(v, numbers[i].key);
        if (!json_is_integer(n) || json_integer_value(n) != numbers[i].is)
            return qm_fail(err, QM_INPUT, "%s is a plan of another model: %s is not %" PRId64, r->name, numbers[i].key,
                           numbers[i].is);
    }
    return QM_OK;
}

static int parse_plan(struct reader *r, const json_t *root, struct qm_error *err) {
    enum { FIELDS = 5 };
    int64_t version = 0;
    const json_t *layers = json_object_get(root, "layer");
    int rc = qm_json_int(root, "version", r->name, VERSION, VERSION, &version, err);
    if (!rc && (!version || json_object_size(root) != FIELDS || !json_object_get(root, "stream_rows")))
        rc = qm_fail(err, QM_INPUT, "%s: expected version, model, head, stream_rows and layer", r->name);
    if (!rc)
        rc = check_model(r, json_object_get(root, "model"), err);
    if (!rc)
        rc = qm_json_int(root, "stream_rows", r->name, 0, 1 << 20, &r->out->stream_rows, err);
    r->layer = -1; /* none yet */
    if (!rc)
        rc = find_device(r, json_object_get(root, "head"), "head", &r->out->head, err);
    if (!rc && json_array_size(layers) != (size_t)r->out->layers)
        rc = qm_fail(err, QM_INPUT, "%s: \"layer\": expected a list of %" PRId64 " layers, found %zu", r->name,
                     r->out->layers, json_array_size(layers));
    for (r->layer = 0; r->layer < r->out->layers && !rc; r->layer++)
        rc = parse_layer(r, json_array_get(layers, (size_t)r->layer), err);
    return rc;
}

int qm_plan_parse(const char *text, size_t len, const char *name, const struct qm_model *m, const char *const *names,
                  int devices, struct qm_placement *out, struct qm_error *err) {
    struct reader r = {.name = name, .names = names, .devices = devices, .model = m, .out = out};
    json_t *root = NULL;
    *out = (struct qm_placement){0};
    int rc = qm_json_parse_strict(text, len, name, &root, err);
    if (!rc && !qm_json_is_object(root))
        rc = qm_fail(err, QM_INPUT, "%s: expected an object, found %s", name, qm_json_type_name(root));
    if (!rc)
        rc = qm_placement_open(m, devices, out, err);
    if (!rc)
        rc = parse_plan(&r, root, err);
    if (!rc && (rc = qm_placement_check(out, m, err)))
        qm_fail_context(err, "%s", name);
    if (rc)
        qm_placement_free(out);
    json_decref(root);
    return rc;
}
