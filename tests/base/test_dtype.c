/* Conversions of single values, exhaustively over the 16-bit types, against ldexp arithmetic in double. */
#include "base/dtype.h"

#include <math.h>

#include "tests/support/support.h"

static uint32_t bits(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    return u;
}

static void names_and_sizes(void **state) {
    (void)state;
    static const struct {
        enum qm_dtype type;
        const char *name;
        size_t size;
    } all[] = {{QM_BF16, "BF16", 2}, {QM_F16, "F16", 2},         {QM_F32, "F32", 4},         {QM_MXFP4, "MXFP4", 0},
               {QM_U8, "U8", 1},     {QM_F8_E4M3, "F8_E4M3", 1}, {QM_F8_E8M0, "F8_E8M0", 1}, {QM_I8, "I8", 1},
               {QM_I32, "I32", 4},   {QM_I64, "I64", 8}};
    assert_int_equal(sizeof all / sizeof *all, QM_DTYPE_COUNT);
    for (size_t i = 0; i < QM_DTYPE_COUNT; i++) {
        assert_string_equal(qm_dtype_name(all[i].type), all[i].name);
        assert_int_equal(qm_dtype_size(all[i].type), all[i].size);
    }
    assert_string_equal(qm_dtype_name(QM_DTYPE_COUNT), "?");
    assert_int_equal(qm_dtype_size(QM_DTYPE_COUNT), 0);
}

/* The value of a finite 16-bit float with `e` exponent bits. */
static double value16(uint32_t h, int exponent_bits) {
    int fraction_bits = 15 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
    int exponent = (int)(h >> fraction_bits) & ((1 << exponent_bits) - 1);
    int fraction = (int)h & ((1 << fraction_bits) - 1);
    double x = exponent ? ldexp(fraction + (1 << fraction_bits), exponent - bias - fraction_bits)
                        : ldexp(fraction, 1 - bias - fraction_bits);
    return h >> 15 ? -x : x;
}

static void every_value_widens_exactly(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float b = qm_f32_from_bf16((uint16_t)h), f = qm_f32_from_f16((uint16_t)h);
        if ((h >> 7 & 255) == 255)
            assert_true(h & 127 ? isnan(b) : isinf(b));
        else
            assert_true((double)b == value16(h, 8));
        if ((h >> 10 & 31) == 31)
            assert_true(h & 1023 ? isnan(f) : isinf(f));
        else
            assert_true((double)f == value16(h, 5));
        assert_int_equal(signbit(b) != 0, h >> 15);
        assert_int_equal(signbit(f) != 0, h >> 15);
    }
}

static void every_value_comes_back(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        uint16_t b = qm_bf16_from_f32(qm_f32_from_bf16((uint16_t)h)), f = qm_f16_from_f32(qm_f32_from_f16((uint16_t)h));
        int bf16_nan = (h & 0x7FFF) > 0x7F80, f16_nan = (h & 0x7FFF) > 0x7C00;
        assert_int_equal(b, bf16_nan ? h | 0x40 : h); /* NaN: quiet, sign and payload kept */
        assert_int_equal(f, f16_nan ? h | 0x200 : h);
    }
}

/* Between each pair of neighbours: the middle goes to the even one, a float below down, a float above up. */
static void check_rounding(uint16_t (*narrow)(float), int exponent_bits, uint32_t largest) {
    for (uint32_t h = 0; h < largest; h++) {
        double low = value16(h, exponent_bits), high = value16(h + 1, exponent_bits);
        float middle = (float)((low + high) / 2);
        if ((double)middle != (low + high) / 2)
            continue; /* not a float: the neighbours are themselves the closest subnormals */
        uint16_t even = (uint16_t)(h & 1 ? h + 1 : h);
        for (uint32_t sign = 0; sign < 2; sign++) {
            float s = sign ? -1 : 1;
            assert_int_equal(narrow(s * middle), even | sign << 15);
            assert_int_equal(narrow(s * nextafterf(middle, 0)), h | sign << 15);
            assert_int_equal(narrow(s * nextafterf(middle, INFINITY)), (h + 1) | sign << 15);
            assert_int_equal(narrow(s * nextafterf((float)high, 0)), (h + 1) | sign << 15);
        }
    }
}

static uint16_t narrow_bf16(float x) {
    return qm_bf16_from_f32(x);
}

static void rounds_to_nearest_even_everywhere(void **state) {
    (void)state;
    check_rounding(narrow_bf16, 8, 0x7F7F);
    check_rounding(qm_f16_from_f32, 5, 0x7BFF);
}

static void beyond_the_largest_is_infinity(void **state) {
    (void)state;
    assert_int_equal(qm_f16_from_f32(65504), 0x7BFF);
    assert_int_equal(qm_f16_from_f32(nextafterf(65520, 0)), 0x7BFF);
    assert_int_equal(qm_f16_from_f32(65520), 0x7C00);
    assert_int_equal(qm_f16_from_f32(-3e38f), 0xFC00);
    assert_int_equal(qm_f16_from_f32(INFINITY), 0x7C00);
    float largest_bf16 = qm_f32_from_bf16(0x7F7F), half = ldexpf(1, 127 - 8);
    assert_int_equal(qm_bf16_from_f32(nextafterf(largest_bf16 + half, 0)), 0x7F7F);
    assert_int_equal(qm_bf16_from_f32(largest_bf16 + half), 0x7F80);
    assert_int_equal(qm_bf16_from_f32(-INFINITY), 0xFF80);
}

static void below_the_least_is_a_signed_zero(void **state) {
    (void)state;
    assert_int_equal(qm_f16_from_f32(0x1p-25f), 0); /* the middle between 0 and the least: even */
    assert_int_equal(qm_f16_from_f32(nextafterf(0x1p-25f, 1)), 1);
    assert_int_equal(qm_f16_from_f32(-0x1p-26f), 0x8000);
    assert_int_equal(qm_f16_from_f32(-0.0f), 0x8000);
    assert_int_equal(qm_bf16_from_f32(-0.0f), 0x8000);
    assert_int_equal(qm_bf16_from_f32(1e-45f), 0);
}

/* A NaN whose payload is only in the bits that are dropped must not become infinity. */
static void nan_stays_nan(void **state) {
    (void)state;
    for (int i = 0; i < 23; i++) {
        for (uint32_t sign = 0; sign < 2; sign++) {
            uint32_t u = sign << 31 | 0x7F800000u | 1u << i;
            float x;
            memcpy(&x, &u, 4);
            assert_int_equal(qm_bf16_from_f32(x) >> 15, sign);
            assert_true(isnan(qm_f32_from_bf16(qm_bf16_from_f32(x))));
            assert_int_equal(qm_f16_from_f32(x) >> 15, sign);
            assert_true(isnan(qm_f32_from_f16(qm_f16_from_f32(x))));
        }
    }
    assert_int_equal(bits(qm_f32_from_f16(0x7E01)), 0x7FC02000u);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_sizes),
        cmocka_unit_test(every_value_widens_exactly),
        cmocka_unit_test(every_value_comes_back),
        cmocka_unit_test(rounds_to_nearest_even_everywhere),
        cmocka_unit_test(beyond_the_largest_is_infinity),
        cmocka_unit_test(below_the_least_is_a_signed_zero),
        cmocka_unit_test(nan_stays_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
