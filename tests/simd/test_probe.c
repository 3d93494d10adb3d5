/* The probes of every instruction set: each line that is asked for is read, and the multiply-adds are done. */
#include <math.h>

#include "tests/simd/check.h"
#include "tests/support/amx_kernels.h"

enum { LINE = 64, LINES = 32 };

static void test_reads(void **state) {
    (void)state;
    const struct qm_kernels *tables[QM_ISA_COUNT];
    int n = available_tables(tables);
    struct buffer b = buffer_new((size_t)LINES * LINE);
    memset(b.data, 0, b.size);
    for (int t = 0; t < n; t++) {
        assert_int_equal(tables[t]->read_lanes(b.data, LINE, (size_t)LINE * 4, LINES / 4), 0);
        for (size_t at = 0; at < b.size; at += 8) {
            b.data[at] = 1;
            assert_int_not_equal(tables[t]->read_lanes(b.data, LINE, (size_t)LINE * 4, LINES / 4), 0);
            assert_int_not_equal(tables[t]->read_lanes(b.data, (size_t)LINES / 4 * LINE, LINE, LINES / 4), 0);
            b.data[at] = 0;
        }
    }
    buffer_free(&b);
}

static void test_flush(void **state) {
    (void)state;
    const struct qm_kernels *tables[QM_ISA_COUNT];
    int n = available_tables(tables);
    struct buffer b = buffer_new((size_t)LINES * LINE);
    for (int t = 0; t < n; t++) {
        memset(b.data, t + 1, b.size);
        tables[t]->flush_lines(b.data, LINES);
        for (size_t at = 0; at < b.size; at++)
            assert_int_equal(b.data[at], t + 1);
    }
    buffer_free(&b);
}

static void test_peaks(void **state) {
    (void)state;
    struct qm_kernels model;
    const struct qm_kernels *tables[QM_ISA_COUNT + 1];
    int n = available_tables(tables);
    test_amx_kernels(&model);
    tables[n++] = &model;
    for (int t = 0; t < n; t++) {
        float f[16], g[16];
        for (int i = 0; i < 16; i++)
            f[i] = g[i] = (float)i + 1;
        double once = tables[t]->peak_f32(1, f), ten = tables[t]->peak_f32(10, f);
        assert_true(once >= 16);
        assert_float_equal(ten, 10 * once, 0);
        once = tables[t]->peak_bf16(1, g);
        ten = tables[t]->peak_bf16(10, g);
        assert_true(once >= 16);
        assert_float_equal(ten, 10 * once, 0);
        for (int i = 0; i < 16; i++)
            assert_true(isfinite(f[i]) && isfinite(g[i]));
        assert_true(f[0] != 1 && g[0] != 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reads), cmocka_unit_test(test_flush),
                                       cmocka_unit_test(test_peaks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
