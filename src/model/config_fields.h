/* Readers of config.json's fields that more than one file needs: config.c for the common ones, arch/ for each
 * architecture's own. Messages name the file, the field, what was expected and what was found. */
#ifndef QM_MODEL_CONFIG_FIELDS_H
#define QM_MODEL_CONFIG_FIELDS_H

#include <jansson.h>

#include "base/error.h"
#include "base/json.h"
#include "model/config.h"

/* The object that has the text model's fields, a new reference: the file itself, or (*nested) its "text_config" with
 * what holds for the whole model from outside of it. */
int qm_config_text(const json_t *root, const char *path, json_t **out, bool *nested, struct qm_error *err);

/* Like qm_json_int, but the key must be there. */
int qm_config_required(const json_t *root, const char *key, const char *path, int64_t min, int64_t max, int64_t *out,
                       struct qm_error *err);

/* Token ids: a number, a list of at most max, or nothing (*n is 0). They may be none of the model's: negative ones
 * become -1, ones beyond 31 bits INT32_MAX. */
int qm_config_token_ids(const json_t *root, const char *key, const char *path, int32_t *ids, int max, int *n,
                        struct qm_error *err);

/* "sliding_window": `absent` where the key is not there, 0 where it is null. */
int qm_config_window(const json_t *root, const char *path, int64_t absent, int64_t *window, struct qm_error *err);
/* The same window on layers first, first + step, ... and none on the others. */
void qm_config_set_windows(struct qm_config *c, int64_t window, int64_t first, int64_t step);
/* Qwen2 and Qwen3's rule: where use_sliding_window is true, the window holds from layer max_window_layers on,
 * unless layer_types says which. */
int qm_config_upper_windows(const json_t *root, const char *path, struct qm_config *c, struct qm_error *err);
/* For architectures without windows: "sliding_window" must be absent or null. */
int qm_config_no_window(const json_t *root, const char *path, struct qm_error *err);
/* "layer_types", where present: the window on its sliding layers, none on its full ones. */
int qm_config_layer_types(const json_t *root, const char *path, int64_t window, struct qm_config *c,
                          struct qm_error *err);
/* "layer_types", where present, must say what c->layer says. */
int qm_config_check_layer_types(const json_t *root, const char *path, const struct qm_config *c, struct qm_error *err);

/* n_group, topk_group, norm_topk_prob and routed_scaling_factor, of routers with logistic scores and a bias on the
 * choice; the experts are known. */
int qm_config_sigmoid_router(const json_t *root, const char *path, struct qm_config *c, struct qm_error *err);
/* "first_k_dense_replace": the layers before it are dense, the others have experts, `shared` of them shared. */
int qm_config_moe_layers(const json_t *root, const char *path, int64_t shared, struct qm_config *c,
                         struct qm_error *err);
/* The expert fields that architectures name differently; sets experts, experts_per_token, moe_ffn. */
int qm_config_experts(const json_t *root, const char *path, const char *experts_key, const char *ffn_key,
                      struct qm_config *c, struct qm_error *err);

/* Whether an architecture reads a field itself, of those that others must not have (qm_config_check_neutral); reads: a
 * list that ends with NULL, or NULL. */
bool qm_config_reads(const char *const *reads, const char *key);

/* rope_theta, rope_scaling and rope_parameters, in all published forms, and, where the architecture reads it,
 * partial_rotary_factor. */
int qm_config_rope(const json_t *root, const char *path, double default_theta, const char *const *reads,
                   struct qm_config *c, struct qm_error *err);
/* Rotates the first `width` values of a head only: QM_INPUT naming `key` where that is odd, 0 or more than it has. */
int qm_config_rope_width(const char *key, const char *path, double width, struct qm_config *c, struct qm_error *err);
/* The ranges that the formulas of rope.c need, for values from a file or a command line. */
int qm_config_check_rope(const struct qm_config *c, const char *where, enum qm_code code, struct qm_error *err);
const char *qm_rope_kind_name(enum qm_rope_kind k);
/* The kind of that name, or -1. */
int qm_rope_kind_find(const char *name);

/* Fields that would change the arithmetic must be absent, null or neutral. */
int qm_config_check_neutral(const json_t *root, const char *path, const char *const *reads, struct qm_error *err);

/* max_positions by the scaling: factor x original where that is larger than the file's own. */
void qm_config_raise_positions(struct qm_config *c);

#endif
