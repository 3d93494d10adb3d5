/* The pool of KV pages and the page tables of sequences. What is shared between them is in kv_blocks.c. */
#include "engine/kv.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/device.h"
#include "engine/kv_private.h"

enum { NOISE = 4096 };

/* A group's lists: all pages free, none in a block. */
static int open_group(struct qm_kv_group *group, int64_t blocks, bool main, struct qm_error *err) {
    size_t pages = (size_t)group->pages, n = (size_t)blocks;
    group->count = calloc(1, sizeof *group->count);
    if (!group->count)
        return qm_fail_memory(err, sizeof *group->count, "the lists of KV pages");
    group->count->free_pages = malloc((pages + 1) * sizeof *group->count->free_pages);
    group->count->refs = calloc(pages + 1, sizeof *group->count->refs);
    if (!main) {
        group->count->block_of = malloc((pages + 1) * sizeof *group->count->block_of);
        group->count->page_of = malloc((n + 1) * sizeof *group->count->page_of);
        group->count->next = calloc(pages + 1, sizeof *group->count->next);
        group->count->prev = calloc(pages + 1, sizeof *group->count->prev);
    }
    if (!group->count->free_pages || !group->count->refs ||
        (!main && (!group->count->block_of || !group->count->page_of || !group->count->next || !group->count->prev)))
        return qm_fail_memory(err, (unsigned long long)(5 * pages + n) * sizeof *group->count->refs,
                              "the lists of KV pages");
    for (int64_t i = 0; i < group->pages; i++)
        group->count->free_pages[i] = (int32_t)(group->pages - 1 - i);
    group->count->n_free = group->pages;
    group->count->first = group->count->last = -1;
    if (!main) {
        memset(group->count->block_of, 0xFF, pages * sizeof *group->count->block_of);
        memset(group->count->page_of, 0xFF, n * sizeof *group->count->page_of);
    }
    return QM_OK;
}

static int find_groups(const struct qm_config *c, const struct qm_forward *f, const struct qm_workload *w,
                       struct qm_kv *kv, struct qm_error *err) {
    int64_t blocks = qm_kv_pool_pages(c, w, qm_kv_main_window(c));
    for (int s = 0; s < f->n_states; s++) {
        int g = 0;
        while (g < kv->n_groups && kv->groups[g].window != f->states[s].window)
            g++;
        kv->group_of[s] = g;
        if (g < kv->n_groups)
            continue;
        struct qm_kv_group *group = &kv->groups[kv->n_groups++];
        group->window = f->states[s].window;
        group->held = qm_kv_pages(w->context, group->window, w->chunk);
        group->pages = qm_kv_pool_pages(c, w, group->window);
        bool main = group->window == qm_kv_main_window(c);
        if (main)
            kv->main = g;
        int rc = open_group(group, blocks, main, err);
        if (rc)
            return rc;
    }
    const struct qm_kv_group *group = &kv->groups[kv->main];
    int64_t step = (w->chunk + QM_KV_PAGE_TOKENS - 1) / QM_KV_PAGE_TOKENS,
            least = step < group->held ? step : group->held;
    if (group->pages < least)
        return qm_fail(
            err, QM_FIT,
            "%llu bytes for keys and values hold %lld pages of %d tokens: one step of %lld tokens takes %lld",
            (unsigned long long)w->kv_memory, (long long)group->pages, QM_KV_PAGE_TOKENS, (long long)w->chunk,
            (long long)least);
    kv->block_refs = calloc((size_t)blocks + 1, sizeof *kv->block_refs);
    return kv->block_refs ? QM_OK : qm_fail_memory(err, (uint64_t)blocks * 4, "the list of KV blocks");
}

