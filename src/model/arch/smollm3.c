/* SmolLM3: Llama with layers that have no rotary embedding, every fourth by default (NoPE, Kazemnejad et al. 2023). */
#include "model/arch/arch.h"

/* "no_rope_layers" has 1 for a layer that is rotated, in spite of its name. */
static int choose_layers(const json_t *root, const char *path, struct qm_config *c, struct qm_error *err) {
    const json_t *list = json_object_get(root, "no_rope_layers");
    int64_t interval = 4;
    int rc = qm_json_int(root, "no_rope_layer_interval", path, 1, QM_MAX_LAYERS, &interval, err);
    list = json_is_null(list) ? NULL : list;
    if (!rc && list && (!json_is_array(list) || json_array_size(list) != (size_t)c->layers))
        return qm_fail(err, QM_INPUT, "%s: \"no_rope_layers\": expected a list of %lld, one a layer, found %s of %zu",
                       path, (long long)c->layers, qm_json_type_name(list), json_array_size(list));
    for (int64_t l = 0; !rc && l < c->layers; l++) {
        const json_t *v = json_array_get(list, (size_t)l);
        bool rotated = list ? json_integer_value(v) == 1 : (l + 1) % interval != 0;
        if (list && !(json_is_integer(v) && (json_integer_value(v) == 0 || rotated)))
            rc = qm_fail(err, QM_INPUT, "%s: \"no_rope_layers\"[%lld]: expected 0 or 1, found another value", path,
                         (long long)l);
        c->layer[l].rope = rotated ? QM_LAYER_ROPE : QM_LAYER_NO_ROPE;
    }
    return rc;
}

/* Where use_sliding_window is true, layers slide that are not rotated, unless layer_types says which. */
static int choose_windows(const json_t *root, const char *path, struct qm_config *c, struct qm_error *err) {
    bool sliding = false;
    int64_t window = 0;
    int rc = qm_json_bool(root, "use_sliding_window", path, &sliding, err);
    if (!rc && sliding)
        rc = qm_config_window(root, path, 0, &window, err);
    for (int64_t l = 0; l < c->layers; l++)
        c->layer[l].window = c->layer[l].rope == QM_LAYER_NO_ROPE ? window : 0;
    return rc ? rc : qm_config_layer_types(root, path, window, c, err);
}

static int configure(const json_t *root, const char *path, struct qm_config *c, struct qm_error *err) {
    int rc = qm_json_bool(root, "attention_bias", path, &c->qkv_bias, err);
    c->o_bias = c->qkv_bias;
    if (!rc)
        rc = qm_json_bool(root, "mlp_bias", path, &c->mlp_bias, err);
    if (!rc)
        rc = choose_layers(root, path, c, err);
    return rc ? rc : choose_windows(root, path, c, err);
}

static const char *const reads[] = {"no_rope_layers", "no_rope_layer_interval", NULL};

const struct qm_arch qm_arch_smollm3 = {"smollm3", "SmolLM3ForCausalLM", 2000000, configure, {qm_arch_common}, reads};
