/* AMX on the model of its instructions: the order of accumulation to the last bit, denormals, tiles given back; and
 * that the model refuses what the CPU would. */
#include "tests/support/amx_model.h"

#include "tests/simd/check.h"
#include "tests/support/amx_kernels.h"

/* a: m packed rows' BF16 values, [m][k]; w: [16 panels][k] likewise. */
struct operands {
    int64_t m, panels, k;
    float *a, *w;
    struct buffer packed, b, c;
};

static struct operands operands_new(const struct qm_kernels *t, int64_t m, int64_t panels, int64_t k) {
    struct operands o = {.m = m, .panels = panels, .k = k};
    o.a = malloc((size_t)(m * k) * sizeof *o.a);
    o.w = malloc((size_t)(panels * 16 * k) * sizeof *o.w);
    assert_true(o.a && o.w);
    fill_floats(o.a, m * k, 3);
    fill_floats(o.w, panels * 16 * k, 5);
    o.packed = buffer_new(t->type[QM_BF16].packed_bytes(m, k));
    o.b = buffer_new((size_t)panels * qm_panel_bytes(QM_BF16, k));
    o.c = buffer_new((size_t)(m * panels * 16) * sizeof(float));
    return o;
}

static void operands_free(struct operands *o) {
    free(o->a);
    free(o->w);
    buffer_free(&o->packed);
    buffer_free(&o->b);
    buffer_free(&o->c);
}

static float rounded(float x) {
    return qm_f32_from_bf16(qm_bf16_from_f32(x));
}

static void multiply(const struct operands *o, const struct qm_kernels *t, int accumulate) {
    uint16_t *b = (uint16_t *)o->b.data;
    memset(b, 0, o->b.size);
    for (int64_t n = 0; n < o->panels * 16; n++)
        for (int64_t k = 0; k < o->k; k++)
            b[n / 16 * ((o->k + 1) / 2 * 32) + (k / 2 * 16 + n % 16) * 2 + k % 2] =
                qm_bf16_from_f32(o->w[n * o->k + k]);
    t->type[QM_BF16].pack(o->packed.data, o->a, o->k, NULL, o->m, o->k);
    t->type[QM_BF16].product(&(struct qm_product){.a = o->packed.data,
                                                  .m = o->m,
                                                  .k = o->k,
                                                  .b = o->b.data,
                                                  .n_panels = o->panels,
                                                  .panel_stride = qm_panel_bytes(QM_BF16, o->k),
                                                  .c = (float *)o->c.data,
                                                  .ldc = o->panels * 16,
                                                  .accumulate = accumulate});
    assert_false(test_amx_configured());
}

/* An element as simd/kernels.h says: each 32 k from zero, even and odd apart. */
static float element(const struct operands *o, int64_t i, int64_t n, float c) {
    for (int64_t from = 0; from < o->k; from += 32) {
        float sum[2] = {0, 0};
        for (int64_t k = from; k < from + 32 && k < o->k; k++)
            sum[k % 2] = amx_fma(rounded(o->a[i * o->k + k]), rounded(o->w[n * o->k + k]), sum[k % 2]);
        c = amx_add(c, amx_add(sum[0], sum[1]));
    }
    return c;
}

static void order(void **state) {
    (void)state;
    static const int64_t ms[] = {1, 2, 15, 16, 17, 31, 32, 33, 49, 64, 71}, ks[] = {1, 2, 31, 32, 33, 63, 544, 1055};
    struct qm_kernels t;
    test_amx_kernels(&t);
    for (size_t x = 0; x < sizeof ms / sizeof *ms; x++)
        for (size_t y = 0; y < sizeof ks / sizeof *ks; y++)
            for (int accumulate = 0; accumulate < 2; accumulate++) {
                struct operands o = operands_new(&t, ms[x], 1 + (int64_t)(x + y) % 6, ks[y]);
                float *c = (float *)o.c.data;
                for (int64_t i = 0; i < o.m * o.panels * 16; i++)
                    c[i] = (float)i;
                multiply(&o, &t, accumulate);
                for (int64_t i = 0; i < o.m; i++)
                    for (int64_t n = 0; n < o.panels * 16; n++) {
                        int64_t at = i * o.panels * 16 + n;
                        float want = element(&o, i, n, accumulate ? (float)at : 0);
                        assert_memory_equal(&c[at], &want, sizeof want);
                    }
                operands_free(&o);
            }
}

