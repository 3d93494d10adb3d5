/* The forward pass as a list of coarse ops, built once from a model. There is one such list for every
 * architecture; a backend executes it and knows no architecture. Each op is one parallel region.
 * Immutable once built.
 *
 * x: residual stream, F32 [tokens][hidden]. For layer l:
 *   QKV       qkv = norm(x) . Wqkv^T + b
 *   ATTENTION QK-norm (of each head, or of all), RoPE where the layer has it, KV store;
 *             a = softmax(q k^T / sqrt(head_dim), window, sinks) v
 *   OUT       x += a . Wo^T + b
 *   FFN_UP    h = act(norm(x) . Wgu^T + b)            | ROUTE   the best experts of norm(x) and their weights
 *   FFN_DOWN  x += h . Wd^T + b                       | MOE_UP, MOE_DOWN the same per chosen expert, in
 *                                                       ascending order of expert
 *                                                       where the layer has shared experts, SHARED_UP and
 *                                                       SHARED_DOWN before them: the same as FFN_UP and FFN_DOWN, of
 *                                                       the rows that ROUTE has normed
 * Where norms are behind (QM_NORMS_AFTER), QKV and FFN_UP take x as it is, OUT and FFN_DOWN make y, and x += norm(y) in
 * ATTENTION_NORM and FFN_NORM.
 * and at the ends EMBED and HEAD (final norm and logits of the positions asked for). */
#ifndef QM_ENGINE_FORWARD_H
#define QM_ENGINE_FORWARD_H

#include <stdint.h>

#include "base/error.h"
#include "model/model.h"

enum qm_op_kind {
    QM_OP_EMBED,
    QM_OP_QKV,
    QM_OP_ATTENTION,
    QM_OP_ATTENTION_OUT,
    QM_OP_ATTENTION_NORM,
    QM_OP_FFN_UP,
    QM_OP_FFN_DOWN,
    QM_OP_FFN_NORM,
    QM_OP_ROUTE,
    QM_OP_SHARED_UP,
    QM_OP_SHARED_DOWN,
    QM_OP_MOE_UP,
    QM_OP_MOE_DOWN,
    QM_OP_HEAD,
    QM_OP_COUNT
};

/* What an op of a layer is, by the roles of its weights; QM_W_COUNT: none. */
struct qm_layer_op {
    enum qm_op_kind kind;
    enum qm_role norm, matrix, bias;
};
enum { QM_LAYER_OPS = 8 };
/* The ops of a layer in the order in which they are computed, n of them, at most QM_LAYER_OPS: the order of a layer is
 * written there alone. Memory, units and times walk it. */
const struct qm_layer_op *qm_layer_ops(const struct qm_layer_config *layer, int *n);

/* Weights by index into qm_model.weights; -1 where the op has none. */
struct qm_op {
    enum qm_op_kind kind;
    int layer; /* -1 for EMBED and HEAD */
    int32_t norm, matrix, bias;
    int32_t q_norm, k_norm, sinks; /* ATTENTION */
    int64_t window;                /* ATTENTION; 0: all */
    enum qm_layer_rope rope;       /* ATTENTION */
    bool apart;                    /* ATTENTION_OUT, FFN_DOWN: the sum is not added to x, but normed first */
    int state;                     /* ATTENTION: index into qm_forward.states */
};

/* One typed part of a sequence's state that an op keeps between steps. Only keys and values so far. */
struct qm_state_part {
    int layer;
    int64_t kv_heads, head_dim;
    int64_t window; /* 0: kept whole */
};

struct qm_forward {
    struct qm_op *ops;
    int n_ops;
    struct qm_state_part *states;
    int n_states;
};

int qm_forward_build(const struct qm_model *m, struct qm_forward *out, struct qm_error *err);
void qm_forward_free(struct qm_forward *f);
const char *qm_op_name(enum qm_op_kind k);

#endif
