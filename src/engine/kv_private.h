/* Who holds which page: the insides of kv.c (pages of sequences) and kv_blocks.c (pages of blocks). */
#ifndef QM_ENGINE_KV_PRIVATE_H
#define QM_ENGINE_KV_PRIVATE_H

#include "engine/kv.h"

struct qm_kv_count {
    int32_t *free_pages;
    int64_t n_free;
    int32_t *refs; /* [pages] sequences that hold it, and one more where a block does */
    /* but for the main group: */
    int32_t *block_of;    /* [pages] the block that holds it; -1: none */
    int32_t *page_of;     /* [blocks] its page; -1: none */
    int32_t *next, *prev; /* [pages] among those that only a block holds, in the order in which they may be taken */
    int32_t first, last;
};

/* A sequence takes a reference to a page, or drops it. slid: the page's logical number where it has slid out of the
 * window of a sequence that goes on; -1 where it is dropped for another reason. */
void qm_kv_page_hold(struct qm_kv *kv, int g, int32_t page);
void qm_kv_page_drop(struct qm_kv *kv, int g, int32_t page, int64_t slid);
/* A free page, or one that only a block holds, which loses it; -1: none. It has no references yet. logical: which page
 * of a sequence it is for, to be on that one's node where nodes have ranges of pages; -1: not known. */
int32_t qm_kv_page_take(struct qm_kv *kv, int g, int64_t logical);
/* A block gives up its page of a group other than the main one. */
void qm_kv_page_detach(struct qm_kv *kv, int g, int32_t page);

#endif
