/* The part of config.json that is about text, in files of models that take images or sound too: those keep it under
 * "text_config". Where in the flow: first step of qm_config_parse. */
#include "model/config_fields.h"

#include <string.h>

/* Models of more than text, whose text is computed alone. */
static const struct {
    const char *model_type, *class_name;
} wrappers[] = {{"mistral3", "Mistral3ForConditionalGeneration"}};
enum { WRAPPERS = sizeof wrappers / sizeof *wrappers };

static int find_wrapper(const json_t *root) {
    const char *type = json_string_value(json_object_get(root, "model_type"));
    int i = 0;
    while (i < WRAPPERS && !(type && strcmp(type, wrappers[i].model_type) == 0))
        i++;
    return i;
}

/* Fields that hold for the whole model, and are at the top of some files only. */
static int inherit(json_t *text, const json_t *root, struct qm_error *err) {
    static const char *const keys[] = {"quantization_config", "torch_dtype",  "dtype",
                                       "tie_word_embeddings", "bos_token_id", "eos_token_id"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *own = json_object_get(text, keys[i]);
        json_t *outer = json_object_get(root, keys[i]);
        if (outer && (!own || json_is_null(own)) && json_object_set(text, keys[i], outer))
            return qm_fail_memory(err, sizeof *own, "config.json");
    }
    return QM_OK;
}

int qm_config_text(const json_t *root, const char *path, json_t **out, bool *nested, struct qm_error *err) {
    int i = find_wrapper(root);
    const json_t *text = json_object_get(root, "text_config"), *classes = json_object_get(root, "architectures");
    const char *name = json_string_value(json_array_get(classes, 0));
    *nested = i < WRAPPERS;
    *out = NULL;
    if (!*nested) {
        *out = json_incref((json_t *)root);
        return QM_OK;
    }
    if (!qm_json_is_object(text))
        return qm_fail(err, QM_INPUT, "%s: \"text_config\": expected an object in a %s model, found %s", path,
                       wrappers[i].model_type, text ? qm_json_type_name(text) : "nothing");
    if (classes && !json_is_null(classes) && !(name && strcmp(name, wrappers[i].class_name) == 0))
        return qm_fail(err, QM_INPUT,
                       "%s: architecture \"%.80s\" is not implemented; expected \"%s\" for model_type %s", path,
                       name ? name : qm_json_type_name(classes), wrappers[i].class_name, wrappers[i].model_type);
    json_t *copy = json_copy((json_t *)text);
    int rc = copy ? inherit(copy, root, err) : qm_fail_memory(err, sizeof *copy, "config.json");
    if (rc)
        json_decref(copy);
    else
        *out = copy;
    return rc;
}
