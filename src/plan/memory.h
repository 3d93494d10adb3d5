/* How many bytes a model takes, part by part, before anything is allocated. The engine allocates by the same
 * functions, so what is said is what is taken. */
#ifndef QM_PLAN_MEMORY_H
#define QM_PLAN_MEMORY_H

#include <stdint.h>

#include "model/model.h"

enum { QM_KV_PAGE_TOKENS = 64, QM_ATTENTION_SPLIT = 512 };

struct qm_workload {
    int64_t context;   /* tokens a sequence may hold */
    int64_t sequences; /* at once */
    int64_t chunk;     /* tokens of one step at most */
    enum qm_dtype kv_type;
    int threads;
};

struct qm_memory_table {
    uint64_t weights;      /* panels and vectors, padding included */
    uint64_t kv;           /* pages of all sequences */
    uint64_t kv_per_token; /* of the layers that keep the whole context */
    uint64_t scratch;      /* activations of one step */
    uint64_t total;
};

/* Bytes of one weight as packed (panels padded to 64 bytes; vectors as F32). */
uint64_t qm_weight_bytes(const struct qm_weight *w);
/* Pages that a sequence of `context` tokens takes in a state part with this window. */
int64_t qm_kv_pages(int64_t context, int64_t window, int64_t chunk);
/* Bytes of one page (keys and values) of one KV head. */
uint64_t qm_kv_page_bytes(enum qm_dtype kv_type, int64_t head_dim);
/* The type KV is kept in unless told otherwise: the weights' own. */
enum qm_dtype qm_kv_default_type(const struct qm_config *c);
void qm_memory_estimate(const struct qm_model *m, const struct qm_workload *w, struct qm_memory_table *out);

#endif
