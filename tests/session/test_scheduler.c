/* The scheduler on real models: whatever runs beside it, a request's result is the one that it has alone. */
#include "session/scheduler.h"

#include <string.h>

#include "engine/memory.h"
#include "engine/sequence.h"
#include "session/prefix_cache.h"
#include "tests/support/load.h"
#include "tests/support/run_model.h"
#include "tests/support/support.h"

static const struct qm_engine_options alone = {
    .threads = 1, .context = 1024, .sequences = 1, .chunk = 64, .kv_type = -1};

struct place {
    struct run_model alone, many;
    struct qm_tokenizer *tokenizer;
    struct load *load;
};

static void place_open(struct place *p, const char *dir, struct qm_engine_options many, struct load_shape shape) {
    struct qm_error err;
    struct qm_engine_options one = alone;
    one.isa = many.isa = run_model_isa();
    p->tokenizer = NULL;
    run_model_open(&p->alone, dir, NULL, one);
    run_model_open(&p->many, dir, NULL, many);
    if (strcmp(dir, "data/demo") == 0)
        assert_int_equal(qm_tokenizer_load(dir, &p->tokenizer, &err), 0);
    p->load = load_new(p->alone.engine, p->tokenizer, &shape);
}

static void place_close(struct place *p) {
    load_free(p->load);
    qm_tokenizer_free(p->tokenizer);
    run_model_close(&p->alone);
    run_model_close(&p->many);
}

static void test_mixed(void **state) {
    const char *dir = *state;
    struct place p;
    place_open(&p, dir,
               (struct qm_engine_options){.threads = 2, .context = 1024, .sequences = 5, .chunk = 48, .kv_type = -1},
               (struct load_shape){.requests = 24, .prompt_max = 200, .tokens_max = 24, .seed = 1});
    const struct qm_scheduler_options o = {.engine = p.many.engine, .tokenizer = p.tokenizer};
    for (uint64_t seed = test_slow() ? 1 : 3; seed <= 3; seed++) {
        struct load_course c = {.seed = seed, .at_once = seed == 2, .resumed = 30};
        c.cancels = seed == 3 ? 60 : 0;
        c.priorities = seed >= 2;
        struct qm_scheduler_stats stats;
        load_run(p.load, &o, &c, &stats);
        assert_int_equal(stats.submitted, 24);
        assert_int_equal(stats.finished, 24);
        assert_int_equal(stats.running + stats.waiting + stats.preempted, 0);
    }
    place_close(&p);
}

/* The bytes of a pool of so many blocks. */
static uint64_t pool_bytes(const struct qm_model *m, const struct qm_engine_options *o, int64_t blocks) {
    struct qm_workload w = {.context = o->context, .sequences = o->sequences, .chunk = o->chunk, .threads = o->threads};
    w.kv_type = qm_kv_default_type(&m->config);
    uint64_t step = qm_kv_key_bytes(w.kv_type, m->config.head_dim);
    for (w.kv_memory = step;; w.kv_memory += step)
        if (qm_kv_pool_pages(&m->config, &w, qm_kv_main_window(&m->config)) >= blocks)
            return w.kv_memory;
}

/* Eight pages for five sequences of up to six pages: they are preempted over and over, with a cache and without. */
static void test_short_pool(void **state) {
    const char *dir = *state;
    struct place p;
    struct qm_model *m;
    struct qm_error err;
    struct qm_engine_options many = {.threads = 2, .context = 1024, .sequences = 5, .chunk = 100, .kv_type = -1};
    assert_int_equal(qm_model_open(dir, NULL, &m, &err), 0);
    many.kv_memory = pool_bytes(m, &many, 8);
    qm_model_close(m);
    place_open(&p, dir, many,
               (struct load_shape){
                   .requests = 10, .prompt_max = 200, .tokens_max = 400, .head = 150, .endless = true, .seed = 5});
    int64_t preemptions = 0;
    for (uint64_t seed = test_slow() ? 1 : 2; seed <= 2; seed++) {
        struct qm_prefix_cache *cache = NULL;
        if (seed == 2)
            assert_int_equal(qm_prefix_cache_open(p.many.engine, NULL, &cache, &err), 0);
        const struct qm_scheduler_options o = {.engine = p.many.engine, .tokenizer = p.tokenizer, .cache = cache};
        struct load_course c = {.seed = seed, .cancels = 20, .resumed = 20};
        struct qm_scheduler_stats stats;
        load_run(p.load, &o, &c, &stats);
        preemptions += stats.preemptions;
        assert_true(!cache || stats.prefix_tokens > 0);
        qm_prefix_cache_close(cache);
        struct qm_pool_state pool;
        qm_engine_pool(p.many.engine, &pool);
        assert_int_equal(pool.blocks, 8);
        assert_int_equal(pool.free_blocks, 8);
    }
    assert_true(preemptions > 0);
    place_close(&p);
}

