/* What fits: the longest context and the pool are the largest that the memory table allows, and no larger. */
#include <stdint.h>
#include <stdio.h>

#include "engine/fit.h"
#include "tests/support/support.h"

static const struct qm_workload workload = {.sequences = 2, .chunk = 128, .kv_type = QM_BF16, .threads = 3};

static struct qm_model *open_model(void) {
    struct qm_model *m;
    struct qm_error err;
    if (qm_model_open("tests/data/reference/qwen3", NULL, &m, &err))
        fail_msg("%s", err.message);
    return m;
}

static uint64_t total(const struct qm_model *m, int64_t context) {
    struct qm_workload w = workload;
    struct qm_memory_table t;
    w.context = context;
    qm_memory_estimate(m, &w, &t);
    return t.total;
}

static void test_usable(void **state) {
    (void)state;
    assert_int_equal(qm_fit_usable(0), 0);
    assert_int_equal(qm_fit_usable(QM_MEMORY_RESERVE), 0);
    assert_int_equal(qm_fit_usable((uint64_t)QM_MEMORY_RESERVE + 5), 5);
}

/* With just the bytes of each context it is that one, and with one byte less the one before. */
static void test_context(void **state) {
    (void)state;
    struct qm_model *m = open_model();
    m->config.default_positions = 8 * QM_CONTEXT_STEP + 100;
    for (int64_t n = 1; n <= 8; n++) {
        uint64_t bytes = total(m, n * QM_CONTEXT_STEP);
        assert_int_equal(qm_fit_context(m, NULL, &workload, bytes), n * QM_CONTEXT_STEP);
        assert_int_equal(qm_fit_context(m, NULL, &workload, bytes - 1), (n - 1) * QM_CONTEXT_STEP);
    }
    assert_int_equal(qm_fit_context(m, NULL, &workload, UINT64_MAX), 8 * QM_CONTEXT_STEP);
    assert_int_equal(qm_fit_context(m, NULL, &workload, 0), 0);
    m->config.default_positions = QM_CONTEXT_STEP - 1;
    assert_int_equal(qm_fit_context(m, NULL, &workload, UINT64_MAX), 0);
    qm_model_close(m);
}

static void test_pool(void **state) {
    (void)state;
    enum { BESIDE = 1000 };
    struct qm_model *m = open_model();
    struct qm_workload w = workload;
    struct qm_memory_table t;
    w.context = 4096;
    qm_memory_estimate(m, &w, &t);
    uint64_t others = t.weights + t.scratch + BESIDE;
    assert_int_equal(qm_fit_kv_memory(m, &w, BESIDE, others + t.kv), 0);
    assert_int_equal(qm_fit_kv_memory(m, &w, BESIDE, others + t.kv - 1), t.kv - 1);
    assert_int_equal(qm_fit_kv_memory(m, &w, BESIDE, others + 1), 1);
    assert_int_equal(qm_fit_kv_memory(m, &w, BESIDE, others), 0);
    assert_int_equal(qm_fit_kv_memory(m, &w, BESIDE, 0), 0);
    qm_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usable),
        cmocka_unit_test(test_context),
        cmocka_unit_test(test_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