/* Lays out what a node has from `at` on of the states that are asked for; at NULL: only counts. */
static uint64_t place_node(struct qm_kv *kv, const bool *asked, int node, uint8_t *at) {
    uint64_t bytes = 0;
    for (int s = 0; s < kv->n_states; s++)
        for (int64_t h = 0; asked[s] && h < kv->kv_heads; h++) {
            int64_t pages = kv->groups[kv->group_of[s]].pages;
            bool whole = kv->ranges == 1;
            if (whole && h * kv->nodes / kv->kv_heads != node)
                continue;
            if (at)
                kv->base[(s * kv->kv_heads + h) * kv->ranges + (whole ? 0 : node)] = at + bytes;
            if (!whole)
                pages = pages * (node + 1) / kv->ranges - pages * node / kv->ranges;
            bytes += (uint64_t)pages * kv->page_bytes;
        }
    return bytes;
}

/* memory: [nodes]. */
static int take_room(struct qm_kv *kv, const bool *asked, const struct qm_binding *bindings, struct qm_memory *memory,
                     struct qm_error *err) {
    int rc = QM_OK;
    for (int node = 0; !rc && node < kv->nodes; node++) {
        uint64_t bytes = place_node(kv, asked, node, NULL);
        if (bytes)
            rc = qm_memory_alloc_on(bytes, bindings[node], "the KV cache", &memory[node], err);
        if (bytes && !rc)
            place_node(kv, asked, node, memory[node].data);
    }
    return rc;
}

int qm_kv_open(const struct qm_config *c, const struct qm_forward *f, const struct qm_workload *w,
               const struct qm_placement *p, const struct qm_binding *bindings, int nodes, struct qm_kv *out,
               struct qm_error *err) {
    size_t n = (size_t)f->n_states + 1;
    *out = (struct qm_kv){
        .type = w->kv_type, .n_states = f->n_states, .chunk = w->chunk, .context = w->context, .nodes = nodes};
    out->kv_heads = f->states[0].kv_heads;
    out->head_dim = f->states[0].head_dim;
    out->ranges = out->kv_heads % nodes == 0 ? 1 : nodes;
    out->key_bytes = qm_kv_key_bytes(w->kv_type, out->head_dim);
    out->page_bytes = out->key_bytes + qm_kv_value_bytes(w->kv_type, out->head_dim);
    out->groups = calloc(n, sizeof *out->groups);
    out->group_of = calloc(n, sizeof *out->group_of);
    out->block_pages = calloc(n, sizeof *out->block_pages);
    out->base = calloc(n * (size_t)(out->kv_heads * out->ranges), sizeof *out->base);
    out->owner = calloc(n, sizeof *out->owner);
    out->memory = calloc((size_t)nodes, sizeof *out->memory);
    int rc = out->groups && out->group_of && out->block_pages && out->base && out->owner && out->memory
                 ? QM_OK
                 : qm_fail_memory(err, n * 64, "the KV cache");
    if (!rc)
        rc = find_groups(c, f, w, out, err);
    bool *here = calloc(n, sizeof *here);
    if (!rc && !here)
        rc = qm_fail_memory(err, n * sizeof *here, "the KV cache");
    for (int s = 0; !rc && s < f->n_states; s++)
        here[s] = !p || p->layer[f->states[s].layer].attention == QM_DEVICE_CPU;
    if (!rc)
        rc = take_room(out, here, bindings, out->memory, err);
    free(here);
    if (rc)
        qm_kv_close(out);
    return rc;
}

void qm_kv_close(struct qm_kv *kv) {
    for (int g = 0; g < kv->n_groups; g++) {
        if (!kv->groups[g].count)
            continue;
        free(kv->groups[g].count->free_pages);
        free(kv->groups[g].count->refs);
        free(kv->groups[g].count->block_of);
        free(kv->groups[g].count->page_of);
        free(kv->groups[g].count->next);
        free(kv->groups[g].count->prev);
        free(kv->groups[g].count);
    }
    free(kv->groups);
    free(kv->block_refs);
    free(kv->group_of);
    free(kv->block_pages);
    free(kv->owner);
    free(kv->base);
    for (int node = 0; kv->memory && node < kv->nodes; node++)
        qm_memory_free(&kv->memory[node]);
    free(kv->memory);
    for (int i = 0; i < kv->n_regained; i++)
        qm_memory_free(&kv->regained[i]);
    free(kv->regained);
    *kv = (struct qm_kv){0};
}

