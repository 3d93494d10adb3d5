/* The scheduler on real models: whatever runs beside it, a request's result is the one that it has alone. */
#include "session/scheduler.h"

#include <stdlib.h>
#include <string.h>

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
    one.isa = many.isa = qm_isa_best();
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
               (struct load_shape){.jobs = 24, .prompt_max = 200, .tokens_max = 24, .seed = 1});
    const struct qm_scheduler_options o = {.engine = p.many.engine, .tokenizer = p.tokenizer};
    for (uint64_t seed = 1; seed <= 3; seed++) {
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

int main(void) {
#define MODEL(name)                                                                                                    \
    { "mixed load, " name, test_mixed, NULL, NULL, "tests/data/reference/" name }
    const struct CMUnitTest tests[] = {
        {"mixed load, demo", test_mixed, NULL, NULL, "data/demo"},
        MODEL("gpt_oss"),
        MODEL("mistral"),
        MODEL("qwen3_moe_mixed"),
        MODEL("llama_f16"),
        MODEL("mixtral"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
