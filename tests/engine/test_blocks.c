/* Blocks of keys and values: a sequence that was attached to blocks gives the bits of one that computed them, for every
 * architecture, after truncation into a block, and from a block's bytes; what is shared is not written; windows; a pool
 * that is short changes nothing; and at the end every page is free. */
#include <stdlib.h>
#include <string.h>

#include "engine/kv.h"
#include "engine/sequence.h"
#include "tests/support/reference.h"
#include "tests/support/run_model.h"
#include "tests/support/support.h"

enum { BLOCK = QM_KV_PAGE_TOKENS, TOKENS = 300, REST = TOKENS - 2 * BLOCK, VOCAB = 512, MOST = 16 };

static struct qm_engine_options options(int64_t context, int64_t chunk, uint64_t kv_memory) {
    return (struct qm_engine_options){.threads = 2,
                                      .isa = run_model_isa(),
                                      .context = context,
                                      .sequences = 3,
                                      .chunk = chunk,
                                      .kv_type = -1,
                                      .kv_memory = kv_memory};
}

static struct qm_sequence *sequence(struct qm_engine *e) {
    struct qm_error err;
    struct qm_sequence *s;
    if (qm_sequence_open(e, &s, &err))
        fail_msg("%s", err.message);
    return s;
}

static void step(struct qm_engine *e, struct qm_sequence *s, const int32_t *ids, int64_t n, int64_t n_logits,
                 float *logits) {
    struct qm_error err;
    struct qm_step_rows one = {.sequence = s, .tokens = ids, .n = n, .n_logits = n_logits, .logits = logits};
    if (qm_engine_step(e, &one, 1, &err))
        fail_msg("%s", err.message);
}

static void steps(struct qm_engine *e, struct qm_sequence *s, const int32_t *ids, int64_t n, int64_t piece) {
    for (int64_t at = 0; at < n; at += piece)
        step(e, s, ids + at, n - at < piece ? n - at : piece, 0, NULL);
}

static void all_free(struct qm_engine *e) {
    struct qm_pool_state pool;
    qm_engine_pool(e, &pool);
    assert_true(pool.blocks > 0);
    assert_int_equal(pool.free_blocks, pool.blocks);
}

static void attach(struct qm_sequence *s, const qm_block *blocks, int64_t n) {
    struct qm_error err;
    if (qm_sequence_attach(s, blocks, n, &err))
        fail_msg("%s", err.message);
    assert_int_equal(qm_sequence_length(s), n * BLOCK);
}

/* An engine of its own takes the blocks' bytes, and goes on from there. */
static void through_bytes(struct qm_engine *from, struct qm_engine *e, const qm_block blocks[2], const int32_t *ids,
                          const float *whole) {
    static float logits[REST * VOCAB];
    struct qm_error err;
    qm_block got[2];
    uint64_t n = qm_engine_block_bytes(from);
    assert_int_equal(n, qm_engine_block_bytes(e));
    uint8_t *bytes = malloc(n), *again = malloc(n);
    for (int i = 0; i < 2; i++) {
        memset(bytes, 0xAB, n);
        qm_block_export(from, blocks[i], bytes);
        assert_int_equal(qm_block_import(e, bytes, &got[i], &err), QM_OK);
        memset(again, 0xCD, n);
        qm_block_export(e, got[i], again);
        assert_memory_equal(bytes, again, n);
    }
    struct qm_sequence *s = sequence(e);
    assert_int_equal(qm_blocks_usable(e, got, 2), 2);
    attach(s, got, 2);
    step(e, s, ids + 2 * BLOCK, REST, REST, logits);
    assert_memory_equal(logits, whole, sizeof logits);
    bytes[0] = 2;
    assert_int_equal(qm_block_import(e, bytes, &got[0], &err), QM_INPUT);
    assert_non_null(strstr(err.message, "0 or 1 expected"));
    qm_sequence_close(s);
    for (int i = 0; i < 2; i++)
        qm_block_release(e, got[i]);
    all_free(e);
    free(bytes);
    free(again);
}

