/* Pages counted by reference, and blocks of them: what sequences, a prefix cache and a file share. The rules are in
 * kv.h. Page tables are kv.c's. */
#include <assert.h>
#include <string.h>

#include "engine/device.h"
#include "engine/kv_private.h"

enum { KEPT_WINDOWS = 8, HEADER_UNIT = 64 };

/* --- pages ------------------------------------------------------------------------------------------------ */

static void unlink_page(struct qm_kv_group *group, int32_t page) {
    int32_t next = group->count->next[page], prev = group->count->prev[page];
    *(prev < 0 ? &group->count->first : &group->count->next[prev]) = next;
    *(next < 0 ? &group->count->last : &group->count->prev[next]) = prev;
}

static void link_page(struct qm_kv_group *group, int32_t page, bool first) {
    int32_t next = first ? group->count->first : -1, prev = first ? -1 : group->count->last;
    group->count->next[page] = next;
    group->count->prev[page] = prev;
    *(prev < 0 ? &group->count->first : &group->count->next[prev]) = page;
    *(next < 0 ? &group->count->last : &group->count->prev[next]) = page;
}

static bool only_block(const struct qm_kv_group *group, int32_t page) {
    return group->count->block_of && group->count->block_of[page] >= 0 && group->count->refs[page] == 1;
}

/* Whole pages that hold a window before a page's first token. */
static int64_t window_pages(const struct qm_kv_group *group) {
    return (group->window - 1 + QM_KV_PAGE_TOKENS - 1) / QM_KV_PAGE_TOKENS;
}

void qm_kv_page_hold(struct qm_kv *kv, int g, int32_t page) {
    struct qm_kv_group *group = &kv->groups[g];
    if (only_block(group, page))
        unlink_page(group, page);
    group->count->refs[page]++;
}

void qm_kv_page_drop(struct qm_kv *kv, int g, int32_t page, int64_t slid) {
    struct qm_kv_group *group = &kv->groups[g];
    int64_t window = window_pages(group) > 1 ? window_pages(group) : 1;
    assert(group->count->refs[page] > 0);
    if (--group->count->refs[page] == 0)
        group->count->free_pages[group->count->n_free++] = page;
    else if (only_block(group, page))
        link_page(group, page, slid >= 0 && slid / window % KEPT_WINDOWS != KEPT_WINDOWS - 1);
}

void qm_kv_page_detach(struct qm_kv *kv, int g, int32_t page) {
    struct qm_kv_group *group = &kv->groups[g];
    if (only_block(group, page))
        unlink_page(group, page);
    group->count->page_of[group->count->block_of[page]] = -1;
    group->count->block_of[page] = -1;
    if (--group->count->refs[page] == 0)
        group->count->free_pages[group->count->n_free++] = page;
}

int32_t qm_kv_page_take(struct qm_kv *kv, int g, int64_t logical) {
    struct qm_kv_group *group = &kv->groups[g];
    if (group->count->n_free == 0 && group->count->first >= 0)
        qm_kv_page_detach(kv, g, group->count->first);
    if (group->count->n_free == 0)
        return -1;
    int32_t *last = &group->count->free_pages[--group->count->n_free], *taken = last, page;
    if (kv->ranges > 1 && logical >= 0) {
        int64_t wanted = logical / (QM_ATTENTION_SPLIT / QM_KV_PAGE_TOKENS) % kv->ranges;
        while (taken > group->count->free_pages && qm_kv_range(kv, group, *taken) != wanted)
            taken--;
        taken = qm_kv_range(kv, group, *taken) == wanted ? taken : last;
    }
    page = *taken;
    *taken = *last;
    return page;
}

/* --- blocks ----------------------------------------------------------------------------------------------- */

static int32_t block_page(const struct qm_kv *kv, int g, int32_t block) {
    return g == kv->main ? block : kv->groups[g].count->page_of[block];
}

/* A block takes part in a page that has another holder. */
static void share_page(struct qm_kv_group *group, int32_t page, int32_t block) {
    group->count->refs[page]++;
    group->count->block_of[page] = block;
    group->count->page_of[block] = page;
}

int32_t qm_kv_keep(struct qm_kv *kv, const struct qm_kv_tables *t, int64_t i) {
    if (i < 0 || (i + 1) * QM_KV_PAGE_TOKENS > t->length || i * QM_KV_PAGE_TOKENS < t->oldest[kv->main])
        return -1;
    int32_t block = t->table[kv->main][i % kv->groups[kv->main].held];
    if (block < 0)
        return -1;
    if (kv->block_refs[block]++ == 0)
        kv->groups[kv->main].count->refs[block]++;
    for (int g = 0; g < kv->n_groups; g++) {
        struct qm_kv_group *group = &kv->groups[g];
        if (g == kv->main || group->count->page_of[block] >= 0 || i * QM_KV_PAGE_TOKENS < t->oldest[g])
            continue;
        int32_t page = t->table[g][i % group->held];
        if (page >= 0 && group->count->block_of[page] < 0)
            share_page(group, page, block);
    }
    return block;
}

void qm_kv_release(struct qm_kv *kv, int32_t block) {
    assert(block >= 0 && kv->block_refs[block] > 0);
    if (--kv->block_refs[block] > 0)
        return;
    for (int g = 0; g < kv->n_groups; g++)
        if (g == kv->main)
            qm_kv_page_drop(kv, g, block, -1);
        else if (kv->groups[g].count->page_of[block] >= 0)
            qm_kv_page_detach(kv, g, kv->groups[g].count->page_of[block]);
}

bool qm_kv_complete(const struct qm_kv *kv, int32_t block) {
    for (int g = 0; g < kv->n_groups; g++)
        if (block_page(kv, g, block) < 0)
            return false;
    return true;
}

