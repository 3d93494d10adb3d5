/* Generating and scheduling where a device fails: nothing is lost, nothing changes. */
#include <stdlib.h>
#include <string.h>

#include "engine/report.h"
#include "engine/sequence.h"
#include "session/generate.h"
#include "session/prefix_cache.h"
#include "session/scheduler.h"
#include "tests/support/load.h"
#include "tests/support/run_model.h"
#include "tests/support/support.h"

/* The even layers are on the device. */
static void place(const char *dir, struct qm_placement *p) {
    struct qm_error err;
    struct qm_model *m;
    assert_int_equal(qm_model_open(dir, NULL, &m, &err), QM_OK);
    assert_int_equal(qm_placement_open(m, 2, p, &err), QM_OK);
    for (int64_t l = 0; l < p->layers; l += 2) {
        p->layer[l].attention = 1;
        if (m->config.layer[l].moe)
            memset(p->expert + l * p->experts, 1, (size_t)p->experts);
        else
            p->layer[l].ffn = 1;
    }
    qm_model_close(m);
}

enum { PROMPT = 30, HISTORY = 11, TOKENS = 12 };

static void generate(const char *dir, const struct qm_placement *p, const struct qm_emulated_config *card,
                     bool known_history, int *rc, struct qm_generate_result *out, uint64_t *ops) {
    struct qm_error err = {0};
    struct run_model m;
    struct qm_sequence *s;
    int32_t prompt[HISTORY + PROMPT];
    struct qm_device_setup device = card ? test_device(card) : (struct qm_device_setup){0};
    run_model_open(&m, dir, NULL,
                   (struct qm_engine_options){.threads = 1,
                                              .isa = run_model_isa(),
                                              .context = 128,
                                              .chunk = 8,
                                              .kv_type = -1,
                                              .placement = p,
                                              .devices = card ? &device : NULL});
    for (int i = 0; i < HISTORY + PROMPT; i++)
        prompt[i] = (i * 37 + 11) % 200;
    assert_int_equal(qm_sequence_open(m.engine, &s, &err), QM_OK);
    for (int at = 0; at < HISTORY; at++) {
        struct qm_step_rows step = {.sequence = s, .tokens = prompt + at, .n = 1};
        assert_int_equal(qm_engine_step(m.engine, &step, 1, &err), QM_OK);
    }
    struct qm_generate g = {.engine = m.engine,
                            .sequence = s,
                            .history = known_history ? prompt : NULL,
                            .n_history = known_history ? HISTORY : 0,
                            .prompt = prompt + HISTORY,
                            .n_prompt = PROMPT,
                            .decoding.max_tokens = TOKENS,
                            .decoding.sampling = qm_sampling_default,
                            .decoding.ignore_end = true,
                            .decoding.top_logprobs = -1};
    g.decoding.sampling.temperature = 0.8;
    g.decoding.sampling.seed = 5;
    *rc = qm_generate(&g, out, &err);
    struct qm_device_report report = {0};
    if (qm_engine_devices(m.engine))
        qm_engine_device_report(m.engine, 1, &report);
    *ops = report.ops;
    if (card && card->fail_after >= 0 && !*rc)
        assert_non_null(strstr(qm_engine_failures(m.engine), "card failed"));
    qm_sequence_close(s);
    run_model_close(&m);
}

static void test_generate(void **state) {
    const char *dir = *state;
    struct qm_placement p;
    struct qm_emulated_config device = test_card;
    struct qm_generate_result want, found;
    uint64_t before, ops;
    int rc;
    place(dir, &p);
    generate(dir, NULL, NULL, true, &rc, &want, &ops);
    assert_int_equal(rc, QM_OK);
    generate(dir, &p, &device, true, &rc, &found, &ops);
    assert_int_equal(found.ids.len, TOKENS);
    assert_memory_equal(found.ids.data, want.ids.data, TOKENS * sizeof *want.ids.data);
    qm_generate_result_free(&found);
    before = ops * HISTORY / (HISTORY + (PROMPT + 7) / 8 + TOKENS - 1);
    for (uint64_t k = before; k < ops; k += 3) {
        device.fail_after = (int64_t)k;
        uint64_t done;
        generate(dir, &p, &device, true, &rc, &found, &done);
        assert_int_equal(rc, QM_OK);
        assert_int_equal(done, k);
        assert_int_equal(found.ids.len, TOKENS);
        assert_memory_equal(found.ids.data, want.ids.data, TOKENS * sizeof *want.ids.data);
        qm_generate_result_free(&found);
    }
    generate(dir, &p, &device, false, &rc, &found, &ops); /* what came before is not known */
    assert_int_equal(rc, QM_SYSTEM);
    qm_generate_result_free(&want);
    qm_placement_free(&p);
}

/* Many requests with shared prefixes: a device fails early, in the middle, late. */
static void test_scheduler(void **state) {
    const char *dir = *state;
    struct qm_placement p;
    struct run_model alone, many;
    struct qm_engine_options o = {.threads = 1, .isa = run_model_isa(), .context = 1024, .chunk = 64, .kv_type = -1};
    place(dir, &p);
    run_model_open(&alone, dir, NULL, o);
    struct load_shape shape = {.requests = 16, .prompt_max = 300, .tokens_max = 16, .seed = 3};
    struct load *load = load_new(alone.engine, NULL, &shape);
    for (int64_t k = 5; k < 800; k = k * 5 + 7) {
        struct qm_emulated_config device = test_card;
        struct qm_prefix_cache *cache;
        struct qm_error err;
        device.fail_after = k;
        o.sequences = 4;
        o.threads = 2;
        o.placement = &p;
        const struct qm_device_setup card = test_device(&device);
        o.devices = &card;
        run_model_open(&many, dir, NULL, o);
        assert_int_equal(qm_prefix_cache_open(many.engine, NULL, &cache, &err), QM_OK);
        struct qm_scheduler_options options = {.engine = many.engine, .cache = cache};
        struct load_course c = {.seed = (uint64_t)k};
        struct qm_scheduler_stats stats;
        load_run(load, &options, &c, &stats);
        assert_int_equal(stats.finished, 16);
        assert_non_null(strstr(qm_engine_failures(many.engine), "card failed"));
        qm_prefix_cache_close(cache);
        run_model_close(&many);
    }
    load_free(load);
    run_model_close(&alone);
    qm_placement_free(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        {"generate, llama", test_generate, NULL, NULL, "tests/data/reference/llama"},
        {"generate, qwen3_moe_mixed", test_generate, NULL, NULL, "tests/data/reference/qwen3_moe_mixed"},
        {"scheduler, mistral", test_scheduler, NULL, NULL, "tests/data/reference/mistral"},
        {"scheduler, demo", test_scheduler, NULL, NULL, "data/demo"},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
