/* Fields of config.json that several architectures share: windows, layer types, experts. */
#include "model/config_fields.h"

#include <string.h>

enum { MAX_FFN = 1 << 20 };

int qm_config_required(const json_t *root, const char *key, const char *path, int64_t min, int64_t max, int64_t *out,
                       struct qm_error *err) {
    const json_t *v = json_object_get(root, key);
    if (!v || json_is_null(v))
        return qm_fail(err, QM_INPUT, "%s: \"%s\": expected an integer from %lld to %lld, found nothing", path, key,
                       (long long)min, (long long)max);
    return qm_json_int(root, key, path, min, max, out, err);
}

int qm_config_window(const json_t *root, const char *path, int64_t absent, int64_t *window, struct qm_error *err) {
    *window = json_object_get(root, "sliding_window") ? 0 : absent;
    return qm_json_int(root, "sliding_window", path, 1, QM_MAX_POSITIONS, window, err);
}

void qm_config_set_windows(struct qm_config *c, int64_t window, int64_t first, int64_t step) {
    for (int64_t l = 0; l < c->layers; l++)
        c->layer[l].window = l >= first && (l - first) % step == 0 ? window : 0;
}

/* Whether layer l slides by "layer_types", into *slides. */
static int layer_type(const json_t *types, int64_t l, const char *path, bool *slides, struct qm_error *err) {
    const json_t *v = json_array_get(types, (size_t)l);
    const char *s = json_string_value(v);
    if (!s || (strcmp(s, "full_attention") != 0 && strcmp(s, "sliding_attention") != 0))
        return qm_fail(err, QM_INPUT,
                       "%s: \"layer_types\"[%lld]: expected \"full_attention\" or \"sliding_attention\", found "
                       "\"%.60s\", which is not implemented",
                       path, (long long)l, s ? s : qm_json_type_name(v));
    *slides = s[0] == 's';
    return QM_OK;
}

/* The list, or NULL where there is none. */
static int find_layer_types(const json_t *root, const char *path, const struct qm_config *c, const json_t **types,
                            struct qm_error *err) {
    *types = json_object_get(root, "layer_types");
    if (!*types || json_is_null(*types)) {
        *types = NULL;
        return QM_OK;
    }
    if (!json_is_array(*types) || json_array_size(*types) != (size_t)c->layers)
        return qm_fail(err, QM_INPUT, "%s: \"layer_types\": expected a list of %lld, one a layer, found %s of %zu",
                       path, (long long)c->layers, qm_json_type_name(*types), json_array_size(*types));
    return QM_OK;
}

int qm_config_layer_types(const json_t *root, const char *path, int64_t window, struct qm_config *c,
                          struct qm_error *err) {
    const json_t *types;
    int rc = find_layer_types(root, path, c, &types, err);
    for (int64_t l = 0; !rc && types && l < c->layers; l++) {
        bool slides;
        rc = layer_type(types, l, path, &slides, err);
        if (!rc && slides && window == 0)
            rc = qm_fail(err, QM_INPUT,
                         "%s: \"layer_types\"[%lld] is sliding_attention: expected \"sliding_window\" to be a "
                         "number in use, found none",
                         path, (long long)l);
        if (!rc)
            c->layer[l].window = slides ? window : 0;
    }
    return rc;
}

int qm_config_check_layer_types(const json_t *root, const char *path, const struct qm_config *c, struct qm_error *err) {
    const json_t *types;
    int rc = find_layer_types(root, path, c, &types, err);
    for (int64_t l = 0; !rc && types && l < c->layers; l++) {
        bool slides;
        rc = layer_type(types, l, path, &slides, err);
        if (!rc && slides != (c->layer[l].window > 0))
            rc = qm_fail(err, QM_INPUT,
                         "%s: \"layer_types\"[%lld]: expected %s by sliding_window as %s models use it, found "
                         "the other",
                         path, (long long)l, slides ? "full_attention" : "sliding_attention", c->model_type);
    }
    return rc;
}

