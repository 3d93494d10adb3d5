/* The prefix cache: shared prefixes are found while they are still being computed and afterwards, give the same bits,
 * come back from the store, are given up in order of use, and nothing is lost of the pool. */
#include <stdlib.h>
#include <string.h>

#include "engine/sequence.h"
#include "session/prefix_cache.h"
#include "tests/support/run_model.h"
#include "tests/support/support.h"

enum { BLOCK = 128, VOCAB = 512, LONG = 700 };

#define QWEN3 "tests/data/reference/qwen3"
#define GPT_OSS "tests/data/reference/gpt_oss"
#define MISTRAL "tests/data/reference/mistral"

static void open_model(struct run_model *m, const char *dir, uint64_t kv_memory) {
    run_model_open(m, dir, NULL,
                   (struct qm_engine_options){.threads = 2,
                                              .isa = run_model_isa(),
                                              .context = 1000,
                                              .sequences = 3,
                                              .chunk = 100,
                                              .kv_type = -1,
                                              .kv_memory = kv_memory});
}

static struct qm_sequence *sequence(struct qm_engine *e) {
    struct qm_error err;
    struct qm_sequence *s;
    if (qm_sequence_open(e, &s, &err))
        fail_msg("%s", err.message);
    return s;
}

static struct qm_prefix_cache *cache(struct qm_engine *e, struct qm_kv_store *store) {
    struct qm_error err;
    struct qm_prefix_cache *c;
    if (qm_prefix_cache_open(e, store, &c, &err))
        fail_msg("%s", err.message);
    return c;
}

/* The document, with question q from `own` on. */
static const int32_t *prompt(int64_t own, int q) {
    static int32_t ids[4][LONG];
    for (int i = 0; i < LONG; i++)
        ids[q][i] = (i * 37 + i / 50 + (i >= own ? 11 + q : 0)) % VOCAB;
    return ids[q];
}

/* Goes on to token `to`, announcing blocks to the cache; the last token's logits. */
static void compute(struct qm_engine *e, struct qm_prefix_cache *c, struct qm_sequence *s, const int32_t *ids,
                    int64_t to, int64_t *known, float *logits) {
    struct qm_error err;
    while (qm_sequence_length(s) < to) {
        int64_t at = qm_sequence_length(s), n = to - at < 60 ? to - at : 60;
        struct qm_step_rows one = {.sequence = s, .tokens = ids + at, .n = n, .n_logits = 1, .logits = logits};
        if (qm_engine_step(e, &one, 1, &err))
            fail_msg("%s", err.message);
        qm_prefix_cache_add(c, s, ids, known);
    }
}

static int64_t attach(struct qm_prefix_cache *c, struct qm_sequence *s, const int32_t *ids, int64_t n,
                      int64_t *from_disk) {
    struct qm_error err;
    int64_t held;
    if (qm_prefix_cache_attach(c, s, ids, n, &held, from_disk, &err))
        fail_msg("%s", err.message);
    assert_int_equal(held, qm_sequence_length(s));
    return held;
}

static void all_free(struct qm_engine *e) {
    struct qm_pool_state pool;
    qm_engine_pool(e, &pool);
    assert_int_equal(pool.free_blocks, pool.blocks);
}

/* Question after question on one document, the second while the first is still being read. */
static void test_together(void **state) {
    static float alone[VOCAB], logits[VOCAB];
    struct run_model m;
    open_model(&m, *state, 16 << 20);
    struct qm_prefix_cache *c = cache(m.engine, NULL);
    struct qm_sequence *s[3];
    int64_t known[3] = {0};
    const int32_t *first = prompt(600, 0);
    s[0] = sequence(m.engine);
    assert_int_equal(attach(c, s[0], first, LONG, NULL), 0);
    compute(m.engine, c, s[0], first, 400, &known[0], logits);
    assert_int_equal(known[0], 3);
    for (int q = 1; q < 3; q++) {
        const int32_t *ids = prompt(600, q);
        s[q] = sequence(m.engine);
        int64_t expected = q == 1 ? 3 * BLOCK : 4 * BLOCK, held;
        assert_int_equal(qm_prefix_cache_find(c, ids, LONG), expected);
        held = attach(c, s[q], ids, LONG, NULL);
        assert_int_equal(held, expected);
        known[q] = held / BLOCK;
        compute(m.engine, c, s[q], ids, LONG, &known[q], logits);
        memcpy(alone, logits, sizeof alone);
        qm_sequence_close(s[q]);
        float *whole = run_logits(m.engine, ids, LONG, 100, 1);
        assert_memory_equal(alone, whole, sizeof alone);
        free(whole);
        if (q == 1)
            compute(m.engine, c, s[0], first, LONG, &known[0], logits);
    }
    struct qm_prefix_cache_stats stats;
    qm_prefix_cache_stats(c, &stats);
    assert_int_equal(stats.lookups, 3);
    assert_int_equal(stats.hits, 2);
    assert_int_equal(stats.tokens_found, 7 * BLOCK);
    assert_int_equal(stats.blocks, 4 + 3); /* 512 tokens of the document, and a block of 88 + 40 each */
    qm_sequence_close(s[0]);
    qm_prefix_cache_close(c);
    all_free(m.engine);
    run_model_close(&m);
}