/* A block of 512 rows is followed by another. */
static void many_rows(void **state) {
    (void)state;
    enum { M = 517, K = 40 };
    struct qm_kernels t;
    test_amx_kernels(&t);
    struct operands o = operands_new(&t, M, 3, K);
    multiply(&o, &t, 0);
    for (int64_t i = 0; i < M; i++)
        for (int64_t n = 0; n < 48; n++) {
            float want = element(&o, i, n, 0);
            assert_memory_equal((float *)o.c.data + i * 48 + n, &want, sizeof want);
        }
    operands_free(&o);
}

/* Denormal activations and weights count as zero, and so does a denormal sum. */
static void denormals(void **state) {
    (void)state;
    struct qm_kernels t;
    test_amx_kernels(&t);
    struct operands o = operands_new(&t, 1, 1, 2);
    float *c = (float *)o.c.data;
    memset(o.w, 0, 32 * sizeof *o.w);
    o.a[0] = 0x1p-127f, o.a[1] = 1.0f;
    o.w[0] = 0x1p100f, o.w[1] = 0x1p-127f; /* both terms have a denormal factor */
    o.w[2] = 0, o.w[3] = 0x1p-126f;        /* the least normal number stays */
    multiply(&o, &t, 0);
    assert_true(c[0] == 0 && c[1] == 0x1p-126f);
    o.a[0] = 0x1p-64f, o.a[1] = 0x1p-64f;
    o.w[0] = 0x1p-64f, o.w[1] = 0; /* the product is denormal */
    o.w[2] = 0x1p-62f, o.w[3] = 0;
    multiply(&o, &t, 0);
    assert_true(c[0] == 0 && c[1] == 0x1p-126f);
    operands_free(&o);
    /* 2^-126 less three quarters of the step below it: rounds to a number below 2^-126, so to zero */
    assert_true(amx_fma(0x1.8p-75f, -0x1p-76f, FLT_MIN) == 0);
    assert_true(amx_fma(0x1p-76f, -0x1p-76f, FLT_MIN) == FLT_MIN);
    assert_true(amx_fma(0x1.8p-76f, 0x1p-76f, FLT_MIN) == FLT_MIN);
    assert_true(amx_fma(INFINITY, 0, 1) != amx_fma(INFINITY, 0, 1));
}

struct config {
    uint8_t palette, start_row, reserved[14];
    uint16_t line_bytes[16];
    uint8_t rows[16];
};

static struct config good_config(void) {
    struct config c = {.palette = 1};
    for (int i = 0; i < 3; i++)
        c.line_bytes[i] = 64, c.rows[i] = 16;
    return c;
}

static void load_config(struct config c) {
    amx_loadconfig(&c);
}

static void refused(struct config c) {
    expect_assert_failure(load_config(c));
}

static void model_configurations(void **state) {
    (void)state;
    struct config c = good_config();
    load_config(c);
    c.palette = 2, refused(c), c = good_config();
    c.start_row = 1, refused(c), c = good_config();
    c.reserved[13] = 1, refused(c), c = good_config();
    c.line_bytes[0] = 65, refused(c), c = good_config();
    c.rows[7] = 17, c.line_bytes[7] = 64, refused(c), c = good_config();
    c.rows[2] = 0, refused(c), c = good_config();
    c.line_bytes[2] = 0, refused(c), c = good_config();
    c.rows[8] = 1, c.line_bytes[8] = 4, refused(c);
    amx_release();
}

static void model_operands(void **state) {
    (void)state;
    char memory[1024] = {0};
    amx_release();
    expect_assert_failure(amx_zero(0));
    struct config c = good_config();
    load_config(c);
    amx_loadd(0, memory, 64);
    amx_dpbf16ps(0, 1, 2);
    expect_assert_failure(amx_zero(3));
    expect_assert_failure(amx_stored(5, memory, 64));
    expect_assert_failure(amx_dpbf16ps(0, 0, 2));
    expect_assert_failure(amx_dpbf16ps(0, 1, 1));
    c.rows[1] = 15, load_config(c);
    expect_assert_failure(amx_dpbf16ps(0, 1, 2));
    c = good_config(), c.line_bytes[1] = 60, load_config(c);
    expect_assert_failure(amx_dpbf16ps(0, 1, 2));
    c = good_config(), c.line_bytes[2] = 60, load_config(c);
    expect_assert_failure(amx_dpbf16ps(0, 1, 2));
    c = good_config(), c.line_bytes[2] = 62, load_config(c);
    expect_assert_failure(amx_zero(2));
    amx_release();
    expect_assert_failure(amx_zero(0));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order),          cmocka_unit_test(many_rows),
        cmocka_unit_test(denormals),      cmocka_unit_test(model_configurations),
        cmocka_unit_test(model_operands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