static void check_model(void **state) {
    static float whole[REST * VOCAB], logits[REST * VOCAB];
    struct reference r;
    reference_open(&r, *state);
    int64_t n[4];
    const int32_t *short_ids = reference_tensor(&r, "ids", n);
    int32_t ids[TOKENS], other[TOKENS];
    for (int i = 0; i < TOKENS; i++) {
        ids[i] = short_ids[(i + i / n[0]) % n[0]];
        other[i] = i < 200 ? ids[i] : ids[TOKENS - 1 - i];
    }
    struct run_model m, second;
    run_model_open(&m, r.dir, NULL, options(512, 64, 0));
    run_model_open(&second, r.dir, NULL, options(512, 64, 0));
    assert_int_equal(m.model->config.vocab, VOCAB);
    float *computed = run_logits(m.engine, ids, TOKENS, 50, REST);
    memcpy(whole, computed, sizeof whole);
    free(computed);

    /* a computes and keeps; b is attached, beside a who is still there */
    struct qm_sequence *a = sequence(m.engine), *b = sequence(m.engine);
    qm_block blocks[2];
    assert_int_equal(qm_sequence_keep(a, 0), -1);
    for (int i = 0; i < 2; i++) {
        steps(m.engine, a, ids + i * BLOCK, BLOCK, 50);
        assert_int_equal(qm_sequence_keep(a, i + 1), -1);
        blocks[i] = qm_sequence_keep(a, i);
        assert_true(blocks[i] >= 0 && qm_block_complete(m.engine, blocks[i]));
        assert_true(qm_block_in_use(m.engine, blocks[i]));
        assert_int_equal(qm_sequence_keep(a, i), blocks[i]);
        qm_block_release(m.engine, blocks[i]);
    }
    assert_int_equal(qm_blocks_usable(m.engine, blocks, 2), 2);
    attach(b, blocks, 2);
    step(m.engine, b, ids + 2 * BLOCK, REST, REST, logits);
    assert_memory_equal(logits, whole, sizeof whole);

    /* a truncated into a block and going on elsewhere is as if it had never been there, and b's tokens stay */
    computed = run_logits(m.engine, other, TOKENS, 64, REST);
    assert_int_equal(qm_sequence_truncate(a, 200), 200);
    steps(m.engine, a, other + 200, 2 * BLOCK - 200, 13);
    step(m.engine, a, other + 2 * BLOCK, REST, REST, logits);
    assert_memory_equal(logits, computed, sizeof whole);
    free(computed);
    assert_int_equal(qm_sequence_truncate(b, 2 * BLOCK), 2 * BLOCK);
    step(m.engine, b, ids + 2 * BLOCK, REST, REST, logits);
    assert_memory_equal(logits, whole, sizeof whole);
    qm_sequence_close(a);
    qm_sequence_close(b);

    /* nobody but the holder of the blocks is left */
    assert_false(qm_block_in_use(m.engine, blocks[0]));
    a = sequence(m.engine);
    attach(a, blocks, 2);
    step(m.engine, a, ids + 2 * BLOCK, REST, REST, logits);
    assert_memory_equal(logits, whole, sizeof whole);
    through_bytes(m.engine, second.engine, blocks, ids, whole);
    for (int i = 0; i < 2; i++)
        qm_block_release(m.engine, blocks[i]);
    qm_sequence_close(a);
    all_free(m.engine);
    run_model_close(&m);
    run_model_close(&second);
    reference_close(&r);
}

