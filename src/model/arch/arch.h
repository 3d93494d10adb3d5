/* What distinguishes one architecture from another, in data: which config fields it has and what they mean,
 * and what its tensors are called. One file an architecture; the list is in arch.c. */
#ifndef QM_MODEL_ARCH_ARCH_H
#define QM_MODEL_ARCH_ARCH_H

#include <jansson.h>

#include "base/error.h"
#include "model/config_fields.h"
#include "model/model.h"

/* Where the rows of a role come from. Names hold {l} for the layer and {e} for the expert. Where the experts are
 * MXFP4, the tensors are name + "_blocks" and name + "_scales". A fused weight has one source a part. */
struct qm_source {
    enum qm_role role;
    const char *name; /* "model.layers.{l}.self_attn.q_proj.weight" */
    enum qm_source_rows {
        QM_SOURCE_WHOLE, /* all rows */
        QM_SOURCE_Q,
        QM_SOURCE_K,
        QM_SOURCE_V, /* rows of the fused qkv */
        QM_SOURCE_GATE,
        QM_SOURCE_UP,                  /* rows of the fused gate and up */
        QM_SOURCE_QKV_BY_KV_HEAD,      /* internlm2: for each KV head its q heads, then k, then v */
        QM_SOURCE_GATE_UP_ALTERNATING, /* gpt-oss: gate even rows, up odd; all experts in one tensor */
        QM_SOURCE_ALL_EXPERTS          /* all experts in one tensor, [experts][n]... */
    } part;
    enum qm_source_when { QM_ALWAYS, QM_DENSE_LAYER, QM_MOE_LAYER } when;
};

enum { QM_ARCH_TABLES = 2 };
struct qm_arch {
    const char *model_type; /* config.json's */
    const char *class_name; /* architectures[0] */
    double default_theta;   /* rope_theta where the file gives none */
    /* Reads the fields that are this architecture's own, after the common ones, and sets the flags. */
    int (*configure)(const json_t *root, const char *path, struct qm_config *c, struct qm_error *err);
    /* Each ends with name NULL. A source whose flag is off in the config (qkv_bias, qk_norm, tie_embeddings, ...) is
     * not looked for. */
    const struct qm_source *sources[QM_ARCH_TABLES]; /* NULL: none more */
    const char *const
        *reads; /* fields that config_neutral.c refuses, but configure reads; ends with NULL; NULL: none */
};

/* The names of the form that Llama was published in, and most after it: without experts, and with the biases and the
 * norms of heads that only some of them have. */
extern const struct qm_source qm_arch_common[];

extern const struct qm_arch qm_arch_glm4_moe, qm_arch_gpt_oss, qm_arch_internlm2, qm_arch_llama, qm_arch_minimax_m2,
    qm_arch_ministral3, qm_arch_mistral, qm_arch_mixtral, qm_arch_olmo3, qm_arch_qwen2, qm_arch_qwen3,
    qm_arch_qwen3_moe, qm_arch_seed_oss, qm_arch_smollm3;

const struct qm_arch *qm_arch_find(const char *model_type); /* NULL: unknown */
/* "gpt_oss, internlm2, ...", for messages. */
void qm_arch_names(char *out, size_t size);

#endif