/* Prompts that arrive together and have their first 300 tokens in common: two pages of them are computed once. */
static void test_shared_head(void **state) {
    const char *dir = *state;
    struct place p;
    struct qm_error err;
    struct qm_prefix_cache *cache;
    place_open(&p, dir,
               (struct qm_engine_options){.threads = 2, .context = 1024, .sequences = 5, .chunk = 100, .kv_type = -1},
               (struct load_shape){.requests = 16, .prompt_max = 100, .tokens_max = 12, .head = 300, .seed = 3});
    for (int again = 0; again < 2; again++) {
        assert_int_equal(qm_prefix_cache_open(p.many.engine, NULL, &cache, &err), 0);
        const struct qm_scheduler_options o = {.engine = p.many.engine, .tokenizer = p.tokenizer, .cache = cache};
        struct load_course c = {.seed = 4, .at_once = !again, .cancels = again ? 40 : 0};
        struct qm_scheduler_stats stats;
        load_run(p.load, &o, &c, &stats);
        if (!again)
            assert_int_equal(stats.prefix_tokens, (load_sharing(p.load) - 1) * 2 * QM_KV_PAGE_TOKENS);
        qm_prefix_cache_close(cache);
    }
    place_close(&p);
}

/* A job that goes on where it was, with what the cache still has of it: log-probabilities of its known tokens are
 * reported again, so those are computed. */
static void test_resumed(void **state) {
    const char *dir = *state;
    struct place p;
    struct qm_error err;
    struct qm_prefix_cache *cache;
    struct qm_scheduler_stats stats;
    place_open(&p, dir,
               (struct qm_engine_options){.threads = 2, .context = 1024, .sequences = 4, .chunk = 100, .kv_type = -1},
               (struct load_shape){.requests = 12, .prompt_max = 120, .tokens_max = 500, .endless = true, .seed = 6});
    assert_int_equal(qm_prefix_cache_open(p.many.engine, NULL, &cache, &err), 0);
    const struct qm_scheduler_options o = {.engine = p.many.engine, .tokenizer = p.tokenizer, .cache = cache};
    load_run(p.load, &o, &(struct load_course){.seed = 1, .at_once = true}, &stats);
    assert_int_equal(stats.prefix_tokens, 0);
    load_run(p.load, &o, &(struct load_course){.seed = 2, .resumed = 100}, &stats);
    assert_true(stats.prefix_tokens > 0);
    qm_prefix_cache_close(cache);
    place_close(&p);
}

#define REFERENCE(what, name, test)                                                                                    \
    { what ", " name, test, NULL, NULL, "tests/data/reference/" name }
#define DEMO(what, test)                                                                                               \
    { what ", demo", test, NULL, NULL, "data/demo" }

int main(void) {
    const struct CMUnitTest tests[] = {
        DEMO("mixed load", test_mixed),
        REFERENCE("mixed load", "gpt_oss", test_mixed),
        REFERENCE("mixed load", "mistral", test_mixed),
        REFERENCE("mixed load", "qwen3_moe_mixed", test_mixed),
        REFERENCE("mixed load", "llama_f16", test_mixed),
        REFERENCE("mixed load", "mixtral", test_mixed),
        DEMO("short pool", test_short_pool),
        REFERENCE("short pool", "gpt_oss", test_short_pool),
        REFERENCE("short pool", "qwen3", test_short_pool),
        REFERENCE("resumed", "qwen3_moe", test_resumed),
        DEMO("shared head", test_shared_head),
        REFERENCE("shared head", "gpt_oss", test_shared_head),
        REFERENCE("shared head", "mistral", test_shared_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
