/* The list of what can change a bit: each input that differs alone makes another key, what changes none does not; and
 * the list is right, seen from the other side: what has the same key has the same bits. */
#include <stdlib.h>
#include <string.h>

#include "engine/fingerprint.h"
#include "model/weights_hash.h"
#include "simd/kernels.h"
#include "tests/support/run_model.h"
#include "tests/support/support.h"

#define DENSE "tests/data/reference/llama"
#define DYNAMIC "tests/data/reference/llama_dynamic"
#define EXPERTS "tests/data/reference/qwen3_moe"
#define F32 "tests/data/reference/qwen3_f32" /* where no rounding to BF16 hides a sum taken in another order */

enum { TOKENS = 100, LOGITS = 64 };

static struct qm_model *open_model(const char *dir, const struct qm_overrides *overrides) {
    struct qm_model *m;
    struct qm_error err;
    if (qm_model_open(dir, overrides, &m, &err))
        fail_msg("%s", err.message);
    return m;
}

static struct qm_fingerprint_of plain(const struct qm_model *m) {
    return (struct qm_fingerprint_of){
        .model = m, .weights = "w", .context = 1000, .kv_type = QM_BF16, .isa = QM_ISA_AVX2};
}

static struct qm_fingerprint made(const struct qm_fingerprint_of *of) {
    struct qm_fingerprint f;
    struct qm_error err;
    assert_int_equal(qm_fingerprint_make(of, &f, &err), QM_OK);
    return f;
}

/* Exactly this trait differs, and so does the key. */
static void differs_in(const struct qm_fingerprint_of *a, const struct qm_fingerprint_of *b, enum qm_trait trait) {
    struct qm_fingerprint x = made(a), y = made(b);
    for (int t = 0; t < QM_TRAIT_COUNT; t++)
        if ((strcmp(x.value[t], y.value[t]) != 0) != (t == (int)trait))
            fail_msg("%s: %s and %s", qm_trait_key((enum qm_trait)t), x.value[t], y.value[t]);
    assert_true(qm_fingerprint_key(&x) != qm_fingerprint_key(&y));
}

static void equal(const struct qm_fingerprint_of *a, const struct qm_fingerprint_of *b) {
    struct qm_fingerprint x = made(a), y = made(b);
    for (int t = 0; t < QM_TRAIT_COUNT; t++)
        assert_string_equal(x.value[t], y.value[t]);
    assert_true(qm_fingerprint_key(&x) == qm_fingerprint_key(&y));
}

static void test_options(void **state) {
    (void)state;
    struct qm_model *m = open_model(EXPERTS, NULL);
    struct qm_fingerprint_of a = plain(m), b = a;
    equal(&a, &b);
    b.context = 3000; /* its rotation does not depend on it */
    equal(&a, &b);
    b = a;
    b.weights = "v";
    differs_in(&a, &b, QM_TRAIT_WEIGHTS);
    b = a;
    b.kv_type = QM_F32;
    differs_in(&a, &b, QM_TRAIT_KV_TYPE);
    for (int isa = 0; isa < QM_ISA_COUNT; isa++) {
        b = a;
        b.isa = (enum qm_isa)isa;
        if (isa != QM_ISA_AVX2)
            differs_in(&a, &b, QM_TRAIT_ISA);
    }
    struct qm_fingerprint f = made(&a), other = f;
    assert_string_equal(f.value[QM_TRAIT_KERNELS], qm_kernels_build());
    assert_string_equal(f.value[QM_TRAIT_VERSION], QM_VERSION);
    other.value[QM_TRAIT_KERNELS][0] ^= 1;
    assert_true(qm_fingerprint_key(&f) != qm_fingerprint_key(&other));
    assert_true(qm_fingerprint_place(&f) == qm_fingerprint_place(&other));
    other = f;
    other.value[QM_TRAIT_VERSION][0] ^= 1;
    assert_true(qm_fingerprint_key(&f) != qm_fingerprint_key(&other));
    qm_model_close(m);
}

static void override_differs(const char *dir, const struct qm_overrides *o, enum qm_trait trait) {
    struct qm_model *m = open_model(dir, NULL), *other = open_model(dir, o);
    struct qm_fingerprint_of a = plain(m), b = plain(other);
    differs_in(&a, &b, trait);
    qm_model_close(m);
    qm_model_close(other);
}

