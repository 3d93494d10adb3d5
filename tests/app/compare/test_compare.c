/* compare: medians and spreads, agreement of answers and logits, lists of configurations, and reports read back. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "app/compare/compare.h"
#include "app/compare/run.h"
#include "tests/support/support.h"

static void test_figures(void **state) {
    (void)state;
    static const double odd[] = {5, 1, 3}, even[] = {4, 1, 2, 10}, same[] = {7, 7, 7, 7},
                        holes[] = {NAN, 2, INFINITY, 6};
    struct qm_figure f = qm_figure_of(odd, 3);
    assert_true(f.median == 3 && f.low == 1 && f.high == 5 && f.n == 3);
    f = qm_figure_of(even, 4);
    assert_true(f.median == 3 && f.low == 1 && f.high == 10 && f.n == 4);
    f = qm_figure_of(same, 4);
    assert_true(f.median == 7 && f.low == 7 && f.high == 7);
    f = qm_figure_of(holes, 4);
    assert_true(f.median == 4 && f.low == 2 && f.high == 6 && f.n == 2);
    f = qm_figure_of(odd, 1);
    assert_true(f.median == 5 && f.n == 1);
    f = qm_figure_of(NULL, 0);
    assert_true(isnan(f.median) && isnan(f.low) && isnan(f.high) && f.n == 0);
}

static void test_first_difference(void **state) {
    (void)state;
    static const int32_t a[] = {1, 2, 3}, b[] = {1, 2, 4};
    assert_int_equal(qm_first_difference(a, 3, a, 3), -1);
    assert_int_equal(qm_first_difference(a, 3, b, 3), 2);
    assert_int_equal(qm_first_difference(a, 2, a, 3), 2);
    assert_int_equal(qm_first_difference(a, 0, a, 0), -1);
    assert_int_equal(qm_first_difference(a, 1, b + 2, 1), 0);
}

static void test_divergence(void **state) {
    (void)state;
    /* probabilities 1/2, 1/4, 1/4 against 1/4, 1/4, 1/2: 1/2 ln 2 - 1/4 ln 2 */
    const float two = logf(2);
    const float p[] = {two, 0, 0}, q[] = {0, 0, two}, moved[] = {two + 5, 5, 5};
    assert_true(fabs(qm_kl_divergence(p, q, 3) - 0.25 * log(2)) < 1e-7);
    assert_true(fabs(qm_kl_divergence(p, moved, 3)) < 1e-7);
    assert_true(qm_kl_divergence(p, p, 3) == 0);
    /* large logits neither overflow nor vanish */
    const float large[] = {3e38F, 0, 0};
    assert_true(qm_kl_divergence(large, large, 3) == 0);
    const float out[] = {-INFINITY, 0, 0}, none[] = {-INFINITY, NAN, -INFINITY};
    assert_true(isinf(qm_kl_divergence(p, out, 3)));
    assert_true(isfinite(qm_kl_divergence(out, p, 3)));
    assert_true(isnan(qm_kl_divergence(none, p, 3)));
    assert_true(isnan(qm_kl_divergence(p, none, 3)));
}

static void test_agreement(void **state) {
    (void)state;
    static const int32_t a[] = {1, 2, 3, 4}, b[] = {1, 2, 9, 9};
    struct qm_agreement g;
    qm_agreement_begin(&g);
    qm_agreement_answer(&g, 0, a, 4, a, 4, 4);
    qm_agreement_position(&g, 0);
    assert_int_equal(g.first_difference, -1);
    assert_int_equal(g.same, 4);
    assert_true(qm_agreement_holds(&g, 0));
    qm_agreement_position(&g, 0.004);
    assert_true(fabs(g.kl_mean - 0.002) < 1e-12 && g.kl_max == 0.004);
    assert_true(qm_agreement_holds(&g, 0.004));
    assert_false(qm_agreement_holds(&g, 0.003));

    qm_agreement_begin(&g);
    qm_agreement_answer(&g, 0, a, 4, a, 4, 4);
    qm_agreement_answer(&g, 1, a, 4, b, 4, 3);
    assert_int_equal(g.first_difference, 2);
    assert_int_equal(g.first_prompt, 1);
    assert_int_equal(g.same, 6);
    qm_agreement_position(&g, 1e-6);
    assert_true(qm_agreement_holds(&g, 1e-3)); /* a near tie: the logits there were compared */
    assert_false(qm_agreement_holds(&g, 0));
    qm_agreement_answer(&g, 2, a, 4, b, 4, 2); /* parts where nobody looked */
    assert_false(qm_agreement_holds(&g, 1e-3));

    qm_agreement_begin(&g);
    qm_agreement_position(&g, NAN);
    qm_agreement_position(&g, 0);
    assert_false(qm_agreement_holds(&g, 1e9));
}

