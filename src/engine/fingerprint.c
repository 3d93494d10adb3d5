/* Fingerprints: each trait as a text, short ones readable, long ones hashed. */
#include "engine/fingerprint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "engine/engine_private.h"
#include "simd/kernels.h"

static const struct {
    const char *key, *name;
} traits[] = {
    [QM_TRAIT_WEIGHTS] = {"weights", "the model's weights"},
    [QM_TRAIT_CONFIG] = {"config", "the model's config.json"},
    [QM_TRAIT_EXPERTS] = {"experts_per_token", "the experts of a token"},
    [QM_TRAIT_ROTATION] = {"rotation", "the rotation of positions"},
    [QM_TRAIT_SPLIT] = {"split", "how sums are split among CPU and devices"},
    [QM_TRAIT_KV_TYPE] = {"kv_type", "the type of keys and values"},
    [QM_TRAIT_ISA] = {"isa", "the instruction set"},
    [QM_TRAIT_KERNELS] = {"kernels", "the program's kernels"},
    [QM_TRAIT_VERSION] = {"version", "quietmind's version"},
};
_Static_assert(sizeof traits / sizeof *traits == QM_TRAIT_COUNT, "a trait without a name");
_Static_assert((int)QM_TRAIT_VALUE >= (int)QM_HASH_TEXT, "a hash is a trait's value");

const char *qm_trait_key(enum qm_trait t) {
    return traits[t].key;
}

const char *qm_trait_name(enum qm_trait t) {
    return traits[t].name;
}

bool qm_trait_may_change(enum qm_trait t) {
    return t == QM_TRAIT_KV_TYPE || t == QM_TRAIT_ISA || t == QM_TRAIT_KERNELS || t == QM_TRAIT_VERSION;
}

/* Each field that changes the arithmetic, by itself: there is padding between them. The positions
 * are none: they bound the context, and what depends on the context is the rotation. base_class and no_head say what
 * can be asked for, nested and mtp_layers what of the files is not run. */
static void add_config(struct qm_hasher *h, const struct qm_config *c) {
    _Static_assert(sizeof(struct qm_config) == 656 && sizeof(struct qm_layer_config) == 24,
                   "a field was added or taken away: is it in the fingerprint?");
    const int64_t whole[] = {c->vocab,     c->hidden,        c->layers,         c->heads,        c->kv_heads,
                             c->head_dim,  c->ffn,           c->qk_norm,        c->sinks,        c->router_bias,
                             c->qkv_bias,  c->o_bias,        c->mlp_bias,       c->experts,      c->moe_ffn,
                             c->routing,   c->activation,    c->tie_embeddings, c->expert_dtype, c->dtype,
                             c->bos_token, c->qk_norm_whole, c->choice_bias,    c->route_groups, c->route_groups_chosen,
                             c->shared_ffn};
    const double reals[] = {c->rms_eps, c->swiglu_limit, c->route_scale};
    qm_hasher_add(h, whole, sizeof whole);
    qm_hasher_add(h, reals, sizeof reals);
    qm_hasher_add(h, c->end_tokens, (size_t)c->n_end_tokens * sizeof *c->end_tokens);
    for (int64_t l = 0; l < c->layers; l++) {
        const int64_t layer[] = {c->layer[l].window, c->layer[l].moe, c->layer[l].shared, c->layer[l].rope,
                                 c->layer[l].norms};
        qm_hasher_add(h, layer, sizeof layer);
    }
}

/* The frequencies themselves, whatever they are made of. */
static int add_rotation(struct qm_hasher *h, const struct qm_config *c, int64_t context, struct qm_error *err) {
    size_t n = (size_t)c->head_dim / 2;
    double *rotation = calloc(n + 1, sizeof *rotation);
    if (!rotation)
        return qm_fail_memory(err, (n + 1) * sizeof *rotation, "a fingerprint");
    for (int i = 0; i < qm_config_ropes(c); i++) {
        const struct qm_rope *r = i ? &c->rope_local : &c->rope;
        const double scale[] = {(double)r->width, r->query_beta, r->query_beta ? (double)r->original_max_positions : 0};
        n = (size_t)r->width / 2;
        qm_rope_frequencies(r, context, rotation, &rotation[n]);
        qm_hasher_add(h, rotation, (n + 1) * sizeof *rotation);
        qm_hasher_add(h, scale, sizeof scale);
    }
    free(rotation);
    return QM_OK;
}

