/* Keys and values in fixed-size pages, in the panel layout that the attention products read.
 *
 * A page holds QM_KV_PAGE_TOKENS consecutive tokens of one KV head of one layer: keys as panels over tokens
 * (n = token, k = head dim), then values as panels over head dim (n = dim, k = token). Layers with the same
 * window share page numbers (a group): qm_kv_at says where page p of a layer and head is. Logical page i of a
 * sequence is at table[i % held]: where a window holds fewer pages than the context has, a page that has slid out of
 * the window is written over.
 *
 * Pages are counted by reference, and one that somebody else refers to as well is never written: the sequence takes a
 * fresh page instead, and copies what it keeps of a page that it was truncated into.
 *
 * A block is one filled page of each group, for the same tokens; it is named by its page of the main group
 * (qm_kv_main_window), which it always has. In the other groups it may have lost its page: there are enough pages for
 * all sequences' windows, blocks only borrow them, and a sequence that finds none free takes one that only a block
 * holds. It takes first what slid out of a window, newest first, but for one window in eight (where a later sequence
 * may start again); then the others, first those that no sequence has used for longest.
 *
 * There is one allocation a node. Where KV heads divide by nodes, each node has all pages of its heads; else each has
 * a range of page numbers of all heads, and a sequence takes its pages from the nodes round-robin, QM_ATTENTION_SPLIT
 * tokens of each. Where a page lies changes no result.
 *
 * A state whose layer is on a device has its pages there (owner), under the same numbers: here are the tables and
 * counts of all, and room only once the device is lost.
 *
 * Not thread-safe but for reading; everything is allocated at the start. */
#ifndef QM_ENGINE_KV_H
#define QM_ENGINE_KV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/forward.h"
#include "engine/memory.h"
#include "engine/placement.h"
#include "numa/memory.h"
#include "numa/team.h"
#include "simd/kernels.h"

struct qm_device;

struct qm_kv_group {
    int64_t window;
    int64_t held;              /* pages of one sequence */
    int64_t pages;             /* of all */
    struct qm_kv_count *count; /* who holds which (kv_private.h) */
};

struct qm_kv {
    enum qm_dtype type;
    int64_t kv_heads, head_dim, chunk, context;
    int nodes;
    int ranges; /* of page numbers: 1 where nodes share by head, else one a node */
    uint64_t key_bytes, page_bytes;
    struct qm_kv_group *groups;
    int n_groups, main;
    int32_t *block_refs;      /* [pages of the main group] references to a block; 0: there is no such block */
    int32_t *block_pages;     /* [groups] of the block that is read or written */
    int *group_of;            /* [states] */
    uint8_t **base;           /* [states][kv_heads][ranges]: the first page of a range */
    struct qm_device **owner; /* [states] the device that has its pages; NULL: they are here */
    int n_states;
    struct qm_memory *memory;   /* [nodes] */
    struct qm_memory *regained; /* [n_regained] of states whose device is lost */
    int n_regained;
};

/* A sequence's page tables. */
struct qm_kv_tables {
    int32_t **table; /* [groups][held]; -1: no page yet */
    int64_t length;  /* tokens held (of a window, the last of them) */
    int64_t *oldest; /* [groups] the first token whose keys and values are still there */
};

/* bindings: [nodes]. p: says which states are elsewhere and take no room; NULL: none. QM_FIT where the pool does not
 * hold the pages of one step. */
int qm_kv_open(const struct qm_config *c, const struct qm_forward *f, const struct qm_workload *w,
               const struct qm_placement *p, const struct qm_binding *bindings, int nodes, struct qm_kv *out,
               struct qm_error *err);
void qm_kv_close(struct qm_kv *kv);

int qm_kv_tables_open(const struct qm_kv *kv, struct qm_kv_tables *out, struct qm_error *err);
void qm_kv_tables_close(struct qm_kv *kv, struct qm_kv_tables *t);

