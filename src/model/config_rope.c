/* The rotary embedding's fields of config.json: rope_theta and rope_scaling (with type or rope_type), and the
 * newer rope_parameters, flat or by layer type. Where in the flow: called by config.c, and the range checks by
 * config_override.c too. The frequencies themselves are in rope.c. */
#include "model/config_fields.h"

#include <math.h>
#include <string.h>

static const char *const kind_names[] = {"default", "linear", "dynamic", "yarn", "llama3"};
_Static_assert(sizeof kind_names / sizeof *kind_names == QM_ROPE_KINDS, "a kind without a name");

const char *qm_rope_kind_name(enum qm_rope_kind k) {
    return kind_names[k];
}

int qm_rope_kind_find(const char *name) {
    for (int k = 0; k < QM_ROPE_KINDS; k++)
        if (strcmp(kind_names[k], name) == 0)
            return k;
    return -1;
}

static const char *wrong_field(const struct qm_rope *r) {
    if (!(r->low_freq_factor > 0 && r->low_freq_factor < r->high_freq_factor && r->high_freq_factor <= 1e6))
        return "0 < low_freq_factor < high_freq_factor";
    if (!(r->beta_slow > 0 && r->beta_slow < r->beta_fast && r->beta_fast <= 1e6))
        return "0 < beta_slow < beta_fast";
    if (!isnan(r->attention_factor) && !(r->attention_factor > 0 && r->attention_factor <= 1e6))
        return "attention_factor above 0";
    if (!(r->mscale >= 0 && r->mscale <= 1e6) || !(r->mscale_all_dim >= 0 && r->mscale_all_dim <= 1e6))
        return "mscale and mscale_all_dim of 0 or more";
    return NULL;
}

int qm_config_check_rope(const struct qm_config *c, const char *where, enum qm_code code, struct qm_error *err) {
    const struct qm_rope *r = &c->rope;
    if (!(r->theta >= 1 && r->theta <= 1e15))
        return qm_fail(err, code, "%s: rope_theta: expected a number from 1 to 1e15, found %g", where, r->theta);
    if (!(r->factor >= 1 && r->factor <= 1e6))
        return qm_fail(err, code, "%s: rope scaling factor: expected a number from 1 to 1e6, found %g", where,
                       r->factor);
    const char *expected = wrong_field(r);
    if (expected)
        return qm_fail(err, code, "%s: rope scaling: expected %s, found another value", where, expected);
    if (r->original_max_positions < 1 || r->original_max_positions > QM_MAX_POSITIONS)
        return qm_fail(err, code, "%s: rope scaling's original positions: expected 1 to %d, found %lld", where,
                       QM_MAX_POSITIONS, (long long)r->original_max_positions);
    if (r->kind == QM_ROPE_YARN && r->theta <= 1)
        return qm_fail(err, code, "%s: rope_theta: expected a number above 1 for yarn, found %g", where, r->theta);
    if (r->kind == QM_ROPE_DYNAMIC && r->width <= 2)
        return qm_fail(err, code, "%s: head_dim: expected more than 2 for dynamic rope scaling, found %lld", where,
                       (long long)r->width);
    return QM_OK;
}

/* rope_parameters by layer type ({"full_attention": {...}, ...}): read only where all of them agree. */
static int unnest(const char *path, const json_t **object, struct qm_error *err) {
    const json_t *first = NULL, *all = *object;
    const char *key;
    json_t *v;
    bool nested = false;
    json_object_foreach((json_t *)all, key, v) {
        nested |= qm_json_is_object(v) || strcmp(key, "full_attention") == 0 || strcmp(key, "sliding_attention") == 0;
    }
    if (!nested)
        return QM_OK;
    json_object_foreach((json_t *)all, key, v) {
        if (!qm_json_is_object(v))
            return qm_fail(err, QM_INPUT,
                           "%s: rope_parameters: \"%.60s\": expected an object for each layer type, found %s", path,
                           key, qm_json_type_name(v));
        if (first && !json_equal(first, v))
            return qm_fail(err, QM_INPUT,
                           "%s: rope_parameters: \"%.60s\" differs from another layer type's: expected one rotary "
                           "embedding for all layers; others are not implemented",
                           path, key);
        first = v;
    }
    *object = first;
    return QM_OK;
}