/* One token is always left to compute, and tokens are compared. */
static void test_lengths(void **state) {
    (void)state;
    static float logits[VOCAB];
    struct run_model m;
    open_model(&m, QWEN3, 0);
    struct qm_prefix_cache *c = cache(m.engine, NULL);
    struct qm_sequence *s = sequence(m.engine), *t = sequence(m.engine);
    int64_t known = 0;
    const int32_t *ids = prompt(LONG, 0);
    compute(m.engine, c, s, ids, 3 * BLOCK, &known, logits);
    static const int64_t lengths[][2] = {{0, 0},     {1, 0},     {128, 0},   {129, 128}, {256, 128},
                                         {257, 256}, {384, 256}, {385, 384}, {700, 384}};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        assert_int_equal(qm_prefix_cache_find(c, ids, lengths[i][0]), lengths[i][1]);
        assert_int_equal(attach(c, t, ids, lengths[i][0], NULL), lengths[i][1]);
        qm_sequence_truncate(t, 0);
    }
    int32_t other[LONG];
    memcpy(other, ids, sizeof other);
    other[200]++;
    assert_int_equal(attach(c, t, other, LONG, NULL), 128);
    struct qm_error err;
    int64_t held;
    assert_int_equal(qm_prefix_cache_attach(c, t, other, LONG, &held, NULL, &err), QM_USAGE);
    assert_int_equal(held, 0);
    qm_sequence_close(s);
    qm_sequence_close(t);
    qm_prefix_cache_close(c);
    all_free(m.engine);
    run_model_close(&m);
}

/* Giving up: the ends of what was unused for longest first, and never what a sequence holds. */
static void test_shrink(void **state) {
    (void)state;
    static float logits[VOCAB];
    struct run_model m;
    open_model(&m, QWEN3, 0);
    struct qm_prefix_cache *c = cache(m.engine, NULL);
    struct qm_sequence *s = sequence(m.engine);
    for (int q = 0; q < 3; q++) { /* 2 blocks shared, then 2 of their own */
        const int32_t *ids = prompt(2 * BLOCK, q);
        int64_t known = attach(c, s, ids, LONG, NULL) / BLOCK;
        assert_int_equal(known, q ? 2 : 0);
        compute(m.engine, c, s, ids, 4 * BLOCK, &known, logits);
        qm_sequence_truncate(s, 0);
    }
    struct qm_pool_state pool;
    qm_engine_pool(m.engine, &pool);
    assert_int_equal(pool.blocks - pool.free_blocks, 8);
    assert_int_equal(attach(c, s, prompt(2 * BLOCK, 0), LONG, NULL), 4 * BLOCK);
    assert_int_equal(qm_prefix_cache_shrink(c, 1), 1); /* of question 1, the end */
    assert_int_equal(qm_prefix_cache_find(c, prompt(2 * BLOCK, 1), LONG), 3 * BLOCK);
    assert_int_equal(qm_prefix_cache_find(c, prompt(2 * BLOCK, 2), LONG), 4 * BLOCK);
    assert_int_equal(qm_prefix_cache_shrink(c, 2), 2);
    assert_int_equal(qm_prefix_cache_find(c, prompt(2 * BLOCK, 1), LONG), 2 * BLOCK);
    assert_int_equal(qm_prefix_cache_find(c, prompt(2 * BLOCK, 2), LONG), 3 * BLOCK);
    assert_int_equal(qm_prefix_cache_shrink(c, 100), 1);
    assert_int_equal(qm_prefix_cache_find(c, prompt(2 * BLOCK, 0), LONG), 4 * BLOCK);
    qm_sequence_close(s);
    assert_int_equal(qm_prefix_cache_shrink(c, 100), 4);
    all_free(m.engine);
    qm_prefix_cache_close(c);
    run_model_close(&m);
}

