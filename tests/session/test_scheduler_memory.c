/* Nothing is allocated in the scheduler's steps: every allocation of the process, by any thread, is counted while
 * requests of every kind (sampling, penalties, stop strings, log-probabilities, text, embeddings, resumed ones) are
 * admitted, generate, run short of pages, are preempted and computed again, cancelled, and end; with a prefix cache
 * that writes what it gives up to a file and reads it back. */
#include <stdlib.h>
#include <string.h>

#include "engine/sequence.h"
#include "session/kv_store.h"
#include "session/prefix_cache.h"
#include "session/scheduler.h"
#include "tests/support/allocations.h"
#include "tests/support/run_model.h"
#include "tests/support/support.h"

enum { SEQUENCES = 6, JOBS = 90, BLOCKS = 10, CONTEXT = 900, RESUMED = 6 };

struct world {
    struct run_model m;
    struct qm_tokenizer *tokenizer;
    struct qm_kv_store *store;
    struct qm_prefix_cache *cache;
    struct qm_scheduler *s;
    uint64_t random, ids[JOBS];
    int submitted, done;
    long in_steps;
};

static int64_t below(struct world *w, int64_t n) {
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)(w->random >> 33) % n;
}

static int on_token(void *arg, const struct qm_generate_token *t, bool replay) {
    (void)arg, (void)t, (void)replay;
    return 0;
}

static void on_done(void *arg, const struct qm_outcome *o) {
    struct world *w = arg;
    if (o->rc)
        fail_msg("%s", o->error->message);
    w->done++;
}

/* Half of the prompts begin alike. */
static void submit(struct world *w) {
    static const char *const stop[] = {"never in this text", "nor this"};
    static const struct qm_logit_bias bias[] = {{5, -100}, {77, 2}};
    static const int32_t stop_ids[] = {9, 11};
    static int32_t prompt[CONTEXT], generated[RESUMED];
    struct qm_error err;
    int i = w->submitted;
    int64_t shared = i % 2 ? 300 : 0;
    struct qm_request r = {.prompt = prompt,
                           .n_prompt = shared + 1 + below(w, i % 7 ? 90 : 400),
                           .decoding.max_tokens = 1 + below(w, i % 3 ? 40 : 300),
                           .decoding.sampling = qm_sampling_default,
                           .decoding.stop = stop,
                           .decoding.n_stop = i % 3 ? 2 : 0,
                           .decoding.stop_ids = stop_ids,
                           .decoding.n_stop_ids = i % 4 ? 0 : 2,
                           .decoding.ignore_end = true,
                           .decoding.top_logprobs = i % 3 ? -1 : 5,
                           .embed = i % 11 == 10,
                           .priority = (int)below(w, 3),
                           .on_token = on_token,
                           .on_done = on_done,
                           .arg = w};
    r.decoding.min_tokens = i % 4 && r.decoding.max_tokens > 2 ? 2 : 0;
    r.decoding.sampling.temperature = i % 2;
    r.decoding.sampling.seed = (uint64_t)i;
    r.decoding.sampling.top_p = i % 5 ? 1 : 0.9;
    r.decoding.sampling.top_k = i % 6 ? 0 : 40;
    r.decoding.sampling.min_p = i % 9 ? 0 : 0.05;
    r.decoding.sampling.repetition_penalty = i % 4 ? 1 : 1.1;
    r.decoding.sampling.bias = bias;
    r.decoding.sampling.n_bias = i % 8 ? 0 : 2;
    if (i % 10 == 3 && !r.embed && r.decoding.max_tokens > RESUMED) {
        r.generated = generated;
        r.n_generated = RESUMED;
    }
    for (int64_t k = 0; k < r.n_prompt; k++)
        prompt[k] = (int32_t)(k < shared ? k * 7 % 1000 : (k * 13 + i * (k + 1) * 17) % 1000);
    for (int64_t k = 0; k < RESUMED; k++)
        generated[k] = (int32_t)(100 + k * i);
    if (qm_scheduler_submit(w->s, &r, &w->ids[w->submitted++], &err))
        fail_msg("%s", err.message);
}

static bool step(struct world *w) {
    struct qm_error err;
    bool worked;
    atomic_store(&counting, true);
    int rc = qm_scheduler_step(w->s, &worked, &err);
    if (below(w, 40) == 0 && w->submitted)
        qm_scheduler_cancel(w->s, w->ids[below(w, w->submitted)]); /* it may be done already */
    atomic_store(&counting, false);
    if (rc)
        fail_msg("%s", err.message);
    w->in_steps += atomic_exchange(&allocations, 0);
    return worked;
}

static void open_world(struct world *w, const char *store) {
    struct qm_error err;
    struct qm_engine_options o = {
        .threads = 2, .isa = run_model_isa(), .context = CONTEXT, .sequences = SEQUENCES, .chunk = 64, .kv_type = -1};
    run_model_open(&w->m, "data/demo", NULL, o);
    uint64_t block = qm_engine_block_bytes(w->m.engine);
    run_model_close(&w->m);
    o.kv_memory = BLOCKS * block;
    run_model_open(&w->m, "data/demo", NULL, o);
    struct qm_kv_store_options so = {.path = store,
                                     .max_bytes = 40 * block,
                                     .key = 1,
                                     .block_bytes = qm_engine_block_bytes(w->m.engine),
                                     .block_tokens = qm_engine_block_tokens(w->m.engine)};
    assert_int_equal(qm_tokenizer_load("data/demo", &w->tokenizer, &err), 0);
    assert_int_equal(qm_kv_store_open(&so, &w->store, &err), 0);
    assert_int_equal(qm_prefix_cache_open(w->m.engine, w->store, &w->cache, &err), 0);
    qm_prefix_cache_set_spill(w->cache, true);
    const struct qm_scheduler_options options = {
        .engine = w->m.engine, .tokenizer = w->tokenizer, .cache = w->cache, .prefill_tokens = 32};
    assert_int_equal(qm_scheduler_open(&options, &w->s, &err), 0);
}

static void test_nothing_allocated(void **state) {
    (void)state;
    char dir[TEST_PATH], path[TEST_PATH];
    struct world *w = calloc(1, sizeof *w);
    watch_allocations();
    test_temp_dir(dir);
    test_path(path, dir, "kv");
    open_world(w, path);
    atomic_store(&counting, true);
    char *volatile one = malloc(1); /* it does count */
    free(one);
    atomic_store(&counting, false);
    assert_true(atomic_exchange(&allocations, 0) == 1);

    bool worked = true;
    while (w->submitted < JOBS || worked) {
        for (int64_t more = below(w, 3); more > 0 && w->submitted < JOBS; more--)
            submit(w);
        worked = step(w);
    }
    assert_int_equal(w->done, JOBS);
    assert_int_equal(w->in_steps, 0);

    struct qm_scheduler_stats stats;
    struct qm_prefix_cache_stats cached;
    qm_scheduler_stats(w->s, &stats);
    qm_prefix_cache_stats(w->cache, &cached);
    assert_true(stats.preemptions > 5 && stats.prefix_tokens > 0);
    assert_true(cached.blocks_written > 0 && cached.blocks_read > 0 && cached.given_up > 0);
    qm_scheduler_close(w->s);
    qm_prefix_cache_close(w->cache);
    qm_kv_store_close(w->store);
    qm_tokenizer_free(w->tokenizer);
    run_model_close(&w->m);
    test_remove_tree(dir);
    free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nothing_allocated)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
