/* How often all threads wait for each other in a layer. A barrier costs microseconds on a large machine, and a token
 * has hundreds: these numbers are promised in docs/design.md and may only fall. With threads, so that what the
 * barriers left out do not order is looked for by ThreadSanitizer. */
#include "engine/report.h"
#include "engine/sequence.h"
#include "tests/support/reference.h"
#include "tests/support/run_model.h"
#include "tests/support/support.h"

enum { THREADS = 3, CONTEXT = 1024, SEQUENCES = 5 };

struct step_shape {
    int sequences;
    int64_t tokens; /* of each */
    int64_t depth;  /* before them */
};

/* A step of that shape, profiled. */
static struct qm_engine_profile count(struct qm_engine *e, struct step_shape shape) {
    static const int32_t ids[128] = {5, 7, 11};
    struct qm_error err = {0};
    struct qm_engine_profile p = {0};
    struct qm_step_rows steps[SEQUENCES] = {0};
    for (int i = 0; i < shape.sequences; i++) {
        struct qm_sequence *s;
        assert_int_equal(qm_sequence_open(e, &s, &err), QM_OK);
        if (shape.depth)
            assert_int_equal(qm_sequence_fill_random(s, shape.depth, 1, &err), QM_OK);
        steps[i] = (struct qm_step_rows){.sequence = s, .tokens = ids, .n = shape.tokens};
    }
    qm_engine_set_profile(e, &p);
    assert_int_equal(qm_engine_step(e, steps, shape.sequences, &err), QM_OK);
    qm_engine_set_profile(e, NULL);
    for (int i = 0; i < shape.sequences; i++)
        qm_sequence_close(steps[i].sequence);
    return p;
}

static void check(const char *name, uint64_t regions, struct step_shape shape, double barriers) {
    struct reference r;
    struct run_model m;
    reference_open(&r, name);
    run_model_open(&m, r.dir, NULL,
                   (struct qm_engine_options){.threads = THREADS,
                                              .isa = qm_isa_best(),
                                              .context = CONTEXT,
                                              .sequences = SEQUENCES,
                                              .chunk = 128,
                                              .kv_type = -1});
    struct qm_engine_profile p = count(m.engine, shape);
    assert_int_equal(p.regions, regions * (uint64_t)m.model->config.layers + 2);
    if (qm_profile_layer_barriers(&p) != barriers)
        fail_msg("%s, %d x %lld tokens at %lld: %g barriers a layer, not %g", name, shape.sequences,
                 (long long)shape.tokens, (long long)shape.depth, qm_profile_layer_barriers(&p), barriers);
    run_model_close(&m);
    reference_close(&r);
}

/* QKV, attention, its output, up, down; experts: routing too. */
static void one_token(void **state) {
    (void)state;
    check("qwen3", 5, (struct step_shape){1, 1, 0}, 5);
    check("qwen3_moe", 6, (struct step_shape){1, 1, 0}, 6);
    check("gpt_oss", 6, (struct step_shape){1, 1, 100}, 6);
}

static void few_sequences(void **state) {
    (void)state;
    check("qwen3", 5, (struct step_shape){4, 1, 100}, 5);
    check("qwen3_moe", 6, (struct step_shape){4, 1, 100}, 6);
    check("qwen3", 5, (struct step_shape){2, 2, 0}, 5);
}

/* A context of several splits, divided over threads: one more, before they are merged. */
static void merged_splits(void **state) {
    (void)state;
    check("qwen3", 5, (struct step_shape){1, 1, 600}, 6);
    check("qwen3_moe", 6, (struct step_shape){1, 1, 600}, 7);
}

/* More rows than each thread packs for itself: one more for each product but the router's, whose rows are divided.
 */
static void shared_rows(void **state) {
    (void)state;
    check("qwen3", 5, (struct step_shape){5, 1, 100}, 9);
    check("qwen3_moe", 6, (struct step_shape){5, 1, 100}, 10);
}

/* A prompt longer than a unit of attention: its keys are all stored before any are read. */
static void prompts(void **state) {
    (void)state;
    check("qwen3", 5, (struct step_shape){1, 128, 0}, 10);
    check("qwen3_moe", 6, (struct step_shape){1, 128, 0}, 11);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_token),   cmocka_unit_test(few_sequences), cmocka_unit_test(merged_splits),
        cmocka_unit_test(shared_rows), cmocka_unit_test(prompts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
