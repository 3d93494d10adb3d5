/* Sampling against transformers' processors (tests/data/reference/sampling.json), the generator's published
 * numbers, and the limits. */
#include "session/sampler.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"

enum { VOCAB = 48, MAX_BIAS = 8, MAX_PAST = 256 };

static double number(const json_t *params, const char *key, double otherwise) {
    const json_t *v = json_object_get(params, key);
    return v ? json_number_value(v) : otherwise;
}

/* A sampler, scratch for it, and the tokens that it has sampled and been given. */
struct tested {
    struct qm_sampler sampler;
    struct qm_sampler_scratch *scratch;
    int32_t prompt[MAX_PAST], output[MAX_PAST];
    struct qm_past_tokens past;
};

static struct tested *tested(struct qm_sampling set, int64_t vocab) {
    struct qm_error err;
    struct tested *d = calloc(1, sizeof *d);
    assert_int_equal(qm_sampling_check(&set, vocab, &err), QM_OK);
    assert_int_equal(qm_sampler_scratch_new(vocab, qm_isa_best(), &d->scratch, &err), QM_OK);
    qm_sampler_start(&d->sampler, &set);
    d->past = (struct qm_past_tokens){.prompt = d->prompt, .output = d->output};
    return d;
}

static void tested_free(struct tested *d) {
    qm_sampler_scratch_free(d->scratch);
    free(d);
}

static void put_out(struct tested *d, int32_t id) {
    assert_true(d->past.n_output < MAX_PAST);
    d->output[d->past.n_output++] = id;
}

static void probabilities(struct tested *d, const float *logits, float *probs) {
    qm_sampler_probabilities(&d->sampler, d->scratch, &d->past, logits, probs);
}

static int try_next(struct tested *d, const float *logits, int32_t *id) {
    struct qm_error err;
    int rc = qm_sampler_next(&d->sampler, d->scratch, &d->past, logits, id, &err);
    if (!rc)
        put_out(d, *id);
    return rc;
}

static struct tested *open_case(json_t *c, struct qm_logit_bias *bias) {
    json_t *p = json_object_get(c, "params");
    struct qm_sampling s = {.temperature = number(p, "temperature", 1),
                            .top_k = (int64_t)number(p, "top_k", 0),
                            .top_p = number(p, "top_p", 1),
                            .min_p = number(p, "min_p", 0),
                            .repetition_penalty = number(p, "repetition_penalty", 1),
                            .presence_penalty = number(p, "presence_penalty", 0),
                            .frequency_penalty = number(p, "frequency_penalty", 0),
                            .bias = bias};
    const char *key;
    json_t *v;
    json_object_foreach(json_object_get(p, "logit_bias"), key, v) {
        assert_true(s.n_bias < MAX_BIAS);
        bias[s.n_bias++] = (struct qm_logit_bias){.id = atoi(key), .bias = (float)json_number_value(v)};
    }
    struct tested *out = tested(s, VOCAB);
    size_t i;
    json_array_foreach(json_object_get(c, "prompt"), i, v) {
        out->prompt[out->past.n_prompt++] = (int32_t)json_integer_value(v);
    }
    json_array_foreach(json_object_get(c, "output"), i, v) {
        put_out(out, (int32_t)json_integer_value(v));
    }
    return out;
}

static void test_reference(void **state) {
    (void)state;
    json_t *cases, *c;
    struct qm_error err;
    assert_int_equal(qm_json_load("tests/data/reference/sampling.json", 1 << 24, &cases, &err), QM_OK);
    assert_true(json_array_size(cases) >= 60);
    size_t i;
    json_array_foreach(cases, i, c) {
        struct qm_logit_bias bias[MAX_BIAS];
        struct tested *s = open_case(c, bias);
        float logits[VOCAB], probs[VOCAB];
        for (size_t j = 0; j < VOCAB; j++)
            logits[j] = (float)json_number_value(json_array_get(json_object_get(c, "logits"), j));
        probabilities(s, logits, probs);
        for (size_t j = 0; j < VOCAB; j++) {
            double want = json_number_value(json_array_get(json_object_get(c, "probs"), j));
            if (!(fabs(probs[j] - want) <= 1e-5))
                fail_msg("case %zu, token %zu: %.8f, expected %.8f", i, j, (double)probs[j], want);
        }
        tested_free(s);
    }
    json_decref(cases);
}

