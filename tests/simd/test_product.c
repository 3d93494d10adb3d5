/* Products: every table against float64 dot products of the same rounded values, and the promise that a result's
 * bits depend on nothing but its row and its column. */
#include "tests/simd/check.h"

#include <float.h>
#include <math.h>

#include "tests/support/amx_kernels.h"
#include "tests/support/support.h"

static const enum qm_dtype all_types[] = {QM_BF16, QM_F16, QM_F32, QM_MXFP4};
enum { TYPES = 4, MAX_SUBJECTS = QM_ISA_COUNT * TYPES + 1 };

/* One type's product of one table. */
struct subject {
    const struct qm_kernels *t;
    enum qm_dtype type;
    int model; /* of AMX on a model of its instructions, which takes its time */
};

/* Every product that runs here, and AMX's on the model; returns how many. */
static int subjects(struct subject out[MAX_SUBJECTS]) {
    static struct qm_kernels amx;
    const struct qm_kernels *tables[QM_ISA_COUNT];
    int count = available_tables(tables), n = 0;
    for (int i = 0; i < count; i++)
        for (int y = 0; y < TYPES; y++)
            out[n++] = (struct subject){tables[i], all_types[y], 0};
    test_amx_kernels(&amx);
    out[n++] = (struct subject){&amx, QM_BF16, 1};
    return n;
}

/* A product of n columns by m rows over k: published weights, their panels, and activations. */
struct problem {
    enum qm_dtype type;
    int64_t m, n, k, panels;
    struct buffer weights, scales, b, a, packed, c;
};

static void fill_weights(struct problem *q, uint64_t seed) {
    int64_t count = q->n * q->k;
    uint16_t *half = (uint16_t *)q->weights.data;
    for (int64_t i = 0; i < count; i++) {
        float x = next_float(&seed);
        if (q->type == QM_BF16)
            half[i] = qm_bf16_from_f32(x);
        else if (q->type == QM_F16)
            half[i] = qm_f16_from_f32(x);
        else if (q->type == QM_F32)
            ((float *)q->weights.data)[i] = x;
        else
            q->weights.data[i / 2] = (unsigned char)next_random(&seed);
    }
    for (int64_t i = 0; i < q->n * (q->k / 32); i++)
        q->scales.data[i] = (unsigned char)(120 + next_random(&seed) % 10);
}

static void pack_weights(struct problem *q, const struct qm_kernels *t) {
    size_t row_bytes = q->type == QM_MXFP4 ? (size_t)q->k / 2 : (size_t)q->k * qm_dtype_size(q->type);
    size_t stride = qm_panel_bytes(q->type, q->k);
    for (int64_t p = 0; p < q->panels; p++) {
        const void *rows[QM_PANEL_ROWS];
        const uint8_t *scales[QM_PANEL_ROWS];
        for (int64_t r = 0; r < QM_PANEL_ROWS; r++) {
            int64_t n = p * QM_PANEL_ROWS + r;
            rows[r] = n < q->n ? q->weights.data + (size_t)n * row_bytes : NULL;
            scales[r] = n < q->n ? q->scales.data + n * (q->k / 32) : NULL;
        }
        t->pack_panel(q->b.data + (size_t)p * stride, q->type, rows, q->type == QM_MXFP4 ? scales : NULL, q->k);
    }
}

static struct problem problem_new(const struct qm_kernels *t, enum qm_dtype type, int64_t m, int64_t n, int64_t k) {
    struct problem q = {.type = type, .m = m, .n = n, .k = k, .panels = (n + 15) / 16};
    q.weights = buffer_new((size_t)(n * k) * 4);
    q.scales = buffer_new((size_t)(n * (k / 32)));
    q.b = buffer_new((size_t)q.panels * qm_panel_bytes(type, k));
    q.a = buffer_new((size_t)(m * k) * sizeof(float));
    q.packed = buffer_new(t->type[type].packed_bytes(m, k));
    q.c = buffer_new((size_t)(m * q.panels * 16) * sizeof(float));
    fill_weights(&q, 7);
    fill_floats((float *)q.a.data, m * k, 11);
    pack_weights(&q, t);
    return q;
}