static int check_keys(const json_t *object, const char *where, const char *const *reads, struct qm_error *err) {
    static const char *const known[] = {
        "type",
        "rope_type",
        "rope_theta",
        "factor",
        "low_freq_factor",
        "high_freq_factor",
        "beta_fast",
        "beta_slow",
        "attention_factor",
        "mscale",
        "mscale_all_dim",
        "truncate",
        "finetuned",
        "partial_rotary_factor",
        "original_max_position_embeddings",
    };
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)object, key, v) {
        bool found = json_is_null(v);
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            found |= strcmp(known[i], key) == 0;
        if (!found && !qm_config_reads(reads, key))
            return qm_fail(err, QM_INPUT,
                           "%s: \"%.60s\": expected only known fields of rope scaling; this one is not "
                           "implemented",
                           where, key);
    }
    const json_t *partial = json_object_get(object, "partial_rotary_factor");
    if (partial && !json_is_null(partial) && !qm_config_reads(reads, "partial_rotary_factor") &&
        !(json_is_number(partial) && json_number_value(partial) == 1))
        return qm_fail(err, QM_INPUT,
                       "%s: \"partial_rotary_factor\": expected 1 or nothing, found another value; rotating "
                       "part of a head is not implemented",
                       where);
    return QM_OK;
}

static int read_kind(const json_t *object, const char *where, enum qm_rope_kind *kind, struct qm_error *err) {
    const char *name = NULL, *older = NULL;
    int rc = qm_json_string(object, "rope_type", where, &name, err);
    if (!rc)
        rc = qm_json_string(object, "type", where, &older, err);
    if (rc)
        return rc;
    if (name && older && strcmp(name, older) != 0)
        return qm_fail(err, QM_INPUT, "%s: expected \"type\" and \"rope_type\" to agree, found \"%.40s\" and \"%.40s\"",
                       where, older, name);
    name = name ? name : older;
    if (!name && json_object_get(object, "factor"))
        return qm_fail(err, QM_INPUT, "%s: expected \"rope_type\" beside \"factor\", found none", where);
    int k = name ? qm_rope_kind_find(name) : QM_ROPE_DEFAULT;
    if (k < 0)
        return qm_fail(err, QM_INPUT,
                       "%s: rope type \"%.40s\" is not implemented; expected default, linear, dynamic, yarn "
                       "or llama3",
                       where, name);
    *kind = (enum qm_rope_kind)k;
    return QM_OK;
}

/* The fields that the kind uses. The others are ignored, as the reference implementation does. */
static int read_scaling(const json_t *root, const json_t *object, const char *where, struct qm_config *c,
                        struct qm_error *err) {
    struct qm_rope *r = &c->rope;
    int rc = read_kind(object, where, &r->kind, err);
    if (rc || r->kind == QM_ROPE_DEFAULT)
        return rc;
    bool yarn = r->kind == QM_ROPE_YARN, llama3 = r->kind == QM_ROPE_LLAMA3;
    r->factor = 0;
    if (yarn || llama3) {
        rc = qm_json_int(object, "original_max_position_embeddings", where, 1, QM_MAX_POSITIONS,
                         &r->original_max_positions, err);
        if (!rc) /* some files give it at the top, which then counts */
            rc = qm_json_int(root, "original_max_position_embeddings", where, 1, QM_MAX_POSITIONS,
                             &r->original_max_positions, err);
    }
    if (!rc)
        rc = qm_json_double(object, "factor", where, &r->factor, err);
    if (!rc && r->factor == 0 && yarn)
        r->factor = (double)c->max_positions / (double)r->original_max_positions;
    struct {
        const char *key;
        bool used;
        double *out;
    } numbers[] = {
        {"low_freq_factor", llama3, &r->low_freq_factor},
        {"high_freq_factor", llama3, &r->high_freq_factor},
        {"beta_fast", yarn, &r->beta_fast},
        {"beta_slow", yarn, &r->beta_slow},
        {"attention_factor", yarn, &r->attention_factor},
        {"mscale", yarn, &r->mscale},
        {"mscale_all_dim", yarn, &r->mscale_all_dim},
    };
    for (size_t i = 0; !rc && i < sizeof numbers / sizeof numbers[0]; i++) {
        const json_t *v = json_object_get(object, numbers[i].key);
        if (llama3 && numbers[i].used && (!v || json_is_null(v)))
            rc = qm_fail(err, QM_INPUT, "%s: \"%s\": expected a number for llama3, found nothing", where,
                         numbers[i].key);
        else if (numbers[i].used)
            rc = qm_json_double(object, numbers[i].key, where, numbers[i].out, err);
    }
    return !rc && yarn ? qm_json_bool(object, "truncate", where, &r->truncate, err) : rc;
}