static void test_refused(void **state) {
    (void)state;
    struct run_model m;
    struct qm_error err;
    int32_t ids[BLOCK] = {0};
    run_model_open(&m, "tests/data/reference/qwen3", NULL, options(200, 0, 0));
    struct qm_sequence *s = sequence(m.engine);
    steps(m.engine, s, ids, BLOCK, BLOCK);
    qm_block blocks[2] = {qm_sequence_keep(s, 0), -1};
    assert_int_equal(qm_sequence_attach(s, blocks, 1, &err), QM_USAGE);
    assert_non_null(strstr(err.message, "must be empty"));
    assert_int_equal(qm_sequence_truncate(s, 0), 0);
    assert_int_equal(qm_blocks_usable(m.engine, blocks, 2), 1);
    assert_int_equal(qm_sequence_attach(s, blocks, 2, &err), QM_USAGE);
    assert_int_equal(qm_sequence_attach(s, (qm_block[]){blocks[0], blocks[0]}, 2, &err), QM_USAGE);
    assert_int_equal(qm_sequence_length(s), 0);
    attach(s, blocks, 1);
    qm_block_release(m.engine, blocks[0]);
    qm_sequence_close(s);
    all_free(m.engine);
    run_model_close(&m);
}

/* The hidden state: the same whatever it is computed beside, not what another token's is, and what the head takes. */
static void test_hidden(void **state) {
    (void)state;
    static const char *const names[] = {"qwen3", "gpt_oss", "qwen3_f32"};
    for (int which = 0; which < 3; which++) {
        struct run_model m;
        struct reference r;
        struct qm_error err;
        static float hidden[3][1 + 64 + 1], logits[VOCAB];
        int64_t n[4];
        reference_open(&r, names[which]);
        const int32_t *ids = reference_tensor(&r, "ids", n);
        run_model_open(&m, r.dir, NULL, options(64, 64, 0));
        assert_int_equal(m.model->config.hidden, 64);
        struct qm_sequence *s[3];
        struct qm_step_rows one[3];
        for (int i = 0; i < 3; i++) {
            hidden[i][0] = hidden[i][65] = 77.0f;
            s[i] = sequence(m.engine);
            one[i] =
                (struct qm_step_rows){.sequence = s[i], .tokens = ids + (i == 2), .n = 10, .hidden = hidden[i] + 1};
        }
        assert_int_equal(qm_engine_step(m.engine, one, 1, &err), QM_OK);
        one[1].n_logits = 1;
        one[1].logits = logits;
        assert_int_equal(qm_engine_step(m.engine, one + 1, 2, &err), QM_OK);
        assert_memory_equal(hidden[0], hidden[1], sizeof hidden[0]);
        assert_memory_not_equal(hidden[0], hidden[2], sizeof hidden[0]);
        double norm = 0;
        for (int i = 0; i < 64; i++)
            norm += (double)hidden[0][1 + i] * (double)hidden[0][1 + i];
        assert_true(norm > 0 && norm < 1e6);
        assert_true(hidden[0][0] == 77.0f && hidden[0][65] == 77.0f);
        for (int i = 0; i < 3; i++)
            qm_sequence_close(s[i]);
        run_model_close(&m);
        reference_close(&r);
    }
}

/* Memory is what the plan says, by groups; and what a pool is refused for. */
static void test_pool_memory(void **state) {
    (void)state;
    static const char *const dirs[] = {"tests/data/reference/qwen3", "tests/data/reference/gpt_oss",
                                       "tests/data/reference/mistral"};
    static const struct qm_binding anywhere[3] = {{.node = -1}, {.node = -1}, {.node = -1}};
    for (int i = 0; i < 3; i++) {
        struct qm_model *m;
        struct qm_error err;
        struct qm_forward f;
        assert_int_equal(qm_model_open(dirs[i], NULL, &m, &err), QM_OK);
        assert_int_equal(qm_forward_build(m, &f, &err), QM_OK);
        for (uint64_t memory = 0; memory < 40 << 20; memory += (5 << 20) + 12345) {
            struct qm_workload w = {
                .context = 1000, .sequences = 3, .chunk = 64, .kv_type = QM_BF16, .threads = 2, .kv_memory = memory};
            struct qm_memory_table table;
            struct qm_kv kv;
            qm_memory_estimate(m, &w, &table);
            int nodes = 1 + (int)(memory >> 20) % 3;
            uint64_t bytes = 0;
            assert_int_equal(qm_kv_open(&m->config, &f, &w, NULL, anywhere, nodes, &kv, &err), QM_OK);
            for (int node = 0; node < nodes; node++)
                bytes += kv.memory[node].bytes;
            assert_int_equal(bytes, table.kv);
            if (memory) {
                assert_true(table.kv <= memory);
                assert_true(table.kv + 2 * qm_kv_block_bytes(&kv) > memory);
            }
            for (int g = 0; g < kv.n_groups; g++)
                assert_true(g == kv.main || kv.groups[g].pages >= 3 * kv.groups[g].held);
            qm_kv_close(&kv);
        }
        struct qm_engine *e;
        struct qm_engine_options o = options(1000, 0, 1000);
        assert_int_equal(qm_engine_open(m, &o, &e, &err), QM_FIT);
        assert_non_null(strstr(err.message, "1000 bytes for keys and values hold 0 pages"));
        o.kv_memory = UINT64_MAX;
        assert_int_equal(qm_engine_open(m, &o, &e, &err), QM_FIT);
        assert_int_equal(err.remedy, QM_REMEDY_SMALLER_KV_MEMORY);
        qm_forward_free(&f);
        qm_model_close(m);
    }
}

