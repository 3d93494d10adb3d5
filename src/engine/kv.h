/* Keys and values in fixed-size pages, in the panel layout that the attention products read.
 *
 * A page holds QM_KV_PAGE_TOKENS consecutive tokens of one KV head of one layer: keys as panels over tokens
 * (n = token, k = head dim), then values as panels over head dim (n = dim, k = token). Layers with the same
 * window share page numbers (a group). Logical page i of a sequence is at table[i % held]: where a window holds fewer
 * pages than the context has, old ones are written over.
 *
 * There is one allocation a node. Where KV heads divide by nodes, each node has all pages of its heads; else each has
 * a range of page numbers of all heads, and a sequence takes its pages from the nodes by turns, QM_ATTENTION_SPLIT
 * tokens of each. Where a page lies changes no result.
 * Not thread-safe but for reading; everything is allocated at the start. */
#ifndef QM_ENGINE_KV_H
#define QM_ENGINE_KV_H

#include <stdint.h>

#include "base/error.h"
#include "numa/memory.h"
#include "numa/team.h"
#include "plan/forward.h"
#include "plan/memory.h"
#include "simd/kernels.h"

struct qm_kv_group {
    int64_t window;
    int64_t held;  /* pages of one sequence */
    int64_t pages; /* of all */
    int32_t *free_pages;
    int64_t n_free;
};

struct qm_kv {
    enum qm_dtype type;
    int64_t kv_heads, head_dim, chunk, context;
    int nodes;
    int ranges; /* of page numbers: 1 where nodes share by head, else one a node */
    uint64_t key_bytes, page_bytes;
    struct qm_kv_group *groups;
    int n_groups;
    int *group_of;  /* [states] */
    uint8_t **base; /* [states][kv_heads][ranges]: the first page of a range */
    int n_states;
    struct qm_memory *memory; /* [nodes] */
};

/* A sequence's page tables. */
struct qm_kv_tables {
    int32_t **table; /* [groups][held]; -1: no page yet */
    int64_t length;  /* tokens held (of a window, the last of them) */
    int64_t *oldest; /* [groups] the first token whose keys and values are still there */
};

/* homes: [nodes]. */
int qm_kv_open(const struct qm_forward *f, const struct qm_workload *w, const struct qm_home *homes, int nodes,
               struct qm_kv *out, struct qm_error *err);
void qm_kv_close(struct qm_kv *kv);

int qm_kv_tables_open(const struct qm_kv *kv, struct qm_kv_tables *out, struct qm_error *err);
void qm_kv_tables_close(struct qm_kv *kv, struct qm_kv_tables *t);

/* Takes the pages that positions [t->length, t->length + n) need. QM_FIT, with nothing taken, where the pool is
 * short. */
int qm_kv_reserve(struct qm_kv *kv, struct qm_kv_tables *t, int64_t n, struct qm_error *err);
/* The positions reserved are filled. */
void qm_kv_advance(const struct qm_kv *kv, struct qm_kv_tables *t, int64_t n);
/* Random keys and values at positions [t->length, t->length + n), which are reserved; the team's threads share
 * the heads of all layers. */
int qm_kv_fill_random(struct qm_kv *kv, const struct qm_kv_tables *t, int64_t n, uint64_t seed, struct qm_team *team,
                      const struct qm_kernels *kernels, struct qm_error *err);
/* Gives back pages from position n on; returns the length left (n, or 0: see qm_sequence_truncate). */
int64_t qm_kv_truncate(struct qm_kv *kv, struct qm_kv_tables *t, int64_t n);

/* Range r of a group's pages begins at pages * r / ranges, rounded down. */
static inline int qm_kv_range(const struct qm_kv *kv, const struct qm_kv_group *group, int64_t page) {
    return kv->ranges == 1 ? 0 : (int)(((page + 1) * kv->ranges - 1) / group->pages);
}

/* Page `page` of one head of one layer; its keys are at the start, its values at key_bytes. */
static inline uint8_t *qm_kv_page_at(const struct qm_kv *kv, int state, int64_t head, int64_t page) {
    const struct qm_kv_group *group = &kv->groups[kv->group_of[state]];
    int r = qm_kv_range(kv, group, page);
    return kv->base[(state * kv->kv_heads + head) * kv->ranges + r] +
           (uint64_t)(page - group->pages * r / kv->ranges) * kv->page_bytes;
}

/* The page that holds `position`. */
static inline uint8_t *qm_kv_page(const struct qm_kv *kv, const struct qm_kv_tables *t, int state, int64_t head,
                                  int64_t position) {
    int g = kv->group_of[state];
    return qm_kv_page_at(kv, state, head, t->table[g][position / QM_KV_PAGE_TOKENS % kv->groups[g].held]);
}

/* The node (0..nodes - 1) that it is on. */
static inline int qm_kv_node(const struct qm_kv *kv, const struct qm_kv_tables *t, int state, int64_t head,
                             int64_t position) {
    int g = kv->group_of[state];
    if (kv->ranges == 1)
        return (int)(head * kv->nodes / kv->kv_heads);
    return qm_kv_range(kv, &kv->groups[g], t->table[g][position / QM_KV_PAGE_TOKENS % kv->groups[g].held]);
}

#endif