static void test_pcg32(void **state) {
    (void)state;
    /* The first round of the published demonstration program, pcg32-demo (seed 42, stream 54). */
    const uint32_t expected[] = {0xa15c02b7, 0x7b47f409, 0xba1d3330, 0x83d2f293, 0xbfa4784b, 0xcbed606e};
    struct qm_pcg32 g;
    qm_pcg32_seed(&g, 42, 54);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(qm_pcg32_next(&g), expected[i]);
}

static int32_t next(struct tested *d, const float *logits) {
    int32_t id = -1;
    assert_int_equal(try_next(d, logits, &id), QM_OK);
    return id;
}

/* Sampling as the header defines it: a full sort, one random number. */
struct by_probability {
    float p;
    int32_t id;
};

static int compare(const void *a, const void *b) {
    const struct by_probability *x = a, *y = b;
    return x->p != y->p ? (x->p < y->p ? 1 : -1) : x->id - y->id;
}

static void test_sample(void **state) {
    (void)state;
    enum { N = 1000 };
    static float logits[N], probs[N];
    static struct by_probability order[N];
    struct qm_sampling set = qm_sampling_default;
    set.temperature = 1;
    set.seed = 12345;
    int beyond = 0; /* samples beyond the most probable */
    for (int variant = 0; variant < 5; variant++) {
        set.top_p = variant == 1 ? 0.9 : variant == 4 ? 0.99 : 1;
        set.top_k = variant == 2 ? 40 : 0;
        bool steep = variant > 2; /* one has most of the weight, and the others little each */
        struct tested *s = tested(set, N);
        struct qm_pcg32 g, noise = {.state = 1, .increment = 1};
        qm_pcg32_seed(&g, 12345, 0xda3e39cb94b95bdbu);
        for (int t = 0; t < 200; t++) {
            for (int i = 0; i < N; i++)
                logits[i] = (float)(qm_pcg32_next(&noise) % (steep ? 8 : 64)) / 8; /* many are equal */
            if (steep)
                logits[t] = 10.7f;
            probabilities(s, logits, probs);
            for (int i = 0; i < N; i++)
                order[i] = (struct by_probability){probs[i], i};
            qsort(order, N, sizeof *order, compare);
            double u = qm_pcg32_next(&g) * 0x1p-32, sum = 0;
            int at = 0;
            while (at < N - 1 && !((sum += (double)order[at].p) > u + 1e-7))
                at++;
            double low = at ? sum - (double)order[at].p : 0;
            int32_t id = next(s, logits);
            if (fabs(low - u) > 1e-6 && fabs(sum - u) > 1e-6)
                assert_int_equal(id, order[at].id);
            beyond += steep && id != t;
        }
        tested_free(s);
    }
    assert_in_range(beyond, 5, 40);
}

/* Top-k, top-p and min-p by their definitions on a full ascending sort, higher ids first among equals. */
static int ascending(const void *a, const void *b) {
    const struct by_probability *x = a, *y = b;
    return x->p != y->p ? (x->p < y->p ? -1 : 1) : y->id - x->id;
}

static void define(const struct qm_sampling *set, const float *logits, int n, double *probs) {
    static struct by_probability o[1000];
    for (int i = 0; i < n; i++)
        o[i] = (struct by_probability){logits[i], i};
    qsort(o, (size_t)n, sizeof *o, ascending);
    double max = (double)o[n - 1].p, total = 0, sum = 0, kept = 0;
    int first = 0;
    if (set->top_k > 0 && set->top_k < n) {
        while (o[first].p < o[n - set->top_k].p)
            first++;
    }
    for (int i = first; i < n; i++)
        total += exp(((double)o[i].p - max) / set->temperature);
    for (; set->top_p < 1 && first < n - 1; first++) {
        sum += exp(((double)o[first].p - max) / set->temperature);
        if (sum > (1 - set->top_p) * total)
            break;
    }
    for (int i = 0; i < n; i++) {
        double w = exp(((double)o[i].p - max) / set->temperature);
        probs[o[i].id] = i < first || w < set->min_p ? 0 : w;
        kept += probs[o[i].id];
    }
    for (int i = 0; i < n; i++)
        probs[i] /= kept;
}

