/* config.json in its published forms, normalised: what the forward pass needs to know, and nothing that
 * it does not. A field that changes the arithmetic and is not implemented is refused by name.
 * Immutable once read. */
#ifndef QM_MODEL_CONFIG_H
#define QM_MODEL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/dtype.h"
#include "base/error.h"

struct json_t; /* jansson.h */

enum {
    QM_MAX_LAYERS = 1024,
    QM_MAX_EXPERTS = 1024,
    QM_MAX_END_TOKENS = 16,                  /* that one file names */
    QM_MAX_ENDS = 2 * QM_MAX_END_TOKENS + 2, /* that all who name some do */
    QM_MAX_POSITIONS = 1 << 30,
};

enum qm_rope_kind { QM_ROPE_DEFAULT, QM_ROPE_LINEAR, QM_ROPE_DYNAMIC, QM_ROPE_YARN, QM_ROPE_LLAMA3, QM_ROPE_KINDS };

struct qm_rope {
    enum qm_rope_kind kind;
    int64_t width; /* the first values of a head that are rotated, even; the others pass */
    double theta, factor;
    double low_freq_factor, high_freq_factor; /* llama3 */
    double beta_fast, beta_slow;              /* yarn */
    double attention_factor;                  /* yarn; NaN: derived */
    double mscale, mscale_all_dim;            /* yarn; 0: absent */
    bool truncate;                            /* yarn: round the correction range to whole dimensions */
    int64_t original_max_positions;           /* the file's max_position_embeddings where it gives none */
    double query_beta; /* rotated queries times 1 + query_beta ln(1 + floor(position / original_max_positions)): Llama
                          4's temperature; 0: none */
};

enum qm_activation { QM_ACT_SILU, QM_ACT_SWIGLU_CLAMPED };

/* How router logits become expert weights: softmax over all, the best k, renormalised or not; or (gpt-oss)
 * the best k, softmax over those; or the logistic function of each (DeepSeek V3 and after), the best k, renormalised or
 * not. Renormalised weights are divided by their sum + 1e-20. */
enum qm_routing {
    QM_ROUTE_SOFTMAX_TOPK,
    QM_ROUTE_SOFTMAX_TOPK_NORM,
    QM_ROUTE_TOPK_SOFTMAX,
    QM_ROUTE_SIGMOID_TOPK,
    QM_ROUTE_SIGMOID_TOPK_NORM
};

/* Which rotary embedding a layer has. */
enum qm_layer_rope { QM_LAYER_ROPE, QM_LAYER_ROPE_LOCAL, QM_LAYER_NO_ROPE };

/* Where a layer is normed: before attention and before its FFN; or after them, their sum before it is added. */
enum qm_norms { QM_NORMS_BEFORE, QM_NORMS_AFTER };

struct qm_layer_config {
    int64_t window; /* a token sees itself and window - 1 before it; 0: all */
    bool moe;
    bool shared; /* beside its experts an FFN of width shared_ffn that every token takes */
    enum qm_layer_rope rope;
    enum qm_norms norms;
};

struct qm_config {
    char model_type[64];
    int64_t vocab, hidden, layers, heads, kv_heads, head_dim, ffn;
    int64_t max_positions;     /* tokens of a context at most: file_positions, or what a rope scaling reaches */
    int64_t file_positions;    /* max_position_embeddings */
    int64_t default_positions; /* the context where none is asked for: max_positions, but of a dynamic scaling in the
                                file file_positions, since asking for more changes the rotation of short texts too */
    double rms_eps;
    bool nested;         /* the file is of a model of more than text, which has these fields under "text_config" */
    int64_t mtp_layers;  /* that predict tokens further ahead, behind the model's own: they are not run */
    bool base_class;     /* "architectures" names the model without its head: Qwen3Model, LlamaModel, ... */
    bool tie_embeddings; /* the embedding is the head; qm_model_open clears it where the files have another */
    bool no_head;        /* neither tied nor in the files (tie_embeddings is set): embeddings only, no logits */
    bool qkv_bias, o_bias, qk_norm, sinks, router_bias;
    bool qk_norm_whole; /* qk_norm is over all heads at once, not over each */
    bool choice_bias;   /* router_bias is added to the scores by which experts are chosen, not to logits or weights */
    bool mlp_bias;      /* on gate, up and down, the experts' too */
    int64_t experts, experts_per_token, moe_ffn; /* 0 without experts */
    int64_t shared_ffn;                          /* 0: no shared experts */
    enum qm_routing routing;
    int64_t route_groups, route_groups_chosen; /* experts are chosen of the groups (equal ranges) with the greatest sums
                                                  of their two best scores; 1 and 1: of all */
    double route_scale;                        /* of the chosen experts' weights */
    enum qm_activation activation;
    double swiglu_limit;
    struct qm_rope rope;             /* of layers with QM_LAYER_ROPE; what is overridden */
    struct qm_rope rope_local;       /* of those with QM_LAYER_ROPE_LOCAL */
    enum qm_dtype dtype;             /* of most weights: by the file, BF16 where it does not say; qm_model_open: by the
                                        tensors, whatever the file says */
    bool dtype_given;                /* the file says */
    enum qm_dtype expert_dtype;      /* the same, or QM_MXFP4 */
    int32_t bos_token;               /* -1: none */
    int32_t end_tokens[QM_MAX_ENDS]; /* may be none of the vocabulary's until qm_end_tokens_set */
    int n_end_tokens;
    struct qm_layer_config *layer; /* [layers] */
};

/* Knobs that override the file; zero-initialised means none. `notes` gets one line for each field that changed.
 * One that makes no sense for the model is QM_USAGE. A rope scaling raises max_positions to factor x original
 * where that is larger, whether it is given here or in the file (there llama3 does not: its files say the scaled
 * positions themselves); original is the file's unless given. */
struct qm_overrides {
    int64_t experts_per_token;
    double rope_theta;
    const char *rope_scaling; /* kind:key=value,...: yarn:factor=4,original=32768, linear:factor=2, dynamic:factor=2,
                                 llama3:factor=8,original=8192, none */
    /* What the caller calls each, for messages; NULL: the field of config.json. */
    const char *experts_name, *theta_name, *scaling_name;
};

/* `path` names the file in messages. On failure there is nothing to free. */
int qm_config_parse(const struct json_t *root, const char *path, struct qm_config *out, struct qm_error *err);
int qm_config_override(struct qm_config *c, const struct qm_overrides *o, char *notes, size_t notes_size,
                       struct qm_error *err);
void qm_config_free(struct qm_config *c);

/* The rotary embeddings that layers have, 1 or 2: c->rope, and c->rope_local where a layer has that. */
int qm_config_ropes(const struct qm_config *c);

/* The rotation frequencies for sequences of up to `context` tokens, in double: inv_freq[width / 2] and the
 * factor on cosine and sine. Only the dynamic kind depends on context: theta grows where context is larger than
 * original_max_positions. Sources: RoPE (Su et al. 2021), position interpolation (Chen et al. 2023),
 * NTK-aware dynamic scaling, YaRN (Peng et al. 2023), Llama 3.1; as transformers' ROPE_INIT_FUNCTIONS. */
void qm_rope_frequencies(const struct qm_rope *r, int64_t context, double *inv_freq, double *attention_factor);

#endif
