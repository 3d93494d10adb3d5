/* Opens a model: config, overrides, shards, weights, and the check that nothing is missing or left over. */
#include "model/model.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "model/path.h"
#include "model/weights.h"

enum { CONFIG_LIMIT = 1 << 20 };

static void add_note(struct qm_model *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add_note(struct qm_model *m, const char *format, ...) {
    size_t used = strlen(m->notes);
    va_list args;
    va_start(args, format);
    vsnprintf(m->notes + used, sizeof m->notes - used, format, args);
    va_end(args);
}

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

static const struct qm_source *source_of(const struct qm_arch *arch, enum qm_role role) {
    const struct qm_source *s = arch->sources;
    while (s->name && s->role != role)
        s++;
    return s;
}

/* A config without a dtype: the embedding's. */
static void take_dtype(struct qm_model *m, const struct qm_arch *arch) {
    const struct qm_tensor *t = qm_shards_find(m->shards, source_of(arch, QM_W_EMBED)->name);
    if (m->config.dtype_given || !t || t->dtype == QM_U8)
        return;
    if (m->config.expert_dtype == m->config.dtype)
        m->config.expert_dtype = t->dtype;
    m->config.dtype = t->dtype;
}

static bool ends_with(const char *s, const char *suffix) {
    size_t n = strlen(s), k = strlen(suffix);
    return n >= k && strcmp(s + n - k, suffix) == 0;
}

/* Tensors that no weight uses: harmless ones are noted, others are problems. */
static void check_left_over(struct qm_model *m, const struct qm_arch *arch, const bool *used,
                            struct qm_problems *problems) {
    const char *head = source_of(arch, QM_W_HEAD)->name;
    int64_t frequencies = 0;
    for (int64_t i = 0; i < m->shards->n_tensors; i++) {
        const struct qm_tensor *t = &m->shards->tensors[i];
        if (used[i])
            continue;
        if (ends_with(t->name, "rotary_emb.inv_freq"))
            frequencies++;
        else if (m->config.tie_embeddings && strcmp(t->name, head) == 0)
            add_note(m, "ignored: %s, as the embeddings are tied\n", head);
        else
            qm_problem(problems,
                       "tensor \"%.200s\": expected only the tensors of a %s model of %" PRId64
                       " layers by config.json, found this one left over",
                       t->name, m->config.model_type, m->config.layers);
    }
    if (frequencies)
        add_note(m, "ignored: %" PRId64 " rotary_emb.inv_freq tensors, which are computed from config.json\n",
                 frequencies);
}

static int find_weights(struct qm_model *m, struct qm_error *err) {
    const struct qm_arch *arch = qm_arch_find(m->config.model_type);
    take_dtype(m, arch);
    int rc = qm_weights_shape(m, err);
    if (rc)
        return rc;
    bool *used = calloc((size_t)m->shards->n_tensors + 1, sizeof *used);
    if (!used)
        return qm_fail_memory(err, (size_t)m->shards->n_tensors, "a model's tensors");
    struct qm_problems problems = {0};
    rc = qm_weights_find(m, arch, used, &problems, err);
    if (!rc)
        check_left_over(m, arch, used, &problems);
    free(used);
    if (rc || problems.count == 0)
        return rc;
    if (problems.count == 1)
        return qm_fail(err, QM_INPUT, "%s: %s", m->dir, problems.first);
    return qm_fail(err, QM_INPUT,
                   "%s: %s; and %" PRId64 " more tensors are missing, odd or left over: config.json and the "
                   "files do not belong together",
                   m->dir, problems.first, problems.count - 1);
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
        rc = find_weights(m, err);
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
        add_note(m, "config.json gives no dtype: BF16 is assumed\n");
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
