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

/* Drafts take their part of what there is: a model with as much of the pool as the other, and the rest. */
static void test_drafts(void **state) {
    (void)state;
    enum { BESIDE = 1000, OTHER = 777 };
    struct qm_model *m = open_model(), *small = open_model();
    struct qm_workload w = workload, drafts;
    struct qm_memory_table t, alone;
    w.context = 4096;
    qm_memory_estimate(m, &w, &alone);
    w.drafts = (struct qm_draft_memory){.bytes = OTHER};
    qm_memory_estimate(m, &w, &t);
    assert_int_equal(t.drafts, OTHER);
    assert_int_equal(t.total, alone.total + OTHER);
    assert_int_equal(qm_fit_kv_memory(m, &w, BESIDE, t.total + BESIDE - 1), t.kv - 1);
    small->config.max_positions = 1000;
    w.drafts.model = small;
    qm_memory_draft_workload(m, &w, &drafts);
    assert_int_equal(drafts.context, 1000);
    assert_int_equal(drafts.sequences, w.sequences);
    assert_int_equal(drafts.kv_memory, 0);
    small->config.max_positions = 8192;
    qm_memory_estimate(m, &w, &t);
    assert_int_equal(t.drafts, OTHER + alone.total); /* it is the same model */
    assert_int_equal(t.total, OTHER + 2 * alone.total);
    assert_int_equal(qm_fit_kv_memory(m, &w, BESIDE, t.total + BESIDE), 0);
    uint64_t usable = t.total + BESIDE - t.kv, pool = qm_fit_kv_memory(m, &w, BESIDE, usable);
    assert_true(pool > t.kv / 3 && pool < t.kv);
    w.kv_memory = pool;
    qm_memory_draft_workload(m, &w, &drafts);
    assert_true(drafts.kv_memory <= pool && drafts.kv_memory + 1 >= pool);
    qm_memory_estimate(m, &w, &t);
    assert_true(t.total + BESIDE <= usable);
    w.kv_memory = pool + 2 * (1 << 16); /* two pages more */
    qm_memory_estimate(m, &w, &t);
    assert_true(t.weights + t.scratch + w.kv_memory + t.drafts + BESIDE > usable);
    qm_model_close(small);
    qm_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usable),
        cmocka_unit_test(test_context),
        cmocka_unit_test(test_drafts),
        cmocka_unit_test(test_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