static void test_definition(void **state) {
    (void)state;
    static float logits[1000], probs[1000];
    static double expected[1000];
    struct qm_pcg32 noise = {.state = 5, .increment = 1};
    for (int round = 0; round < 2000; round++) {
        int n = 1 + (int)(qm_pcg32_next(&noise) % (round % 10 ? 60 : 1000));
        bool ties = qm_pcg32_next(&noise) % 2;
        for (int i = 0; i < n; i++) {
            uint32_t x = qm_pcg32_next(&noise);
            logits[i] = ties ? (float)(x % 16) / 3 : (float)x * 0x1p-28f - 8;
        }
        struct qm_sampling set = qm_sampling_default;
        set.temperature = 0.1 + qm_pcg32_next(&noise) * 0x1p-31;
        set.top_k = qm_pcg32_next(&noise) % 2 ? qm_pcg32_next(&noise) % 100 : 0;
        set.top_p = qm_pcg32_next(&noise) % 2 ? qm_pcg32_next(&noise) * 0x1p-32 : 1;
        set.min_p = qm_pcg32_next(&noise) % 2 ? qm_pcg32_next(&noise) * 0x1p-34 : 0;
        struct tested *s = tested(set, n);
        probabilities(s, logits, probs);
        define(&set, logits, n, expected);
        for (int i = 0; i < n; i++) {
            if (!(fabs((double)probs[i] - expected[i]) < 1e-6))
                fail_msg("round %d, token %d: %.8f, expected %.8f", round, i, (double)probs[i], expected[i]);
        }
        tested_free(s);
    }
}

static void test_seed(void **state) {
    (void)state;
    float logits[VOCAB];
    for (int i = 0; i < VOCAB; i++)
        logits[i] = sinf((float)i);
    struct qm_sampling set = qm_sampling_default;
    set.temperature = 0.8;
    set.top_p = 0.95;
    int32_t ids[3][64];
    for (int r = 0; r < 3; r++) {
        set.seed = r == 2 ? 8 : 7;
        struct tested *s = tested(set, VOCAB);
        for (int i = 0; i < 64; i++)
            ids[r][i] = next(s, logits);
        tested_free(s);
    }
    assert_memory_equal(ids[0], ids[1], sizeof ids[0]);
    assert_memory_not_equal(ids[0], ids[2], sizeof ids[0]);
}

static void test_greedy(void **state) {
    (void)state;
    float logits[4] = {1, 3, 3, 2}, probs[4];
    struct qm_sampling set = qm_sampling_default;
    set.frequency_penalty = 1;
    struct tested *s = tested(set, 4);
    probabilities(s, logits, probs);
    assert_true(probs[1] == 1 && probs[2] == 0);
    assert_int_equal(next(s, logits), 1); /* the lowest id among equals; then each sample counts */
    assert_int_equal(next(s, logits), 2);
    assert_int_equal(next(s, logits), 1); /* 2, 2, 2 */
    assert_int_equal(next(s, logits), 2); /* 1, 2, 2 */
    assert_int_equal(next(s, logits), 3); /* 1, 1, 2 */
    tested_free(s);
}

/* Every size of vocabulary, values that are not finite anywhere; with a penalty (logits are adjusted) and without. */
static void test_greedy_anywhere(void **state) {
    (void)state;
    static const float odd[] = {NAN, INFINITY, -INFINITY, -0.0f, 0, -FLT_MAX};
    enum { MOST = 70 };
    float logits[MOST];
    uint32_t random = 1;
    for (int n = 1; n <= MOST; n++)
        for (int round = 0; round < 40; round++) {
            int expected = -1;
            for (int i = 0; i < n; i++) {
                random = random * 1664525u + 1013904223u;
                logits[i] = random >> 30 ? (float)(random >> 12 & 15) - 12 : odd[(random >> 12) % 6];
                if (fabsf(logits[i]) <= FLT_MAX && (expected < 0 || logits[i] > logits[expected]))
                    expected = i;
            }
            struct qm_sampling set = qm_sampling_default;
            set.presence_penalty = round % 2;
            struct tested *s = tested(set, n);
            int32_t id = -1;
            assert_int_equal(try_next(s, logits, &id), expected < 0 ? QM_SYSTEM : QM_OK);
            assert_int_equal(id, expected);
            tested_free(s);
        }
}