/* Adds how a layer's experts are grouped: each group is added up apart. Groups are numbered in order, since which
 * device has one changes nothing. */
static bool add_groups(struct qm_hasher *h, const struct qm_placement *p, int64_t l) {
    uint8_t rank[QM_MAX_DEVICES] = {0}, groups = 0;
    for (int d = 0; d < p->devices; d++) {
        rank[d] = groups;
        groups += qm_placement_experts_on(p, l, d) > 0;
    }
    if (groups < 2)
        return false;
    qm_hasher_add(h, &l, sizeof l);
    for (int64_t e = 0; e < p->experts; e++)
        qm_hasher_add(h, &rank[qm_placement_expert(p, l, e)], 1);
    return true;
}

static bool add_split(struct qm_hasher *h, const struct qm_model *m, const struct qm_placement *p) {
    bool any = false;
    for (int64_t l = 0; p && l < p->layers; l++) {
        if (m->config.layer[l].moe) {
            any |= add_groups(h, p, l);
        } else if (p->layer[l].ffn_cpu) {
            const int64_t columns[] = {l, p->layer[l].ffn_cpu};
            qm_hasher_add(h, columns, sizeof columns);
            any = true;
        }
    }
    return any;
}

static void set(struct qm_fingerprint *f, enum qm_trait t, const char *value) {
    if (strlen(value) < QM_TRAIT_VALUE)
        strcpy(f->value[t], value);
    else
        qm_hash_text(value, strlen(value), f->value[t]);
}

int qm_fingerprint_make(const struct qm_fingerprint_of *of, struct qm_fingerprint *out, struct qm_error *err) {
    const struct qm_config *c = &of->model->config;
    struct qm_hasher *h;
    int rc = qm_hasher_new(&h, err);
    *out = (struct qm_fingerprint){0};
    if (rc)
        return rc;
    set(out, QM_TRAIT_WEIGHTS, of->weights);
    add_config(h, c);
    qm_hasher_text(h, out->value[QM_TRAIT_CONFIG]);
    snprintf(out->value[QM_TRAIT_EXPERTS], QM_TRAIT_VALUE, "%lld", (long long)c->experts_per_token);
    qm_hasher_reset(h);
    if (of->context || c->rope.kind != QM_ROPE_DYNAMIC) {
        rc = add_rotation(h, c, of->context, err);
        qm_hasher_text(h, out->value[QM_TRAIT_ROTATION]);
    }
    qm_hasher_reset(h);
    if (add_split(h, of->model, of->placement))
        qm_hasher_text(h, out->value[QM_TRAIT_SPLIT]);
    else
        set(out, QM_TRAIT_SPLIT, "none");
    set(out, QM_TRAIT_KV_TYPE, qm_dtype_name(of->kv_type));
    set(out, QM_TRAIT_ISA, qm_isa_name(of->isa));
    set(out, QM_TRAIT_KERNELS, qm_kernels_build());
    set(out, QM_TRAIT_VERSION, QM_VERSION);
    qm_hasher_free(h);
    return rc;
}

int qm_engine_fingerprint(const struct qm_engine *e, const char *weights, struct qm_fingerprint *out,
                          struct qm_error *err) {
    const struct qm_fingerprint_of of = {.model = e->model,
                                         .weights = weights,
                                         .context = e->workload.context,
                                         .kv_type = e->workload.kv_type,
                                         .isa = e->isa,
                                         .placement = e->placed ? qm_placed_placement(e->placed) : NULL};
    return qm_fingerprint_make(&of, out, err);
}

static uint64_t key_of(const struct qm_fingerprint *f, bool of_the_build) {
    uint64_t key = 0;
    for (int t = 0; t < QM_TRAIT_COUNT; t++)
        if (of_the_build || (t != QM_TRAIT_KERNELS && t != QM_TRAIT_VERSION))
            key = qm_hash64(f->value[t], strlen(f->value[t]) + 1, key);
    return key;
}

uint64_t qm_fingerprint_key(const struct qm_fingerprint *f) {
    return key_of(f, true);
}

uint64_t qm_fingerprint_place(const struct qm_fingerprint *f) {
    return key_of(f, false);
}