/* Pages of the main group that nobody holds. */
int64_t qm_kv_free_pages(const struct qm_kv *kv);
/* Pages of the main group that positions [t->length, t->length + n) need and t has not got. */
int64_t qm_kv_missing(const struct qm_kv *kv, const struct qm_kv_tables *t, int64_t n);
/* Takes the pages that positions [t->length, t->length + n) need, of which the main group has enough. */
void qm_kv_reserve(struct qm_kv *kv, struct qm_kv_tables *t, int64_t n);
/* The positions reserved are filled. */
void qm_kv_advance(const struct qm_kv *kv, struct qm_kv_tables *t, int64_t n);
/* Random keys and values at positions [t->length, t->length + n), which are reserved; the team's threads share
 * the heads of all layers. */
int qm_kv_fill_random(struct qm_kv *kv, const struct qm_kv_tables *t, int64_t n, uint64_t seed, struct qm_team *team,
                      const struct qm_kernels *kernels, struct qm_error *err);
/* Gives back pages from position n on; returns the length left (n, or 0: see qm_sequence_truncate). */
int64_t qm_kv_truncate(struct qm_kv *kv, struct qm_kv_tables *t, int64_t n);

/* Blocks: see engine.h, which has the same functions for sequences. */
int32_t qm_kv_keep(struct qm_kv *kv, const struct qm_kv_tables *t, int64_t i);
void qm_kv_release(struct qm_kv *kv, int32_t block);
int64_t qm_kv_usable(const struct qm_kv *kv, const int32_t *blocks, int64_t n);
bool qm_kv_complete(const struct qm_kv *kv, int32_t block);
bool qm_kv_in_use(const struct qm_kv *kv, int32_t block);
/* t is empty; n usable. */
void qm_kv_attach(struct qm_kv *kv, struct qm_kv_tables *t, const int32_t *blocks, int64_t n);
uint64_t qm_kv_block_bytes(const struct qm_kv *kv);
void qm_kv_export(const struct qm_kv *kv, int32_t block, void *out);
int qm_kv_import(struct qm_kv *kv, const void *bytes, int32_t *out, struct qm_error *err);

/* Range r of a group's pages begins at pages * r / ranges, rounded down. */
static inline int qm_kv_range(const struct qm_kv *kv, const struct qm_kv_group *group, int64_t page) {
    return kv->ranges == 1 ? 0 : (int)(((page + 1) * kv->ranges - 1) / group->pages);
}

/* A page of one layer (by its state) and head; its keys are at the start, its values at key_bytes. */
static inline uint8_t *qm_kv_at(const struct qm_kv *kv, int state, int64_t head, int64_t page) {
    const struct qm_kv_group *group = &kv->groups[kv->group_of[state]];
    int r = qm_kv_range(kv, group, page);
    return kv->base[(state * kv->kv_heads + head) * kv->ranges + r] +
           (uint64_t)(page - group->pages * r / kv->ranges) * kv->page_bytes;
}

/* Each device that keeps pages once: the next one behind state `*state` (-1 to begin with), which is set to its first
 * state; NULL: no more. */
struct qm_device *qm_kv_next_owner(const struct qm_kv *kv, int *state);

/* A device is lost, and the keys and values that it keeps with it. Takes room for them here, on the nodes of bindings
 * [nodes] as far as those have it; from then on they are here, each of them NaN. QM_FIT: nothing has changed. */
int qm_kv_regain(struct qm_kv *kv, const struct qm_device *owner, const struct qm_binding *bindings,
                 struct qm_error *err);

/* The same pages by number somewhere else, for who computes there: *out has the groups of kv, which must outlive it,
 * and no memory until states are put somewhere. */
int qm_kv_mirror_open(const struct qm_kv *kv, struct qm_kv *out, struct qm_error *err);
void qm_kv_mirror_close(struct qm_kv *mirror);
/* All pages of a state are from `at` on, head by head; their bytes. */
void qm_kv_mirror_put(struct qm_kv *mirror, int state, uint8_t *at);
uint64_t qm_kv_state_bytes(const struct qm_kv *kv, int state);

/* The page that holds `position`. */
static inline uint8_t *qm_kv_page(const struct qm_kv *kv, const struct qm_kv_tables *t, int state, int64_t head,
                                  int64_t position) {
    int g = kv->group_of[state];
    return qm_kv_at(kv, state, head, t->table[g][position / QM_KV_PAGE_TOKENS % kv->groups[g].held]);
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