static void problem_free(struct problem *q) {
    buffer_free(&q->weights);
    buffer_free(&q->scales);
    buffer_free(&q->b);
    buffer_free(&q->a);
    buffer_free(&q->packed);
    buffer_free(&q->c);
}

/* Rows `rows` (all where NULL) by panels [p0, p1) over columns [k0, k1) of the activations, into c. */
static void run(const struct problem *q, const struct qm_kernels *t, const int32_t *rows, int64_t m, int64_t p0,
                int64_t p1, int64_t k0, int64_t k1, float *c) {
    static const int64_t bytes_of_32[] = {[QM_BF16] = 1024, [QM_F16] = 1024, [QM_F32] = 2048, [QM_MXFP4] = 272};
    const struct qm_type_kernels *kernels = &t->type[q->type];
    size_t stride = qm_panel_bytes(q->type, q->k);
    kernels->pack(q->packed.data, (const float *)q->a.data + k0, q->k, rows, m, k1 - k0);
    kernels->product(&(struct qm_product){
        .a = q->packed.data,
        .m = m,
        .k = k1 - k0,
        .b = q->b.data + (size_t)p0 * stride + k0 / 32 * bytes_of_32[q->type],
        .n_panels = p1 - p0,
        .panel_stride = stride,
        .c = c,
        .ldc = q->panels * 16,
        .accumulate = k0 > 0,
    });
}

/* The dot product of row i and column n in float64; *magnitude is the sum of the terms' magnitudes. */
static double exact(const struct problem *q, const float *row, int64_t i, double *magnitude) {
    const float *a = (const float *)q->a.data + i * q->k;
    double sum = 0;
    *magnitude = 0;
    for (int64_t k = 0; k < q->k; k++) {
        int rounded = q->type == QM_BF16 || q->type == QM_MXFP4;
        double x = rounded ? qm_f32_from_bf16(qm_bf16_from_f32(a[k])) : a[k];
        sum += x * row[k];
        *magnitude += fabs(x * row[k]);
    }
    return sum;
}

/* Every element within what k sequential float roundings can lose; columns beyond n are 0. */
static void check_product(const struct problem *q, const struct qm_kernels *t, const char *what) {
    struct buffer row = buffer_new((size_t)q->k * sizeof(float));
    const float *c = (const float *)q->c.data;
    for (int64_t n = 0; n < q->panels * 16; n++) {
        size_t stride = qm_panel_bytes(q->type, q->k);
        t->unpack_row((float *)row.data, q->type, q->b.data + (size_t)(n / 16) * stride, n % 16, q->k);
        for (int64_t i = 0; i < q->m; i++) {
            double magnitude, want = exact(q, (const float *)row.data, i, &magnitude);
            double tolerance = magnitude * (double)(q->k + 2) * FLT_EPSILON / 2;
            float got = c[i * q->panels * 16 + n];
            if (!(fabs(got - want) <= tolerance) || (n >= q->n && got != 0))
                fail_msg("%s %s %s m=%lld n=%lld k=%lld: c[%lld][%lld] = %.9g, not %.9g", qm_isa_name(t->isa),
                         qm_dtype_name(q->type), what, (long long)q->m, (long long)q->n, (long long)q->k, (long long)i,
                         (long long)n, (double)got, want);
        }
    }
    buffer_free(&row);
}

static void against_float64(void **state) {
    (void)state;
    static const int64_t ks[] = {1, 2, 6, 30, 31, 32, 64, 96, 512, 514, 544, 1030, 1056};
    static const int64_t ms[] = {1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 25, 70};
    static const int64_t ns[] = {1, 16, 17, 40, 127, 144, 300};
    struct subject s[MAX_SUBJECTS];
    int count = subjects(s);
    for (int i = 0; i < count; i++)
        for (size_t a = 0; a < sizeof ks / sizeof *ks; a++)
            for (size_t b = 0; b < sizeof ms / sizeof *ms; b++) {
                int64_t n = ns[(a + b) % (sizeof ns / sizeof *ns)];
                if (s[i].type == QM_MXFP4 && ks[a] % 32)
                    continue;
                struct problem q = problem_new(s[i].t, s[i].type, ms[b], n, ks[a]);
                run(&q, s[i].t, NULL, q.m, 0, q.panels, 0, q.k, (float *)q.c.data);
                check_product(&q, s[i].t, "product");
                problem_free(&q);
            }
}

