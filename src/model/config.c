/* config.json to struct qm_config: the fields that every architecture has, then the architecture's own, then the
 * checks across fields. Where in the flow: second step of qm_model_open. Reads no file itself. */
#include "model/config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "model/arch/arch.h"
#include "model/config_fields.h"

/* With these limits no size in the model layer overflows 64 bits: the experts' elements, the largest, are
 * layers x experts x 3 x hidden x ffn < 2^10 x 2^10 x 2^2 x 2^17 x 2^20 = 2^59. */
enum { MAX_VOCAB = 1 << 24, MAX_HIDDEN = 1 << 17, MAX_HEADS = 1 << 12, MAX_HEAD_DIM = 1 << 10, MAX_FFN = 1 << 20 };

/* The class of config.json is the architecture's, or (*base) the same without a head: "Qwen3Model". Case is as old
 * conversions have it (LLaMAForCausalLM). */
static bool is_class(const char *name, const struct qm_arch *arch, bool *base) {
    static const char with_head[] = "ForCausalLM";
    size_t stem = strlen(arch->class_name) - (sizeof with_head - 1);
    *base = strncasecmp(name, arch->class_name, stem) == 0 && strcasecmp(name + stem, "Model") == 0;
    return *base || strcasecmp(name, arch->class_name) == 0;
}

static int find_arch(const json_t *root, const char *path, const struct qm_arch **arch, bool *base,
                     struct qm_error *err) {
    const char *type = NULL;
    int rc = qm_json_string(root, "model_type", path, &type, err);
    if (rc)
        return rc;
    char names[256];
    qm_arch_names(names, sizeof names);
    if (!type)
        return qm_fail(err, QM_INPUT, "%s: \"model_type\": expected one of %s, found nothing", path, names);
    *arch = qm_arch_find(type);
    if (!*arch)
        return qm_fail(err, QM_INPUT, "%s: model_type \"%.60s\" is not implemented; expected one of %s", path, type,
                       names);
    const json_t *classes = json_object_get(root, "architectures");
    if (!classes || json_is_null(classes) || (json_is_array(classes) && json_array_size(classes) == 0))
        return QM_OK;
    const json_t *first = json_array_get(classes, 0);
    const char *class_name = json_string_value(first);
    if (!class_name || json_array_size(classes) != 1)
        return qm_fail(err, QM_INPUT, "%s: \"architectures\": expected [\"%s\"], found %s of %zu", path,
                       (*arch)->class_name, qm_json_type_name(classes), json_array_size(classes));
    if (!is_class(class_name, *arch, base))
        return qm_fail(err, QM_INPUT,
                       "%s: architecture \"%.80s\" is not implemented; expected \"%s\" for model_type %s", path,
                       class_name, (*arch)->class_name, type);
    return QM_OK;
}

static int read_sizes(const json_t *root, const char *path, struct qm_config *c, struct qm_error *err) {
    int rc = qm_config_required(root, "vocab_size", path, 1, MAX_VOCAB, &c->vocab, err);
    if (!rc)
        rc = qm_config_required(root, "hidden_size", path, 1, MAX_HIDDEN, &c->hidden, err);
    if (!rc)
        rc = qm_config_required(root, "num_hidden_layers", path, 1, QM_MAX_LAYERS, &c->layers, err);
    if (!rc)
        rc = qm_config_required(root, "num_attention_heads", path, 1, MAX_HEADS, &c->heads, err);
    if (!rc)
        rc = qm_config_required(root, "intermediate_size", path, 1, MAX_FFN, &c->ffn, err);
    if (!rc)
        rc = qm_config_required(root, "max_position_embeddings", path, 1, QM_MAX_POSITIONS, &c->file_positions, err);
    c->max_positions = c->default_positions = c->file_positions;
    c->kv_heads = c->heads;
    if (!rc)
        rc = qm_json_int(root, "num_key_value_heads", path, 1, MAX_HEADS, &c->kv_heads, err);
    if (!rc)
        rc = qm_json_int(root, "head_dim", path, 2, MAX_HEAD_DIM, &c->head_dim, err);
    if (rc)
        return rc;
    if (c->heads % c->kv_heads != 0)
        return qm_fail(err, QM_INPUT,
                       "%s: \"num_attention_heads\": expected a multiple of num_key_value_heads, %lld, found "
                       "%lld",
                       path, (long long)c->kv_heads, (long long)c->heads);
    if (c->head_dim == 0 && c->hidden % c->heads != 0)
        return qm_fail(err, QM_INPUT,
                       "%s: \"hidden_size\": expected a multiple of num_attention_heads, %lld, as there is no "
                       "head_dim, found %lld",
                       path, (long long)c->heads, (long long)c->hidden);
    if (c->head_dim == 0)
        c->head_dim = c->hidden / c->heads;
    if (c->head_dim % 2 != 0 || c->head_dim > MAX_HEAD_DIM)
        return qm_fail(err, QM_INPUT, "%s: head_dim: expected an even number of at most %d, found %lld", path,
                       MAX_HEAD_DIM, (long long)c->head_dim);
    return QM_OK;
}