int qm_kv_tables_open(const struct qm_kv *kv, struct qm_kv_tables *out, struct qm_error *err) {
    *out = (struct qm_kv_tables){0};
    size_t n = (size_t)kv->n_groups, entries = 0;
    for (size_t g = 0; g < n; g++)
        entries += (size_t)kv->groups[g].held;
    out->table = calloc(n, sizeof *out->table);
    out->oldest = calloc(n, sizeof *out->oldest);
    int32_t *all = malloc(entries * sizeof *all + sizeof *all);
    if (!out->table || !out->oldest || !all) {
        free(out->table);
        free(out->oldest);
        free(all);
        *out = (struct qm_kv_tables){0};
        return qm_fail_memory(err, entries * sizeof *all, "the page table of a sequence");
    }
    memset(all, 0xFF, entries * sizeof *all);
    for (size_t g = 0; g < n; all += kv->groups[g].held, g++)
        out->table[g] = all;
    return QM_OK;
}

static void give_back(struct qm_kv *kv, struct qm_kv_tables *t, int g, int64_t logical) {
    int32_t *entry = &t->table[g][logical % kv->groups[g].held];
    if (*entry >= 0)
        qm_kv_page_drop(kv, g, *entry, -1);
    *entry = -1;
}

void qm_kv_tables_close(struct qm_kv *kv, struct qm_kv_tables *t) {
    if (!t->table)
        return;
    for (int g = 0; g < kv->n_groups; g++)
        for (int64_t i = 0; i < kv->groups[g].held; i++)
            give_back(kv, t, g, i);
    free(t->table[0]);
    free(t->table);
    free(t->oldest);
    *t = (struct qm_kv_tables){0};
}

struct qm_device *qm_kv_next_owner(const struct qm_kv *kv, int *state) {
    while (++*state < kv->n_states) {
        int same = 0;
        while (kv->owner[same] != kv->owner[*state])
            same++;
        if (kv->owner[*state] && same == *state)
            return kv->owner[same];
    }
    return NULL;
}

/* A page that another sequence wrote is cleared: attention multiplies the values of slots not yet filled by 0,
 * which gives 0 only where they are finite. With `from`, that page's content instead. */
static void prepare_page(struct qm_kv *kv, int g, int64_t page, int64_t from) {
    int first = -1;
    for (struct qm_device *owner; (owner = qm_kv_next_owner(kv, &first));)
        owner->page_copy(owner, g, from, page);
    for (int s = 0; s < kv->n_states; s++) {
        if (kv->group_of[s] != g)
            continue;
        for (int64_t h = 0; !kv->owner[s] && h < kv->kv_heads; h++)
            if (from < 0)
                memset(qm_kv_at(kv, s, h, page), 0, kv->page_bytes);
            else
                memcpy(qm_kv_at(kv, s, h, page), qm_kv_at(kv, s, h, from), kv->page_bytes);
    }
}

/* Logical pages that the next n positions touch, each place of the ring once. */
static void touched(const struct qm_kv_group *group, const struct qm_kv_tables *t, int64_t n, int64_t *first,
                    int64_t *last) {
    *first = t->length / QM_KV_PAGE_TOKENS;
    *last = (t->length + n - 1) / QM_KV_PAGE_TOKENS;
    if (*last >= *first + group->held)
        *last = *first + group->held - 1;
}

int64_t qm_kv_free_pages(const struct qm_kv *kv) {
    return kv->groups[kv->main].count->n_free;
}

