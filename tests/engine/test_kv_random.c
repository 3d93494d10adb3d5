/* Random use of the pool of KV pages against a model of it: sequences grow, are truncated, close, keep blocks, are
 * attached to them; blocks are released, written out and read back. After every operation each position that a next
 * token would see has the value that its sequence wrote there, and references, lists and free pages agree. */
#include <stdlib.h>
#include <string.h>

#include "engine/kv_private.h"
#include "tests/support/support.h"

enum { PAGE = QM_KV_PAGE_TOKENS, SEQUENCES = 3, CONTEXT = 1500, MAX_BLOCKS = 512, SAVED = 8, OPERATIONS = 4000 };

/* What a sequence or block is: the hash of its tokens up to each position. */
struct sequence {
    struct qm_kv_tables tables;
    bool open;
    uint64_t hash[CONTEXT]; /* [length] */
};

struct kept {
    int32_t block;
    int64_t index;       /* which block of its sequence */
    uint64_t parent;     /* the hash before its first token; 0: none */
    uint64_t hash[PAGE]; /* of its tokens */
};

struct saved {
    struct kept kept;
    uint8_t *bytes; /* NULL: empty */
};

struct world {
    struct qm_model *model;
    struct qm_forward forward;
    struct qm_kv kv;
    struct qm_workload w;
    struct sequence s[SEQUENCES];
    struct kept kept[MAX_BLOCKS];
    int n_kept;
    struct saved saved[SAVED];
    uint64_t random, short_pools, attached, imported;
};

static uint64_t below(struct world *w, uint64_t n) {
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return (w->random >> 33) % n;
}

/* A token's value is written at both ends of its slot's part of a page, in every layer and head. */
static uint64_t *cell(const struct world *w, uint8_t *page, int64_t slot) {
    return (uint64_t *)(void *)(page + (uint64_t)slot * (w->kv.page_bytes / PAGE / 8 * 8));
}

static void write_tokens(struct world *w, struct sequence *s, int64_t n) {
    for (int64_t i = s->tables.length; i < s->tables.length + n; i++) {
        uint64_t h = (i ? s->hash[i - 1] : 0) * 0x9E3779B97F4A7C15u + below(w, 3) + 1;
        s->hash[i] = h ^ h >> 29;
        for (int state = 0; state < w->kv.n_states; state++)
            for (int64_t head = 0; head < w->kv.kv_heads; head++)
                *cell(w, qm_kv_page(&w->kv, &s->tables, state, head, i), i % PAGE) =
                    s->hash[i] + (uint64_t)(state * 16 + head);
    }
}

static void check_sequence(const struct world *w, const struct sequence *s) {
    for (int state = 0; state < w->kv.n_states; state++) {
        int64_t window = w->kv.groups[w->kv.group_of[state]].window, length = s->tables.length;
        int64_t first = window && length + 1 > window ? length + 1 - window : 0;
        for (int64_t i = first; i < length; i++)
            for (int64_t head = 0; head < w->kv.kv_heads; head++)
                if (*cell(w, qm_kv_page(&w->kv, &s->tables, state, head, i), i % PAGE) !=
                    s->hash[i] + (uint64_t)(state * 16 + head))
                    fail_msg("position %lld of %lld, layer %d: another's", (long long)i, (long long)length, state);
    }
}

static void check_blocks(const struct world *w) {
    for (int k = 0; k < w->n_kept; k++)
        for (int state = 0; state < w->kv.n_states; state++) {
            int g = w->kv.group_of[state];
            int32_t page = g == w->kv.main ? w->kept[k].block : w->kv.groups[g].count->page_of[w->kept[k].block];
            for (int64_t i = 0; page >= 0 && i < PAGE; i++)
                if (*cell(w, qm_kv_at(&w->kv, state, 1, page), i) != w->kept[k].hash[i] + (uint64_t)(state * 16 + 1))
                    fail_msg("block %d, token %lld, layer %d: another's", (int)w->kept[k].block, (long long)i, state);
        }
}

