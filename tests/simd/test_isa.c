/* Names and detection of instruction sets, and the conversions of half precision over every value. */
#include "tests/simd/check.h"

#include <math.h>

static void names(void **state) {
    (void)state;
    struct qm_error err;
    enum qm_isa isa = QM_ISA_SCALAR;
    for (int i = 0; i < QM_ISA_COUNT; i++) {
        assert_int_equal(qm_isa_parse(qm_isa_name((enum qm_isa)i), &isa, &err), QM_OK);
        assert_int_equal(isa, i);
    }
    assert_int_equal(qm_isa_parse("avx1024", &isa, &err), QM_USAGE);
    assert_non_null(strstr(err.message, "avx512bf16"));
    assert_string_equal(qm_isa_name(QM_ISA_COUNT), "unknown");
}

/* What runs is the best and all below it, and perhaps amx, which is never the best; each has a full table of its
 * own. */
static void detection(void **state) {
    (void)state;
    struct qm_error err;
    enum qm_isa best = qm_isa_best();
    assert_true(best < QM_ISA_AMX);
    enum qm_isa chosen = qm_isa_auto();
    assert_true(chosen == best || (best == QM_ISA_AVX512BF16 && chosen == QM_ISA_AVX512));
    assert_int_equal(qm_isa_auto(), chosen);
    for (int i = 0; i < QM_ISA_COUNT; i++) {
        const struct qm_kernels *t = NULL, *again = NULL;
        int rc = qm_kernels_get((enum qm_isa)i, &t, &err);
        if (i != QM_ISA_AMX)
            assert_int_equal(rc, i <= (int)best ? QM_OK : QM_FIT);
        if (rc) {
            assert_int_equal(rc, QM_FIT);
            assert_non_null(strstr(err.message, qm_isa_name((enum qm_isa)i)));
            continue;
        }
        assert_int_equal(qm_kernels_get((enum qm_isa)i, &again, &err), QM_OK);
        assert_ptr_equal(t, again);
        assert_int_equal(t->isa, i);
        assert_true(t->rmsnorm && t->find_nonfinite && t->type[QM_MXFP4].product && t->type[QM_F32].pack);
    }
    if (best < QM_ISA_AVX512BF16) {
        assert_int_equal(qm_isa_check(QM_ISA_AMX, &err), QM_FIT);
        assert_non_null(strstr(err.message, "AVX512_BF16 AMX_TILE AMX_BF16"));
    }
    assert_int_equal(qm_isa_check(QM_ISA_COUNT, &err), QM_FIT);
}

/* The value of a binary16 from its fields. */
static double half_value(uint16_t h) {
    int exponent = h >> 10 & 31, fraction = h & 1023;
    double magnitude = exponent == 31 ? (fraction ? NAN : INFINITY)
                       : exponent     ? ldexp(1024 + fraction, exponent - 25)
                                      : ldexp(fraction, -24);
    return h & 0x8000 ? -magnitude : magnitude;
}

/* Each way and back; ties between neighbours go to the even one. */
static void halves(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float x = qm_f32_from_f16((uint16_t)h), y = qm_f32_from_bf16((uint16_t)h);
        double want = half_value((uint16_t)h);
        if (isnan(want)) {
            assert_true(isnan(x) && isnan(qm_f32_from_f16(qm_f16_from_f32(x))));
        } else {
            assert_true((double)x == want && qm_f16_from_f32(x) == h);
            if ((h & 0x7FFF) < 0x7BFF) {
                double next = half_value((uint16_t)(h + 1));
                assert_int_equal(qm_f16_from_f32((float)((want + next) / 2)), (h + 1) & ~1u);
            }
        }
        if (isnan(y)) {
            assert_true(isnan(qm_f32_from_bf16(qm_bf16_from_f32(y))));
            continue;
        }
        assert_int_equal(qm_bf16_from_f32(y), h);
        for (uint32_t low = 0x7FFF; !isinf(y) && low <= 0x8001; low++) {
            uint32_t u = h << 16 | low;
            float between;
            memcpy(&between, &u, 4);
            assert_int_equal(qm_bf16_from_f32(between), low < 0x8000 ? h : low > 0x8000 ? h + 1 : (h + 1) & ~1u);
        }
    }
}

/* Every binary16 as a weight, times 1. */
static void halves_in_products(void **state) {
    (void)state;
    const struct qm_kernels *tables[QM_ISA_COUNT];
    int count = available_tables(tables);
    struct buffer b = buffer_new(4096 * 64), c = buffer_new(65536 * 4), a = buffer_new(64);
    float one = 1;
    for (int h = 0; h < 65536; h++)
        ((uint16_t *)b.data)[h / 16 * 32 + h % 16] = (uint16_t)h;
    for (int i = 0; i < count; i++) {
        tables[i]->type[QM_F16].pack(a.data, &one, 1, NULL, 1, 1);
        tables[i]->type[QM_F16].product(&(struct qm_product){.a = a.data,
                                                             .m = 1,
                                                             .k = 1,
                                                             .b = b.data,
                                                             .n_panels = 4096,
                                                             .panel_stride = 64,
                                                             .c = (float *)c.data,
                                                             .ldc = 65536});
        for (int h = 0; h < 65536; h++) {
            double want = half_value((uint16_t)h), got = (double)((float *)c.data)[h];
            assert_true(isnan(want) ? isnan(got) : got == want);
        }
    }
    buffer_free(&a), buffer_free(&b), buffer_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(detection),
        cmocka_unit_test(halves),
        cmocka_unit_test(halves_in_products),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
