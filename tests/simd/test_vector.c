/* Kernels over rows and attention splits: every table against float64, and what they promise of special values. */
#include "tests/simd/check.h"

#include <float.h>
#include <math.h>

/* |got - want| within `ulps` of want's float spacing; both NaN, or equal infinities, agree. Results that float64
 * puts below the least normal float may be 0. */
static void check_close(double want, float got, double ulps, const char *what, const struct qm_kernels *t) {
    if (isnan(want) ? isnan(got) : (isinf(want) && (double)got == want))
        return;
    if (!(fabs(got - want) <= ulps * FLT_EPSILON * fabs(want) + FLT_MIN))
        fail_msg("%s %s: %.9g, not %.9g", qm_isa_name(t->isa), what, (double)got, want);
}

/* exp over the whole negative range, as softmax_split computes it against a maximum of 0. */
static void exp_of_negative(void **state) {
    (void)state;
    enum { N = 4096 };
    const struct qm_kernels *tables[QM_ISA_COUNT];
    int count = available_tables(tables);
    static float s[N], x[N];
    for (int i = 0; i < count; i++)
        for (float step = 1e-7f; step < 0.05f; step *= 1.37f) {
            for (int j = 0; j < N; j++)
                s[j] = x[j] = -(float)j * step;
            float max, sum;
            tables[i]->softmax_split(s, N, 0, N, 1, &max, &sum);
            assert_true(max == 0 && s[0] == 1);
            for (int j = 0; j < N; j++) {
                check_close(exp((double)x[j]), s[j], 1.5, "exp", tables[i]);
                if (x[j] < -87.34f)
                    assert_true(s[j] == 0);
            }
        }
}

/* Two roundings of 1 + e and of the division beside exp's own error. */
static void gates(void **state) {
    (void)state;
    enum { PANELS = 64, N = PANELS * 16 };
    const struct qm_kernels *tables[QM_ISA_COUNT];
    int count = available_tables(tables);
    static float gu[2 * N], out[N];
    for (int i = 0; i < count; i++) {
        for (int j = 0; j < N; j++) {
            gu[j / 16 * 32 + j % 16] = (float)(j - N / 2) * 0.17f;
            gu[j / 16 * 32 + 16 + j % 16] = (float)(j % 37 - 18) * 0.7f;
        }
        gu[0] = NAN, gu[1] = INFINITY, gu[2] = -1e30f, gu[3] = 1, gu[3 + 16] = NAN;
        tables[i]->silu_mul(out, gu, PANELS);
        for (int j = 0; j < N; j++) {
            double g = gu[j / 16 * 32 + j % 16], u = gu[j / 16 * 32 + 16 + j % 16];
            double want = g < -88 ? 0 : g / (1 + exp(-g)) * u;
            check_close(want, out[j], 5, "silu_mul", tables[i]);
        }
        tables[i]->swiglu_clamped(out, gu, PANELS, 7);
        for (int j = 0; j < N; j++) {
            double g = gu[j / 16 * 32 + j % 16], u = gu[j / 16 * 32 + 16 + j % 16];
            g = g > 7 ? 7 : g, u = u > 7 ? 7 : u < -7 ? -7 : u;
            double want = (u + 1) * g / (1 + exp(-(double)1.702f * g));
            /* the rounding of 1.702 g grows with |g| in the exponent; that of u + 1 near its zero is absolute */
            double loose = 6 + 1.702 * fabs(g) + (fabs(u + 1) < 0.5 ? 64 : 0);
            if (g < -51) /* exp near or past the largest float */
                assert_true(fabs((double)out[j]) < 1e-35);
            else
                check_close(want, out[j], loose, "swiglu_clamped", tables[i]);
        }
    }
}

static void rows_of_any_length(void **state) {
    (void)state;
    static const int64_t sizes[] = {1, 2, 7, 16, 17, 63, 64, 129, 2560};
    const struct qm_kernels *tables[QM_ISA_COUNT];
    int count = available_tables(tables);
    for (int i = 0; i < count; i++)
        for (size_t a = 0; a < sizeof sizes / sizeof *sizes; a++) {
            const struct qm_kernels *t = tables[i];
            int64_t n = sizes[a];
            struct buffer xs = buffer_new((size_t)n * 4), ys = buffer_new((size_t)n * 4),
                          os = buffer_new((size_t)n * 4);
            float *x = (float *)xs.data, *y = (float *)ys.data, *o = (float *)os.data;
            fill_floats(x, n, 3), fill_floats(y, n, 4);
            double squares = 0, total = 0;
            for (int64_t j = 0; j < n; j++)
                squares += (double)x[j] * x[j], total += exp((double)x[j]);
            t->rmsnorm(o, x, y, n, 1e-6f);
            for (int64_t j = 0; j < n; j++)
                check_close(x[j] / sqrt(squares / (double)n + 1e-6) * y[j], o[j], 6 + (double)n / 32, "rmsnorm", t);
            memcpy(o, x, (size_t)n * 4);
            t->rmsnorm(o, o, y, n, 1e-6f);
            t->softmax(memcpy(o, x, (size_t)n * 4), n);
            for (int64_t j = 0; j < n; j++)
                check_close(exp((double)x[j]) / total, o[j], 8 + (double)n / 32, "softmax", t);
            t->add(memcpy(o, x, (size_t)n * 4), y, n);
            for (int64_t j = 0; j < n; j++)
                assert_true(o[j] == x[j] + y[j]);
            t->axpy(memcpy(o, x, (size_t)n * 4), 0.3f, y, n);
            for (int64_t j = 0; j < n; j++)
                assert_true(o[j] == fmaf(0.3f, y[j], x[j]));
            int64_t even = n / 2 * 2;
            t->rope(memcpy(o, x, (size_t)n * 4), y, even);
            for (int64_t j = 0; j < even / 2; j++) {
                double x0 = x[j], x1 = x[j + even / 2], c = y[j], s = y[j + even / 2];
                assert_true(fabs(o[j] - (x0 * c - x1 * s)) <= 2 * FLT_EPSILON);
                assert_true(fabs(o[j + even / 2] - (x1 * c + x0 * s)) <= 2 * FLT_EPSILON);
            }
            buffer_free(&xs), buffer_free(&ys), buffer_free(&os);
        }
}

