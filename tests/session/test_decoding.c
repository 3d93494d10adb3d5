/* What ends a request, and what of that is sampled and in the text: end tokens, stop tokens, stop strings, and the
 * tokens before which none of them counts. */
#include "session/decoding.h"

#include <jansson.h>
#include <string.h>

#include "tests/support/support.h"

enum { VOCAB = 2048, END = 3, STEPS = 12 };

struct ended {
    int64_t tokens;
    int32_t last;
    enum qm_finish finish;
    char text[256];
};

/* Decodes greedily where the i-th token would be wanted[i], and `other` if it may not be. */
static struct ended decode(const struct qm_decoding_options *o, const int32_t *wanted, int32_t other) {
    static float logits[VOCAB];
    struct qm_config config = {.vocab = VOCAB, .end_tokens = {END}, .n_end_tokens = 1};
    struct qm_sampler_scratch *scratch;
    struct qm_decoding *d;
    struct qm_error err;
    struct qm_generate_token t;
    struct ended out = {0};
    bool last = false;
    int32_t id;
    if (qm_decoding_new(o, &config, &d, &err))
        fail_msg("%s", err.message);
    assert_int_equal(qm_sampler_scratch_new(VOCAB, qm_isa_best(), &scratch, &err), QM_OK);
    while (!last) {
        memset(logits, 0, sizeof logits);
        logits[other] = 1;
        logits[wanted[out.tokens++]] = 2;
        assert_int_equal(qm_decoding_sample(d, scratch, logits, &id, &err), QM_OK);
        assert_int_equal(qm_decoding_take(d, id, logits, &t, &last, &out.finish, &err), QM_OK);
    }
    out.last = t.id;
    snprintf(out.text, sizeof out.text, "%s", qm_decoding_text(d)->data);
    qm_sampler_scratch_free(scratch);
    qm_decoding_free(d);
    return out;
}

static struct qm_decoding_options options(const struct qm_tokenizer *t) {
    return (struct qm_decoding_options){
        .tokenizer = t, .sampling = qm_sampling_default, .top_logprobs = -1, .max_tokens = STEPS, .room = 100};
}

static void test_end_tokens(void **state) {
    (void)state;
    const int32_t ends[STEPS] = {END, END, END, END, END, END, END, END, END, END, END, END}, stop[] = {5, 8};
    const int32_t stops[STEPS] = {9, 9, 8, 9, 9, 9, 5, END, 9, 9, 9, 9};
    struct qm_decoding_options o = options(NULL);
    struct ended e = decode(&o, ends, 9);
    assert_true(e.tokens == 1 && e.last == END && e.finish == QM_FINISH_STOP);
    o.min_tokens = 4; /* as if the end token were not there */
    e = decode(&o, ends, 9);
    assert_true(e.tokens == 5 && e.last == END && e.finish == QM_FINISH_STOP);
    o.ignore_end = true; /* it is still not sampled before */
    e = decode(&o, ends, 9);
    assert_true(e.tokens == STEPS && e.finish == QM_FINISH_LENGTH);
    o.stop_ids = stop;
    o.n_stop_ids = 2;
    e = decode(&o, stops, 9);
    assert_true(e.tokens == 7 && e.last == 5 && e.finish == QM_FINISH_STOP);
    o.min_tokens = 0;
    e = decode(&o, stops, 9);
    assert_true(e.tokens == 3 && e.last == 8 && e.finish == QM_FINISH_STOP);
    o.min_tokens = STEPS;
    e = decode(&o, stops, 9);
    assert_true(e.tokens == STEPS && e.finish == QM_FINISH_LENGTH);
}

static void test_text(void **state) {
    (void)state;
    struct qm_tokenizer *t;
    struct qm_error err;
    assert_int_equal(qm_tokenizer_load("data/demo", &t, &err), QM_OK);
    int32_t a = qm_tokenizer_id(t, "a", 1), b = qm_tokenizer_id(t, "b", 1), c = qm_tokenizer_id(t, "c", 1);
    const int32_t wanted[STEPS] = {a, b, c, a, b, c, a, b, c, a, b, c};
    static const char *const stop[] = {"bca"};
    struct qm_decoding_options o = options(t);
    o.stop = stop;
    o.n_stop = 1;
    assert_string_equal(decode(&o, wanted, a).text, "a");
    o.include_stop = true;
    assert_string_equal(decode(&o, wanted, a).text, "abca");
    o.min_tokens = 4; /* the first one ends with the fourth token, and does not count */
    assert_string_equal(decode(&o, wanted, a).text, "abcabca");
    o.include_stop = false;
    assert_string_equal(decode(&o, wanted, a).text, "abca");
    o = options(t);
    o.stop_ids = &c;
    o.n_stop_ids = 1;
    assert_string_equal(decode(&o, wanted, a).text, "ab");
    o.include_stop = true;
    assert_string_equal(decode(&o, wanted, a).text, "abc");
    qm_tokenizer_free(t);
}

static void test_refused(void **state) {
    (void)state;
    struct qm_error err;
    const int32_t bad[] = {VOCAB}, many[QM_MAX_STOP_IDS + 1] = {0};
    struct qm_decoding_options o = options(NULL);
    assert_int_equal(qm_decoding_check(&o, VOCAB, &err), QM_OK);
    o.stop_ids = bad;
    o.n_stop_ids = 1;
    assert_int_equal(qm_decoding_check(&o, VOCAB, &err), QM_USAGE);
    assert_non_null(strstr(err.message, "stop token 2048"));
    o.stop_ids = many;
    o.n_stop_ids = QM_MAX_STOP_IDS + 1;
    assert_int_equal(qm_decoding_check(&o, VOCAB, &err), QM_USAGE);
    o.n_stop_ids = 0;
    o.min_tokens = STEPS + 1;
    assert_int_equal(qm_decoding_check(&o, VOCAB, &err), QM_USAGE);
    assert_non_null(strstr(err.message, "min_tokens"));
    o.min_tokens = -1;
    o.max_tokens = -1;
    assert_int_equal(qm_decoding_check(&o, VOCAB, &err), QM_USAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_end_tokens),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