static void test_overrides(void **state) {
    (void)state;
    override_differs(EXPERTS, &(struct qm_overrides){.experts_per_token = 1}, QM_TRAIT_EXPERTS);
    override_differs(DENSE, &(struct qm_overrides){.rope_theta = 1e6}, QM_TRAIT_ROTATION);
    override_differs(DENSE, &(struct qm_overrides){.rope_scaling = "linear:factor=2"}, QM_TRAIT_ROTATION);
    override_differs(DENSE, &(struct qm_overrides){.rope_scaling = "yarn:factor=4,original=64"}, QM_TRAIT_ROTATION);
}

static void test_context_of_dynamic_rope(void **state) {
    (void)state;
    struct qm_model *m = open_model(DYNAMIC, NULL);
    struct qm_fingerprint_of a = plain(m), b = a;
    b.context = 3000;
    differs_in(&a, &b, QM_TRAIT_ROTATION);
    a.context = 64; /* up to the original length it turns as it did */
    b.context = 32;
    equal(&a, &b);
    b.context = 0; /* not known yet */
    assert_string_equal(made(&b).value[QM_TRAIT_ROTATION], "");
    qm_model_close(m);
}

/* Each field of a config, with another value. */
static void test_config(void **state) {
    (void)state;
    struct qm_model *m = open_model(EXPERTS, NULL);
    struct qm_fingerprint_of a = plain(m);
    const struct qm_fingerprint before = made(&a);
    struct qm_config *c = &m->config, kept = *c;
    int64_t *whole[] = {&c->vocab, &c->hidden, &c->heads, &c->kv_heads, &c->ffn, &c->moe_ffn, &c->layer[0].window};
    bool *flags[] = {&c->tie_embeddings, &c->qkv_bias,    &c->o_bias,   &c->qk_norm,
                     &c->sinks,          &c->router_bias, &c->mlp_bias, &c->layer[1].moe};
    double *reals[] = {&c->rms_eps, &c->swiglu_limit};
    void *others[] = {&c->routing, &c->activation, &c->dtype, &c->expert_dtype, &c->bos_token, &c->end_tokens[0]};
    c->n_end_tokens = kept.n_end_tokens = 1;
    const struct qm_fingerprint one = made(&a);
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        ++*whole[i];
        assert_string_not_equal(made(&a).value[QM_TRAIT_CONFIG], one.value[QM_TRAIT_CONFIG]);
        --*whole[i];
    }
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        *flags[i] = !*flags[i];
        assert_string_not_equal(made(&a).value[QM_TRAIT_CONFIG], one.value[QM_TRAIT_CONFIG]);
        *flags[i] = !*flags[i];
    }
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        double value = *reals[i];
        *reals[i] += 1;
        assert_string_not_equal(made(&a).value[QM_TRAIT_CONFIG], one.value[QM_TRAIT_CONFIG]);
        *reals[i] = value;
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        *(int32_t *)others[i] ^= 1;
        assert_string_not_equal(made(&a).value[QM_TRAIT_CONFIG], one.value[QM_TRAIT_CONFIG]);
        *(int32_t *)others[i] ^= 1;
    }
    c->max_positions++; /* bounds the context, and changes nothing within it */
    assert_string_equal(made(&a).value[QM_TRAIT_CONFIG], one.value[QM_TRAIT_CONFIG]);
    c->max_positions--;
    assert_string_equal(before.value[QM_TRAIT_EXPERTS], one.value[QM_TRAIT_EXPERTS]);
    qm_model_close(m);
}

