/* The machine profile's file. */
#include "planner/profile.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/cache.h"
#include "base/file.h"
#include "base/json.h"

enum { FILE_LIMIT = 1 << 20, FIELDS = 18 };

static json_t *scaling_json(const struct qm_scaling *s) {
    json_t *list = json_array();
    for (int i = 0; i < s->n; i++)
        json_array_append_new(list, json_pack("[i, f]", s->point[i].threads, s->point[i].rate));
    return list;
}

json_t *qm_machine_profile_json(const struct qm_machine_profile *p) {
    json_t *scaling = json_array(), *between = json_array();
    for (int n = 0; n < p->nodes; n++) {
        json_t *row = json_array();
        for (int m = 0; m < p->nodes; m++)
            json_array_append_new(row, json_real(p->between[n][m]));
        json_array_append_new(between, row);
        json_array_append_new(scaling, scaling_json(&p->scaling[n]));
    }
    return json_pack("{s:i, s:s, s:s, s:s, s:o, s:o, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:o, s:o}",
                     "version", QM_PROFILE_VERSION, "identity", p->identity, "isa", p->isa, "measured", p->measured,
                     "read_by_threads", scaling, "read_between_nodes", between, "read", p->read, "bf16_core",
                     p->bf16_core, "bf16", p->bf16, "f32_core", p->f32_core, "f32", p->f32, "usual_read",
                     p->median_read, "usual_bf16", p->median_bf16, "usual_f32", p->median_f32, "region_us",
                     p->region_us, "barrier_us", p->barrier_us, "others", qm_noise_share_json(p->others), "stolen",
                     qm_noise_share_json(p->stolen));
}

static int positive(const json_t *v, const char *key, const char *name, double *out, struct qm_error *err) {
    *out = json_number_value(v);
    if (json_is_number(v) && *out > 0 && *out < 1e18)
        return QM_OK;
    return qm_fail(err, QM_INPUT, "%s: \"%s\": expected a number above 0", name, key);
}

static int number_field(const json_t *root, const char *key, const char *name, double *out, struct qm_error *err) {
    return positive(json_object_get(root, key), key, name, out, err);
}

static int text_field(const json_t *root, const char *key, const char *name, char *out, size_t size,
                      struct qm_error *err) {
    const char *text = json_string_value(json_object_get(root, key));
    if (!text || !*text || strlen(text) >= size)
        return qm_fail(err, QM_INPUT, "%s: \"%s\": expected a text of 1 to %zu bytes", name, key, size - 1);
    snprintf(out, size, "%s", text);
    return QM_OK;
}

static int parse_scaling(const json_t *list, const char *name, struct qm_scaling *out, struct qm_error *err) {
    size_t n = json_array_size(list);
    if (n < 1 || n > QM_SCALING_POINTS)
        return qm_fail(err, QM_INPUT, "%s: \"read_by_threads\": expected 1 to %d points a node", name,
                       QM_SCALING_POINTS);
    int64_t before = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *point = json_array_get(list, i), *threads = json_array_get(point, 0);
        int64_t v = json_is_integer(threads) ? json_integer_value(threads) : 0;
        if (json_array_size(point) != 2 || v <= before || v > 65536)
            return qm_fail(err, QM_INPUT, "%s: \"read_by_threads\": expected ascending pairs of threads and rate",
                           name);
        int rc = positive(json_array_get(point, 1), "read_by_threads", name, &out->point[i].rate, err);
        if (rc)
            return rc;
        out->point[i].threads = (int)(before = v);
    }
    out->n = (int)n;
    return QM_OK;
}

static int parse_nodes(const json_t *root, const char *name, struct qm_machine_profile *out, struct qm_error *err) {
    const json_t *scaling = json_object_get(root, "read_by_threads");
    const json_t *between = json_object_get(root, "read_between_nodes");
    size_t n = json_array_size(scaling);
    if (n < 1 || n > QM_MAX_NODES || json_array_size(between) != n)
        return qm_fail(err, QM_INPUT, "%s: expected \"read_by_threads\" and \"read_between_nodes\" of 1 to %d nodes",
                       name, QM_MAX_NODES);
    out->nodes = (int)n;
    int rc = QM_OK;
    for (size_t i = 0; i < n && !rc; i++) {
        const json_t *row = json_array_get(between, i);
        rc = parse_scaling(json_array_get(scaling, i), name, &out->scaling[i], err);
        if (!rc && json_array_size(row) != n)
            rc = qm_fail(err, QM_INPUT, "%s: \"read_between_nodes\": expected %zu rows of as many", name, n);
        for (size_t j = 0; j < n && !rc; j++)
            rc = positive(json_array_get(row, j), "read_between_nodes", name, &out->between[i][j], err);
    }
    return rc;
}