/* Layers of multi-token prediction, by the names that files have for their number. */
static int read_mtp(const json_t *root, const char *path, struct qm_config *c, struct qm_error *err) {
    static const char *const keys[] = {"num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_modules"};
    int rc = QM_OK;
    for (size_t i = 0; i < sizeof keys / sizeof *keys && !rc; i++)
        rc = qm_json_int(root, keys[i], path, 0, QM_MAX_LAYERS, &c->mtp_layers, err);
    return rc;
}

/* A name that is none of these ("auto", "float64") says nothing: the files count. */
static int read_dtype(const json_t *root, const char *path, struct qm_config *c, struct qm_error *err) {
    const char *newer = NULL, *name = NULL;
    int rc = qm_json_string(root, "torch_dtype", path, &name, err);
    if (!rc)
        rc = qm_json_string(root, "dtype", path, &newer, err);
    if (rc)
        return rc;
    static const struct {
        const char *name;
        enum qm_dtype dtype;
    } types[] = {{"bfloat16", QM_BF16}, {"float16", QM_F16}, {"half", QM_F16}, {"float32", QM_F32}, {"float", QM_F32}};
    name = newer ? newer : name;
    c->dtype = QM_BF16;
    if (!name)
        return QM_OK;
    const char *plain = strncmp(name, "torch.", 6) == 0 ? name + 6 : name;
    for (size_t i = 0; i < sizeof types / sizeof *types && !c->dtype_given; i++) {
        c->dtype_given = strcmp(plain, types[i].name) == 0;
        c->dtype = c->dtype_given ? types[i].dtype : QM_BF16;
    }
    return QM_OK;
}

static int token_id(const json_t *v, const char *key, const char *path, int32_t *out, struct qm_error *err) {
    const char *beyond = qm_json_number(v); /* an integer beyond 64 bits is an id that no vocabulary has */
    if (beyond && strspn(beyond, "-0123456789") == strlen(beyond)) {
        *out = beyond[0] == '-' ? -1 : INT32_MAX;
        return QM_OK;
    }
    if (!json_is_integer(v))
        return qm_fail(err, QM_INPUT, "%s: \"%s\": expected a token id, found %s", path, key, qm_json_type_name(v));
    json_int_t id = json_integer_value(v);
    *out = id < 0 ? -1 : id > INT32_MAX ? INT32_MAX : (int32_t)id;
    return QM_OK;
}

int qm_config_token_ids(const json_t *root, const char *key, const char *path, int32_t *ids, int max, int *n,
                        struct qm_error *err) {
    const json_t *v = json_object_get(root, key);
    *n = 0;
    if (!v || json_is_null(v))
        return QM_OK;
    bool list = json_is_array(v);
    size_t count = list ? json_array_size(v) : 1;
    if (count > (size_t)max)
        return qm_fail(err, QM_INPUT, "%s: \"%s\": expected at most %d token ids, found %zu", path, key, max, count);
    for (size_t i = 0; i < count; i++) {
        int rc = token_id(list ? json_array_get(v, i) : v, key, path, &ids[i], err);
        if (rc)
            return rc;
    }
    *n = (int)count;
    return QM_OK;
}

static int read_tokens(const json_t *root, const char *path, struct qm_config *c, struct qm_error *err) {
    int n = 0;
    int rc = qm_config_token_ids(root, "bos_token_id", path, &c->bos_token, 1, &n, err);
    if (n == 0)
        c->bos_token = -1;
    if (!rc)
        rc = qm_config_token_ids(root, "eos_token_id", path, c->end_tokens, QM_MAX_END_TOKENS, &c->n_end_tokens, err);
    return rc;
}