static void test_splits(void **state) {
    (void)state;
    struct qm_model *m = open_model(EXPERTS, NULL), *dense = open_model(DENSE, NULL);
    struct qm_fingerprint_of a = plain(m), b = a, c = a;
    struct qm_placement p, q;
    struct qm_error err;
    assert_int_equal(qm_placement_open(m, 3, &p, &err), QM_OK);
    assert_int_equal(qm_placement_open(m, 3, &q, &err), QM_OK);
    b.placement = &p;
    c.placement = &q;
    equal(&a, &b);
    p.layer[0].attention = p.head = p.layer[1].stream_attention = 1; /* where a unit is changes no sum */
    p.stream_rows = 8;
    memset(p.expert, 2, (size_t)p.experts); /* all of layer 0 */
    equal(&a, &b);
    p.expert[0] = 0;
    differs_in(&a, &b, QM_TRAIT_SPLIT);
    memset(q.expert, 1, (size_t)q.experts); /* the same groups, elsewhere */
    q.expert[0] = 0;
    equal(&b, &c);
    q.expert[1] = 0;
    differs_in(&b, &c, QM_TRAIT_SPLIT);
    q.expert[1] = 1;
    q.expert[0] = 2; /* the same groups, added in the other order */
    differs_in(&b, &c, QM_TRAIT_SPLIT);
    qm_placement_free(&p);
    qm_placement_free(&q);
    a = b = plain(dense);
    assert_int_equal(qm_placement_open(dense, 2, &p, &err), QM_OK);
    b.placement = &p;
    p.layer[1].ffn = 1;
    equal(&a, &b);
    p.layer[1].ffn_cpu = 96;
    differs_in(&a, &b, QM_TRAIT_SPLIT);
    c = b;
    assert_int_equal(qm_placement_copy(&p, &q, &err), QM_OK);
    c.placement = &q;
    q.layer[1].ffn_cpu = 64;
    differs_in(&b, &c, QM_TRAIT_SPLIT);
    q.layer[1].ffn_cpu = 0;
    q.layer[2].ffn = 1;
    q.layer[2].ffn_cpu = 96;
    differs_in(&b, &c, QM_TRAIT_SPLIT);
    qm_placement_free(&p);
    qm_placement_free(&q);
    qm_model_close(m);
    qm_model_close(dense);
}

/* An engine's own. */
static struct qm_fingerprint of_engine(const char *dir, struct qm_engine_options o, float *logits) {
    int32_t ids[TOKENS];
    struct qm_fingerprint f;
    struct qm_error err;
    struct run_model m;
    o.isa = run_model_isa();
    o.threads = o.threads ? o.threads : 1;
    run_model_open(&m, dir, NULL, o);
    assert_int_equal(qm_engine_fingerprint(m.engine, "w", &f, &err), QM_OK);
    for (int i = 0; i < TOKENS; i++)
        ids[i] = (i * 37 + 11) % 200;
    float *got = run_logits(m.engine, ids, TOKENS, 10, 1);
    memcpy(logits, got, LOGITS * sizeof *got);
    free(got);
    run_model_close(&m);
    return f;
}

static void test_engines(void **state) {
    (void)state;
    struct qm_model *m = open_model(F32, NULL);
    struct qm_placement p;
    struct qm_error err;
    float here[LOGITS], there[LOGITS];
    assert_int_equal(qm_placement_open(m, 2, &p, &err), QM_OK);
    p.layer[0].ffn = p.layer[1].attention = p.layer[1].ffn = p.head = 1;
    struct qm_engine_options o = {.context = 200, .kv_type = -1}, chunked = o, placed = o;
    chunked.chunk = 17;
    chunked.threads = 2;
    placed.placement = &p;
    const struct qm_device_setup card = test_device(&test_card);
    placed.devices = &card;
    struct qm_fingerprint a = of_engine(F32, o, here), b = of_engine(F32, chunked, there);
    assert_true(qm_fingerprint_key(&a) == qm_fingerprint_key(&b));
    assert_memory_equal(here, there, sizeof here);
    b = of_engine(F32, placed, there);
    assert_true(qm_fingerprint_key(&a) == qm_fingerprint_key(&b));
    assert_memory_equal(here, there, sizeof here);
    p.layer[0].ffn_cpu = 96;
    b = of_engine(F32, placed, there);
    assert_true(qm_fingerprint_key(&a) != qm_fingerprint_key(&b));
    assert_memory_not_equal(here, there, sizeof here); /* it is needed */
    qm_placement_free(&p);
    qm_model_close(m);
    a = of_engine(DYNAMIC, o, here);
    o.context = 300;
    b = of_engine(DYNAMIC, o, there);
    assert_true(qm_fingerprint_key(&a) != qm_fingerprint_key(&b));
    assert_memory_not_equal(here, there, sizeof here);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_overrides),
        cmocka_unit_test(test_context_of_dynamic_rope),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_splits),
        cmocka_unit_test(test_engines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