bool qm_kv_in_use(const struct qm_kv *kv, int32_t block) {
    return kv->groups[kv->main].count->refs[block] > 1;
}

/* The last of blocks[0..n) that is within the window of a group and has no page there; -1: none. */
static int64_t hole(const struct qm_kv *kv, int g, const int32_t *blocks, int64_t n) {
    int64_t first = n - window_pages(&kv->groups[g]);
    for (int64_t i = n - 1; i >= 0 && i >= first; i--)
        if (blocks[i] < 0 || block_page(kv, g, blocks[i]) < 0)
            return i;
    return -1;
}

int64_t qm_kv_usable(const struct qm_kv *kv, const int32_t *blocks, int64_t n) {
    for (int64_t i = 0; i < n && kv->groups[kv->main].window == 0; i++)
        if (blocks[i] < 0)
            n = i;
    for (int g = 0; g < kv->n_groups && n > 0;) {
        int64_t missing = kv->groups[g].window ? hole(kv, g, blocks, n) : -1;
        n = missing < 0 ? n : missing; /* every end after it, up to n, would see the hole */
        g = missing < 0 ? g + 1 : 0;
    }
    return n;
}

void qm_kv_attach(struct qm_kv *kv, struct qm_kv_tables *t, const int32_t *blocks, int64_t n) {
    assert(t->length == 0 && qm_kv_usable(kv, blocks, n) == n);
    for (int g = 0; g < kv->n_groups; g++) {
        struct qm_kv_group *group = &kv->groups[g];
        int64_t i = n;
        while (i > 0 && n - i < group->held && blocks[i - 1] >= 0 && block_page(kv, g, blocks[i - 1]) >= 0) {
            int32_t page = block_page(kv, g, blocks[--i]), *entry = &t->table[g][i % group->held];
            assert(*entry < 0);
            qm_kv_page_hold(kv, g, page);
            *entry = page;
        }
        t->oldest[g] = i * QM_KV_PAGE_TOKENS;
    }
    t->length = n * QM_KV_PAGE_TOKENS;
}

/* --- a block as bytes: which groups it has (one byte each), then its pages, layer by layer and head by head ---- */

static uint64_t header_bytes(const struct qm_kv *kv) {
    return ((uint64_t)kv->n_groups + HEADER_UNIT - 1) / HEADER_UNIT * HEADER_UNIT;
}

uint64_t qm_kv_block_bytes(const struct qm_kv *kv) {
    return header_bytes(kv) + (uint64_t)(kv->n_states * kv->kv_heads) * kv->page_bytes;
}

/* Its page of each group, -1 where it has none. */
static const int32_t *pages_of(const struct qm_kv *kv, int32_t block) {
    for (int g = 0; g < kv->n_groups; g++)
        kv->block_pages[g] = block_page(kv, g, block);
    return kv->block_pages;
}

void qm_kv_export(const struct qm_kv *kv, int32_t block, void *out) {
    uint8_t *has = out, *to = has + header_bytes(kv);
    memset(has, 0, header_bytes(kv));
    for (int g = 0; g < kv->n_groups; g++)
        has[g] = block_page(kv, g, block) >= 0;
    struct qm_device *owner;
    for (int s = -1; (owner = qm_kv_next_owner(kv, &s));)
        owner->block_read(owner, pages_of(kv, block), to);
    uint64_t all_heads = (uint64_t)kv->kv_heads * kv->page_bytes;
    for (int s = 0; s < kv->n_states; s++, to += all_heads) {
        int32_t page = block_page(kv, kv->group_of[s], block);
        if (page < 0)
            memset(to, 0, all_heads);
        for (int64_t h = 0; page >= 0 && !kv->owner[s] && h < kv->kv_heads; h++)
            memcpy(to + (uint64_t)h * kv->page_bytes, qm_kv_at(kv, s, h, page), kv->page_bytes);
    }
}

int qm_kv_import(struct qm_kv *kv, const void *bytes, int32_t *out, struct qm_error *err) {
    const uint8_t *has = bytes, *from = has + header_bytes(kv);
    for (int g = 0; g < kv->n_groups; g++)
        if (has[g] > 1 || (g == kv->main && !has[g]))
            return qm_fail(err, QM_INPUT,
                           "a stored block of keys and values says %d for window group %d: 0 or 1 expected", has[g], g);
    int32_t block = qm_kv_page_take(kv, kv->main, -1);
    if (block < 0)
        return qm_fail(err, QM_FIT, "the KV cache is full: no page is free for a stored block");
    kv->block_refs[block] = 1;
    kv->groups[kv->main].count->refs[block] = 1;
    for (int g = 0; g < kv->n_groups; g++) {
        int32_t page = g == kv->main || !has[g] ? -1 : qm_kv_page_take(kv, g, -1);
        if (page < 0)
            continue;
        share_page(&kv->groups[g], page, block);
        link_page(&kv->groups[g], page, false);
    }
    struct qm_device *owner;
    for (int s = -1; (owner = qm_kv_next_owner(kv, &s));)
        owner->block_write(owner, pages_of(kv, block), from);
    uint64_t all_heads = (uint64_t)kv->kv_heads * kv->page_bytes;
    for (int s = 0; s < kv->n_states; s++, from += all_heads) {
        int32_t page = block_page(kv, kv->group_of[s], block);
        for (int64_t h = 0; page >= 0 && !kv->owner[s] && h < kv->kv_heads; h++)
            memcpy(qm_kv_at(kv, s, h, page), from + (uint64_t)h * kv->page_bytes, kv->page_bytes);
    }
    *out = block;
    return QM_OK;
}
