/* The prefix cache under random use: three sequences at a time, of prompts that branch, in a pool that is too small,
 * with a store that is too small, sequences cut off at random. The last logits of each are those of its prompt computed
 * alone, to the last bit; and in the end the whole pool is free. */
#include <stdlib.h>
#include <string.h>

#include "engine/sequence.h"
#include "session/prefix_cache.h"
#include "tests/support/run_model.h"
#include "tests/support/support.h"

enum { BLOCK = 128, VOCAB = 512, CONTEXT = 600, SEQUENCES = 3, REQUESTS = 60 };

struct job {
    struct qm_sequence *s;
    int32_t ids[CONTEXT];
    int64_t n, known;
};

struct world {
    struct run_model m, alone;
    struct qm_prefix_cache *c;
    struct qm_kv_store *store;
    struct job jobs[SEQUENCES];
    uint64_t random;
    int64_t finished, cut;
};

static uint64_t below(struct world *w, uint64_t n) {
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return (w->random >> 33) % n;
}

/* One of two continuations after each stretch: four prefixes of 300 tokens, and so on. */
static void new_prompt(struct world *w, struct job *j) {
    static const int64_t branches[] = {0, 150, 300, 430, CONTEXT};
    uint64_t path = 1;
    for (int b = 0; b < 4; b++) {
        path = path * 2 + below(w, b == 0 ? 1 : 2);
        for (int64_t i = branches[b]; i < branches[b + 1]; i++)
            j->ids[i] = (int32_t)((uint64_t)i * 37 + (uint64_t)i / 50 + path * 101) % VOCAB;
    }
    j->n = 130 + (int64_t)below(w, CONTEXT - 130);
}

static void start(struct world *w, struct job *j) {
    struct qm_error err;
    int64_t held;
    new_prompt(w, j);
    assert_int_equal(qm_sequence_open(w->m.engine, &j->s, &err), QM_OK);
    if (qm_prefix_cache_attach(w->c, j->s, j->ids, j->n, &held, NULL, &err))
        fail_msg("%s", err.message);
    assert_true(held < j->n && held % BLOCK == 0);
    j->known = held / BLOCK;
}

static void stop(struct job *j) {
    qm_sequence_close(j->s);
    j->s = NULL;
}

/* Makes room as a scheduler would: from the cache, then by cutting off another. False: there is none. */
static bool make_room(struct world *w, const struct job *j, int64_t n) {
    struct qm_pool_state pool;
    for (int other = 0;; other++) {
        qm_engine_pool(w->m.engine, &pool);
        int64_t missing = qm_sequence_needs(j->s, n) - pool.free_blocks;
        if (missing <= 0 || qm_prefix_cache_shrink(w->c, missing) >= missing)
            return true;
        while (other < SEQUENCES && (&w->jobs[other] == j || !w->jobs[other].s))
            other++;
        if (other >= SEQUENCES)
            return false;
        stop(&w->jobs[other]);
        w->cut++;
    }
}

static void go_on(struct world *w, struct job *j) {
    static float logits[VOCAB];
    struct qm_error err;
    int64_t at = qm_sequence_length(j->s), n = 1 + (int64_t)below(w, 100);
    n = n < j->n - at ? n : j->n - at;
    struct qm_step_rows one = {.sequence = j->s, .tokens = j->ids + at, .n = n, .n_logits = 1, .logits = logits};
    assert_true(make_room(w, j, n));
    if (qm_engine_step(w->m.engine, &one, 1, &err))
        fail_msg("%s", err.message);
    if (below(w, 8)) /* late now and then */
        qm_prefix_cache_add(w->c, j->s, j->ids, &j->known);
    if (below(w, 6) == 0)
        assert_int_equal(qm_prefix_cache_persist(w->c, j->s, j->ids, j->n, NULL, &err), QM_OK);
    if (at + n < j->n)
        return;
    float *whole = run_logits(w->alone.engine, j->ids, j->n, 100, 1);
    assert_memory_equal(logits, whole, sizeof logits);
    free(whole);
    stop(j);
    w->finished++;
}

static void test_random(void **state) {
    char dir[TEST_PATH], path[TEST_PATH];
    struct qm_error err;
    struct world *w = calloc(1, sizeof *w);
    struct qm_engine_options o = {
        .threads = 1, .isa = run_model_isa(), .context = CONTEXT, .sequences = SEQUENCES, .chunk = 100, .kv_type = -1};
    run_model_open(&w->alone, *state, NULL, o);
    uint64_t one = qm_engine_block_bytes(w->alone.engine);
    o.kv_memory = 11 * one;
    run_model_open(&w->m, *state, NULL, o);
    test_temp_dir(dir);
    test_path(path, dir, "kv");
    struct qm_kv_store_options so = {
        .path = path, .max_bytes = 9 * one, .key = 5, .block_bytes = one, .block_tokens = BLOCK};
    assert_int_equal(qm_kv_store_open(&so, &w->store, &err), QM_OK);
    assert_int_equal(qm_prefix_cache_open(w->m.engine, w->store, &w->c, &err), QM_OK);
    qm_prefix_cache_set_spill(w->c, true);
    while (w->finished < REQUESTS) {
        struct job *j = &w->jobs[below(w, SEQUENCES)];
        if (!j->s)
            start(w, j);
        else
            go_on(w, j);
        if (below(w, 40) == 0)
            qm_prefix_cache_shrink(w->c, 1 + (int64_t)below(w, 8));
    }
    struct qm_prefix_cache_stats stats;
    qm_prefix_cache_stats(w->c, &stats);
    assert_true(stats.hits > 5 && stats.blocks_read > 0 && stats.given_up > 10 && stats.blocks_written > 0);
    for (int i = 0; i < SEQUENCES; i++)
        if (w->jobs[i].s)
            stop(&w->jobs[i]);
    qm_prefix_cache_close(w->c);
    assert_string_equal(qm_kv_store_note(w->store), "");
    qm_kv_store_close(w->store);
    struct qm_pool_state pool;
    qm_engine_pool(w->m.engine, &pool);
    assert_int_equal(pool.free_blocks, pool.blocks);
    run_model_close(&w->m);
    run_model_close(&w->alone);
    test_remove_tree(dir);
    free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        {"whole context", test_random, NULL, NULL, "tests/data/reference/qwen3"},
        {"windows and whole context", test_random, NULL, NULL, "tests/data/reference/gpt_oss"},
        {"windows only", test_random, NULL, NULL, "tests/data/reference/mistral"},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
