/* Knobs over a parsed config: experts per token, rope theta, rope scaling. Where in the flow:
 * right after qm_config_parse. What changed is said in notes, a line each. */
#include "model/config.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "model/config_fields.h"

#define SYNTAX                                                                                                         \
    "expected yarn:factor=4,original=32768 or linear:factor=2 or dynamic:factor=2 or "                                 \
    "llama3:factor=8,low=1,high=4,original=8192 or none"

struct notes {
    char *at;
    size_t room;
};

static void note(struct notes *n, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(struct notes *n, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int len = n->room ? vsnprintf(n->at, n->room, format, args) : 0;
    va_end(args);
    size_t used = len < 0 ? 0 : (size_t)len < n->room ? (size_t)len : n->room ? n->room - 1 : 0;
    n->at += used;
    n->room -= used;
}

/* One key=value of a scaling. Values are numbers as strtod reads them; ranges are checked later. */
static int set_field(struct qm_rope *r, const char *key, size_t key_len, double value, bool *original_given) {
    struct {
        const char *key;
        bool used;
        double *out;
    } fields[] = {
        {"factor", true, &r->factor},
        {"low", r->kind == QM_ROPE_LLAMA3, &r->low_freq_factor},
        {"high", r->kind == QM_ROPE_LLAMA3, &r->high_freq_factor},
        {"beta_fast", r->kind == QM_ROPE_YARN, &r->beta_fast},
        {"beta_slow", r->kind == QM_ROPE_YARN, &r->beta_slow},
        {"attention_factor", r->kind == QM_ROPE_YARN, &r->attention_factor},
        {"mscale", r->kind == QM_ROPE_YARN, &r->mscale},
        {"mscale_all_dim", r->kind == QM_ROPE_YARN, &r->mscale_all_dim},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (fields[i].used && strlen(fields[i].key) == key_len && memcmp(fields[i].key, key, key_len) == 0) {
            *fields[i].out = value;
            return QM_OK;
        }
    }
    if (key_len == 8 && memcmp(key, "original", 8) == 0 && value >= 1 && value <= QM_MAX_POSITIONS &&
        value == floor(value)) {
        r->original_max_positions = (int64_t)value;
        *original_given = true;
        return QM_OK;
    }
    return QM_USAGE;
}

/* "kind:key=value,..." into *r, whose theta and original positions are the model's. */
static int parse_scaling(const char *name, const char *text, struct qm_rope *r, struct qm_error *err) {
    const char *colon = strchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : strlen(text);
    char kind[16] = "";
    if (n < sizeof kind)
        memcpy(kind, text, n);
    int found = strcmp(kind, "none") == 0 ? (int)QM_ROPE_DEFAULT : qm_rope_kind_find(kind);
    if (found < 0 || (colon != NULL) != (found != QM_ROPE_DEFAULT))
        return qm_fail(err, QM_USAGE, "%s %.100s: " SYNTAX ", found %s", name, text,
                       found < 0 ? "another kind"
                       : colon   ? "settings for none"
                                 : "no settings");
    *r = (struct qm_rope){.kind = (enum qm_rope_kind)found,
                          .width = r->width,
                          .query_beta = r->query_beta,
                          .theta = r->theta,
                          .low_freq_factor = 1,
                          .high_freq_factor = 4,
                          .beta_fast = 32,
                          .beta_slow = 1,
                          .attention_factor = NAN,
                          .truncate = true,
                          .original_max_positions = r->original_max_positions};
    if (!colon) {
        r->factor = 1;
        return QM_OK;
    }
    bool original_given = false;
    for (const char *p = colon + 1; p;) {
        const char *equals = strchr(p, '=');
        char *end = NULL;
        double value = equals ? strtod(equals + 1, &end) : 0;
        if (!equals || end == equals + 1 || (*end && *end != ',') || !isfinite(value) ||
            set_field(r, p, (size_t)(equals - p), value, &original_given))
            return qm_fail(err, QM_USAGE, "%s %.100s: " SYNTAX ", found \"%.40s\"", name, text, p);
        p = *end ? end + 1 : NULL;
    }
    if (r->factor == 0)
        return qm_fail(err, QM_USAGE, "%s %.100s: " SYNTAX ", found no factor", name, text);
    return QM_OK;
}

static void describe(const struct qm_rope *r, struct notes *out) {
    if (r->kind == QM_ROPE_DEFAULT) {
        note(out, "none");
        return;
    }
    note(out, "%s factor %g of %lld", qm_rope_kind_name(r->kind), r->factor, (long long)r->original_max_positions);
    if (r->kind == QM_ROPE_LLAMA3)
        note(out, " low %g high %g", r->low_freq_factor, r->high_freq_factor);
    if (r->kind != QM_ROPE_YARN)
        return;
    note(out, " beta %g to %g", r->beta_fast, r->beta_slow);
    if (!isnan(r->attention_factor))
        note(out, " attention factor %g", r->attention_factor);
    if (r->mscale != 0 || r->mscale_all_dim != 0)
        note(out, " mscale %g of %g", r->mscale, r->mscale_all_dim);
    if (!r->truncate)
        note(out, " not truncated");
}

static int override_scaling(struct qm_config *c, const char *name, const char *text, struct notes *notes,
                            struct qm_error *err) {
    char before[200] = "", after[200] = "";
    describe(&c->rope, &(struct notes){before, sizeof before});
    int rc = parse_scaling(name, text, &c->rope, err);
    if (!rc)
        rc = qm_config_check_rope(c, name, QM_USAGE, err);
    if (rc)
        return rc;
    describe(&c->rope, &(struct notes){after, sizeof after});
    if (strcmp(before, after) != 0)
        note(notes, "rope scaling: %s -> %s\n", before, after);
    int64_t positions = c->max_positions;
    qm_config_raise_positions(c);
    if (c->max_positions != positions)
        note(notes, "max_position_embeddings: %lld -> %lld\n", (long long)positions, (long long)c->max_positions);
    return QM_OK;
}

static const char *named(const char *name, const char *field) {
    return name ? name : field;
}

int qm_config_override(struct qm_config *c, const struct qm_overrides *o, char *notes, size_t notes_size,
                       struct qm_error *err) {
    struct notes n = {notes, notes_size};
    if (notes_size)
        notes[0] = 0;
    if (!o)
        return QM_OK;
    const char *experts = named(o->experts_name, "num_experts_per_tok");
    if (o->experts_per_token != 0 && c->experts == 0)
        return qm_fail(err, QM_USAGE, "%s %lld: expected a model with experts, found %s, which has none", experts,
                       (long long)o->experts_per_token, c->model_type);
    if (o->experts_per_token < 0 || o->experts_per_token > c->experts)
        return qm_fail(err, QM_USAGE, "%s: expected 1 to %lld, found %lld", experts, (long long)c->experts,
                       (long long)o->experts_per_token);
    int64_t reach = c->experts ? c->experts / c->route_groups * c->route_groups_chosen : 0;
    if (o->experts_per_token > reach)
        return qm_fail(err, QM_USAGE, "%s: expected 1 to %lld, the experts of the groups that are chosen, found %lld",
                       experts, (long long)reach, (long long)o->experts_per_token);
    if (o->experts_per_token && o->experts_per_token != c->experts_per_token) {
        note(&n, "experts per token: %lld -> %lld\n", (long long)c->experts_per_token, (long long)o->experts_per_token);
        c->experts_per_token = o->experts_per_token;
    }
    if (o->rope_theta != 0 && o->rope_theta != c->rope.theta) {
        double before = c->rope.theta;
        if (c->rope_local.theta == before)
            c->rope_local.theta = o->rope_theta;
        c->rope.theta = o->rope_theta;
        int rc = qm_config_check_rope(c, named(o->theta_name, "rope_theta"), QM_USAGE, err);
        if (rc)
            return rc;
        note(&n, "rope theta: %.10g -> %.10g\n", before, c->rope.theta);
    }
    return o->rope_scaling ? override_scaling(c, named(o->scaling_name, "rope_scaling"), o->rope_scaling, &n, err)
                           : QM_OK;
}
