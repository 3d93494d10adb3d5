/* generation_config.json. Where in the flow: read by the commands once a model is open. */
#include "session/generation_config.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/path.h"
#include "model/config_fields.h"

enum { FILE_LIMIT = 1 << 20 };

static int read_number(const json_t *root, const char *key, const char *path, double min, double max, bool *has,
                       double *out, struct qm_error *err) {
    const json_t *v = json_object_get(root, key);
    *has = v && !json_is_null(v);
    int rc = qm_json_double(root, key, path, out, err);
    if (!rc && *has && !(*out >= min && *out <= max))
        rc = qm_fail(err, QM_INPUT, "%s: \"%s\": expected a number from %g to %g, found %g", path, key, min, max, *out);
    return rc;
}

int qm_generation_config_parse(const json_t *root, const char *path, struct qm_generation_config *out,
                               struct qm_error *err) {
    struct qm_generation_config g = {.bos_token = -1, .temperature = 1, .top_p = 1, .repetition_penalty = 1};
    *out = g;
    if (!qm_json_is_object(root))
        return qm_fail(err, QM_INPUT, "%s: expected an object, found %s", path, qm_json_type_name(root));
    const json_t *sample = json_object_get(root, "do_sample"), *top_k = json_object_get(root, "top_k");
    g.has_do_sample = sample && !json_is_null(sample);
    g.has_top_k = top_k && !json_is_null(top_k);
    int n_bos = 0;
    int rc = read_number(root, "temperature", path, 0, 1e3, &g.has_temperature, &g.temperature, err);
    if (!rc)
        rc = read_number(root, "top_p", path, 0, 1, &g.has_top_p, &g.top_p, err);
    if (!rc)
        rc = read_number(root, "min_p", path, 0, 1, &g.has_min_p, &g.min_p, err);
    if (!rc)
        rc = read_number(root, "repetition_penalty", path, 1e-3, 1e3, &g.has_repetition_penalty, &g.repetition_penalty,
                         err);
    if (!rc)
        rc = qm_json_int(root, "top_k", path, -1, INT32_MAX, &g.top_k, err); /* -1: off, as servers have it */
    g.top_k = g.top_k < 0 ? 0 : g.top_k;
    if (!rc)
        rc = qm_json_bool(root, "do_sample", path, &g.do_sample, err);
    if (!rc)
        rc = qm_config_token_ids(root, "bos_token_id", path, &g.bos_token, 1, &n_bos, err);
    if (!rc)
        rc = qm_config_token_ids(root, "eos_token_id", path, g.end_tokens, QM_MAX_END_TOKENS, &g.n_end_tokens, err);
    if (!rc)
        *out = g;
    return rc;
}

int qm_generation_config_read(const char *dir, struct qm_generation_config *out, struct qm_error *err) {
    *out = (struct qm_generation_config){.bos_token = -1, .temperature = 1, .top_p = 1, .repetition_penalty = 1};
    char *path = qm_path_join(dir, "generation_config.json");
    if (!path)
        return qm_fail_memory(err, 64, "a file name");
    json_t *root = NULL;
    int rc = QM_OK;
    if (qm_file_there(path)) {
        rc = qm_json_load(path, FILE_LIMIT, &root, err);
        if (!rc)
            rc = qm_generation_config_parse(root, path, out, err);
        json_decref(root);
    }
    free(path);
    return rc;
}
