/* What the planner says is what the process takes: resident memory of a shape of more than 2 GiB, its context filled
 * and a step of full length done, within 1 % and 64 MiB. */
#include <stdio.h>
#include <stdlib.h>

#include "app/shapes.h"
#include "engine/engine.h"
#include "tests/support/support.h"

static uint64_t resident(void) {
    unsigned long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%*u %llu", &pages) != 1)
        fail_msg("/proc/self/statm");
    fclose(f);
    return pages * 4096;
}

static void test_resident(void **state) {
    (void)state;
    enum { CONTEXT = 4096, CHUNK = 64 };
    if (!test_slow()) {
        printf("skipped: reads several GiB\n");
        skip();
    }
    struct qm_model *m;
    struct qm_engine *e;
    struct qm_sequence *s;
    struct qm_error err;
    if (qm_shape_open("gpt-oss-20b", 4, NULL, NULL, &m, &err))
        fail_msg("%s", err.message);
    uint64_t before = resident();
    struct qm_engine_options o = {
        .threads = 2, .isa = qm_isa_best(), .context = CONTEXT, .chunk = CHUNK, .kv_type = QM_BF16};
    int rc = qm_engine_open(m, &o, &e, &err);
    if (rc == QM_FIT) {
        printf("skipped: %s\n", err.message);
        qm_model_close(m);
        skip();
    }
    assert_int_equal(rc, QM_OK);
    int32_t tokens[CHUNK];
    for (int i = 0; i < CHUNK; i++)
        tokens[i] = i * 37 % (int32_t)m->config.vocab;
    float *logits = malloc((size_t)m->config.vocab * sizeof *logits);
    assert_int_equal(qm_sequence_open(e, &s, &err), QM_OK);
    assert_int_equal(qm_sequence_fill_random(s, CONTEXT - CHUNK, 1, &err), QM_OK);
    struct qm_step step = {.sequence = s, .tokens = tokens, .n = CHUNK, .n_logits = 1, .logits = logits};
    assert_int_equal(qm_engine_step(e, &step, 1, &err), QM_OK);
    double taken = (double)(resident() - before), planned = (double)qm_engine_memory(e)->total;
    assert_true(planned > 2.0 * (1 << 30));
    if (!(taken > 0.99 * planned - (64 << 20) && taken < 1.01 * planned + (64 << 20)))
        fail_msg("planned %.1f MiB, taken %.1f MiB", planned / (1 << 20), taken / (1 << 20));
    free(logits);
    qm_sequence_close(s);
    qm_engine_close(e);
    qm_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_resident)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