/* A pool with no page more than one sequence's windows: the cache does not stop it. */
static void test_smallest_pool(void **state) {
    (void)state;
    static float logits[VOCAB];
    struct run_model m;
    struct qm_pool_state pool;
    open_model(&m, MISTRAL, 0);
    uint64_t one = qm_engine_block_bytes(m.engine);
    float *alone = run_logits(m.engine, prompt(LONG, 0), LONG, 100, 1);
    run_model_close(&m);
    open_model(&m, MISTRAL, 3 * one);
    qm_engine_pool(m.engine, &pool);
    assert_int_equal(pool.blocks, 3);
    assert_int_equal(qm_engine_longest(m.engine), 1000);
    struct qm_prefix_cache *c = cache(m.engine, NULL);
    struct qm_sequence *s = sequence(m.engine);
    int64_t known = 0;
    for (int64_t at = 0; at < LONG; at += 100) {
        qm_engine_pool(m.engine, &pool);
        if (qm_sequence_needs(s, 100) > pool.free_blocks)
            qm_prefix_cache_shrink(c, qm_sequence_needs(s, 100) - pool.free_blocks);
        compute(m.engine, c, s, prompt(LONG, 0), at + 100, &known, logits);
    }
    assert_memory_equal(logits, alone, sizeof logits);
    free(alone);
    qm_sequence_close(s);
    qm_prefix_cache_close(c);
    all_free(m.engine);
    run_model_close(&m);
}

/* Two sequences compute one prefix at once; the one whose blocks are known ends. A block before those that the other
 * still holds can be freed all the same. */
static void test_parallel(void **state) {
    (void)state;
    static float logits[VOCAB];
    struct run_model m;
    open_model(&m, QWEN3, 0);
    struct qm_prefix_cache *c = cache(m.engine, NULL);
    struct qm_sequence *s = sequence(m.engine), *t = sequence(m.engine);
    int64_t known[2] = {0, 0};
    const int32_t *ids = prompt(LONG, 0);
    compute(m.engine, c, s, ids, 2 * BLOCK, &known[0], logits);
    compute(m.engine, c, t, ids, 4 * BLOCK, &known[1], logits);
    assert_int_equal(qm_prefix_cache_find(c, ids, LONG), 4 * BLOCK);
    qm_sequence_close(s);
    assert_int_equal(qm_prefix_cache_shrink(c, 1), 1);
    assert_int_equal(qm_prefix_cache_find(c, ids, LONG), 1 * BLOCK);
    assert_int_equal(qm_prefix_cache_shrink(c, 5), 1);
    compute(m.engine, c, t, ids, 5 * BLOCK, &known[1], logits); /* t announces them all again */
    assert_int_equal(qm_prefix_cache_find(c, ids, LONG), 5 * BLOCK);
    qm_sequence_close(t);
    qm_prefix_cache_close(c);
    all_free(m.engine);
    run_model_close(&m);
}

/* Through a file: an engine opened later goes on from what another one wrote; piece by piece; damage is passed over. */
static void test_store(void **state) {
    static float logits[VOCAB];
    char dir[TEST_PATH], path[TEST_PATH];
    struct run_model m;
    struct qm_error err;
    struct qm_kv_store *store;
    uint64_t bytes;
    test_temp_dir(dir);
    test_path(path, dir, "kv");
    const int32_t *ids = prompt(LONG, 0);
    for (int round = 0; round < 3; round++) {
        open_model(&m, *state, 16 << 20);
        uint64_t one = qm_engine_block_bytes(m.engine);
        struct qm_kv_store_options o = {
            .path = path, .max_bytes = 64 << 20, .key = 1, .block_bytes = one, .block_tokens = BLOCK};
        assert_int_equal(qm_kv_store_open(&o, &store, &err), QM_OK);
        struct qm_prefix_cache *c = cache(m.engine, store);
        struct qm_sequence *s = sequence(m.engine);
        for (int64_t read = 2; round && read <= 4; read += 2) { /* little by little first */
            assert_int_equal(qm_prefix_cache_read(c, ids, LONG, 2), 2);
            assert_int_equal(qm_prefix_cache_find(c, ids, LONG), read * BLOCK);
        }
        int64_t from_disk, known = 0, held = attach(c, s, ids, LONG, &from_disk);
        /* the last of them damaged in the third round */
        assert_int_equal(held, (round == 0 ? 0 : round == 1 ? 5 : 4) * BLOCK);
        assert_int_equal(from_disk, held);
        compute(m.engine, c, s, ids, LONG / 2, &known, logits);
        assert_int_equal(qm_prefix_cache_persist(c, s, ids, LONG / 2, &bytes, &err), QM_OK);
        assert_int_equal(bytes, round ? 0 : 2 * one);
        compute(m.engine, c, s, ids, LONG, &known, logits);
        assert_int_equal(qm_prefix_cache_persist(c, s, ids, LONG, &bytes, &err), QM_OK);
        assert_int_equal(bytes, (round == 0 ? 3 : round == 1 ? 0 : 1) * one);
        float *alone = run_logits(m.engine, ids, LONG, 100, 1);
        assert_memory_equal(logits, alone, sizeof logits);
        free(alone);
        qm_sequence_close(s);
        qm_prefix_cache_close(c);
        all_free(m.engine);
        qm_kv_store_close(store);
        run_model_close(&m);
        if (round == 1) {
            size_t n;
            char *file = test_read_file(path, &n);
            file[n - 8192] ^= 1;
            test_write_file(path, file, n);
            free(file);
        }
    }
    test_remove_tree(dir);
}