int64_t qm_kv_missing(const struct qm_kv *kv, const struct qm_kv_tables *t, int64_t n) {
    const struct qm_kv_group *group = &kv->groups[kv->main];
    int64_t first, last, missing = 0;
    touched(group, t, n, &first, &last);
    for (int64_t i = first; i <= last; i++) {
        int32_t entry = t->table[kv->main][i % group->held];
        missing += entry < 0 || group->count->refs[entry] > 1;
    }
    return missing;
}

/* The page for logical page i of one group, which will be written from its beginning, or (partly) further. */
static void reserve_page(struct qm_kv *kv, struct qm_kv_tables *t, int g, int64_t i, bool partly) {
    struct qm_kv_group *group = &kv->groups[g];
    int32_t *entry = &t->table[g][i % group->held], old = *entry;
    if (old >= 0 && group->count->refs[old] == 1)
        return;
    if (old >= 0 && !partly)
        qm_kv_page_drop(kv, g, old, i - group->held);
    int32_t page = qm_kv_page_take(kv, g, i);
    if (page < 0) { /* then every page is some sequence's, and this one shared with a block only */
        assert(old >= 0 && partly && g != kv->main && group->count->refs[old] == 2);
        qm_kv_page_detach(kv, g, old);
        return;
    }
    prepare_page(kv, g, page, partly ? old : -1);
    qm_kv_page_hold(kv, g, page);
    if (old >= 0 && partly)
        qm_kv_page_drop(kv, g, old, -1);
    *entry = page;
}

void qm_kv_reserve(struct qm_kv *kv, struct qm_kv_tables *t, int64_t n) {
    for (int g = 0; g < kv->n_groups; g++) {
        int64_t first, last;
        touched(&kv->groups[g], t, n, &first, &last);
        for (int64_t i = first; i <= last; i++)
            reserve_page(kv, t, g, i, i == first && t->length % QM_KV_PAGE_TOKENS != 0);
    }
}

void qm_kv_advance(const struct qm_kv *kv, struct qm_kv_tables *t, int64_t n) {
    t->length += n;
    for (int g = 0; g < kv->n_groups; g++) {
        int64_t pages = (t->length + QM_KV_PAGE_TOKENS - 1) / QM_KV_PAGE_TOKENS, held = kv->groups[g].held;
        int64_t oldest = pages > held ? (pages - held) * QM_KV_PAGE_TOKENS : 0;
        if (oldest > t->oldest[g])
            t->oldest[g] = oldest;
    }
}

struct filling {
    struct qm_kv *kv;
    const struct qm_kv_tables *tables;
    int64_t n;
    uint64_t seed;
    const struct qm_kernels *kernels;
    const float *noise; /* [NOISE + head_dim] */
    /* of states that devices have: a page of each group, the part of the positions that is in it */
    struct qm_device *owner;
    int32_t *pages; /* [groups] */
    uint8_t *block; /* [states][kv_heads][page_bytes] */
    int64_t begin, end;
};

/* A vector is a stretch of the noise that starts where a hash of its state, head and position says. */
static const float *random_vector(const struct filling *f, int64_t unit, int64_t position, int which) {
    uint64_t h = f->seed ^ (uint64_t)unit * 0x9E3779B97F4A7C15u ^ (uint64_t)(2 * position + which);
    h = (h ^ h >> 30) * 0xBF58476D1CE4E5B9u;
    h = (h ^ h >> 27) * 0x94D049BB133111EBu;
    return f->noise + (h ^ h >> 31) % NOISE;
}

/* Key and value of one position, to its page. unit: state and head. */
static void fill_position(const struct filling *f, int64_t unit, int64_t position, uint8_t *page) {
    const struct qm_kv *kv = f->kv;
    int64_t slot = position % QM_KV_PAGE_TOKENS;
    f->kernels->store_k(page, kv->type, slot, random_vector(f, unit, position, 0), kv->head_dim);
    f->kernels->store_v(page + kv->key_bytes, kv->type, slot, QM_KV_PAGE_TOKENS, random_vector(f, unit, position, 1),
                        kv->head_dim);
}