static void test_configurations(void **state) {
    (void)state;
    struct qm_compare_task *t = calloc(1, sizeof *t);
    struct qm_error err;
    assert_non_null(t);
    assert_int_equal(
        qm_compare_specs_parse("cpu,quiet:90,emulated:90GiB,bandwidth=1792,pcie=55,emulated:auto,gpu", t, &err), QM_OK);
    assert_int_equal(t->specs, 5);
    assert_true(t->spec[0].share == 0);
    assert_true(t->spec[1].kind == QM_COMPARE_QUIET && fabs(t->spec[1].share - 0.9) < 1e-12);
    assert_string_equal(t->spec[2].name, "emulated:90GiB,bandwidth=1792,pcie=55");
    assert_int_equal(t->spec[3].kind, QM_COMPARE_EMULATED);
    assert_int_equal(t->spec[4].kind, QM_COMPARE_GPU);
    static const char *const wrong[] = {"",       ",",        "cpu,",      "cpu,cpu", "cpu:4", "quiet:5", "quiet:101",
                                        "quiet:", "emulated", "bandwidth", "a=b",     "auto:", "cpu,,gpu"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        t->specs = 0;
        assert_int_equal(qm_compare_specs_parse(wrong[i], t, &err), QM_USAGE);
        assert_non_null(strstr(err.message, "--configs"));
    }
    t->specs = 0;
    assert_int_equal(qm_compare_specs_parse("quiet:10,quiet:11,quiet:12,quiet:13,quiet:14,quiet:15,quiet:16,quiet:17,"
                                            "cpu",
                                            t, &err),
                     QM_USAGE);
    free(t);
}

/* A report as --json writes it, with one answer of three tokens. */
static char *example(void) {
    static struct qm_compare_report r;
    memset(&r, 0, sizeof r);
    strcpy(r.model, "models/one");
    strcpy(r.machine, "A processor");
    strcpy(r.isa, "avx2");
    strcpy(r.when, "2026-01-15T12:00:00Z");
    strcpy(r.build, "1");
    strcpy(r.text_hash, "abc");
    r.prompts = 1;
    r.prompt_tokens = 10;
    r.generate = 3;
    r.rounds = 2;
    r.bound = 0.001;
    r.agree = true;
    r.configs = 2;
    for (int i = 0; i < 2; i++) {
        struct qm_compare_config *c = &r.config[i];
        strcpy(c->name, i ? "gpu" : "cpu");
        c->prefill = c->decode = c->first = (struct qm_compare_rate){{NAN, NAN, NAN, 0}, 7};
        c->joules_per_token = c->watts = NAN;
    }
    strcpy(r.config[1].why_not, "no card");
    r.config[0].decode.measured = (struct qm_figure){20, 19, 22, 2};
    r.config[0].answer[0] = malloc(3 * sizeof(int32_t));
    assert_non_null(r.config[0].answer[0]);
    for (int k = 0; k < 3; k++)
        r.config[0].answer[0][k] = 5 + k;
    r.config[0].n_answer[0] = 3;
    strcpy(r.config[0].traits.value[QM_TRAIT_WEIGHTS], "0123");
    strcpy(r.config[0].traits.value[QM_TRAIT_ISA], "avx2");
    json_t *root = qm_compare_json(&r);
    char *text = root ? json_dumps(root, 0) : NULL;
    json_decref(root);
    qm_compare_report_free(&r);
    assert_non_null(text);
    return text;
}

