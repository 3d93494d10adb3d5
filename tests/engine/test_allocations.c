/* Nothing is allocated while an engine computes, nor while sequences are opened and closed, nor while blocks are kept,
 * attached, copied, exported and imported. */
#include <string.h>

#include "engine/engine.h"
#include "engine/sequence.h"
#include "tests/support/allocations.h"
#include "tests/support/run_model.h"

enum { BLOCK = 128, CONTEXT = 1000, VOCAB = 512 };

static void step(struct qm_engine *e, struct qm_sequence *s, int64_t n) {
    static int32_t ids[BLOCK];
    static float logits[VOCAB], hidden[64];
    struct qm_error err;
    for (int i = 0; i < BLOCK; i++)
        ids[i] = i * 7 % VOCAB;
    struct qm_step_rows one = {.sequence = s, .tokens = ids, .n = n, .n_logits = 1, .logits = logits, .hidden = hidden};
    assert_int_equal(qm_engine_step(e, &one, 1, &err), QM_OK);
}

/* Two sequences share blocks, write into one of them, and slide on. */
static void use(struct qm_engine *e, uint8_t *bytes) {
    struct qm_error err;
    struct qm_sequence *s, *t;
    qm_block blocks[3];
    assert_int_equal(qm_sequence_open(e, &s, &err), QM_OK);
    assert_int_equal(qm_sequence_open(e, &t, &err), QM_OK);
    assert_int_equal(qm_sequence_length(s) + qm_sequence_length(t), 0);
    for (int i = 0; i < 2; i++) {
        step(e, s, 100);
        step(e, s, 28);
        blocks[i] = qm_sequence_keep(s, i);
    }
    assert_int_equal(qm_sequence_attach(t, blocks, qm_blocks_usable(e, blocks, 2), &err), QM_OK);
    assert_int_equal(qm_sequence_truncate(t, 200), 200);
    for (int i = 0; i < 6; i++)
        step(e, t, 90);
    qm_block_export(e, blocks[1], bytes);
    assert_int_equal(qm_block_import(e, bytes, &blocks[2], &err), QM_OK);
    for (int i = 0; i < 3; i++)
        qm_block_release(e, blocks[i]);
    qm_sequence_close(s);
    qm_sequence_close(t);
    struct qm_pool_state pool;
    qm_engine_pool(e, &pool);
    assert_int_equal(pool.free_blocks, pool.blocks);
}

static void check(const char *dir, const struct qm_placement *p) {
    struct run_model m;
    const struct qm_device_setup card = test_device(&test_card);
    run_model_open(&m, dir, NULL,
                   (struct qm_engine_options){.threads = 2,
                                              .isa = run_model_isa(),
                                              .context = CONTEXT,
                                              .sequences = 2,
                                              .chunk = 100,
                                              .kv_type = -1,
                                              .kv_memory = 8 << 20,
                                              .placement = p,
                                              .devices = &card});
    uint8_t *bytes = malloc(qm_engine_block_bytes(m.engine));
    use(m.engine, bytes);

    atomic_store(&counting, true);
    char *volatile one = malloc(1); /* it does count */
    free(one);
    assert_true(atomic_exchange(&allocations, 0) == 1);
    use(m.engine, bytes);
    atomic_store(&counting, false);
    assert_int_equal(atomic_load(&allocations), 0);

    free(bytes);
    run_model_close(&m);
}

static void test_nothing_allocated(void **state) {
    check(*state, NULL);
}

/* A layer on a device, the experts of another on both, the others streamed in long steps. */
static void test_with_a_device(void **state) {
    struct qm_error err;
    struct qm_model *m;
    struct qm_placement p;
    assert_int_equal(qm_model_open(*state, NULL, &m, &err), QM_OK);
    assert_int_equal(qm_placement_open(m, 2, &p, &err), QM_OK);
    for (int64_t l = 0; l < p.layers; l++)
        *(l == 0 ? &p.layer[l].attention : &p.layer[l].stream_attention) = 1;
    for (int64_t x = 0; x < p.experts; x += 2)
        p.expert[p.experts + x] = 1;
    p.stream_rows = 50;
    check(*state, &p);
    qm_placement_free(&p);
    qm_model_close(m);
}

static int watch(void **state) {
    (void)state;
    watch_allocations(); /* once: the sanitizers add hooks up */
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        {"whole context", test_nothing_allocated, NULL, NULL, "tests/data/reference/qwen3"},
        {"experts and windows", test_nothing_allocated, NULL, NULL, "tests/data/reference/gpt_oss"},
        {"windows only", test_nothing_allocated, NULL, NULL, "tests/data/reference/mistral"},
        {"on a device", test_with_a_device, NULL, NULL, "tests/data/reference/gpt_oss"},
    };
    return cmocka_run_group_tests(tests, watch, NULL);
}
