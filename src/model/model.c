/* Opens a model: config, overrides, shards, weights (published.c). */
#include "model/model.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/path.h"
#include "model/weights.h"

enum { CONFIG_LIMIT = 1 << 20 };

static int new_model(const char *dir, struct qm_model **out, struct qm_error *err) {
    struct qm_model *m = calloc(1, sizeof *m);
    *out = m;
    if (m && (m->dir = strdup(dir)))
        return QM_OK;
    return qm_fail_memory(err, sizeof *m, "a model");
}

static int configure(struct qm_model *m, const json_t *json, const char *path, const struct qm_overrides *o,
                     struct qm_error *err) {
    int rc = qm_config_parse(json, path, &m->config, err);
    return rc ? rc : qm_config_override(&m->config, o, m->notes, sizeof m->notes, err);
}

/* config.json first, as what it refuses explains more than a tensor would; but a folder without one is asked for
 * weights first, to say what it is. */
static int load_config(struct qm_model *m, const struct qm_overrides *o, struct qm_error *err) {
    char *path = qm_path_join(m->dir, "config.json");
    if (!path)
        return qm_fail_memory(err, strlen(m->dir), "a file name");
    json_t *json = NULL;
    int rc = QM_OK;
    if (!qm_file_there(path)) {
        rc = qm_shards_open(m->dir, &m->shards, err);
        if (!rc)
            rc = qm_fail(err, QM_INPUT, "%s: missing: expected the model's config.json beside its safetensors", path);
    }
    if (!rc)
        rc = qm_json_load(path, CONFIG_LIMIT, &json, err);
    if (!rc)
        rc = configure(m, json, path, o, err);
    json_decref(json);
    free(path);
    return rc;
}

int qm_model_open(const char *dir, const struct qm_overrides *overrides, struct qm_model **out, struct qm_error *err) {
    struct qm_model *m;
    *out = NULL;
    int rc = new_model(dir, &m, err);
    if (!rc)
        rc = load_config(m, overrides, err);
    if (!rc)
        rc = qm_shards_open(dir, &m->shards, err);
    if (!rc)
        rc = qm_model_find_weights(m, err);
    if (rc)
        qm_model_close(m);
    else
        *out = m;
    return rc;
}

int qm_model_from_config(const json_t *config, const char *name, const struct qm_overrides *overrides,
                         struct qm_model **out, struct qm_error *err) {
    struct qm_model *m;
    *out = NULL;
    int rc = new_model(name, &m, err);
    if (!rc)
        rc = configure(m, config, name, overrides, err);
    if (!rc)
        rc = qm_weights_shape(m, err);
    if (!rc && !m->config.dtype_given)
        qm_model_note(m, "config.json gives no dtype that is known: BF16 is assumed\n");
    if (rc)
        qm_model_close(m);
    else
        *out = m;
    return rc;
}

void qm_model_close(struct qm_model *m) {
    if (!m)
        return;
    for (int64_t i = 0; i < m->n_weights; i++)
        free(m->weights[i].runs);
    free(m->weights);
    free(m->layer_weight);
    qm_shards_close(m->shards);
    qm_config_free(&m->config);
    free(m->dir);
    free(m);
}