/* Where AMX's micro-panels and tiles begin and end: for a model of the instructions, and for sanitizers, as either
 * takes long over a product. */
static int row_count_of_few(int32_t m) {
    return m <= 2 || (m >= 15 && m <= 17) || (m >= 31 && m <= 33) || m == 48 || m == 70;
}

/* One row, gathered, alone: the bits of the same row among 70; and the same for cut k and panel ranges. */
static void same_bits(void **state) {
    (void)state;
    enum { M = 70, N = 300, K = 1056 };
    static const int64_t cuts[] = {0, 32, 512, 544, 1024, K};
    static const int64_t ranges[] = {0, 1, 3, 10, 19};
    struct subject s[MAX_SUBJECTS];
    int count = subjects(s);
    for (int i = 0; i < count; i++) {
        const struct qm_kernels *t = s[i].t;
        struct problem q = problem_new(t, s[i].type, M, N, K);
        float *c = (float *)q.c.data;
        int64_t ldc = q.panels * 16;
        run(&q, t, NULL, M, 0, q.panels, 0, K, c);
        struct buffer other = buffer_new((size_t)(M * ldc) * sizeof(float));
        float *d = (float *)other.data;
        for (int32_t m = 1; m <= M; m++) {
            int32_t rows[M];
            if ((s[i].model || !test_slow()) && !row_count_of_few(m))
                continue;
            for (int32_t r = 0; r < m; r++)
                rows[r] = (r * 7 + m) % M;
            run(&q, t, rows, m, 0, q.panels, 0, K, d);
            for (int32_t r = 0; r < m; r++)
                assert_memory_equal(d + r * ldc, c + rows[r] * ldc, (size_t)ldc * sizeof(float));
        }
        for (int64_t m = 1; m <= M; m += 23) {
            memset(d, 0xFF, other.size);
            for (int k = 0; k < 5; k++)
                for (int p = 0; p < 4; p++)
                    run(&q, t, NULL, m, ranges[p], ranges[p + 1], cuts[k], cuts[k + 1], d + ranges[p] * 16);
            assert_memory_equal(d, c, (size_t)(m * ldc) * sizeof(float));
        }
        buffer_free(&other);
        problem_free(&q);
    }
}

/* A NaN or infinity in one row of A, or one weight, reaches that row or column only. */
static void nonfinite_stays(void **state) {
    (void)state;
    enum { M = 13, N = 40, K = 64 };
    struct subject s[MAX_SUBJECTS];
    int count = subjects(s);
    for (int i = 0; i < count; i++) {
        struct problem q = problem_new(s[i].t, s[i].type, M, N, K);
        ((float *)q.a.data)[5 * K + 9] = i % 2 ? NAN : INFINITY;
        if (q.type == QM_F32)
            ((float *)q.weights.data)[17 * K + 33] = NAN;
        else if (q.type != QM_MXFP4)
            ((uint16_t *)q.weights.data)[17 * K + 33] = 0x7FFF;
        pack_weights(&q, s[i].t);
        run(&q, s[i].t, NULL, M, 0, q.panels, 0, K, (float *)q.c.data);
        for (int64_t r = 0; r < M; r++)
            for (int64_t n = 0; n < N; n++) {
                int expected = (r == 5) || (n == 17 && q.type != QM_MXFP4);
                assert_int_equal(!isfinite(((float *)q.c.data)[r * q.panels * 16 + n]), expected);
            }
        problem_free(&q);
    }
}

