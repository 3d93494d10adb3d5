/* Ministral 3 and Devstral 2: Mistral whose queries grow with their position, as Llama 4's do. */
#include "model/arch/arch.h"

static const char BETA[] = "llama_4_scaling_beta";

static int configure(const json_t *root, const char *path, struct qm_config *c, struct qm_error *err) {
    const json_t *rope = json_object_get(root, "rope_parameters");
    int64_t window = 0;
    int rc = qm_config_window(root, path, 0, &window, err);
    qm_config_set_windows(c, window, 0, 1);
    if (!qm_json_is_object(rope))
        rope = json_object_get(root, "rope_scaling");
    if (!rc && qm_json_is_object(rope))
        rc = qm_json_double(rope, BETA, path, &c->rope.query_beta, err);
    if (!rc && !(c->rope.query_beta >= 0 && c->rope.query_beta <= 1e6))
        rc = qm_fail(err, QM_INPUT, "%s: \"%s\": expected a number of 0 or more, found %g", path, BETA,
                     c->rope.query_beta);
    if (!rc && c->rope.query_beta > 0 && c->rope.kind != QM_ROPE_YARN)
        rc = qm_fail(err, QM_INPUT,
                     "%s: \"%s\": expected rope of type yarn beside it, whose original positions it counts, found %s",
                     path, BETA, qm_rope_kind_name(c->rope.kind));
    return rc;
}

static const char *const reads[] = {BETA, NULL};

const struct qm_arch qm_arch_ministral3 = {"ministral3", "Ministral3ForCausalLM", 1000000,
                                           configure,    {qm_arch_common},        reads};