int qm_config_experts(const json_t *root, const char *path, const char *experts_key, const char *ffn_key,
                      struct qm_config *c, struct qm_error *err) {
    int rc = qm_config_required(root, experts_key, path, 1, QM_MAX_EXPERTS, &c->experts, err);
    if (!rc)
        rc = qm_config_required(root, "num_experts_per_tok", path, 1, c->experts, &c->experts_per_token, err);
    if (!rc)
        rc = qm_config_required(root, ffn_key, path, 1, MAX_FFN, &c->moe_ffn, err);
    return rc;
}

int qm_config_sigmoid_router(const json_t *root, const char *path, struct qm_config *c, struct qm_error *err) {
    bool norm = true;
    int rc = qm_json_int(root, "n_group", path, 1, c->experts, &c->route_groups, err);
    if (!rc)
        rc = qm_json_int(root, "topk_group", path, 1, c->route_groups, &c->route_groups_chosen, err);
    if (!rc)
        rc = qm_json_bool(root, "norm_topk_prob", path, &norm, err);
    if (!rc)
        rc = qm_json_double(root, "routed_scaling_factor", path, &c->route_scale, err);
    if (rc)
        return rc;
    c->routing = norm ? QM_ROUTE_SIGMOID_TOPK_NORM : QM_ROUTE_SIGMOID_TOPK;
    c->router_bias = c->choice_bias = true;
    int64_t each = c->experts / c->route_groups;
    if (c->experts % c->route_groups != 0 || (c->route_groups > 1 && each < 2))
        return qm_fail(err, QM_INPUT,
                       "%s: \"n_group\": expected equal groups of two or more of the %lld experts, found %lld groups",
                       path, (long long)c->experts, (long long)c->route_groups);
    if (each * c->route_groups_chosen < c->experts_per_token)
        return qm_fail(
            err, QM_INPUT,
            "%s: \"topk_group\": expected groups with at least num_experts_per_tok, %lld, experts, found %lld "
            "groups of %lld",
            path, (long long)c->experts_per_token, (long long)c->route_groups_chosen, (long long)each);
    if (!(c->route_scale > 0 && c->route_scale <= 1e6))
        return qm_fail(err, QM_INPUT, "%s: \"routed_scaling_factor\": expected a number above 0, found %g", path,
                       c->route_scale);
    return QM_OK;
}

int qm_config_moe_layers(const json_t *root, const char *path, int64_t shared, struct qm_config *c,
                         struct qm_error *err) {
    int64_t dense = 0;
    int rc = qm_json_int(root, "first_k_dense_replace", path, 0, QM_MAX_LAYERS, &dense, err);
    if (!rc && shared * c->moe_ffn > MAX_FFN)
        rc = qm_fail(err, QM_INPUT, "%s: shared experts: expected a width of at most %d together, found %lld", path,
                     MAX_FFN, (long long)(shared * c->moe_ffn));
    c->shared_ffn = shared * c->moe_ffn;
    for (int64_t l = dense; !rc && l < c->layers; l++) {
        c->layer[l].moe = true;
        c->layer[l].shared = shared > 0;
    }
    return rc;
}

int qm_config_upper_windows(const json_t *root, const char *path, struct qm_config *c, struct qm_error *err) {
    bool sliding = false;
    int64_t window = 0, first = 28;
    int rc = qm_json_bool(root, "use_sliding_window", path, &sliding, err);
    if (!rc)
        rc = qm_json_int(root, "max_window_layers", path, 0, INT32_MAX, &first, err);
    if (!rc && sliding)
        rc = qm_config_window(root, path, 4096, &window, err);
    qm_config_set_windows(c, window, first, 1);
    return rc ? rc : qm_config_layer_types(root, path, window, c, err);
}

int qm_config_no_window(const json_t *root, const char *path, struct qm_error *err) {
    int64_t window = 0;
    int rc = qm_config_window(root, path, 0, &window, err);
    if (!rc && window)
        rc = qm_fail(err, QM_INPUT,
                     "%s: \"sliding_window\": expected null for this architecture, found %lld: its windows are "
                     "not implemented",
                     path, (long long)window);
    return rc;
}