/* Every page of a group counted again. */
static void check_group(const struct world *w, int g) {
    const struct qm_kv_group *group = &w->kv.groups[g];
    int32_t *refs = calloc((size_t)group->pages, sizeof *refs);
    int64_t n_free = 0, listed = 0, only_blocks = 0;
    for (int i = 0; i < SEQUENCES; i++)
        for (int64_t j = 0; w->s[i].open && j < group->held; j++)
            if (w->s[i].tables.table[g][j] >= 0)
                refs[w->s[i].tables.table[g][j]]++;
    for (int64_t b = 0; b < w->kv.groups[w->kv.main].pages; b++) {
        int32_t page = g == w->kv.main ? (int32_t)b : group->count->page_of[b];
        if (w->kv.block_refs[b] > 0 && page >= 0) {
            only_blocks += refs[page]++ == 0 && g != w->kv.main;
            assert_true(g == w->kv.main || group->count->block_of[page] == b);
        } else if (g != w->kv.main) {
            assert_int_equal(page, -1);
        }
    }
    for (int64_t p = 0; p < group->pages; p++) {
        assert_int_equal(group->count->refs[p], refs[p]);
        n_free += refs[p] == 0;
    }
    assert_int_equal(group->count->n_free, n_free);
    for (int64_t i = 0; i < n_free; i++)
        assert_int_equal(refs[group->count->free_pages[i]]++, 0);
    for (int32_t p = group->count->first, before = -1; p >= 0; before = p, p = group->count->next[p]) {
        assert_int_equal(group->count->prev[p], before);
        assert_int_equal(group->count->refs[p], 1);
        listed++;
    }
    assert_int_equal(listed, only_blocks);
    free(refs);
}

static void check(const struct world *w) {
    for (int i = 0; i < SEQUENCES; i++)
        if (w->s[i].open)
            check_sequence(w, &w->s[i]);
    for (int g = 0; g < w->kv.n_groups; g++)
        check_group(w, g);
    int64_t refs = 0;
    for (int64_t b = 0; b < w->kv.groups[w->kv.main].pages; b++)
        refs += w->kv.block_refs[b];
    assert_int_equal(refs, w->n_kept);
}

static void grow(struct world *w, struct sequence *s) {
    int64_t n = 1 + (int64_t)below(w, (uint64_t)w->w.chunk), room = w->w.context - s->tables.length;
    n = n < room ? n : room;
    if (n == 0)
        return;
    if (qm_kv_missing(&w->kv, &s->tables, n) > w->kv.groups[w->kv.main].count->n_free) {
        w->short_pools++;
        return;
    }
    int64_t free_before = w->kv.groups[w->kv.main].count->n_free, missing = qm_kv_missing(&w->kv, &s->tables, n);
    qm_kv_reserve(&w->kv, &s->tables, n);
    assert_true(free_before - w->kv.groups[w->kv.main].count->n_free <= missing);
    assert_int_equal(qm_kv_missing(&w->kv, &s->tables, n), 0);
    write_tokens(w, s, n);
    qm_kv_advance(&w->kv, &s->tables, n);
}

static void keep(struct world *w, struct sequence *s) {
    int64_t i = (int64_t)below(w, (uint64_t)(s->tables.length / PAGE) + 1);
    if (below(w, 2) && s->tables.length >= PAGE)
        i = s->tables.length / PAGE - 1; /* the newest, mostly */
    if (w->n_kept == MAX_BLOCKS)
        return;
    int32_t block = qm_kv_keep(&w->kv, &s->tables, i);
    if (block < 0)
        return;
    assert_true((i + 1) * PAGE <= s->tables.length);
    struct kept *k = &w->kept[w->n_kept++];
    *k = (struct kept){.block = block, .index = i, .parent = i ? s->hash[i * PAGE - 1] : 0};
    memcpy(k->hash, s->hash + i * PAGE, sizeof k->hash);
}

static void release(struct world *w, int k) {
    qm_kv_release(&w->kv, w->kept[k].block);
    w->kept[k] = w->kept[--w->n_kept];
}

/* The prefix that a kept block ends, as far back as it is known, attached as far as it is usable. */
static void attach(struct world *w, struct sequence *s) {
    static int32_t blocks[CONTEXT / PAGE + 1];
    if (w->n_kept == 0)
        return;
    const struct kept *k = &w->kept[below(w, (uint64_t)w->n_kept)];
    int64_t n = k->index + 1;
    qm_kv_truncate(&w->kv, &s->tables, 0);
    for (int64_t i = n - 1; i >= 0; i--) {
        blocks[i] = k ? k->block : -1;
        if (k)
            memcpy(s->hash + i * PAGE, k->hash, sizeof k->hash);
        const struct kept *before = NULL;
        for (int j = 0; k && j < w->n_kept; j++)
            if (w->kept[j].index == i - 1 && w->kept[j].hash[PAGE - 1] == k->parent)
                before = &w->kept[j];
        k = before;
    }
    int64_t usable = qm_kv_usable(&w->kv, blocks, n);
    assert_in_range(usable, 0, n);
    for (int64_t longer = usable + 1; longer <= n; longer++)
        assert_true(qm_kv_usable(&w->kv, blocks, longer) == usable);
    qm_kv_attach(&w->kv, &s->tables, blocks, usable);
    assert_int_equal(s->tables.length, usable * PAGE);
    w->attached += usable > 0;
}

