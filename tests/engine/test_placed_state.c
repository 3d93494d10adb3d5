/* What belongs to a step beside its logits, and what the engine does between steps, where layers are on devices: shared
 * and copied pages, blocks as bytes, random ones, attention maps, hidden states, counts of experts; as on the CPU. */
#include <stdlib.h>
#include <string.h>

#include "engine/report.h"
#include "engine/sequence.h"
#include "tests/support/run_model.h"
#include "tests/support/support.h"

enum { BLOCK = 128, PIECE = 20, OUTPUTS = 5 };

struct outputs {
    float *logits;    /* [OUTPUTS][vocab] */
    float *hidden;    /* [hidden] */
    float *map[2];    /* [heads][PIECE][PIECE] of layers 0 and 1 */
    uint8_t *block;   /* a block's bytes */
    uint64_t *counts; /* [layers][experts] */
    size_t n_logits, n_hidden, n_map, n_block, n_counts;
};

static void outputs_open(struct outputs *o, const struct qm_engine *e) {
    const struct qm_config *c = &qm_engine_model(e)->config;
    *o = (struct outputs){.n_logits = OUTPUTS * (size_t)c->vocab,
                          .n_hidden = (size_t)c->hidden,
                          .n_map = (size_t)c->heads * PIECE * PIECE,
                          .n_block = qm_engine_block_bytes(e),
                          .n_counts = (size_t)(c->layers * c->experts)};
    o->logits = calloc(o->n_logits, sizeof *o->logits);
    o->hidden = calloc(o->n_hidden, sizeof *o->hidden);
    o->map[0] = calloc(o->n_map, sizeof **o->map);
    o->map[1] = calloc(o->n_map, sizeof **o->map);
    o->block = calloc(o->n_block, 1);
    o->counts = calloc(o->n_counts + 1, sizeof *o->counts);
}

static void outputs_free(struct outputs *o) {
    free(o->logits);
    free(o->hidden);
    free(o->map[0]);
    free(o->map[1]);
    free(o->block);
    free(o->counts);
}

static struct qm_sequence *sequence(struct qm_engine *e) {
    struct qm_error err;
    struct qm_sequence *s;
    assert_int_equal(qm_sequence_open(e, &s, &err), QM_OK);
    return s;
}

/* n tokens in steps of PIECE; the last one's logits. */
static void run(struct qm_engine *e, struct qm_sequence *s, int64_t n, int seed, float *logits) {
    struct qm_error err;
    int32_t ids[PIECE];
    for (int64_t at = 0; at < n; at += PIECE) {
        for (int64_t i = 0; i < PIECE; i++)
            ids[i] = (int32_t)((at + i) * 37 + seed * 11) % 200;
        struct qm_step_rows step = {.sequence = s, .tokens = ids, .n = n - at < PIECE ? n - at : PIECE};
        step.n_logits = at + step.n == n;
        step.logits = logits;
        if (qm_engine_step(e, &step, 1, &err))
            fail_msg("%s", err.message);
    }
}

static void see_maps(struct qm_engine *e, struct outputs *o) {
    struct qm_sequence *s = sequence(e);
    struct qm_error err;
    int32_t ids[PIECE];
    for (int i = 0; i < PIECE; i++)
        ids[i] = i * 29 % 200;
    for (int layer = 0; layer < 2; layer++) {
        struct qm_step_rows step = {.sequence = s, .tokens = ids, .n = PIECE, .hidden = o->hidden};
        step.attention = o->map[layer];
        step.attention_layer = layer;
        step.attention_ld = PIECE;
        assert_int_equal(qm_engine_step(e, &step, 1, &err), QM_OK);
        assert_int_equal(qm_sequence_truncate(s, 0), 0);
    }
    qm_sequence_close(s);
}

/* A page that is shared is copied before it is written; one from bytes, and random ones, are continued. */
static void use(struct qm_engine *e, struct outputs *o) {
    struct qm_error err;
    struct qm_routing_profile routing;
    const struct qm_config *c = &qm_engine_model(e)->config;
    float *logits = o->logits;
    if (o->n_counts) {
        assert_int_equal(qm_routing_profile_open(c, &routing, &err), QM_OK);
        qm_engine_set_routing(e, &routing);
    }
    struct qm_sequence *s = sequence(e), *t = sequence(e), *u = sequence(e);
    run(e, s, BLOCK + 12, 1, logits);
    qm_block block = qm_sequence_keep(s, 0), copy;
    assert_true(block >= 0);
    qm_block_export(e, block, o->block);
    assert_int_equal(qm_sequence_truncate(s, 100), 100);
    run(e, s, 40, 2, logits += c->vocab);
    assert_int_equal(qm_sequence_attach(t, &block, qm_blocks_usable(e, &block, 1), &err), QM_OK);
    run(e, t, 7, 3, logits += c->vocab);
    assert_int_equal(qm_block_import(e, o->block, &copy, &err), QM_OK);
    assert_int_equal(qm_sequence_attach(u, &copy, qm_blocks_usable(e, &copy, 1), &err), QM_OK);
    run(e, u, 7, 3, logits += c->vocab);
    assert_memory_equal(logits, logits - c->vocab, (size_t)c->vocab * sizeof *logits);
    qm_sequence_truncate(u, 0);
    run(e, u, 3, 4, logits + c->vocab);
    assert_int_equal(qm_sequence_fill_random(u, BLOCK, 9, &err), QM_OK);
    run(e, u, 3, 5, logits += c->vocab);
    qm_block_release(e, block);
    qm_block_release(e, copy);
    qm_sequence_close(s);
    qm_sequence_close(t);
    qm_sequence_close(u);
    see_maps(e, o);
    if (!o->n_counts)
        return;
    qm_engine_set_routing(e, NULL);
    memcpy(o->counts, routing.count, o->n_counts * sizeof *o->counts);
    qm_routing_profile_free(&routing);
}

