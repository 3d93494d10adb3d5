/* Products against an independent implementation: cblas_sgemm of the same values, element by element within the error
 * that any order of summation in F32 may make. */
#include "tests/simd/check.h"

#include <dlfcn.h>
#include <float.h>
#include <math.h>

enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, TRANSPOSE = 112 };
typedef void sgemm_fn(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda,
                      const float *b, int ldb, float beta, float *c, int ldc);

static void *library;
static sgemm_fn *sgemm;

static int open_library(void **state) {
    (void)state;
    library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    void *found = library ? dlsym(library, "cblas_sgemm") : NULL;
    memcpy(&sgemm, &found, sizeof sgemm);
    return 0;
}

static int close_library(void **state) {
    (void)state;
    return library ? dlclose(library) : 0;
}

/* Random weights as published, and what they are in F32. */
static void make_weights(enum qm_dtype type, void *weights, float *values, int64_t count) {
    uint64_t seed = 7;
    for (int64_t i = 0; i < count; i++) {
        float x = next_float(&seed);
        uint16_t half = type == QM_F16 ? qm_f16_from_f32(x) : qm_bf16_from_f32(x);
        if (type == QM_F32)
            ((float *)weights)[i] = x;
        else
            ((uint16_t *)weights)[i] = half;
        values[i] = type == QM_F32 ? x : type == QM_F16 ? qm_f32_from_f16(half) : qm_f32_from_bf16(half);
    }
}

static void pack_panels(const struct qm_kernels *t, enum qm_dtype type, const char *weights, int64_t n, int64_t k,
                        unsigned char *panels) {
    for (int64_t p = 0; p < (n + 15) / 16; p++) {
        const void *rows[QM_PANEL_ROWS];
        for (int64_t r = 0; r < QM_PANEL_ROWS; r++)
            rows[r] = p * 16 + r < n ? weights + (size_t)((p * 16 + r) * k) * qm_dtype_size(type) : NULL;
        t->pack_panel(panels + (size_t)p * qm_panel_bytes(type, k), type, rows, NULL, k);
    }
}

static void magnitudes(float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        x[i] = fabsf(x[i]);
}

static void compare(const struct qm_kernels *t, enum qm_dtype type, int64_t m, int64_t n, int64_t k) {
    int64_t panels = (n + 15) / 16, ldc = panels * 16;
    struct buffer weights = buffer_new((size_t)(n * k) * qm_dtype_size(type)), values = buffer_new((size_t)(n * k) * 4),
                  b = buffer_new((size_t)panels * qm_panel_bytes(type, k)), a = buffer_new((size_t)(m * k) * 4),
                  packed = buffer_new(t->type[type].packed_bytes(m, k)), c = buffer_new((size_t)(m * ldc) * 4),
                  expected = buffer_new((size_t)(m * n) * 4), bound = buffer_new((size_t)(m * n) * 4);
    float *w = (float *)values.data, *x = (float *)a.data;
    make_weights(type, weights.data, w, n * k);
    fill_floats(x, m * k, 11);
    for (int64_t i = 0; type == QM_BF16 && i < m * k; i++)
        x[i] = qm_f32_from_bf16(qm_bf16_from_f32(x[i])); /* as activations are rounded */
    pack_panels(t, type, (const char *)weights.data, n, k, b.data);
    t->type[type].pack(packed.data, x, k, NULL, m, k);
    t->type[type].product(&(struct qm_product){.a = packed.data,
                                               .m = m,
                                               .k = k,
                                               .b = b.data,
                                               .n_panels = panels,
                                               .panel_stride = qm_panel_bytes(type, k),
                                               .c = (float *)c.data,
                                               .ldc = ldc});
    sgemm(ROW_MAJOR, NO_TRANSPOSE, TRANSPOSE, (int)m, (int)n, (int)k, 1, x, (int)k, w, (int)k, 0,
          (float *)expected.data, (int)n);
    magnitudes(x, m * k);
    magnitudes(w, n * k);
    sgemm(ROW_MAJOR, NO_TRANSPOSE, TRANSPOSE, (int)m, (int)n, (int)k, 1, x, (int)k, w, (int)k, 0, (float *)bound.data,
          (int)n);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double ours = (double)((float *)c.data)[i * ldc + j], theirs = (double)((float *)expected.data)[i * n + j];
            double most = 2 * (double)k * FLT_EPSILON * (double)((float *)bound.data)[i * n + j];
            /* each is off by k / 2 eps at most; errors that large mean one value is of another row or column */
            if (!(fabs(ours - theirs) <= most && fabs(ours - theirs) < 1e-3 * sqrt((double)k)))
                fail_msg("%s, type %d, m %lld n %lld k %lld: [%lld, %lld] is %a, OpenBLAS has %a", qm_isa_name(t->isa),
                         (int)type, (long long)m, (long long)n, (long long)k, (long long)i, (long long)j, ours, theirs);
        }
    struct buffer *all[] = {&weights, &values, &b, &a, &packed, &c, &expected, &bound};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        buffer_free(all[i]);
}

static void test_products(void **state) {
    (void)state;
    static const enum qm_dtype types[] = {QM_BF16, QM_F16, QM_F32};
    static const int64_t shapes[][3] = {{1, 1, 32}, {1, 80, 2560}, {5, 37, 96}, {33, 100, 768}, {130, 48, 320}};
    const struct qm_kernels *tables[QM_ISA_COUNT];
    int count = available_tables(tables);
    if (!sgemm) {
        print_message("skipped: OpenBLAS is not installed (libopenblas0)\n");
        skip();
    }
    for (int i = 0; i < count; i++)
        for (size_t y = 0; y < sizeof types / sizeof *types; y++)
            for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
                compare(tables[i], types[y], shapes[s][0], shapes[s][1], shapes[s][2]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_products)};
    return cmocka_run_group_tests(tests, open_library, close_library);
}
