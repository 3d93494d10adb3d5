/* Drafts change no bit: on every reference model and the demo, with any number of drafts, right or wrong, beside
 * others, after preemption, resumption and prefix hits, every token, text and log-probability is the one without. */
#include "session/draft/speculation.h"

#include <string.h>

#include "engine/sequence.h"
#include "session/draft/lookup.h"
#include "session/draft/model.h"
#include "session/draft/pair.h"
#include "session/prefix_cache.h"
#include "tests/support/load.h"
#include "tests/support/model_files.h"
#include "tests/support/reference.h"
#include "tests/support/run_model.h"
#include "tests/support/support.h"
#include "tests/support/weight_files.h"

static const int most[] = {1, 2, 3, 7, QM_DRAFT_MAX};

struct place {
    struct run_model alone, many;
    struct qm_tokenizer *tokenizer;
    struct load *load;
};

static void place_open(struct place *p, const char *dir, int threads, struct load_shape shape) {
    struct qm_error err;
    struct qm_engine_options one = {.threads = 1, .context = 512, .sequences = 1, .chunk = 64, .kv_type = -1};
    struct qm_engine_options many = {.threads = threads, .context = 512, .sequences = 5, .chunk = 48, .kv_type = -1};
    one.isa = many.isa = run_model_isa();
    p->tokenizer = NULL;
    run_model_open(&p->alone, dir, NULL, one);
    run_model_open(&p->many, dir, NULL, many);
    if (strcmp(dir, "data/demo") == 0)
        assert_int_equal(qm_tokenizer_load(dir, &p->tokenizer, &err), QM_OK);
    p->load = load_new(p->alone.engine, p->tokenizer, &shape);
}

static void place_close(struct place *p) {
    load_free(p->load);
    qm_tokenizer_free(p->tokenizer);
    run_model_close(&p->alone);
    run_model_close(&p->many);
}

static struct qm_speculation *speculation(struct qm_drafter drafter, int k, bool always) {
    struct qm_error err;
    struct qm_speculation *s;
    const struct qm_speculation_options o = {.drafter = drafter, .most = k, .always = always};
    assert_int_equal(qm_speculation_new(&o, &s, &err), QM_OK);
    return s;
}

static void same(const char *dir, int threads, int tokens) {
    struct place p;
    struct qm_error err;
    place_open(&p, dir, threads,
               (struct load_shape){.requests = 8, .prompt_max = 160, .tokens_max = tokens, .head = 130, .seed = 2});
    for (size_t k = 0; k < sizeof most / sizeof *most; k++) {
        struct qm_prefix_cache *cache = NULL;
        if (k % 2)
            assert_int_equal(qm_prefix_cache_open(p.many.engine, NULL, &cache, &err), QM_OK);
        struct qm_speculation *s = speculation(load_drafter(p.load, 70), most[k], true);
        struct qm_scheduler_options o = {
            .engine = p.many.engine, .tokenizer = p.tokenizer, .cache = cache, .speculation = s};
        struct load_course c = {.seed = k, .at_once = k == 1, .resumed = k == 2 ? 50 : 0, .cancels = k == 3 ? 40 : 0};
        load_run(p.load, &o, &c, NULL);
        load_run_alone(p.load, s);
        struct qm_speculation_stats reported;
        qm_speculation_stats(s, &reported);
        assert_true(reported.drafted > 0 && reported.accepted > 0 && reported.accepted < reported.drafted);
        qm_speculation_free(s);
        qm_prefix_cache_close(cache);
    }
    place_close(&p);
}

static void every_model(void **state) {
    (void)state;
    for (int i = 0; reference_names[i]; i++) {
        char dir[256];
        snprintf(dir, sizeof dir, "tests/data/reference/%s", reference_names[i]);
        same(dir, 1 + i % 2, test_slow() ? 40 : 12);
    }
}

static void demo(void **state) {
    (void)state;
    same("data/demo", 2, test_slow() ? 60 : 16);
    if (test_slow())
        same("data/demo", 4, 60);
}