/* The extreme scales of MXFP4: 2^-127 is a denormal, 2^127 times 1 is finite. */
static void mxfp4_scales(void **state) {
    (void)state;
    enum { N = 16, K = 32 };
    const struct qm_kernels *tables[QM_ISA_COUNT];
    int count = available_tables(tables);
    for (int i = 0; i < count; i++) {
        struct problem q = problem_new(tables[i], QM_MXFP4, 1, N, K);
        memset(q.weights.data, 0x20, N * K / 2); /* 0 and 1 */
        for (int n = 0; n < N; n++)
            q.scales.data[n] = (unsigned char)(n < 8 ? n : 254 - n);
        for (int k = 0; k < K; k++)
            ((float *)q.a.data)[k] = k == 1 ? 1.0f : 0.0f;
        pack_weights(&q, tables[i]);
        run(&q, tables[i], NULL, 1, 0, 1, 0, K, (float *)q.c.data);
        for (int n = 0; n < N; n++)
            assert_true(((float *)q.c.data)[n] == ldexpf(1.0f, q.scales.data[n] - 127));
        problem_free(&q);
    }
}

/* k = 0 gives zeros, or leaves c; no rows and no panels touch nothing. */
static void empty(void **state) {
    (void)state;
    struct subject s[MAX_SUBJECTS];
    int count = subjects(s);
    for (int i = 0; i < count; i++) {
        void (*product)(const struct qm_product *) = s[i].t->type[s[i].type].product;
        struct problem q = problem_new(s[i].t, s[i].type, 13, 16, 32);
        float *c = (float *)q.c.data;
        c[0] = 3;
        struct qm_product p = {.a = q.packed.data, .m = 13, .b = q.b.data, .n_panels = 1, .c = c, .ldc = 16};
        p.accumulate = 1;
        product(&p);
        assert_true(c[0] == 3);
        p.accumulate = 0;
        p.n_panels = 0;
        product(&p);
        p.n_panels = 1, p.m = 0;
        product(&p);
        assert_true(c[0] == 3);
        p.m = 13;
        product(&p);
        assert_true(c[0] == 0 && c[13 * 16 - 1] == 0);
        problem_free(&q);
    }
}

/* What callers count on: packed rows take no more than simd/kernels.h says, and blocks of QM_PACK_ROWS rows packed one
 * by one are what packing all at once gives. */
static void packed_rows(void **state) {
    (void)state;
    enum { M = 2 * QM_PACK_ROWS + 19 };
    static const int64_t ks[] = {1, 2, 15, 16, 17, 32, 33, 64, 97, 160};
    struct subject s[MAX_SUBJECTS];
    int count = subjects(s);
    for (int i = 0; i < count; i++)
        for (size_t x = 0; x < sizeof ks / sizeof *ks; x++) {
            const struct qm_type_kernels *t = &s[i].t->type[s[i].type];
            int64_t k = ks[x], row = k + k % 2 < 16 ? 64 : (k + k % 2) * 4;
            if (s[i].type == QM_MXFP4 && k % 32)
                continue;
            for (int64_t m = 1; m <= M; m++)
                assert_true(t->packed_bytes(m, k) % 64 == 0 &&
                            (int64_t)t->packed_bytes(m, k) <= (m * row + 63) / 64 * 64);
            struct buffer a = buffer_new((size_t)(M * k) * sizeof(float)), whole = buffer_new(t->packed_bytes(M, k));
            struct buffer blocks = buffer_new(t->packed_bytes(M, k));
            fill_floats((float *)a.data, M * k, 13);
            t->pack(whole.data, (float *)a.data, k, NULL, M, k);
            for (int64_t r = 0; r < M; r += QM_PACK_ROWS)
                t->pack(blocks.data + t->packed_bytes(r, k), (float *)a.data + r * k, k, NULL,
                        M - r < QM_PACK_ROWS ? M - r : QM_PACK_ROWS, k);
            assert_memory_equal(whole.data, blocks.data, whole.size);
            buffer_free(&a), buffer_free(&whole), buffer_free(&blocks);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_float64), cmocka_unit_test(same_bits), cmocka_unit_test(nonfinite_stays),
        cmocka_unit_test(mxfp4_scales),    cmocka_unit_test(empty),     cmocka_unit_test(packed_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
