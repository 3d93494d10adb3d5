/* Opening models and running prompts, for tests. */
#include "tests/support/run_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/sequence.h"
#include "tests/support/support.h"

enum qm_isa run_model_isa(void) {
    return test_slow() || qm_isa_check(QM_ISA_AVX2, NULL) ? qm_isa_best() : QM_ISA_AVX2;
}

const struct qm_emulated_config test_card = {
    .name = "card",
    .memory = (uint64_t)1 << 30,
    .read = 1e12,
    .bf16 = 1e14,
    .f32 = 1e13,
    .read_efficiency = 1,
    .flops_efficiency = 1,
    .attention_efficiency = 1,
    .up = 1e10,
    .down = 1e10,
    .up_busy = 1e10,
    .down_busy = 1e10,
    .fail_after = -1,
};

struct qm_device_setup test_device(const struct qm_emulated_config *c) {
    return (struct qm_device_setup){.name = c->name, .driver = &qm_emulated_driver, .config = c};
}

void run_model_open(struct run_model *r, const char *dir, const struct qm_overrides *overrides,
                    struct qm_engine_options o) {
    struct qm_error err = {0};
    if (qm_model_open(dir, overrides, &r->model, &err))
        fail_msg("%s: %s", dir, err.message);
    if (qm_engine_open(r->model, &o, &r->engine, &err))
        fail_msg("%s: %s", dir, err.message);
}

void run_model_close(struct run_model *r) {
    qm_engine_close(r->engine);
    qm_model_close(r->model);
}

float *run_logits(struct qm_engine *e, const int32_t *ids, int64_t n, int64_t piece, int64_t n_logits) {
    struct qm_error err = {0};
    struct qm_sequence *s;
    if (qm_sequence_open(e, &s, &err))
        fail_msg("%s", err.message);
    int64_t vocab = qm_engine_model(e)->config.vocab;
    float *logits = malloc((size_t)(n_logits * vocab) * sizeof *logits);
    for (int64_t at = 0; at < n;) {
        int64_t m = n - at < piece ? n - at : piece, first = at + m - (n - n_logits);
        int64_t wanted = first < 0 ? 0 : first < m ? first : m;
        struct qm_step_rows step = {.sequence = s, .tokens = ids + at, .n = m, .n_logits = wanted};
        step.logits = logits + (at + m - wanted - (n - n_logits)) * vocab;
        if (qm_engine_step(e, &step, 1, &err))
            fail_msg("%s", err.message);
        at += m;
    }
    qm_sequence_close(s);
    return logits;
}
