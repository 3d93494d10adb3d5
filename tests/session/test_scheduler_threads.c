/* The scheduler samples the tokens of a step on all threads of the engine's team: the same results, and (with
 * ThreadSanitizer) no two of them at the same memory. */
#include "tests/support/load.h"
#include "tests/support/run_model.h"
#include "tests/support/support.h"

static void test_threads(void **state) {
    (void)state;
    static const char dir[] = "tests/data/reference/qwen3_moe";
    struct qm_engine_options o = {
        .threads = 1, .isa = qm_isa_best(), .context = 512, .sequences = 1, .chunk = 32, .kv_type = -1};
    struct run_model alone, many;
    run_model_open(&alone, dir, NULL, o);
    o.threads = 4;
    o.sequences = 9;
    run_model_open(&many, dir, NULL, o);
    struct load *l = load_new(alone.engine, NULL,
                              &(struct load_shape){.requests = 18, .prompt_max = 40, .tokens_max = 20, .seed = 7});
    const struct qm_scheduler_options options = {.engine = many.engine};
    load_run(l, &options, &(struct load_course){.seed = 1, .at_once = true}, NULL);
    load_run(l, &options, &(struct load_course){.seed = 2, .cancels = 40, .resumed = 40, .priorities = true}, NULL);
    load_free(l);
    run_model_close(&alone);
    run_model_close(&many);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