static void test_report(void **state) {
    (void)state;
    static struct qm_compare_report r, other;
    struct qm_error err;
    struct qm_agreement a;
    char *text = example();
    assert_int_equal(qm_compare_parse(text, strlen(text), "one.json", &r, &err), QM_OK);
    assert_int_equal(qm_compare_parse(text, strlen(text), "one.json", &other, &err), QM_OK);
    assert_string_equal(r.machine, "A processor");
    assert_int_equal(r.configs, 2);
    const struct qm_compare_config *cpu = qm_compare_find(&r, "cpu"), *gpu = qm_compare_find(&r, "gpu");
    assert_non_null(cpu);
    assert_null(qm_compare_find(&r, "quiet"));
    assert_true(cpu->decode.measured.median == 20 && cpu->decode.measured.n == 2 && cpu->decode.predicted == 7);
    assert_string_equal(gpu->why_not, "no card");
    assert_string_equal(cpu->traits.value[QM_TRAIT_WEIGHTS], "0123");
    assert_string_equal(cpu->traits.value[QM_TRAIT_ISA], "avx2");
    assert_string_equal(cpu->traits.value[QM_TRAIT_VERSION], "");
    assert_string_equal(gpu->traits.value[QM_TRAIT_ISA], "");
    assert_true(isnan(gpu->decode.measured.median));
    assert_true(qm_compare_answers(&r, cpu, &other, &other.config[0], &a));
    assert_int_equal(a.first_difference, -1);
    other.config[0].answer[0][1]++;
    assert_true(qm_compare_answers(&r, cpu, &other, &other.config[0], &a));
    assert_int_equal(a.first_difference, 1);
    assert_false(qm_compare_answers(&r, gpu, &other, &other.config[0], &a)); /* it gave none */
    strcpy(other.text_hash, "abd");
    assert_false(qm_compare_answers(&r, cpu, &other, &other.config[0], &a)); /* other prompts */
    qm_compare_report_free(&r);
    qm_compare_report_free(&other);
    free(text);
}

static void test_damaged_reports(void **state) {
    (void)state;
    static const struct {
        const char *from, *to, *says;
    } cases[] = {
        {"\"version\": 1", "\"version\": 2", "version 2"},
        {"\"low\": 19.0", "\"low\": 21.0", "low <= median <= high"},
        {"\"median\": 20.0", "\"median\": -20.0", "expected 0 to"},
        {"\"median\": 20.0", "\"median\": null", "low <= median <= high"},
        {"\"n\": 2", "\"n\": 1000", "\"n\""},
        {"\"answers\": [[5, 6, 7]]", "\"answers\": [[5, -6, 7]]", "token ids"},
        {"\"answers\": [[5, 6, 7]]", "\"answers\": [[]]", "1 to"},
        {"\"answers\": [[5, 6, 7]]", "\"answers\": [[5], [6]]", "of none or of 1"},
        {"\"name\": \"cpu\"", "\"name\": null", "\"name\""},
        {"\"name\": \"cpu\"", "\"name\": \"c\\u0007\"", "control character"},
        {"\"machine\": \"A processor\"", "\"machine\": 4", "machine"},
        {"\"bound_nats\": 0.001", "\"bound_nats\": null", "bound_nats"},
        {"\"prompts\": 1", "\"prompts\": 17", "prompts"},
        {"\"configs\": [", "\"other\": [", "configs"},
    };
    static struct qm_compare_report r;
    struct qm_error err;
    char *text = example(), changed[8192];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *at = strstr(text, cases[i].from);
        assert_non_null(at);
        snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, cases[i].to, at + strlen(cases[i].from));
        assert_int_equal(qm_compare_parse(changed, strlen(changed), "one.json", &r, &err), QM_INPUT);
        assert_non_null(strstr(err.message, "one.json"));
        if (!strstr(err.message, cases[i].says))
            fail_msg("expected \"%s\", found \"%s\"", cases[i].says, err.message);
    }
    for (size_t n = 0; n < strlen(text); n += 7)
        assert_int_equal(qm_compare_parse(text, n, "one.json", &r, &err), QM_INPUT);
    assert_int_equal(qm_compare_parse("[]", 2, "one.json", &r, &err), QM_INPUT);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_figures),         cmocka_unit_test(test_first_difference),
        cmocka_unit_test(test_divergence),      cmocka_unit_test(test_agreement),
        cmocka_unit_test(test_configurations),  cmocka_unit_test(test_report),
        cmocka_unit_test(test_damaged_reports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
