/* Nothing is allocated in the scheduler's steps once requests are admitted: every allocation of the process, by any
 * thread, is counted while sequences generate (sampling, penalties, stop strings, log-probabilities, text) beside a
 * long prompt, over page borders, with the prefix cache. */
#include <stdlib.h>
#include <string.h>

#include "session/prefix_cache.h"
#include "session/scheduler.h"
#include "tests/support/allocations.h"
#include "tests/support/run_model.h"
#include "tests/support/support.h"

enum { SEQUENCES = 6, PROMPT = 120, LONG = 3000 };

static int on_token(void *arg, const struct qm_generate_token *t, bool replay) {
    (void)t, (void)replay;
    ++*(int64_t *)arg;
    return 0;
}

static void submit(struct qm_scheduler *s, int i, int64_t n_prompt, int64_t *tokens) {
    static const char *const stop[] = {"never in this text", "nor this"};
    static int32_t prompt[LONG];
    struct qm_error err;
    uint64_t id;
    struct qm_request r = {.prompt = prompt,
                           .n_prompt = n_prompt,
                           .max_tokens = -1,
                           .sampling = qm_sampling_default,
                           .stop = stop,
                           .n_stop = i % 2 ? 2 : 0,
                           .ignore_end = true,
                           .top_logprobs = i % 3 ? -1 : 5,
                           .on_token = on_token,
                           .arg = tokens};
    r.sampling.temperature = i % 2;
    r.sampling.top_p = 0.9;
    r.sampling.top_k = i == 3 ? 40 : 0;
    r.sampling.repetition_penalty = 1.1;
    for (int64_t k = 0; k < n_prompt; k++)
        prompt[k] = (int32_t)((k * 7 + i * (k + 1) * 13) % 1000);
    if (qm_scheduler_submit(s, &r, &id, &err))
        fail_msg("%s", err.message);
}

static void steps(struct qm_scheduler *s, int n) {
    struct qm_error err;
    bool worked;
    for (int i = 0; i < n; i++) {
        if (qm_scheduler_step(s, &worked, &err))
            fail_msg("%s", err.message);
        assert_true(worked);
    }
}

static void test_nothing_allocated(void **state) {
    (void)state;
    struct run_model m;
    struct qm_tokenizer *tokenizer;
    struct qm_prefix_cache *cache;
    struct qm_scheduler *s;
    struct qm_error err;
    int64_t tokens[SEQUENCES + 1] = {0};
    watch_allocations();
    run_model_open(&m, "data/demo", NULL,
                   (struct qm_engine_options){.threads = 2,
                                              .isa = qm_isa_best(),
                                              .context = 4096,
                                              .sequences = SEQUENCES + 1,
                                              .chunk = 64,
                                              .kv_type = -1});
    assert_int_equal(qm_tokenizer_load("data/demo", &tokenizer, &err), 0);
    assert_int_equal(qm_prefix_cache_open(m.engine, NULL, &cache, &err), 0);
    const struct qm_scheduler_options o = {.engine = m.engine, .tokenizer = tokenizer, .cache = cache};
    assert_int_equal(qm_scheduler_open(&o, &s, &err), 0);
    for (int i = 0; i < SEQUENCES; i++)
        submit(s, i, PROMPT, &tokens[i]);
    while (!tokens[SEQUENCES - 1])
        steps(s, 1);

    atomic_store(&counting, true);
    char *volatile one = malloc(1); /* it does count */
    free(one);
    assert_true(atomic_exchange(&allocations, 0) == 1);
    steps(s, 40);
    atomic_store(&counting, false);
    assert_int_equal(atomic_load(&allocations), 0);

    submit(s, SEQUENCES, LONG, &tokens[SEQUENCES]);
    steps(s, 1);
    atomic_store(&counting, true);
    steps(s, 40);
    atomic_store(&counting, false);
    assert_int_equal(atomic_load(&allocations), 0);
    assert_int_equal(tokens[SEQUENCES], 0); /* still in its prompt */
    for (int i = 0; i < SEQUENCES; i++)
        assert_true(tokens[i] > 80);

    qm_scheduler_close(s);
    qm_prefix_cache_close(cache);
    qm_tokenizer_free(tokenizer);
    run_model_close(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nothing_allocated)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