/* A pool that is short: nothing has changed, and room that is made is enough. */
static void test_short_pool(void **state) {
    (void)state;
    struct run_model m;
    struct qm_error err;
    struct qm_pool_state pool, after;
    static float before[VOCAB], logits[VOCAB];
    int32_t ids[2 * BLOCK];
    for (int i = 0; i < 2 * BLOCK; i++)
        ids[i] = i * 7 % VOCAB;
    run_model_open(&m, "tests/data/reference/qwen3", NULL, options(1000, 300, 0));
    uint64_t block = qm_engine_block_bytes(m.engine);
    run_model_close(&m);
    run_model_open(&m, "tests/data/reference/qwen3", NULL, options(1000, 300, 4 * block));
    qm_engine_pool(m.engine, &pool);
    assert_true(pool.blocks == 3 || pool.blocks == 4);
    assert_int_equal(qm_engine_longest(m.engine), pool.blocks * BLOCK);
    struct qm_sequence *a = sequence(m.engine), *b = sequence(m.engine);
    assert_int_equal(qm_sequence_needs(a, 0), 0);
    assert_int_equal(qm_sequence_needs(a, 1), 1);
    assert_int_equal(qm_sequence_needs(a, BLOCK + 1), 2);
    step(m.engine, a, ids, 100, 1, before);
    assert_int_equal(qm_sequence_needs(a, 28), 0);
    assert_int_equal(qm_sequence_needs(a, 29), 1);
    qm_engine_pool(m.engine, &pool);
    int64_t fits = pool.free_blocks;
    struct qm_step_rows two[2] = {{.sequence = b, .tokens = ids, .n = 29},
                                  {.sequence = a, .tokens = ids, .n = 2 * BLOCK, .n_logits = 1, .logits = logits}};
    assert_int_equal(fits >= 2 && fits <= 3, 1);
    steps(m.engine, b, ids, (fits - 1) * BLOCK, BLOCK);
    two[0].n = 1, two[1].n = 29;
    assert_int_equal(qm_engine_step(m.engine, two, 2, &err), QM_FIT);
    assert_non_null(strstr(err.message, "2 more pages of 128 tokens needed, 1 free"));
    qm_engine_pool(m.engine, &after);
    assert_int_equal(after.free_blocks, 1);
    assert_int_equal(qm_sequence_length(a), 100);
    assert_int_equal(qm_sequence_length(b), (fits - 1) * BLOCK);
    /* a block that b shares makes b's truncation need a page of its own */
    qm_block kept = qm_sequence_keep(b, fits - 2);
    assert_int_equal(qm_sequence_truncate(b, (fits - 1) * BLOCK - 1), (fits - 1) * BLOCK - 1);
    assert_int_equal(qm_sequence_needs(b, 1), 1);
    qm_block_release(m.engine, kept);
    assert_int_equal(qm_sequence_needs(b, 1), 0);
    qm_sequence_close(b);
    assert_int_equal(qm_sequence_truncate(a, 99), 99);
    step(m.engine, a, ids + 99, 1, 1, logits);
    assert_memory_equal(logits, before, sizeof logits);
    qm_sequence_close(a);
    all_free(m.engine);
    run_model_close(&m);
}