static int parse_fields(const json_t *root, const char *name, struct qm_machine_profile *out, struct qm_error *err) {
    const struct {
        const char *key;
        double *to;
    } numbers[] = {{"read", &out->read},
                   {"bf16_core", &out->bf16_core},
                   {"bf16", &out->bf16},
                   {"f32_core", &out->f32_core},
                   {"f32", &out->f32},
                   {"usual_read", &out->median_read},
                   {"usual_bf16", &out->median_bf16},
                   {"usual_f32", &out->median_f32},
                   {"region_us", &out->region_us},
                   {"barrier_us", &out->barrier_us}};
    int64_t version = 0;
    int rc = qm_json_int(root, "version", name, 0, INT32_MAX, &version, err);
    if (!rc && (version != QM_PROFILE_VERSION || json_object_size(root) != FIELDS))
        rc = qm_fail(err, QM_INPUT, "%s: expected version %d with %d fields, found version %lld with %zu", name,
                     QM_PROFILE_VERSION, FIELDS, (long long)version, json_object_size(root));
    if (!rc)
        rc = text_field(root, "identity", name, out->identity, sizeof out->identity, err);
    if (!rc)
        rc = text_field(root, "isa", name, out->isa, sizeof out->isa, err);
    if (!rc)
        rc = text_field(root, "measured", name, out->measured, sizeof out->measured, err);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers && !rc; i++)
        rc = number_field(root, numbers[i].key, name, numbers[i].to, err);
    if (!rc)
        rc = qm_noise_share(root, "others", name, &out->others, err);
    if (!rc)
        rc = qm_noise_share(root, "stolen", name, &out->stolen, err);
    return rc ? rc : parse_nodes(root, name, out, err);
}

int qm_machine_profile_from_json(const json_t *root, const char *name, struct qm_machine_profile *out,
                                 struct qm_error *err) {
    *out = (struct qm_machine_profile){0};
    if (!qm_json_is_object(root))
        return qm_fail(err, QM_INPUT, "%s: expected an object, found %s", name, qm_json_type_name(root));
    return parse_fields(root, name, out, err);
}

struct qm_noise qm_machine_profile_noise(const struct qm_machine_profile *p) {
    const struct {
        const char *what;
        double spread;
    } rates[] = {{"reading memory", p->read / p->median_read},
                 {"BF16", p->bf16 / p->median_bf16},
                 {"F32", p->f32 / p->median_f32}};
    struct qm_noise n = {p->others, p->stolen, 0, NULL};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++)
        if (rates[i].spread > n.spread) {
            n.spread = rates[i].spread;
            n.spread_of = rates[i].what;
        }
    return n;
}

bool qm_machine_profile_noisy(const struct qm_machine_profile *p, char *out, size_t size) {
    struct qm_noise n = qm_machine_profile_noise(p);
    return qm_noise_text(&n, out, size);
}

static int node_threads(const struct qm_scaling *s, double share) {
    double best = 0;
    for (int i = 0; i < s->n; i++)
        best = s->point[i].rate > best ? s->point[i].rate : best;
    int i = 0;
    while (i < s->n - 1 && s->point[i].rate < share * best)
        i++;
    return s->point[i].threads;
}

int qm_machine_profile_threads(const struct qm_machine_profile *p, double share) {
    int most = 1;
    for (int n = 0; n < p->nodes; n++) {
        int threads = node_threads(&p->scaling[n], share);
        most = threads > most ? threads : most;
    }
    return most * p->nodes;
}

/* FNV-1a, going on from h. */
static uint64_t hash(uint64_t h, const char *s) {
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 1099511628211u;
    return h;
}

int qm_machine_profile_path(const char *identity, const char *isa, const char *cache, char *out, size_t size,
                            struct qm_error *err) {
    uint64_t h = hash(hash(hash(14695981039346656037u, identity), ";"), isa);
    int n = snprintf(out, size, "%s/machine-%016" PRIx64 ".json", cache, h);
    return n > 0 && (size_t)n < size ? QM_OK : qm_fail(err, QM_INPUT, "the path of the cache directory is too long");
}

int qm_machine_profile_load(const char *path, const char *identity, const char *isa, struct qm_machine_profile *out,
                            bool *found, struct qm_error *err) {
    json_t *root = NULL;
    *found = qm_file_there(path);
    if (!*found)
        return QM_OK;
    int rc = qm_json_load(path, FILE_LIMIT, &root, err);
    if (!rc)
        rc = qm_machine_profile_from_json(root, path, out, err);
    if (!rc && strcmp(out->identity, identity) != 0)
        rc = qm_fail(err, QM_INPUT, "%s is of another machine: \"%s\"", path, out->identity);
    if (!rc && strcmp(out->isa, isa) != 0)
        rc = qm_fail(err, QM_INPUT, "%s was measured with %s", path, out->isa);
    json_decref(root);
    return rc;
}

int qm_machine_profile_save(const char *path, const struct qm_machine_profile *p, struct qm_error *err) {
    int rc = qm_cache_place(path, err);
    return rc ? rc : qm_json_save(path, qm_machine_profile_json(p), 2, err);
}
