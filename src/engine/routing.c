/* Counts of routing: the profile's memory, file and statistics. */
#include "engine/routing.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"

enum { VERSION = 1, MAX_EXPERTS = 65536 };

static int open_profile(int64_t layers, int64_t experts, int64_t chosen, struct qm_routing_profile *out,
                        struct qm_error *err) {
    *out = (struct qm_routing_profile){.layers = layers, .experts = experts, .chosen = chosen};
    out->count = calloc((size_t)(layers * experts) + 1, sizeof *out->count);
    out->again = calloc((size_t)layers + 1, sizeof *out->again);
    out->last = calloc((size_t)(layers * chosen) + 1, sizeof *out->last);
    if (out->count && out->again && out->last)
        return QM_OK;
    qm_routing_profile_free(out);
    return qm_fail_memory(err, (uint64_t)(layers * experts) * 8, "the profile of routing");
}

int qm_routing_profile_open(const struct qm_config *c, struct qm_routing_profile *out, struct qm_error *err) {
    *out = (struct qm_routing_profile){0};
    if (c->experts == 0)
        return qm_fail(err, QM_USAGE, "the model has no experts: there is no routing to profile");
    return open_profile(c->layers, c->experts, c->experts_per_token, out, err);
}

void qm_routing_profile_free(struct qm_routing_profile *p) {
    free(p->count);
    free(p->again);
    free(p->last);
    *p = (struct qm_routing_profile){0};
}

/* How many of two ascending lists' numbers are in both. */
static uint64_t in_both(const int32_t *a, const int32_t *b, int64_t n) {
    uint64_t both = 0;
    for (int64_t i = 0, j = 0; i < n && j < n;) {
        both += a[i] == b[j];
        int64_t next = i + (a[i] <= b[j]);
        j += b[j] <= a[i];
        i = next;
    }
    return both;
}

void qm_routing_count(struct qm_routing_profile *p, int64_t layer, const int32_t *chosen, int64_t rows,
                      bool continues) {
    int64_t k = p->chosen;
    int32_t *last = p->last + layer * k;
    for (int64_t r = 0; r < rows; r++, chosen += k) {
        for (int64_t i = 0; i < k; i++)
            p->count[layer * p->experts + chosen[i]]++;
        if (continues || r > 0)
            p->again[layer] += in_both(last, chosen, k);
        memcpy(last, chosen, (size_t)k * sizeof *last);
    }
}

void qm_routing_count_tokens(struct qm_routing_profile *p, int64_t tokens, int64_t runs, bool continues) {
    p->tokens += (uint64_t)tokens;
    p->pairs += (uint64_t)(tokens - runs + continues);
}

double qm_routing_share(const struct qm_routing_profile *p, const struct qm_config *c, int64_t layer, int64_t expert) {
    if (!p || p->tokens == 0)
        return (double)c->experts_per_token / (double)c->experts;
    double share = (double)p->count[layer * p->experts + expert] / (double)p->tokens;
    return share < 1 ? share : 1;
}

static int descending(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

void qm_routing_measure(const struct qm_routing_profile *p, struct qm_routing_skew *out) {
    *out = (struct qm_routing_skew){0};
    uint64_t *sorted = malloc((size_t)p->experts * sizeof *sorted);
    int64_t tenth = (p->experts + 9) / 10;
    double all = 0, most = 0, shared = 0, pairs = 0, independent = 0;
    for (int64_t l = 0; l < p->layers && sorted; l++) {
        const uint64_t *count = p->count + l * p->experts;
        double layer = 0;
        memcpy(sorted, count, (size_t)p->experts * sizeof *sorted);
        qsort(sorted, (size_t)p->experts, sizeof *sorted, descending);
        for (int64_t e = 0; e < p->experts; e++) {
            double share = p->tokens ? (double)count[e] / (double)p->tokens : 0;
            layer += (double)count[e];
            most += e < tenth ? (double)sorted[e] : 0;
            independent += share * share;
        }
        if (layer > 0) {
            pairs += (double)p->pairs * (double)p->chosen;
            shared += (double)p->again[l];
        }
        all += layer;
    }
    free(sorted);
    double layers = all > 0 ? all / ((double)p->tokens * (double)p->chosen) : 0; /* that have experts */
    out->tenth = (double)tenth / (double)p->experts;
    out->static_share = all > 0 ? most / all : 0;
    out->local_share = pairs > 0 ? shared / pairs : 0;
    out->independent_share = layers > 0 ? independent / layers / (double)p->chosen : 0;
}

int qm_routing_profile_write(const struct qm_routing_profile *p, const struct qm_config *c, char **out,
                             struct qm_error *err) {
    struct qm_buf b = {0};
    *out = NULL;
    int rc = qm_buf_printf(&b, err,
                           "{\"version\": %d, \"model_type\": \"%s\", \"layers\": %" PRId64 ", \"experts\": %" PRId64
                           ", \"experts_per_token\": %" PRId64 ",\n \"tokens\": %" PRIu64 ", \"pairs\": %" PRIu64
                           ",\n \"again\": [",
                           VERSION, c->model_type, p->layers, p->experts, p->chosen, p->tokens, p->pairs);
    for (int64_t l = 0; l < p->layers && !rc; l++)
        rc = qm_buf_printf(&b, err, "%s%" PRIu64, l ? ", " : "", p->again[l]);
    if (!rc)
        rc = qm_buf_str(&b, "],\n \"count\": [", err);
    for (int64_t l = 0; l < p->layers && !rc; l++) {
        rc = qm_buf_str(&b, l ? ",\n  [" : "\n  [", err);
        for (int64_t e = 0; e < p->experts && !rc; e++)
            rc = qm_buf_printf(&b, err, "%s%" PRIu64, e ? ", " : "", p->count[l * p->experts + e]);
        if (!rc)
            rc = qm_buf_str(&b, "]", err);
    }
    if (!rc)
        rc = qm_buf_str(&b, "]}\n", err);
    if (rc)
        qm_buf_free(&b);
    *out = b.data;
    return rc;
}

/* A list of n counts, none above `most`. */
static int parse_counts(const json_t *list, const char *name, const char *key, int64_t n, uint64_t most, uint64_t *out,
                        struct qm_error *err) {
    if (!json_is_array(list) || json_array_size(list) != (size_t)n)
        return qm_fail(err, QM_INPUT, "%s: \"%s\": expected a list of %" PRId64, name, key, n);
    for (int64_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, (size_t)i);
        if (!json_is_integer(v) || json_integer_value(v) < 0 || (uint64_t)json_integer_value(v) > most)
            return qm_fail(err, QM_INPUT, "%s: \"%s\": expected integers from 0 to %" PRIu64, name, key, most);
        out[i] = (uint64_t)json_integer_value(v);
    }
    return QM_OK;
}