void qm_config_raise_positions(struct qm_config *c) {
    double reach = c->rope.factor * (double)c->rope.original_max_positions;
    int64_t positions = reach < QM_MAX_POSITIONS ? (int64_t)reach : QM_MAX_POSITIONS;
    bool scaled = c->rope.kind != QM_ROPE_DEFAULT && positions > c->file_positions;
    c->max_positions = c->default_positions = scaled ? positions : c->file_positions;
}

/* Whether an object of rope_parameters scales nothing: a base at most. */
static bool scales_nothing(const json_t *object) {
    const char *kind = json_string_value(json_object_get(object, "rope_type"));
    return qm_json_is_object(object) && !json_object_get(object, "type") && !json_object_get(object, "factor") &&
           (!kind || strcmp(kind, "default") == 0);
}

int qm_config_rope_width(const char *key, const char *path, double width, struct qm_config *c, struct qm_error *err) {
    if (!(width >= 2 && width <= (double)c->head_dim) || width / 2 != floor(width / 2))
        return qm_fail(err, QM_INPUT,
                       "%s: \"%s\": expected an even number of at most head_dim, %lld, to be rotated, found %g", path,
                       key, (long long)c->head_dim, width);
    c->rope.width = (int64_t)width;
    return QM_OK;
}

/* "partial_rotary_factor", at the top or in the object: that part of a head, rounded down. */
static int read_partial(const json_t *root, const json_t *object, const char *path, struct qm_config *c,
                        struct qm_error *err) {
    static const char key[] = "partial_rotary_factor";
    double factor = 1;
    int rc = qm_json_double(root, key, path, &factor, err);
    if (!rc && object)
        rc = qm_json_double(object, key, path, &factor, err);
    return rc || factor == 1 ? rc : qm_config_rope_width(key, path, floor(factor * (double)c->head_dim), c, err);
}

int qm_config_rope(const json_t *root, const char *path, double default_theta, const char *const *reads,
                   struct qm_config *c, struct qm_error *err) {
    c->rope = (struct qm_rope){.kind = QM_ROPE_DEFAULT,
                               .width = c->head_dim,
                               .theta = default_theta,
                               .factor = 1,
                               .low_freq_factor = 1,
                               .high_freq_factor = 4,
                               .beta_fast = 32,
                               .beta_slow = 1,
                               .attention_factor = NAN,
                               .truncate = true,
                               .original_max_positions = c->max_positions};
    const json_t *older = json_object_get(root, "rope_scaling"), *object = json_object_get(root, "rope_parameters");
    older = json_is_null(older) ? NULL : older;
    object = json_is_null(object) ? NULL : object;
    int rc = qm_json_double(root, "rope_theta", path, &c->rope.theta, err);
    if (!rc && older && scales_nothing(object)) { /* a scaling added by hand, as model cards say, to a newer file */
        rc = qm_json_double(object, "rope_theta", path, &c->rope.theta, err);
        object = NULL;
    }
    if (rc)
        return rc;
    if (older && object && !json_equal(older, object))
        return qm_fail(err, QM_INPUT, "%s: expected rope_scaling or rope_parameters, found both, and they differ",
                       path);
    char where[600];
    snprintf(where, sizeof where, "%.500s: %s", path, object ? "rope_parameters" : "rope_scaling");
    object = object ? object : older;
    if (object && !qm_json_is_object(object))
        return qm_fail(err, QM_INPUT, "%s: expected an object, found %s", where, qm_json_type_name(object));
    if (object)
        rc = unnest(path, &object, err);
    if (!rc && object)
        rc = check_keys(object, where, reads, err);
    if (!rc && object)
        rc = qm_json_double(object, "rope_theta", where, &c->rope.theta, err);
    if (!rc && object)
        rc = read_scaling(root, object, where, c, err);
    if (!rc && qm_config_reads(reads, "partial_rotary_factor"))
        rc = read_partial(root, object, path, c, err);
    if (!rc)
        rc = qm_config_check_rope(c, path, QM_INPUT, err);
    if (!rc && c->rope.kind != QM_ROPE_LLAMA3)
        qm_config_raise_positions(c);
    if (!rc && c->rope.kind == QM_ROPE_DYNAMIC)
        c->default_positions = c->file_positions;
    return rc;
}