/* Spill: what a small pool gives up comes back from the file; and a pool without room reads what it can. */
static void test_spill(void **state) {
    (void)state;
    static float logits[VOCAB];
    char dir[TEST_PATH], path[TEST_PATH];
    struct run_model m;
    struct qm_error err;
    struct qm_kv_store *store;
    struct qm_pool_state pool;
    test_temp_dir(dir);
    test_path(path, dir, "kv");
    open_model(&m, QWEN3, 0);
    uint64_t one = qm_engine_block_bytes(m.engine);
    run_model_close(&m);
    open_model(&m, QWEN3, 6 * one);
    qm_engine_pool(m.engine, &pool);
    assert_in_range(pool.blocks, 5, 6);
    struct qm_kv_store_options o = {
        .path = path, .max_bytes = 64 << 20, .key = 1, .block_bytes = one, .block_tokens = BLOCK};
    assert_int_equal(qm_kv_store_open(&o, &store, &err), QM_OK);
    struct qm_prefix_cache *c = cache(m.engine, store);
    qm_prefix_cache_set_spill(c, true);
    struct qm_sequence *s = sequence(m.engine), *t;
    int64_t known = 0, from_disk;
    compute(m.engine, c, s, prompt(0, 0), 4 * BLOCK, &known, logits);
    qm_sequence_truncate(s, 0);
    qm_prefix_cache_shrink(c, 3);
    assert_int_equal(qm_kv_store_blocks(store), 3);
    known = 0;
    compute(m.engine, c, s, prompt(0, 1), 4 * BLOCK, &known, logits);
    t = sequence(m.engine);
    int64_t held = attach(c, t, prompt(0, 0), LONG, &from_disk); /* s holds 4 */
    assert_int_equal(held, (pool.blocks - 4) * BLOCK);
    qm_sequence_truncate(t, 0);
    qm_sequence_close(s);
    assert_int_equal(attach(c, t, prompt(0, 0), LONG, &from_disk), 4 * BLOCK); /* s's are given up for it */
    qm_engine_pool(m.engine, &pool);
    assert_int_equal(pool.free_blocks, 0);
    qm_sequence_close(t);
    struct qm_prefix_cache_stats stats;
    qm_prefix_cache_stats(c, &stats);
    assert_true(stats.blocks_read >= 3 && stats.blocks_written >= 4);
    qm_prefix_cache_close(c);
    all_free(m.engine);
    qm_kv_store_close(store);
    run_model_close(&m);
    test_remove_tree(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        {"shared, qwen3", test_together, NULL, NULL, QWEN3},
        {"shared, gpt_oss", test_together, NULL, NULL, GPT_OSS},
        {"shared, mistral", test_together, NULL, NULL, MISTRAL},
        {"store, qwen3", test_store, NULL, NULL, QWEN3},
        {"store, gpt_oss", test_store, NULL, NULL, GPT_OSS},
        {"store, mistral", test_store, NULL, NULL, MISTRAL},
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_shrink),
        cmocka_unit_test(test_smallest_pool),
        cmocka_unit_test(test_parallel),
        cmocka_unit_test(test_spill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
