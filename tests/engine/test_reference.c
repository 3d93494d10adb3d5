/* Every reference model on every instruction set: logits no further from the reference than the reference
 * implementation is at its own precision; long prompts, overridden knobs, attention maps, greedy tokens. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/sequence.h"
#include "tests/support/reference.h"
#include "tests/support/run_model.h"

struct which {
    const char *name;
    enum qm_isa isa;
};

static struct qm_engine_options options(enum qm_isa isa, int64_t context) {
    return (struct qm_engine_options){.threads = 2, .isa = isa, .context = context, .kv_type = -1};
}

static double limit(const struct reference *r, const char *key) {
    return strcmp(json_string_value(json_object_get(r->note, "dtype")), "float32") == 0 ? 2e-5
                                                                                        : reference_number(r, key, 0);
}

static void check_error(const struct which *w, const char *what, const float *ours, const float *theirs, int64_t n,
                        double most) {
    double error = relative_error(ours, theirs, n);
    print_message("%-16s %-10s %-9s error %.2e of %.2e\n", w->name, qm_isa_name(w->isa), what, error, most);
    if (!(error <= most))
        fail_msg("%s on %s, %s: relative error %g, at most %g", w->name, qm_isa_name(w->isa), what, error, most);
}

static void check_prompt(const struct which *w, const struct reference *r) {
    int64_t n[4], shape[4];
    const int32_t *ids = reference_tensor(r, "ids", n);
    const float *want = reference_tensor(r, "logits", shape);
    struct run_model m;
    run_model_open(&m, r->dir, NULL, options(w->isa, 0));
    float *logits = run_logits(m.engine, ids, n[0], 512, n[0]);
    check_error(w, "logits", logits, want, n[0] * shape[1], limit(r, "native_error"));
    free(logits);
    run_model_close(&m);
}

static void check_greedy(const struct which *w, const struct reference *r) {
    int64_t n[4], g[4];
    const int32_t *ids = reference_tensor(r, "ids", n), *greedy = reference_tensor(r, "greedy_ids", g);
    const float *gap = reference_tensor(r, "greedy_gap", g), *margin = reference_tensor(r, "greedy_margin", g);
    struct run_model m;
    run_model_open(&m, r->dir, NULL, options(w->isa, 0));
    int64_t total = n[0] + g[0], vocab = m.model->config.vocab;
    int32_t *all = malloc((size_t)total * sizeof *all);
    memcpy(all, ids, (size_t)n[0] * sizeof *all);
    memcpy(all + n[0], greedy, (size_t)g[0] * sizeof *all);
    float *logits = run_logits(m.engine, all, total, 512, g[0] + 1);
    for (int64_t i = 0; i < g[0]; i++) {
        const float *row = logits + i * vocab;
        int64_t best = 0;
        for (int64_t v = 1; v < vocab; v++)
            best = row[v] > row[best] ? v : best;
        if (gap[i] >= 0.25f && margin[i] >= 0.1f)
            assert_int_equal(best, greedy[i]);
    }
    free(logits);
    free(all);
    run_model_close(&m);
}

static void check_long(const struct which *w, const struct reference *r) {
    int64_t n[4], shape[4];
    const int32_t *ids = reference_tensor(r, "long_ids", n);
    if (!ids || w->isa == QM_ISA_SCALAR)
        return;
    const float *want = reference_tensor(r, "long_logits", shape);
    struct run_model m;
    run_model_open(&m, r->dir, NULL, options(w->isa, (int64_t)reference_number(r, "long_context", 0)));
    float *logits = run_logits(m.engine, ids, n[0], 512, shape[0]);
    check_error(w, "long", logits, want, shape[0] * shape[1], limit(r, "long_native_error"));
    free(logits);
    run_model_close(&m);
}

static void check_override(const struct which *w, const struct reference *r) {
    int64_t n[4], shape[4];
    const int32_t *ids = reference_tensor(r, "override_ids", n);
    if (!ids)
        return;
    const float *want = reference_tensor(r, "override_logits", shape);
    const json_t *o = json_object_get(r->note, "override");
    struct qm_overrides over = {.experts_per_token = json_integer_value(json_object_get(o, "num_experts_per_tok")),
                                .rope_theta = json_number_value(json_object_get(o, "rope_theta"))};
    struct run_model m;
    run_model_open(&m, r->dir, &over, options(w->isa, 0));
    float *logits = run_logits(m.engine, ids, n[0], 512, n[0]);
    check_error(w, "override", logits, want, n[0] * shape[1], limit(r, "native_error"));
    free(logits);
    run_model_close(&m);
}

static void check_attention(const struct which *w, const struct reference *r) {
    int64_t n[4], shape[4];
    const int32_t *ids = reference_tensor(r, "ids", n);
    const float *want = reference_tensor(r, "attentions", shape);
    if (!want)
        return;
    struct run_model m;
    run_model_open(&m, r->dir, NULL, options(w->isa, 0));
    int64_t size = shape[1] * shape[2] * shape[3];
    float *map = malloc((size_t)size * sizeof *map);
    for (int64_t layer = 0; layer < shape[0]; layer++) {
        struct qm_error err = {0};
        struct qm_sequence *s;
        assert_int_equal(qm_sequence_open(m.engine, &s, &err), 0);
        struct qm_step_rows step = {
            .sequence = s, .tokens = ids, .n = n[0], .attention = map, .attention_layer = layer, .attention_ld = n[0]};
        assert_int_equal(qm_engine_step(m.engine, &step, 1, &err), 0);
        qm_sequence_close(s);
        check_error(w, "attention", map, want + layer * size, size, limit(r, "native_error"));
    }
    free(map);
    run_model_close(&m);
}

static void check_model(void **state) {
    const struct which *w = *state;
    if (qm_isa_check(w->isa, NULL)) {
        print_message("skipped: this CPU has no %s\n", qm_isa_name(w->isa));
        skip();
    }
    struct reference r;
    reference_open(&r, w->name);
    check_prompt(w, &r);
    check_greedy(w, &r);
    check_long(w, &r);
    check_override(w, &r);
    check_attention(w, &r);
    reference_close(&r);
}

int main(void) {
    enum { MOST = 128 };
    static struct CMUnitTest tests[MOST];
    static struct which which[MOST];
    static char names[MOST][64];
    size_t n = 0;
    for (int i = 0; reference_names[i]; i++)
        for (int isa = 0; isa < QM_ISA_COUNT && n < MOST; isa++, n++) {
            which[n] = (struct which){reference_names[i], (enum qm_isa)isa};
            snprintf(names[n], sizeof names[n], "%s on %s", reference_names[i], qm_isa_name((enum qm_isa)isa));
            tests[n] = (struct CMUnitTest){names[n], check_model, NULL, NULL, &which[n]};
        }
    return _cmocka_run_group_tests("reference models", tests, n, NULL, NULL);
}