/* Windows: blocks that are kept while a long sequence goes on lose their windows' pages, never the sequence; where a
 * prefix is still usable, it gives the same bits. */
static void test_windows(void **state) {
    (void)state;
    static const char *const names[] = {"gpt_oss", "mistral"};
    for (int which = 0; which < 2; which++) {
        enum { LONG = 10 * BLOCK + 40 };
        static int32_t ids[LONG];
        static float logits[VOCAB];
        struct run_model m;
        char dir[64] = "tests/data/reference/";
        strcat(dir, names[which]);
        for (int i = 0; i < LONG; i++)
            ids[i] = (i * 31 + i / 100) % VOCAB;
        run_model_open(&m, dir, NULL, options(2000, 64, 0));
        float *whole = run_logits(m.engine, ids, LONG, 64, 1);
        struct qm_sequence *a = sequence(m.engine), *b = sequence(m.engine);
        qm_block blocks[MOST];
        int64_t n = 0;
        for (int64_t at = 0; at < LONG; at += 40) {
            step(m.engine, a, ids + at, 40, 1, logits);
            while (n < qm_sequence_length(a) / BLOCK && (blocks[n] = qm_sequence_keep(a, n)) >= 0) {
                /* without a whole-context layer a block takes of the pool that sequences need */
                if (which == 1 && n >= 3) {
                    qm_block_release(m.engine, blocks[n - 3]);
                    blocks[n - 3] = -1;
                }
                n++;
            }
        }
        assert_memory_equal(logits, whole, sizeof logits);
        assert_int_equal(n, 10);
        assert_int_equal(qm_sequence_keep(a, 0), which ? -1 : blocks[0]);
        if (!which)
            qm_block_release(m.engine, blocks[0]);
        assert_int_equal(qm_blocks_usable(m.engine, blocks, 10), 10);
        assert_int_equal(qm_block_complete(m.engine, blocks[9]), 1);
        attach(b, blocks, 10);
        step(m.engine, b, ids + 10 * BLOCK, 40, 1, logits);
        assert_memory_equal(logits, whole, sizeof logits);
        qm_sequence_close(b);
        if (!which) { /* 6 pages of the window: a holds one that is no block's, b had one */
            int64_t complete = 0;
            for (int i = 0; i < 10; i++)
                complete += qm_block_complete(m.engine, blocks[i]);
            assert_int_equal(complete, 4);
            for (int i = 0; i < 10; i++) {
                b = sequence(m.engine);
                int64_t usable = qm_blocks_usable(m.engine, blocks, i + 1);
                attach(b, blocks, usable);
                steps(m.engine, b, ids + usable * BLOCK, (i + 1 - usable) * BLOCK + 10, 60);
                float *alone = run_logits(m.engine, ids, (i + 1) * BLOCK + 11, 64, 1);
                step(m.engine, b, ids + (i + 1) * BLOCK + 10, 1, 1, logits);
                assert_memory_equal(logits, alone, sizeof logits);
                free(alone);
                qm_sequence_close(b);
            }
        }
        qm_sequence_close(a);
        for (int i = 0; i < 10; i++)
            if (blocks[i] >= 0)
                qm_block_release(m.engine, blocks[i]);
        all_free(m.engine);
        free(whole);
        run_model_close(&m);
    }
}

int main(void) {
    static struct CMUnitTest tests[64];
    size_t n = 0;
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_refused);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_hidden);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_pool_memory);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_short_pool);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_windows);
    for (int i = 0; reference_names[i]; i++)
        tests[n++] = (struct CMUnitTest){reference_names[i], check_model, NULL, NULL, (void *)reference_names[i]};
    return _cmocka_run_group_tests("blocks", tests, n, NULL, NULL);
}