static void fill_region(void *arg, int thread, int threads) {
    const struct filling *f = arg;
    struct qm_kv *kv = f->kv;
    int64_t begin, end;
    qm_team_range(kv->n_states * kv->kv_heads, thread, threads, &begin, &end);
    for (int64_t unit = begin; unit < end; unit++)
        for (int64_t i = 0; i < f->n && !kv->owner[unit / kv->kv_heads]; i++) {
            int64_t position = f->tables->length + i;
            fill_position(f, unit, position,
                          qm_kv_page(kv, f->tables, (int)(unit / kv->kv_heads), unit % kv->kv_heads, position));
        }
}

static void fill_block_region(void *arg, int thread, int threads) {
    const struct filling *f = arg;
    int64_t begin, end, heads = f->kv->kv_heads;
    qm_team_range(f->kv->n_states * heads, thread, threads, &begin, &end);
    for (int64_t unit = begin; unit < end; unit++)
        for (int64_t position = f->begin; f->kv->owner[unit / heads] && position < f->end; position++)
            fill_position(f, unit, position, f->block + (uint64_t)unit * f->kv->page_bytes);
}

/* Fills the states that are on devices, block by block. */
static void fill_owned(struct filling *f, struct qm_team *team) {
    const struct qm_kv *kv = f->kv;
    int64_t end = f->tables->length + f->n;
    for (f->begin = f->tables->length; f->begin < end; f->begin = f->end) {
        int64_t page = f->begin / QM_KV_PAGE_TOKENS;
        f->end = (page + 1) * QM_KV_PAGE_TOKENS < end ? (page + 1) * QM_KV_PAGE_TOKENS : end;
        for (int g = 0; g < kv->n_groups; g++)
            f->pages[g] = f->tables->table[g][page % kv->groups[g].held];
        for (int state = -1; (f->owner = qm_kv_next_owner(kv, &state));)
            f->owner->block_read(f->owner, f->pages, f->block);
        qm_team_run(team, fill_block_region, f);
        for (int state = -1; (f->owner = qm_kv_next_owner(kv, &state));)
            f->owner->block_write(f->owner, f->pages, f->block);
    }
}

int qm_kv_fill_random(struct qm_kv *kv, const struct qm_kv_tables *t, int64_t n, uint64_t seed, struct qm_team *team,
                      const struct qm_kernels *kernels, struct qm_error *err) {
    size_t floats = (size_t)(NOISE + kv->head_dim), block = (size_t)(kv->n_states * kv->kv_heads) * kv->page_bytes;
    float *noise = malloc(floats * sizeof *noise);
    struct filling f = {.kv = kv, .tables = t, .n = n, .seed = seed, .kernels = kernels, .noise = noise};
    int none = -1;
    bool kept = qm_kv_next_owner(kv, &none) != NULL;
    f.pages = malloc((size_t)kv->n_groups * sizeof *f.pages);
    f.block = kept ? aligned_alloc(64, block) : NULL; /* pages are whole lines */
    if (!noise || !f.pages || (kept && !f.block)) {
        free(noise);
        free(f.pages);
        free(f.block);
        return qm_fail_memory(err, floats * sizeof *noise + block, "random keys and values");
    }
    uint64_t state = seed;
    for (size_t i = 0; i < floats; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        noise[i] = ((float)(state >> 40) - 8388607.5f) * 0x1p-26f; /* uniform in (-1/8, 1/8) */
    }
    qm_team_run(team, fill_region, &f);
    if (kept)
        fill_owned(&f, team);
    free(noise);
    free(f.pages);
    free(f.block);
    return QM_OK;
}