/* What stands in the prompt is found; where the choice is left to what pays, too. */
static void by_lookup(void **state) {
    (void)state;
    struct place p;
    struct qm_error err;
    struct qm_lookup *lookup;
    place_open(&p, "data/demo", 2,
               (struct load_shape){.requests = 6, .prompt_max = 60, .tokens_max = 200, .endless = true, .seed = 9});
    for (int always = 0; always < 2; always++) {
        assert_int_equal(qm_lookup_new(1 << 20, &lookup, &err), QM_OK);
        struct qm_speculation *s = speculation(qm_lookup_drafter(lookup), QM_DRAFT_MAX, always);
        struct qm_scheduler_options o = {.engine = p.many.engine, .tokenizer = p.tokenizer, .speculation = s};
        struct qm_speculation_stats reported;
        load_run(p.load, &o, &(struct load_course){.seed = 1}, NULL);
        load_run_alone(p.load, s);
        qm_speculation_stats(s, &reported);
        assert_true(!always || reported.accepted > 0);
        qm_speculation_free(s);
        qm_lookup_free(lookup);
    }
    place_close(&p);
}

/* A draft model beside the one that checks: itself, which is nearly always right where it is greedy, and others of the
 * same vocabulary, with windows and experts. What it holds of a text follows what was accepted. */
static void by_model(void **state) {
    (void)state;
    static const char *const drafts[] = {"qwen3", "gpt_oss", "mistral", "qwen3_moe"};
    for (size_t i = 0; i < sizeof drafts / sizeof *drafts; i++)
        for (int always = 0; always < 2; always++) {
            struct place p;
            struct run_model small;
            struct qm_error err;
            char dir[256];
            place_open(&p, "tests/data/reference/qwen3", 2,
                       (struct load_shape){.requests = 6, .prompt_max = 150, .tokens_max = 40, .head = 60, .seed = 3});
            snprintf(dir, sizeof dir, "tests/data/reference/%s", drafts[i]);
            struct qm_draft_model *m;
            run_model_open(
                &small, dir, NULL,
                (struct qm_engine_options){.beside = p.many.engine,
                                           .isa = run_model_isa(),
                                           .context = i == 1 ? 100 : 512, /* some texts are longer */
                                           .sequences = i == 2 ? 2 : 5,   /* fewer than texts */
                                           .chunk = 48,
                                           /* fewer pages than texts need */
                                           .kv_memory = i == 3 ? 6 * qm_engine_block_bytes(p.many.engine) : 0,
                                           .kv_type = -1});
            assert_ptr_equal(qm_engine_team(small.engine), qm_engine_team(p.many.engine));
            assert_int_equal(qm_draft_model_new(small.engine, qm_engine_model(p.many.engine)->config.vocab, &m, &err),
                             QM_OK);
            struct qm_speculation *s = speculation(qm_draft_model_drafter(m), 7, always);
            struct qm_scheduler_options o = {.engine = p.many.engine, .speculation = s};
            struct qm_speculation_stats reported;
            load_run(p.load, &o, &(struct load_course){.seed = 1, .cancels = 20}, NULL);
            load_run_alone(p.load, s);
            qm_speculation_stats(s, &reported);
            assert_true(!always || reported.drafted > 0);
            if (always && i == 0) /* a third of the jobs is greedy */
                assert_true(reported.accepted * 8 > reported.drafted);
            assert_false(qm_draft_model_failed(m));
            qm_speculation_free(s);
            qm_draft_model_free(m);
            run_model_close(&small);
            place_close(&p);
        }
}