/* Tokens known from before leave the state that sampling them left. */
static void test_redraw(void **state) {
    (void)state;
    const float logits[6] = {1, 1.5, 0.5, 1, 0, 2};
    for (int temperature = 0; temperature < 2; temperature++)
        for (int known = 0; known < 12; known++) {
            struct qm_sampling set = qm_sampling_default;
            set.temperature = temperature;
            set.frequency_penalty = 0.5;
            set.seed = 9;
            struct tested *a = tested(set, 6), *b = tested(set, 6);
            for (int i = 0; i < 24; i++) {
                int32_t id = next(a, logits);
                if (i < known) {
                    qm_sampler_replay(&b->sampler);
                    put_out(b, id);
                } else {
                    assert_int_equal(next(b, logits), id);
                }
            }
            tested_free(a);
            tested_free(b);
        }
}

static void test_limits_of_values(void **state) {
    (void)state;
    float logits[6] = {NAN, INFINITY, -INFINITY, 1e30f, -1e30f, 0}, probs[6];
    struct qm_sampling set = qm_sampling_default;
    set.temperature = 1e-300;
    struct tested *s = tested(set, 6);
    for (int i = 0; i < 20; i++)
        assert_int_equal(next(s, logits), 3);
    tested_free(s);

    set.temperature = 1e300; /* flat over what is finite */
    set.top_k = 1000;
    s = tested(set, 6);
    probabilities(s, logits, probs);
    for (int i = 0; i < 6; i++)
        assert_true(fabsf(probs[i] - (i < 3 ? 0 : 1 / 3.0f)) < 1e-6f);
    tested_free(s);

    set = qm_sampling_default;
    set.temperature = 1;
    set.top_p = 0; /* keeps one: of equals, the lowest id */
    s = tested(set, 6);
    probabilities(s, (float[]){1, 5, 5, 0, 2, 3}, probs);
    assert_true(probs[1] == 1);
    tested_free(s);

    const struct qm_logit_bias bias[] = {{0, -100}, {1, 100}};
    set = qm_sampling_default;
    set.temperature = 1;
    set.bias = bias;
    set.n_bias = 2;
    s = tested(set, 6);
    probabilities(s, (float[]){50, 0, 0, 0, 0, 0}, probs);
    assert_true(probs[1] > 0.9999f && probs[0] < 1e-5f);
    tested_free(s);

    int32_t id;
    s = tested(set, 6);
    const float none[6] = {NAN, INFINITY, -INFINITY, -INFINITY, NAN, NAN};
    assert_int_equal(try_next(s, none, &id), QM_SYSTEM);
    probabilities(s, none, probs);
    for (int i = 0; i < 6; i++)
        assert_true(probs[i] == 0);
    tested_free(s);
}

static void test_top_k_ties(void **state) {
    (void)state;
    float probs[6];
    struct qm_sampling set = qm_sampling_default;
    set.temperature = 1;
    set.top_k = 2;
    struct tested *s = tested(set, 6);
    probabilities(s, (float[]){1, 4, 1, 3, 3, 3}, probs);
    assert_true(probs[0] == 0 && probs[2] == 0 && probs[1] > 0);
    assert_true(probs[3] > 0 && probs[3] == probs[4] && probs[4] == probs[5]);
    tested_free(s);
}

/* Never chosen, greedy or sampled, however probable; the others are as if they were not there. */
static void test_forbidden(void **state) {
    (void)state;
    const int32_t forbidden[] = {1, 3};
    float probs[6];
    for (int variant = 0; variant < 3; variant++) {
        struct qm_sampling set = qm_sampling_default;
        set.temperature = variant > 0;
        set.top_k = variant == 2 ? 3 : 0;
        set.forbidden = forbidden;
        set.n_forbidden = 2;
        struct tested *s = tested(set, 6);
        probabilities(s, (float[]){1, 9, 2, 8, 0, 1}, probs);
        assert_true(probs[1] == 0 && probs[3] == 0 && probs[2] > 0.4f);
        for (int i = 0; i < 40; i++) {
            int32_t id = next(s, (float[]){1, 9, 2, 8, 0, 1});
            assert_true(id != 1 && id != 3 && (variant > 0 || id == 2));
        }
        tested_free(s);
    }
}