int64_t qm_kv_truncate(struct qm_kv *kv, struct qm_kv_tables *t, int64_t n) {
    if (n >= t->length && n > 0)
        return t->length;
    for (int g = 0; g < kv->n_groups; g++) {
        int64_t window = kv->groups[g].window, from = window && n > window ? n - window : 0;
        if (t->oldest[g] > from)
            n = 0;
    }
    int64_t keep = (n + QM_KV_PAGE_TOKENS - 1) / QM_KV_PAGE_TOKENS;
    for (int g = 0; g < kv->n_groups; g++) {
        int64_t held = kv->groups[g].held, pages = (t->length + QM_KV_PAGE_TOKENS - 1) / QM_KV_PAGE_TOKENS;
        if (n == 0) {
            keep = 0, pages = held;
            t->oldest[g] = 0;
        }
        for (int64_t i = keep > pages - held ? keep : pages - held; i < pages; i++)
            if (i >= 0)
                give_back(kv, t, g, i);
    }
    t->length = n;
    return n;
}

/* Reserved huge pages are taken at once: a limit on them shows here, not when they are written. */
static int fill_nan(struct qm_memory *m, struct qm_error *err) {
    int rc = m->data && !qm_memory_take(m, 0, m->bytes) ? qm_memory_use_small(m, (struct qm_binding){.node = -1}, err)
                                                        : QM_OK;
    if (!rc && m->data)
        memset(m->data, 0xFF, m->bytes);
    return rc;
}

int qm_kv_regain(struct qm_kv *kv, const struct qm_device *owner, const struct qm_binding *bindings,
                 struct qm_error *err) {
    size_t nodes = (size_t)kv->nodes, n = (size_t)kv->n_regained + nodes;
    bool *lost = calloc((size_t)kv->n_states + 1, sizeof *lost);
    struct qm_binding *anyhow = calloc(nodes, sizeof *anyhow);
    struct qm_memory *memory = realloc(kv->regained, n * sizeof *memory);
    kv->regained = memory ? memory : kv->regained;
    int rc = lost && anyhow && memory ? QM_OK : qm_fail_memory(err, n * sizeof *memory, "the KV cache");
    if (!rc)
        memset(memory += kv->n_regained, 0, nodes * sizeof *memory);
    for (int s = 0; s < kv->n_states && !rc; s++)
        lost[s] = kv->owner[s] == owner;
    for (size_t node = 0; node < nodes && !rc; node++)
        anyhow[node] = (struct qm_binding){.node = bindings[node].node};
    if (!rc)
        rc = take_room(kv, lost, anyhow, memory, err);
    for (size_t node = 0; node < nodes && !rc; node++)
        rc = fill_nan(&memory[node], err);
    for (size_t node = 0; node < nodes && rc && lost && anyhow && memory; node++)
        qm_memory_free(&memory[node]);
    for (int s = 0; s < kv->n_states && !rc; s++)
        kv->owner[s] = lost[s] ? NULL : kv->owner[s];
    kv->n_regained += rc ? 0 : kv->nodes;
    free(lost);
    free(anyhow);
    return rc;
}

uint64_t qm_kv_state_bytes(const struct qm_kv *kv, int state) {
    return (uint64_t)(kv->groups[kv->group_of[state]].pages * kv->kv_heads) * kv->page_bytes;
}

int qm_kv_mirror_open(const struct qm_kv *kv, struct qm_kv *out, struct qm_error *err) {
    size_t units = (size_t)(kv->n_states * kv->kv_heads);
    *out = *kv;
    out->owner = NULL;
    out->memory = NULL;
    out->nodes = out->ranges = 1;
    out->base = calloc(units + 1, sizeof *out->base);
    return out->base ? QM_OK : qm_fail_memory(err, units * sizeof *out->base, "the pages of a device");
}

void qm_kv_mirror_close(struct qm_kv *mirror) {
    free(mirror->base);
    *mirror = (struct qm_kv){0};
}

void qm_kv_mirror_put(struct qm_kv *mirror, int state, uint8_t *at) {
    uint64_t head = (uint64_t)mirror->groups[mirror->group_of[state]].pages * mirror->page_bytes;
    for (int64_t h = 0; h < mirror->kv_heads; h++)
        mirror->base[state * mirror->kv_heads + h] = at + (uint64_t)h * head;
}