/* A draft model whose logits are not finite drafts no more, and the answers go on. */
static void broken_model(void **state) {
    (void)state;
    struct place p;
    struct run_model small;
    struct qm_error err;
    struct qm_draft_model *m;
    struct test_weights w;
    char *dir = test_folder();
    test_copy_model("tests/data/reference/qwen3_f32", dir);
    test_weights_read(dir, &w);
    struct test_weight *norm = test_weights_find(&w, "model.norm.weight");
    assert_non_null(norm);
    for (size_t i = 0; i < norm->bytes / sizeof(float); i++)
        ((float *)(void *)norm->data)[i] = 3e38f;
    test_weights_write(dir, &w);
    place_open(&p, "tests/data/reference/qwen3", 2,
               (struct load_shape){.requests = 4, .prompt_max = 50, .tokens_max = 40, .endless = true, .seed = 3});
    run_model_open(&small, dir, NULL,
                   (struct qm_engine_options){.beside = p.many.engine,
                                              .isa = run_model_isa(),
                                              .context = 512,
                                              .sequences = 5,
                                              .chunk = 48,
                                              .kv_type = -1});
    assert_int_equal(qm_draft_model_new(small.engine, 512, &m, &err), QM_OK);
    struct qm_speculation *s = speculation(qm_draft_model_drafter(m), 7, true);
    struct qm_scheduler_options o = {.engine = p.many.engine, .speculation = s};
    struct qm_speculation_stats reported;
    load_run(p.load, &o, &(struct load_course){.seed = 1}, NULL);
    load_run_alone(p.load, s);
    qm_speculation_stats(s, &reported);
    assert_int_equal(reported.drafted, 0);
    assert_true(qm_draft_model_failed(m));
    qm_speculation_free(s);
    qm_draft_model_free(m);
    run_model_close(&small);
    place_close(&p);
    test_folder_remove(dir);
}

/* Lookup and a model together. */
static void by_both(void **state) {
    (void)state;
    struct place p;
    struct run_model small;
    struct qm_error err;
    struct qm_lookup *lookup;
    struct qm_draft_model *m;
    place_open(&p, "data/demo", 2,
               (struct load_shape){.requests = 6, .prompt_max = 60, .tokens_max = 120, .endless = true, .seed = 9});
    run_model_open(
        &small, "data/demo", NULL,
        (struct qm_engine_options){
            .threads = 1, .isa = run_model_isa(), .context = 512, .sequences = 5, .chunk = 48, .kv_type = -1});
    assert_int_equal(qm_lookup_new(1 << 20, &lookup, &err), QM_OK);
    assert_int_equal(qm_draft_model_new(small.engine, 1024, &m, &err), QM_OK);
    struct qm_draft_pair pair = {qm_lookup_drafter(lookup), qm_draft_model_drafter(m)};
    struct qm_speculation *s = speculation(qm_draft_pair_drafter(&pair), QM_DRAFT_MAX, true);
    struct qm_scheduler_options o = {.engine = p.many.engine, .tokenizer = p.tokenizer, .speculation = s};
    struct qm_speculation_stats reported;
    load_run(p.load, &o, &(struct load_course){.seed = 1}, NULL);
    load_run_alone(p.load, s);
    qm_speculation_stats(s, &reported);
    assert_true(reported.accepted > 0);
    qm_speculation_free(s);
    qm_draft_model_free(m);
    qm_lookup_free(lookup);
    run_model_close(&small);
    place_close(&p);
}

/* The first token that differs is named. */
static void other_vocabulary(void **state) {
    (void)state;
    struct qm_tokenizer *a, *b;
    struct qm_error err;
    assert_int_equal(qm_tokenizer_load("data/demo", &a, &err), QM_OK);
    assert_int_equal(qm_draft_model_check(a, a, &err), QM_OK);
    assert_int_equal(qm_tokenizer_load("tests/data/tokenizers/small-c-bytelevel-flags", &b, &err), QM_OK);
    assert_int_equal(qm_draft_model_check(a, b, &err), QM_INPUT);
    assert_non_null(strstr(err.message, "id "));
    assert_non_null(strstr(err.message, "expected"));
    qm_tokenizer_free(a);
    qm_tokenizer_free(b);
}

static void refused(void **state) {
    (void)state;
    struct qm_error err;
    struct qm_speculation *s;
    struct qm_speculation_options o = {.most = 0};
    assert_int_equal(qm_speculation_new(&o, &s, &err), QM_USAGE);
    assert_null(s);
    o.most = QM_DRAFT_MAX + 1;
    assert_int_equal(qm_speculation_new(&o, &s, &err), QM_USAGE);
    assert_non_null(strstr(err.message, "17 drafted tokens"));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_model),      cmocka_unit_test(demo),
                                       cmocka_unit_test(by_lookup),        cmocka_unit_test(by_model),
                                       cmocka_unit_test(by_both),          cmocka_unit_test(broken_model),
                                       cmocka_unit_test(other_vocabulary), cmocka_unit_test(refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
