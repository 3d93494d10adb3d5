/* A model: its config and, for every weight of the forward pass, where its rows are published. Fused
 * weights (q, k and v; gate and up) are one matrix here, made of runs of published rows, so that whoever
 * packs them needs to know no architecture. Immutable once open.
 *
 * Adding an architecture: one file in arch/ (see arch/arch.h). */
#ifndef QM_MODEL_MODEL_H
#define QM_MODEL_MODEL_H

#include <stdint.h>

#include "base/error.h"
#include "model/config.h"
#include "model/safetensors.h"

enum qm_role {
    QM_W_EMBED,      /* matrix [vocab][hidden] */
    QM_W_FINAL_NORM, /* vector [hidden] */
    QM_W_HEAD,       /* matrix [vocab][hidden]; absent where embeddings are tied */
    /* from here on one a layer */
    QM_W_ATTN_NORM,      /* vector [hidden]; of the input, or (QM_NORMS_AFTER) of the output */
    QM_W_QKV,            /* matrix [(heads + 2 kv_heads) head_dim][hidden]: q, then k, then v rows */
    QM_W_QKV_BIAS,       /* vector, the same rows */
    QM_W_Q_NORM,         /* vector [head_dim]; where qk_norm_whole: [heads head_dim] */
    QM_W_K_NORM,         /* vector [head_dim]; where qk_norm_whole: [kv_heads head_dim] */
    QM_W_SINKS,          /* vector [heads] */
    QM_W_O,              /* matrix [hidden][heads head_dim] */
    QM_W_O_BIAS,         /* vector [hidden] */
    QM_W_FFN_NORM,       /* vector [hidden], the same */
    QM_W_ROUTER,         /* matrix [experts][hidden] */
    QM_W_ROUTER_BIAS,    /* vector [experts]; of logits, or (choice_bias) of what is chosen by */
    QM_W_SHARED_GATE_UP, /* matrix [2 ffn16][hidden] of the shared experts together, as QM_W_GATE_UP */
    QM_W_SHARED_DOWN,    /* matrix [hidden][shared_ffn] */
    QM_W_GATE_UP,        /* matrix, experts x [2 ffn16][hidden], ffn16 = ffn rounded up to 16: gate and up
                            interleaved by panel: 16 gate rows, 16 up rows, ... */
    QM_W_GATE_UP_BIAS,   /* vector, experts x [2 ffn16], the same rows */
    QM_W_DOWN,           /* matrix, experts x [hidden][ffn] */
    QM_W_DOWN_BIAS,      /* vector, experts x [hidden] */
    QM_W_COUNT
};

/* Whether its panels are gate and up by turns, so that two of them belong together. */
static inline bool qm_role_is_gate_up(enum qm_role role) {
    return role == QM_W_GATE_UP || role == QM_W_SHARED_GATE_UP;
}

/* A run of published rows (of a vector: elements; of MXFP4: rows of blocks, and of scales alike): tensor rows src, src
 * + step, ... (count of them; leading dimensions of the tensor flattened into rows) become rows dst, dst + 1, ... of
 * the weight. Rows of the weight that no run covers are zero. gate/up interleaving: with interleave 32, row dst + i
 * goes to (dst + i) / 16 * 32 + (dst + i) % 16 + shift instead (shift 0: gate, 16: up). */
struct qm_run {
    const struct qm_tensor *tensor;
    const struct qm_tensor *scales; /* MXFP4: tensor is *_blocks, scales *_scales; else NULL */
    int64_t src, step, count;
    int64_t expert, dst;
    int interleave, shift;
};

struct qm_weight {
    enum qm_role role;
    int layer;           /* -1 outside layers */
    enum qm_dtype dtype; /* as published; F32 where its tensors are of several types, which it holds exactly. A run's
                            own is its tensor's */
    bool vector;         /* k is 1 */
    int64_t experts;     /* 1 where dense */
    int64_t n, k;        /* of one expert; n includes interleaving's padding */
    struct qm_run *runs; /* in ascending order of expert */
    int64_t n_runs;
};

/* Parts of published models that are not run. */
enum qm_left_out { QM_LEFT_IMAGES, QM_LEFT_SOUND, QM_LEFT_MTP, QM_LEFT_COUNT };
/* "images", "sound", "multi-token prediction". */
const char *qm_left_out_name(enum qm_left_out part);

struct qm_model {
    struct qm_config config;
    char *dir;
    struct qm_shards *shards; /* NULL where only the config was opened */
    struct qm_weight *weights;
    int64_t n_weights;
    int32_t (*layer_weight)[QM_W_COUNT]; /* [layers][role]: index into weights, -1 where absent */
    int32_t global_weight[QM_W_COUNT];   /* EMBED, FINAL_NORM, HEAD */
    int64_t parameters;                  /* published elements, tied ones once */
    int64_t active_parameters;           /* of matrices, multiplied for one token: head and the chosen experts included,
                                            the embedding's row not */
    struct {
        int64_t tensors;
        uint64_t bytes;
    } left_out[QM_LEFT_COUNT]; /* what the files have of such parts; notes say it too */
    char notes[2048];          /* lines about overrides and tensors that were ignored on purpose */
};

/* Opens a model directory: config.json, the shards, and every weight that the config implies, checked by
 * name and shape; tensors left over are QM_INPUT, except known harmless ones (rotary inv_freq, an lm_head that
 * equals the tied embedding) and those of parts that are not run (enum qm_left_out: by prefix, and as many layers
 * beyond the model's as config.json counts for multi-token prediction), which are named in notes. overrides may be
 * NULL. Where the files are not as config.json says, but clear, the files count, and notes say so: types    each tensor
 * is taken in its own: BF16, F16 or F32 (and U8 for MXFP4); others are QM_INPUT names    all without "model.", as the
 * model classes without a head write them, or all within "language_model." head     one in the files that differs from
 * a tied embedding; none, where the class or the names are those of a model without a head (config.no_head) */
int qm_model_open(const char *dir, const struct qm_overrides *overrides, struct qm_model **out, struct qm_error *err);

/* From a parsed config alone: weights have shapes and dtypes but no runs (tensor pointers NULL). */
int qm_model_from_config(const struct json_t *config, const char *name, const struct qm_overrides *overrides,
                         struct qm_model **out, struct qm_error *err);
void qm_model_close(struct qm_model *m);

static inline const struct qm_weight *qm_model_weight(const struct qm_model *m, int64_t layer, enum qm_role role) {
    int32_t i = layer < 0 ? m->global_weight[role] : m->layer_weight[layer][role];
    return i < 0 ? 0 : &m->weights[i];
}

#endif