static int read_common(const json_t *root, const char *path, const struct qm_arch *arch, struct qm_config *c,
                       struct qm_error *err) {
    snprintf(c->model_type, sizeof c->model_type, "%s", arch->model_type);
    int rc = qm_config_check_neutral(root, path, arch->reads, err);
    if (!rc)
        rc = read_sizes(root, path, c, err);
    if (!rc)
        rc = read_mtp(root, path, c, err);
    if (!rc)
        rc = read_dtype(root, path, c, err);
    if (!rc)
        rc = read_tokens(root, path, c, err);
    if (!rc)
        rc = qm_json_bool(root, "tie_word_embeddings", path, &c->tie_embeddings, err);
    c->route_groups = c->route_groups_chosen = 1;
    c->route_scale = 1;
    c->rms_eps = NAN;
    if (!rc)
        rc = qm_json_double(root, "rms_norm_eps", path, &c->rms_eps, err);
    if (!rc && !(c->rms_eps >= 0 && c->rms_eps <= 1))
        rc = qm_fail(err, QM_INPUT, "%s: \"rms_norm_eps\": expected a number from 0 to 1, found %s", path,
                     isnan(c->rms_eps) ? "none" : "another");
    if (!rc)
        rc = qm_config_rope(root, path, arch->default_theta, arch->reads, c, err);
    return rc;
}

/* What holds across fields once the architecture has set its own. */
static int check_whole(const json_t *root, const char *path, const struct qm_config *c, struct qm_error *err) {
    const json_t *quantization = json_object_get(root, "quantization_config");
    if (quantization && !json_is_null(quantization) && c->expert_dtype != QM_MXFP4) {
        const char *method = json_string_value(json_object_get(quantization, "quant_method"));
        return qm_fail(err, QM_INPUT,
                       "%s: \"quantization_config\" with quant_method \"%.60s\" is not implemented for %s: use "
                       "the unquantized model",
                       path, method ? method : "?", c->model_type);
    }
    bool qk_norm = c->qk_norm;
    int rc = qm_json_bool(root, "use_qk_norm", path, &qk_norm, err);
    if (rc)
        return rc;
    if (qk_norm != c->qk_norm)
        return qm_fail(err, QM_INPUT, "%s: \"use_qk_norm\": expected %s for %s, found %s: it is not implemented", path,
                       c->qk_norm ? "true" : "false", c->model_type, qk_norm ? "true" : "false");
    if (c->expert_dtype == QM_MXFP4 && (c->hidden % 32 != 0 || c->moe_ffn % 32 != 0))
        return qm_fail(err, QM_INPUT,
                       "%s: expected hidden_size and intermediate_size to be multiples of 32 for MXFP4, found "
                       "%lld and %lld",
                       path, (long long)c->hidden, (long long)c->moe_ffn);
    return qm_config_check_layer_types(root, path, c, err);
}

static int parse_text(const json_t *root, const char *path, bool nested, struct qm_config *out, struct qm_error *err) {
    struct qm_config c = {.nested = nested};
    const struct qm_arch *arch = NULL;
    int rc = find_arch(root, path, &arch, &c.base_class, err);
    if (!rc)
        rc = read_common(root, path, arch, &c, err);
    if (rc)
        return rc;
    c.layer = calloc((size_t)c.layers, sizeof *c.layer);
    if (!c.layer)
        return qm_fail_memory(err, (size_t)c.layers * sizeof *c.layer, "a model's layers");
    c.expert_dtype = c.dtype;
    rc = arch->configure(root, path, &c, err);
    if (!rc)
        rc = check_whole(root, path, &c, err);
    if (rc)
        qm_config_free(&c);
    else
        *out = c;
    return rc;
}

int qm_config_parse(const json_t *root, const char *path, struct qm_config *out, struct qm_error *err) {
    *out = (struct qm_config){0};
    if (!qm_json_is_object(root))
        return qm_fail(err, QM_INPUT, "%s: expected an object, found %s", path, qm_json_type_name(root));
    json_t *text;
    bool nested;
    int rc = qm_config_text(root, path, &text, &nested, err);
    if (rc)
        return rc;
    char where[600];
    snprintf(where, sizeof where, "%.500s%s", path, nested ? ": text_config" : "");
    rc = parse_text(text, where, nested, out, err);
    json_decref(text);
    return rc;
}

void qm_config_free(struct qm_config *c) {
    free(c->layer);
    *c = (struct qm_config){0};
}
