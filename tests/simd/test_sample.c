/* Kernels of sampling a token: every table's bits are the scalar ones', and those are held to float64. */
#include "tests/simd/check.h"

#include <float.h>
#include <math.h>

enum { MOST = 200 };

/* Logits of every kind, at an odd address. */
static void fill(float *z, int64_t n, uint64_t *random) {
    static const float odd[] = {NAN, INFINITY, -INFINITY, -0.0f, 0, -FLT_MAX, FLT_MIN, -FLT_MIN / 2};
    for (int64_t i = 0; i < n; i++)
        z[i] = next_random(random) % 9 ? next_float(random) * 100 : odd[next_random(random) % 8];
}

static void test_same_bits(void **state) {
    (void)state;
    const struct qm_kernels *tables[QM_ISA_COUNT];
    int count = available_tables(tables);
    uint64_t random = 3;
    for (int64_t n = 0; n <= MOST; n++) {
        struct buffer z = buffer_new((size_t)n * 4), w[2] = {buffer_new((size_t)n * 4), buffer_new((size_t)n * 4)};
        struct buffer ids = buffer_new((size_t)(n + 16) * 4);
        float *x = (float *)z.data, scale = next_random(&random) % 4 ? next_float(&random) + 1 : FLT_MAX;
        int32_t *chosen = (int32_t *)ids.data;
        fill(x, n, &random);
        float max = tables[0]->greatest_finite(x, n), least = next_float(&random) * 100;
        double sum = tables[0]->sampling_weights((float *)w[0].data, x, n, max, scale);
        for (int i = 0; i < count; i++) {
            const struct qm_kernels *t = tables[i];
            float top = t->greatest_finite(x, n);
            assert_true(top == max);
            double other = t->sampling_weights((float *)w[1].data, x, n, max, scale);
            assert_memory_equal(&other, &sum, sizeof sum);
            assert_memory_equal(w[1].data, w[0].data, (size_t)n * 4);
            int64_t found = t->select_at_least(chosen, x, n, least), at = 0;
            for (int64_t j = 0; j < n; j++)
                if (x[j] >= least)
                    assert_true(at < found && chosen[at++] == j);
            assert_int_equal(at, found);
        }
        buffer_free(&z);
        buffer_free(&w[0]);
        buffer_free(&w[1]);
        buffer_free(&ids);
    }
}

static void test_weights(void **state) {
    (void)state;
    enum { N = 4096 };
    static float z[N], w[N];
    const struct qm_kernels *tables[QM_ISA_COUNT];
    int count = available_tables(tables);
    for (int i = 0; i < count; i++)
        for (float step = 1e-7f; step < 0.05f; step *= 1.37f) {
            double sum = 0;
            for (int j = 0; j < N; j++)
                z[j] = 7 - (float)j * step;
            double total = tables[i]->sampling_weights(w, z, N, 7, 1.25f);
            for (int j = 0; j < N; j++) {
                double exponent = (double)(z[j] - 7) * 1.25, want = exp2(exponent);
                if (!(fabs((double)w[j] - want) <= (1.2 - exponent) * 0x1p-24 * want + 0x1p-125))
                    fail_msg("%s: 2^%g is %g", qm_isa_name(tables[i]->isa), exponent, (double)w[j]);
                sum += (double)w[j];
            }
            assert_true(w[0] == 1);
            assert_true(fabs(total - sum) <= 1e-12 * sum);
        }
}

/* What is not finite, and what is too small, weighs exactly nothing; whatever the scale. */
static void test_nothing(void **state) {
    (void)state;
    const struct qm_kernels *tables[QM_ISA_COUNT];
    int count = available_tables(tables);
    const float z[] = {NAN, INFINITY, -INFINITY, 3, 3 - 125.5f, 3}, scales[] = {0, 1, FLT_MAX};
    for (int i = 0; i < count; i++) {
        for (int s = 0; s < 3; s++) {
            float w[6];
            double sum = tables[i]->sampling_weights(w, z, 6, 3, scales[s]);
            assert_true(w[0] == 0 && w[1] == 0 && w[2] == 0 && w[3] == 1 && w[5] == 1);
            assert_true(w[4] == (s ? 0 : 1) && sum == (s ? 2 : 3));
        }
        assert_true(tables[i]->greatest_finite(z, 3) == -INFINITY);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