/* Masked slots are 0 whatever they held; more masked slots change no bit; no slots give the empty split. */
static void masked_splits(void **state) {
    (void)state;
    enum { N = 96 };
    const struct qm_kernels *tables[QM_ISA_COUNT];
    int count = available_tables(tables);
    for (int i = 0; i < count; i++) {
        for (int lo = -3; lo < N; lo += 7)
            for (int hi = lo; hi <= N + 4; hi += 5) {
                float s[N], wide[N + 32], max, sum, wide_max, wide_sum, x[N];
                double top = -INFINITY, total = 0;
                fill_floats(x, N, (uint64_t)(lo + 5));
                for (int j = 0; j < N; j++) {
                    int open = j >= lo && j < hi;
                    s[j] = open ? x[j] * 50 : j % 3 ? NAN : INFINITY;
                    top = open && (double)(s[j] * 0.3f) > top ? (double)(s[j] * 0.3f) : top;
                }
                memcpy(wide, s, sizeof s);
                memset(wide + N, 0xFF, 32 * sizeof *wide);
                memcpy(x, s, sizeof s);
                tables[i]->softmax_split(s, N, lo, hi, 0.3f, &max, &sum);
                tables[i]->softmax_split(wide, N + 32, lo, hi < N ? hi : N, 0.3f, &wide_max, &wide_sum);
                assert_memory_equal(s, wide, sizeof s);
                assert_true(wide_max == max && wide_sum == sum && (double)max == top);
                for (int j = 0; j < N; j++) {
                    int open = j >= lo && j < hi;
                    assert_true(open || s[j] == 0);
                    total += (double)s[j];
                    if (open)
                        check_close(exp((double)fmaf(x[j], 0.3f, -max)), s[j], 1.5, "softmax_split", tables[i]);
                }
                check_close(total, sum, 16, "softmax_split's sum", tables[i]);
            }
        float s[32] = {0}, max = 1, sum = 1;
        tables[i]->softmax_split(s, 32, 5, 5, 1, &max, &sum);
        assert_true(max == -INFINITY && sum == 0);
    }
}

/* Splits merged in order agree with one softmax; an empty one changes nothing, first or later. */
static void merged_splits(void **state) {
    (void)state;
    enum { N = 37 };
    const struct qm_kernels *tables[QM_ISA_COUNT];
    int count = available_tables(tables);
    for (int i = 0; i < count; i++) {
        float acc[N] = {0}, am = -INFINITY, as = 0, o[N], garbage[N];
        static const float maxima[] = {-3, 90, -200, 90.5f};
        double want[N] = {0}, total = 0;
        memset(garbage, 0xFF, sizeof garbage);
        tables[i]->merge_split(acc, &am, &as, garbage, -INFINITY, 0, N);
        assert_true(am == -INFINITY && as == 0 && acc[0] == 0);
        for (int split = 0; split < 4; split++) {
            fill_floats(o, N, (uint64_t)split);
            tables[i]->merge_split(acc, &am, &as, o, maxima[split], (float)(split + 1), N);
            tables[i]->merge_split(acc, &am, &as, garbage, -INFINITY, 0, N);
            total += (split + 1) * exp((double)maxima[split] - 90.5);
            for (int j = 0; j < N; j++)
                want[j] += (double)o[j] * exp((double)maxima[split] - 90.5);
        }
        check_close(total, as, 8, "merge_split's sum", tables[i]);
        for (int j = 0; j < N; j++)
            assert_true(fabs(acc[j] - want[j]) <= 8 * FLT_EPSILON);
        o[3] = NAN;
        tables[i]->merge_split(acc, &am, &as, o, 1, 1, N);
        for (int j = 0; j < N; j++)
            assert_int_equal(isnan(acc[j]) != 0, j == 3);
    }
}

/* A NaN among a row's values reaches what is computed from it. */
static void nan_is_kept(void **state) {
    (void)state;
    const struct qm_kernels *tables[QM_ISA_COUNT];
    int count = available_tables(tables);
    for (int i = 0; i < count; i++) {
        float x[32] = {0}, w[32] = {1}, max, sum;
        x[20] = NAN;
        tables[i]->softmax_split(x, 32, 0, 32, 1, &max, &sum);
        assert_true(isnan(x[20]) && isnan(sum) && max == 0);
        tables[i]->softmax(x, 32);
        assert_true(isnan(x[0]) && isnan(x[20]));
        tables[i]->rmsnorm(x, x, w, 32, 1e-6f);
        assert_true(isnan(x[1]));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_of_negative), cmocka_unit_test(gates),         cmocka_unit_test(rows_of_any_length),
        cmocka_unit_test(masked_splits),   cmocka_unit_test(merged_splits), cmocka_unit_test(nan_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
