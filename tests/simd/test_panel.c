/* Panels, cache pages and packed activations: layouts, padding, rounding; every table against the scalar one. */
#include "tests/simd/check.h"

#include <math.h>

static const enum qm_dtype all_types[] = {QM_BF16, QM_F16, QM_F32, QM_MXFP4};
enum { TYPES = 4 };

/* The value at (row, k) of random published bytes, by the documents' definitions. */
static double published(enum qm_dtype t, const unsigned char *row, const uint8_t *scales, int64_t k) {
    static const double magnitudes[8] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
    uint16_t half;
    float x;
    memcpy(&half, row + 2 * k * (t != QM_MXFP4 && t != QM_F32), 2);
    if (t == QM_BF16)
        return (double)qm_f32_from_bf16(half);
    if (t == QM_F16)
        return (double)qm_f32_from_f16(half);
    memcpy(&x, row + 4 * k * (t == QM_F32), 4);
    if (t == QM_F32)
        return (double)x;
    int code = row[k / 2] >> (k % 2 * 4) & 15;
    return (code & 8 ? -1 : 1) * magnitudes[code & 7] * ldexp(1, scales[k / 32] - 127);
}

static void check_panel(const struct qm_kernels *t, enum qm_dtype type, int64_t k, int absent) {
    size_t row_bytes = type == QM_MXFP4 ? (size_t)k / 2 : (size_t)k * qm_dtype_size(type);
    struct buffer rows[16], scales[16], panel = buffer_new(qm_panel_bytes(type, k)), out = buffer_new((size_t)k * 4);
    struct buffer reference = buffer_new(panel.size);
    const void *row_at[16];
    const uint8_t *scale_at[16];
    uint64_t seed = 5;
    for (int r = 0; r < 16; r++) {
        rows[r] = buffer_new(row_bytes), scales[r] = buffer_new((size_t)k / 32);
        for (size_t i = 0; i < row_bytes; i++)
            rows[r].data[i] = (unsigned char)next_random(&seed) & 0xBB; /* keeps exponents below the highest */
        for (int64_t i = 0; i < k / 32; i++)
            scales[r].data[i] = (unsigned char)(next_random(&seed) % 250);
        row_at[r] = r % absent ? rows[r].data : NULL, scale_at[r] = r % absent ? scales[r].data : NULL;
    }
    t->pack_panel(panel.data, type, row_at, type == QM_MXFP4 ? scale_at : NULL, k);
    const struct qm_kernels *scalar;
    assert_int_equal(qm_kernels_get(QM_ISA_SCALAR, &scalar, NULL), 0);
    scalar->pack_panel(reference.data, type, row_at, type == QM_MXFP4 ? scale_at : NULL, k);
    assert_memory_equal(panel.data, reference.data, panel.size);
    for (int r = 0; r < 16; r++) {
        t->unpack_row((float *)out.data, type, panel.data, r, k);
        for (int64_t i = 0; i < k; i++) {
            double want = row_at[r] ? published(type, rows[r].data, scales[r].data, i) : 0;
            assert_true((double)((float *)out.data)[i] == want);
        }
        buffer_free(&rows[r]), buffer_free(&scales[r]);
    }
    buffer_free(&panel), buffer_free(&out), buffer_free(&reference);
}

static void panels(void **state) {
    (void)state;
    static const int64_t ks[] = {1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 96, 127, 128, 160, 224, 515};
    const struct qm_kernels *tables[QM_ISA_COUNT];
    int count = available_tables(tables);
    for (int i = 0; i < count; i++)
        for (int y = 0; y < TYPES; y++)
            for (size_t a = 0; a < sizeof ks / sizeof *ks; a++)
                for (int absent = 2; absent < 20; absent += 5)
                    if (all_types[y] != QM_MXFP4 || ks[a] % 32 == 0)
                        check_panel(tables[i], all_types[y], ks[a], absent);
}