static void save_or_load(struct world *w) {
    struct saved *d = &w->saved[below(w, SAVED)];
    if (!d->bytes && w->n_kept) {
        d->kept = w->kept[below(w, (uint64_t)w->n_kept)];
        d->bytes = malloc(qm_kv_block_bytes(&w->kv));
        qm_kv_export(&w->kv, d->kept.block, d->bytes);
    } else if (d->bytes && w->n_kept < MAX_BLOCKS) {
        int64_t n_free = w->kv.groups[w->kv.main].count->n_free;
        struct qm_error err;
        int32_t block;
        int rc = qm_kv_import(&w->kv, d->bytes, &block, &err);
        assert_int_equal(rc, n_free ? QM_OK : QM_FIT);
        if (rc)
            return;
        w->imported++;
        w->kept[w->n_kept] = d->kept;
        w->kept[w->n_kept++].block = block;
        free(d->bytes);
        d->bytes = NULL;
    }
}

static void operate(struct world *w) {
    struct qm_error err;
    struct sequence *s = &w->s[below(w, SEQUENCES)];
    uint64_t what = below(w, 100);
    if (!s->open) {
        assert_int_equal(qm_kv_tables_open(&w->kv, &s->tables, &err), QM_OK);
        s->open = true;
    } else if (what < 50) {
        grow(w, s);
    } else if (what < 68) {
        keep(w, s);
    } else if (what < 78 && w->n_kept) {
        release(w, (int)below(w, (uint64_t)w->n_kept));
    } else if (what < 84) {
        attach(w, s);
    } else if (what < 92) {
        int64_t n = (int64_t)below(w, (uint64_t)s->tables.length + 2), length = s->tables.length;
        if (below(w, 2) && length > 100)
            n = length - (int64_t)below(w, 100);
        int64_t left = qm_kv_truncate(&w->kv, &s->tables, n);
        assert_true(left == (n < length ? n : length) || left == 0);
        assert_int_equal(s->tables.length, left);
    } else if (what < 97) {
        save_or_load(w);
    } else {
        qm_kv_tables_close(&w->kv, &s->tables);
        s->open = false;
    }
}

/* A pool of so many blocks' bytes (0: what the sequences take), chunks of so many tokens, so many nodes. */
static void run(struct world *w, const char *dir, uint64_t blocks, int64_t chunk, int nodes) {
    static const struct qm_binding anywhere[4] = {{.node = -1}, {.node = -1}, {.node = -1}, {.node = -1}};
    struct qm_error err;
    assert_int_equal(qm_model_open(dir, NULL, &w->model, &err), QM_OK);
    assert_int_equal(qm_forward_build(w->model, &w->forward, &err), QM_OK);
    const struct qm_config *c = &w->model->config;
    uint64_t page = qm_kv_key_bytes(QM_BF16, c->head_dim) + qm_kv_value_bytes(QM_BF16, c->head_dim);
    w->w = (struct qm_workload){.context = CONTEXT,
                                .sequences = SEQUENCES,
                                .chunk = chunk,
                                .kv_type = QM_BF16,
                                .threads = 1,
                                .kv_memory = blocks * page * (uint64_t)(c->layers * c->kv_heads)};
    if (qm_kv_open(c, &w->forward, &w->w, NULL, anywhere, nodes, &w->kv, &err))
        fail_msg("%s", err.message);
    for (int i = 0; i < OPERATIONS; i++) {
        operate(w);
        check(w);
        if (i % 50 == 0)
            check_blocks(w);
    }
    check_blocks(w);
    while (w->n_kept)
        release(w, 0);
    for (int i = 0; i < SEQUENCES; i++)
        if (w->s[i].open)
            qm_kv_tables_close(&w->kv, &w->s[i].tables);
    for (int g = 0; g < w->kv.n_groups; g++)
        assert_int_equal(w->kv.groups[g].count->n_free, w->kv.groups[g].pages);
    for (int i = 0; i < SAVED; i++)
        free(w->saved[i].bytes);
    assert_true(w->attached > 20 && w->imported > 20);
    qm_kv_close(&w->kv);
    qm_forward_free(&w->forward);
    qm_model_close(w->model);
}

static void test_random(void **state) {
    const char *dir = *state;
    static const struct {
        uint64_t blocks;
        int64_t chunk;
        int nodes;
    } cases[] = {{0, 64, 1}, {14, 64, 1}, {24, 300, 3}, {60, 130, 2}};
    uint64_t short_pools = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world *w = calloc(1, sizeof *w);
        w->random = i * 1000 + (uint64_t)strlen(dir);
        run(w, dir, cases[i].blocks, cases[i].chunk, cases[i].nodes);
        short_pools += w->short_pools;
        free(w);
    }
    assert_true(short_pools > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        {"whole context", test_random, NULL, NULL, "tests/data/reference/qwen3"},
        {"windows and whole context", test_random, NULL, NULL, "tests/data/reference/gpt_oss"},
        {"windows only", test_random, NULL, NULL, "tests/data/reference/mistral"},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