static void outputs_of(const char *dir, const struct qm_placement *p, const struct qm_topology *t, struct outputs *o) {
    const struct qm_device_setup devices[] = {test_device(&test_card), test_device(&test_card)};
    struct run_model m;
    run_model_open(&m, dir, NULL,
                   (struct qm_engine_options){.threads = 2,
                                              .isa = run_model_isa(),
                                              .context = 2 * BLOCK,
                                              .sequences = 3,
                                              .chunk = PIECE,
                                              .kv_type = -1,
                                              .kv_memory = 8 << 20,
                                              .topology = t,
                                              .placement = p,
                                              .devices = devices});
    outputs_open(o, m.engine);
    use(m.engine, o);
    run_model_close(&m);
}

static void same_on(const char *dir, const struct qm_placement *p, const struct qm_topology *t,
                    const struct outputs *want) {
    struct outputs found;
    outputs_of(dir, p, t, &found);
    assert_memory_equal(found.logits, want->logits, want->n_logits * sizeof *want->logits);
    assert_memory_equal(found.hidden, want->hidden, want->n_hidden * sizeof *want->hidden);
    for (int layer = 0; layer < 2; layer++)
        assert_memory_equal(found.map[layer], want->map[layer], want->n_map * sizeof **want->map);
    assert_memory_equal(found.block, want->block, want->n_block);
    assert_memory_equal(found.counts, want->counts, want->n_counts * sizeof *want->counts);
    outputs_free(&found);
}

/* On one node, and on two, of which a device's pages are on neither. */
static void same(const char *dir, const struct qm_placement *p, const struct outputs *want) {
    int cpu[] = {0, 0}, node_of[] = {0, 1}, numbers[] = {-1, -1};
    const struct qm_topology two = {.nodes = 2,
                                    .packages = 1,
                                    .cores = 2,
                                    .cpus = 2,
                                    .core_cpu = cpu,
                                    .core_node = node_of,
                                    .node_number = numbers};
    same_on(dir, p, NULL, want);
    same_on(dir, p, &two, want);
}

static void put(struct qm_placement *p, const struct qm_model *m, int64_t l, uint8_t device) {
    p->layer[l].attention = device;
    if (m->config.layer[l].moe)
        memset(p->expert + l * p->experts, device, (size_t)p->experts);
    else
        p->layer[l].ffn = device;
}

static void test_as_on_the_cpu(void **state) {
    const char *dir = *state;
    struct qm_error err;
    struct qm_model *m;
    struct qm_placement p;
    struct outputs want;
    outputs_of(dir, NULL, NULL, &want);
    assert_true(want.n_counts == 0 || want.counts[0] + want.counts[1] + want.counts[2] > 0);
    assert_int_equal(qm_model_open(dir, NULL, &m, &err), QM_OK);
    assert_int_equal(qm_placement_open(m, 3, &p, &err), QM_OK);
    for (int64_t l = 0; l < p.layers; l++)
        put(&p, m, l, (uint8_t)((l + 1) % 3));
    p.head = 2;
    same(dir, &p, &want);
    for (int64_t l = 0; l < p.layers; l++) {
        put(&p, m, l, QM_DEVICE_CPU);
        p.layer[l].stream_attention = p.layer[l].stream_ffn = (uint8_t)(1 + l % 2);
    }
    p.stream_rows = PIECE;
    same(dir, &p, &want);
    for (int64_t l = 0; l < p.layers; l++) /* the attention alone, or the other half */
        *(l % 2 ? &p.layer[l].stream_attention : &p.layer[l].stream_ffn) = 0;
    same(dir, &p, &want);
    qm_placement_free(&p);
    qm_model_close(m);
    outputs_free(&want);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        {"llama", test_as_on_the_cpu, NULL, NULL, "tests/data/reference/llama"},
        {"gpt_oss", test_as_on_the_cpu, NULL, NULL, "tests/data/reference/gpt_oss"},
        {"mixtral", test_as_on_the_cpu, NULL, NULL, "tests/data/reference/mixtral"},
        {"qwen3_moe_mixed", test_as_on_the_cpu, NULL, NULL, "tests/data/reference/qwen3_moe_mixed"},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