/* What store_k and store_v write, unpack_row reads, rounded; nothing else of the page changes. */
static void cache_pages(void **state) {
    (void)state;
    enum { TOKENS = 48, MAX_DIM = 80 };
    static const int64_t dims[] = {1, 5, 16, 33, 64, 80};
    const struct qm_kernels *tables[QM_ISA_COUNT];
    int count = available_tables(tables);
    for (int i = 0; i < count; i++)
        for (int y = 0; y < 3; y++)
            for (size_t a = 0; a < sizeof dims / sizeof *dims; a++) {
                enum qm_dtype type = all_types[y];
                int64_t hd = dims[a];
                size_t k_stride = qm_panel_bytes(type, hd), v_stride = qm_panel_bytes(type, TOKENS);
                struct buffer kp = buffer_new(TOKENS / 16 * k_stride),
                              vp = buffer_new((size_t)((hd + 15) / 16) * v_stride);
                float x[MAX_DIM], got[MAX_DIM];
                memset(kp.data, 0, kp.size), memset(vp.data, 0, vp.size);
                for (int64_t slot = TOKENS - 1; slot >= 0; slot--) {
                    fill_floats(x, hd, (uint64_t)slot);
                    tables[i]->store_k(kp.data, type, slot, x, hd);
                    tables[i]->store_v(vp.data, type, slot, TOKENS, x, hd);
                }
                for (int64_t slot = 0; slot < TOKENS; slot++) {
                    fill_floats(x, hd, (uint64_t)slot);
                    tables[i]->unpack_row(got, type, kp.data + (size_t)(slot / 16) * k_stride, slot % 16, hd);
                    for (int64_t d = 0; d < hd; d++) {
                        float want = type == QM_BF16  ? qm_f32_from_bf16(qm_bf16_from_f32(x[d]))
                                     : type == QM_F16 ? qm_f32_from_f16(qm_f16_from_f32(x[d]))
                                                      : x[d];
                        float v[TOKENS];
                        tables[i]->unpack_row(v, type, vp.data + (size_t)(d / 16) * v_stride, d % 16, TOKENS);
                        assert_true(got[d] == want && v[slot] == want);
                    }
                }
                buffer_free(&kp), buffer_free(&vp);
            }
}

static void nonfinite(void **state) {
    (void)state;
    static const uint32_t bad[3][3] = {
        {0x7F80, 0xFF80, 0x7FC1}, {0x7C00, 0xFC00, 0x7C01}, {0x7F800000, 0xFF800000, 0x7F800001}};
    const struct qm_kernels *tables[QM_ISA_COUNT];
    int count = available_tables(tables);
    for (int i = 0; i < count; i++)
        for (int y = 0; y < 3; y++)
            for (int64_t n = 0; n < 150; n++) {
                size_t size = qm_dtype_size(all_types[y]);
                struct buffer x = buffer_new((size_t)n * size);
                memset(x.data, 0x3B, x.size);
                memset(x.data + x.size, 0xFF, 8); /* not read as values */
                assert_int_equal(tables[i]->find_nonfinite(x.data, all_types[y], n), -1);
                for (int64_t at = n - 1; at >= 0; at -= 3) {
                    memcpy(x.data + (size_t)at * size, &bad[y][at % 3], size);
                    assert_int_equal(tables[i]->find_nonfinite(x.data, all_types[y], n), at);
                }
                memset(x.data + x.size, GUARD_BYTE, 8);
                buffer_free(&x);
            }
}

/* pack rounds as qm_bf16_from_f32 does: seen through a product with the identity of one panel. */
static void packed_rounding(void **state) {
    (void)state;
    enum { K = 16 };
    const struct qm_kernels *tables[QM_ISA_COUNT];
    int count = available_tables(tables);
    uint16_t identity[16][K] = {{0}};
    const void *rows[16];
    for (int r = 0; r < 16; r++)
        identity[r][r] = 0x3F80, rows[r] = identity[r];
    for (int i = 0; i < count; i++) {
        struct buffer b = buffer_new(qm_panel_bytes(QM_BF16, K));
        struct buffer a = buffer_new(tables[i]->type[QM_BF16].packed_bytes(1, K));
        tables[i]->pack_panel(b.data, QM_BF16, rows, NULL, K);
        for (uint32_t high = 0x0080; high < 0x7F80; high += 8) {
            static const uint32_t lows[] = {0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF};
            float x[K], c[16];
            for (uint32_t j = 0; j < K; j++) {
                uint32_t u = (high + j / 6) << 16 | lows[j % 6] | (j % 5 ? 0 : 0x80000000u);
                memcpy(&x[j], &u, 4);
            }
            tables[i]->type[QM_BF16].pack(a.data, x, K, NULL, 1, K);
            tables[i]->type[QM_BF16].product(&(struct qm_product){
                .a = a.data, .m = 1, .k = K, .b = b.data, .n_panels = 1, .panel_stride = b.size, .c = c, .ldc = 16});
            for (int j = 0; j < K; j++) {
                float want = qm_f32_from_bf16(qm_bf16_from_f32(x[j]));
                /* infinity times the other weights, 0, is NaN */
                assert_true(isinf(want) ? high > 0x7F70 : c[j] == want || high > 0x7F70);
            }
        }
        buffer_free(&a), buffer_free(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(panels),
        cmocka_unit_test(cache_pages),
        cmocka_unit_test(nonfinite),
        cmocka_unit_test(packed_rounding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