/* The same tokens on every instruction set that runs here. */
static void test_same_everywhere(void **state) {
    (void)state;
    enum { N = 1003, TOKENS = 60 };
    static float logits[N];
    int32_t ids[2][TOKENS];
    struct qm_error err;
    for (int variant = 0; variant < 4; variant++)
        for (int isa = 0; isa < QM_ISA_COUNT; isa++) {
            struct qm_pcg32 noise = {.state = 9, .increment = 1};
            struct qm_sampling set = qm_sampling_default;
            set.temperature = 1.1;
            set.top_p = variant == 1 ? 0.8 : 1;
            set.top_k = variant == 2 ? 30 : 0;
            set.min_p = variant == 3 ? 0.01 : 0;
            struct tested *s = tested(set, N);
            qm_sampler_scratch_free(s->scratch);
            s->scratch = NULL;
            if (qm_isa_check((enum qm_isa)isa, &err) ||
                qm_sampler_scratch_new(N, (enum qm_isa)isa, &s->scratch, &err)) {
                tested_free(s);
                continue;
            }
            for (int t = 0; t < TOKENS; t++) {
                for (int i = 0; i < N; i++)
                    logits[i] = (float)qm_pcg32_next(&noise) * 0x1p-29f;
                ids[isa > 0][t] = next(s, logits);
            }
            assert_memory_equal(ids[0], ids[isa > 0], sizeof ids[0]);
            tested_free(s);
        }
}

static void test_check(void **state) {
    (void)state;
    struct qm_error err;
    const struct qm_logit_bias bad_id[] = {{10, 1}}, negative[] = {{-1, 1}}, large[] = {{1, 100.5f}},
                               nan[] = {{1, NAN}};
    struct qm_sampling good = qm_sampling_default, s;
    assert_int_equal(qm_sampling_check(&good, 10, &err), QM_OK);
#define REFUSED(field, value)                                                                                          \
    (s = good, s.field = (value), assert_int_equal(qm_sampling_check(&s, 10, &err), QM_USAGE),                         \
     assert_non_null(strstr(err.message, #field)))
    REFUSED(temperature, -0.1);
    REFUSED(temperature, NAN);
    REFUSED(temperature, INFINITY);
    REFUSED(top_k, -1);
    REFUSED(top_p, -0.1);
    REFUSED(top_p, 1.1);
    REFUSED(top_p, NAN);
    REFUSED(min_p, 2);
    REFUSED(repetition_penalty, 0);
    REFUSED(repetition_penalty, NAN);
    REFUSED(presence_penalty, 2.5);
    REFUSED(frequency_penalty, -3);
#undef REFUSED
    const struct qm_logit_bias *wrong[] = {bad_id, negative, large, nan};
    for (int i = 0; i < 4; i++) {
        s = good;
        s.bias = wrong[i];
        s.n_bias = 1;
        assert_int_equal(qm_sampling_check(&s, 10, &err), QM_USAGE);
        assert_non_null(strstr(err.message, "logit_bias"));
    }
}

static void test_logprobs(void **state) {
    (void)state;
    const float logits[6] = {1, 3, NAN, 3, 2, -INFINITY};
    struct qm_logprob chosen, top[6];
    qm_logprobs(logits, 6, 4, &chosen, top, 6);
    const int32_t ids[6] = {1, 3, 4, 0, 2, 5};
    double sum = 0;
    for (int i = 0; i < 6; i++) {
        assert_int_equal(top[i].id, ids[i]);
        sum += exp((double)top[i].logprob);
    }
    assert_true(fabs(sum - 1) < 1e-6);
    assert_true(chosen.id == 4 && chosen.logprob == top[2].logprob);
    assert_true(isinf(top[5].logprob));
    qm_logprobs(logits, 6, 1, &chosen, NULL, 0);
    assert_true(fabs((double)chosen.logprob - (3 - log(exp(1) + 2 * exp(3) + exp(2)))) < 1e-6);
    qm_logprobs(logits, 6, 1, &chosen, top, 2);
    assert_true(top[0].id == 1 && top[1].id == 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_pcg32),
        cmocka_unit_test(test_sample),
        cmocka_unit_test(test_definition),
        cmocka_unit_test(test_seed),
        cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_limits_of_values),
        cmocka_unit_test(test_top_k_ties),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_logprobs),
        cmocka_unit_test(test_greedy_anywhere),
        cmocka_unit_test(test_redraw),
        cmocka_unit_test(test_forbidden),
        cmocka_unit_test(test_same_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