/* Every token chose as many experts, or the layer has none. */
static int check_layer(const struct qm_routing_profile *p, int64_t l, const char *name, struct qm_error *err) {
    uint64_t sum = 0;
    for (int64_t e = 0; e < p->experts; e++)
        sum += p->count[l * p->experts + e];
    if (sum == 0 || sum == p->tokens * (uint64_t)p->chosen)
        return QM_OK;
    return qm_fail(err, QM_INPUT,
                   "%s: layer %" PRId64 ": the counts add up to %" PRIu64 ", expected %" PRIu64 " tokens with %" PRId64
                   " experts each",
                   name, l, sum, p->tokens, p->chosen);
}

static int parse_fields(const json_t *root, const char *name, struct qm_routing_profile *out, struct qm_error *err) {
    enum { FIELDS = 9 };
    int64_t version = 0, layers = 0, experts = 0, chosen = 0, tokens = -1, pairs = -1;
    const char *type = NULL;
    int rc = qm_json_int(root, "version", name, VERSION, VERSION, &version, err);
    if (!rc)
        rc = qm_json_int(root, "layers", name, 1, QM_MAX_LAYERS, &layers, err);
    if (!rc)
        rc = qm_json_int(root, "experts", name, 1, MAX_EXPERTS, &experts, err);
    if (!rc)
        rc = qm_json_int(root, "experts_per_token", name, 1, experts, &chosen, err);
    if (!rc)
        rc = qm_json_int(root, "tokens", name, 0, (int64_t)1 << 40, &tokens, err);
    if (!rc)
        rc = qm_json_int(root, "pairs", name, 0, tokens, &pairs, err);
    if (!rc)
        rc = qm_json_string(root, "model_type", name, &type, err);
    const json_t *count = json_object_get(root, "count");
    if (!rc && (!version || !chosen || tokens < 0 || pairs < 0 || !type || json_object_size(root) != FIELDS ||
                json_array_size(count) != (size_t)layers || layers * experts > 1 << 24))
        rc = qm_fail(err, QM_INPUT,
                     "%s: expected version, model_type, layers, experts, experts_per_token, tokens, pairs, again, and "
                     "count with a list for each layer",
                     name);
    if (rc)
        return rc;
    rc = open_profile(layers, experts, chosen, out, err);
    out->tokens = (uint64_t)tokens;
    out->pairs = (uint64_t)pairs;
    if (!rc)
        rc = parse_counts(json_object_get(root, "again"), name, "again", layers, (uint64_t)(pairs * chosen), out->again,
                          err);
    for (int64_t l = 0; l < layers && !rc; l++) {
        rc = parse_counts(json_array_get(count, (size_t)l), name, "count", experts, (uint64_t)tokens,
                          out->count + l * experts, err);
        if (!rc)
            rc = check_layer(out, l, name, err);
    }
    return rc;
}

int qm_routing_profile_parse(const char *text, size_t len, const char *name, struct qm_routing_profile *out,
                             struct qm_error *err) {
    json_t *root = NULL;
    *out = (struct qm_routing_profile){0};
    int rc = qm_json_parse(text, len, name, &root, err);
    if (!rc && !qm_json_is_object(root))
        rc = qm_fail(err, QM_INPUT, "%s: expected an object, found %s", name, qm_json_type_name(root));
    if (!rc)
        rc = parse_fields(root, name, out, err);
    if (rc)
        qm_routing_profile_free(out);
    json_decref(root);
    return rc;
}

int qm_routing_profile_check(const struct qm_routing_profile *p, const struct qm_config *c, const char *name,
                             struct qm_error *err) {
    if (p->layers == c->layers && p->experts == c->experts && p->chosen == c->experts_per_token)
        return QM_OK;
    return qm_fail(err, QM_INPUT,
                   "%s: of a model with %" PRId64 " layers of %" PRId64 " experts; this one has %" PRId64
                   " of %" PRId64,
                   name, p->layers, p->experts, c->layers, c->experts);
}
