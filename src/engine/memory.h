/* How many bytes a model takes, part by part, before anything is allocated. The engine lays out its memory by
 * the same functions, so what is reported is what is taken. Pure functions. */
#ifndef QM_ENGINE_MEMORY_H
#define QM_ENGINE_MEMORY_H

#include <stdint.h>

#include "model/model.h"
#include "simd/kernels.h"

enum {
    QM_DEFAULT_CHUNK = 512,        /* tokens of a step, where nobody says */
    QM_CONTEXT_STEP = 1024,        /* a context that is what fits is a multiple of this */
    QM_MEMORY_RESERVE = 256 << 20, /* bytes that are left to what else the process takes */
    /* Steps of up to this many rows: each thread packs them for itself, which is cheaper than a barrier. Its own part
     * of the scratch has room for so many. */
    QM_PRIVATE_ROWS = 4,
    QM_PARTIAL_TOKENS = 8, /* steps of up to this many tokens may divide splits over threads */
    QM_QUERY_ROWS = 96,    /* query rows of one query block, at most, unless one token has more heads */
    QM_MAX_GROUP = 256,    /* query heads of one KV head */
    QM_ROUTED_HEAD = 64,   /* bytes before the rows that are routed (struct qm_routed in device.h) */
};

/* What drafts take beside the model that they are for (session/draft/draft.h). */
struct qm_draft_memory {
    const struct qm_model *model; /* that drafts; NULL: none */
    uint64_t bytes;               /* of everything else that drafting takes */
};

struct qm_workload {
    int64_t context;   /* tokens a sequence may hold */
    int64_t sequences; /* at once */
    int64_t chunk;     /* tokens of one step at most */
    enum qm_dtype kv_type;
    int threads;
    uint64_t kv_memory; /* bytes of the pool of KV pages at most; 0: every sequence's whole context at once */
    int nodes;          /* for a plan: NUMA nodes that the threads are spread over; 0: one */
    int64_t
        map_tokens; /* for a plan: tokens whose attention map is asked for beside (qm_attention_map_bytes); 0: none */
    struct qm_draft_memory drafts;
};

/* Offsets and sizes of the activations of one step of `chunk` tokens, in bytes; each part starts on a 64-byte
 * boundary. ld_*: floats a row. */
struct qm_scratch_layout {
    int64_t ld_hidden, ld_qkv, ld_q, ld_ffn; /* ld_ffn: rows of h: chunk (dense) or chunk x experts a token */
    int64_t ld_value;                        /* head_dim in whole panels */
    uint64_t x, routed; /* what is transferred to devices: the residual; struct qm_routed (device.h), together */
    uint64_t handed;    /* their bytes */
    uint64_t qkv, attended, h, packed, rope, routing, partial; /* shared by all threads, as those are */
    uint64_t partial_bytes, packed_bytes;
    uint64_t thread0, thread_bytes; /* private parts, one a thread; from here on offsets within one */
    uint64_t product, product_bytes, accumulator;
    uint64_t queries, probabilities, scores, split_out, merged, row_stats, vectors, whole; /* attention */
    uint64_t private_rows, private_rows_bytes;                                             /* packed rows of its own */
    int64_t query_rows; /* rows of queries (tokens x heads of a KV head) that attention takes at once */
    uint64_t total;
};

struct qm_memory_table {
    uint64_t weights;      /* panels and vectors, padding included */
    uint64_t kv;           /* the pool of pages */
    uint64_t kv_per_token; /* of the layers that keep the whole context */
    uint64_t scratch;      /* activations of one step */
    uint64_t maps;         /* an attention map, where one is asked for */
    uint64_t drafts;       /* a draft model with its keys and values and activations, and the rest */
    uint64_t total;
};

/* The type a weight is packed as: as published, but routers as F32, since they multiply F32 activations. */
enum qm_dtype qm_packed_type(const struct qm_weight *w);
/* Bytes of one panel of 16 rows and k columns, a multiple of 64 (see simd/kernels.h for the layout). */
uint64_t qm_plan_panel_bytes(enum qm_dtype t, int64_t k);
/* Bytes of one weight as packed (vectors as F32, rounded up to 64). */
uint64_t qm_weight_bytes(const struct qm_weight *w);
/* The same of so many of its experts, packed by themselves. */
uint64_t qm_weight_part_bytes(const struct qm_weight *w, int64_t experts);

/* Pages that a sequence of `context` tokens takes in a layer with this window (0: none). */
int64_t qm_kv_pages(int64_t context, int64_t window, int64_t chunk);
/* Layers with one window form a group, which has page numbers of its own. The main group is the one whose pages are
 * counted where room is short: the layers that keep the whole context (window 0), or else the widest window's. */
int64_t qm_kv_main_window(const struct qm_config *c);
/* Pages of the pool of the group with this window. Without kv_memory a group has all sequences' pages. With it, a group
 * other than the main one has those as well, and one more for every eighth page of the main group, for blocks that are
 * kept; the main group gets all that is left of kv_memory (0 where nothing is). */
int64_t qm_kv_pool_pages(const struct qm_config *c, const struct qm_workload *w, int64_t window);
/* Bytes of one page of one KV head: of its keys, of its values. */
uint64_t qm_kv_key_bytes(enum qm_dtype kv_type, int64_t head_dim);
uint64_t qm_kv_value_bytes(enum qm_dtype kv_type, int64_t head_dim);
/* The type of the KV cache unless another is asked for: the weights' own. */
enum qm_dtype qm_kv_default_type(const struct qm_config *c);

/* Attention probabilities of one layer, asked for with logits of `tokens` tokens: computed and written in pieces of so
 * many tokens, each [heads][piece][tokens] floats, of so many bytes. */
int64_t qm_attention_map_piece(const struct qm_config *c, int64_t chunk, int64_t tokens);
uint64_t qm_attention_map_bytes(const struct qm_config *c, int64_t chunk, int64_t tokens);

void qm_scratch_plan(const struct qm_model *m, const struct qm_workload *w, struct qm_scratch_layout *out);
void qm_memory_estimate(const struct qm_model *m, const struct qm_workload *w, struct qm_memory_table *out);

/* What a draft model computes beside m's workload: as much of each text as it may hold, on the same threads; where keys
 * and values have a bound, it has the same part of what all its sequences could take. */
void qm_memory_draft_workload(const struct qm_model *m, const struct qm_workload *w, struct qm_workload *out);

/* Bytes of *w's drafts, beside m. */
uint64_t qm_memory_draft_bytes(const struct qm_model *m, const struct qm_workload *w);

/* The part that has no room, where these are taken one after the other: "weights", "activations", "attention maps",
 * "drafts", or else "keys and values". */
const char *qm_memory_short_part(uint64_t weights, uint64_t activations, uint64_t maps, uint64_t drafts,
                                 uint64_t available);

#endif
