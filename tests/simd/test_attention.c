/* Whole attention splits: every table against float64 over the keys and values that its pages hold, and rows whose
 * bits depend on nothing but themselves. */
#include "tests/simd/check.h"

#include <math.h>

enum { PAGES = QM_ATTENTION_SPLIT / QM_KV_PAGE_TOKENS, ROWS = 40, MOST = 256, SLOTS = QM_ATTENTION_SPLIT };

static float queries[ROWS * MOST], keys[SLOTS * MOST], values[SLOTS * MOST];
static float scores[ROWS * QM_SCORES_LD], out[ROWS * MOST], max[ROWS], sum[ROWS];
static int32_t lo[ROWS], hi[ROWS];

static float rounded(enum qm_dtype t, float x) {
    if (t == QM_BF16)
        return qm_f32_from_bf16(qm_bf16_from_f32(x));
    return t == QM_F16 ? qm_f32_from_f16(qm_f16_from_f32(x)) : x;
}

/* Pages of keys and values, and what a split of them needs. */
struct fixture {
    const struct qm_kernels *k;
    enum qm_dtype t;
    int64_t head_dim, out_ld;
    struct buffer page[PAGES], packed, probabilities;
    const uint8_t *pages[PAGES];
    size_t value_offset;
};

static void open_fixture(struct fixture *f, const struct qm_kernels *k, enum qm_dtype t, int64_t head_dim) {
    *f = (struct fixture){.k = k, .t = t, .head_dim = head_dim, .out_ld = (head_dim + 15) / 16 * 16};
    f->value_offset = QM_KV_PAGE_TOKENS / 16 * qm_panel_bytes(t, head_dim);
    size_t bytes = f->value_offset + (size_t)f->out_ld / 16 * qm_panel_bytes(t, QM_KV_PAGE_TOKENS);
    fill_floats(queries, ROWS * head_dim, 1);
    fill_floats(keys, SLOTS * head_dim, 2);
    fill_floats(values, SLOTS * head_dim, 3);
    for (int p = 0; p < PAGES; p++) {
        f->page[p] = buffer_new(bytes);
        memset(f->page[p].data, 0, bytes);
        f->pages[p] = f->page[p].data;
        for (int64_t s = 0; s < QM_KV_PAGE_TOKENS; s++) {
            int64_t at = (p * QM_KV_PAGE_TOKENS + s) * head_dim;
            k->store_k(f->page[p].data, t, s, keys + at, head_dim);
            k->store_v((char *)f->page[p].data + f->value_offset, t, s, QM_KV_PAGE_TOKENS, values + at, head_dim);
        }
    }
    for (int64_t i = 0; i < SLOTS * head_dim; i++) {
        keys[i] = rounded(t, keys[i]);
        values[i] = rounded(t, values[i]);
    }
    f->packed = buffer_new(k->type[t].packed_bytes(ROWS, head_dim));
    f->probabilities = buffer_new(k->type[t].packed_bytes(ROWS, QM_KV_PAGE_TOKENS));
}

static void close_fixture(struct fixture *f) {
    for (int p = 0; p < PAGES; p++)
        buffer_free(&f->page[p]);
    buffer_free(&f->packed), buffer_free(&f->probabilities);
}

/* Rows [first, first + rows) over pages [page, page + n_pages); lo and hi count from the first page of all. */
static void attend(struct fixture *f, int64_t first, int64_t rows, int64_t page, int64_t n_pages, float *to) {
    int32_t from[ROWS], until[ROWS];
    for (int64_t i = 0; i < rows; i++) {
        from[i] = lo[first + i] - (int32_t)page * QM_KV_PAGE_TOKENS;
        until[i] = hi[first + i] - (int32_t)page * QM_KV_PAGE_TOKENS;
    }
    f->k->type[f->t].pack(f->packed.data, queries + first * f->head_dim, f->head_dim, NULL, rows, f->head_dim);
    struct qm_split s = {.queries = f->packed.data,
                         .rows = rows,
                         .head_dim = f->head_dim,
                         .pages = f->pages + page,
                         .n_pages = n_pages,
                         .value_offset = f->value_offset,
                         .next = first % 2 ? f->pages[0] : NULL,
                         .lo = from,
                         .hi = until,
                         .scale = 0.11f,
                         .scores = scores,
                         .packed = f->probabilities.data,
                         .out = to,
                         .max = max + first,
                         .sum = sum + first};
    f->k->attend(f->k, f->t, &s);
}

/* Row r of `out`, max and sum against float64. */
static void check_row(const struct fixture *f, int64_t r) {
    double z[SLOTS], top = -INFINITY, total = 0, fine = f->t == QM_F32 ? 4e-6 : 2e-5;
    for (int64_t s = lo[r]; s < hi[r]; s++) {
        z[s] = 0;
        for (int64_t d = 0; d < f->head_dim; d++) {
            float q = queries[r * f->head_dim + d];
            z[s] += (double)(f->t == QM_BF16 ? rounded(QM_BF16, q) : q) * (double)keys[s * f->head_dim + d];
        }
        z[s] *= (double)0.11f;
        top = z[s] > top ? z[s] : top;
    }
    for (int64_t s = lo[r]; s < hi[r]; s++)
        total += exp(z[s] - (double)max[r]);
    if (lo[r] < hi[r])
        assert_true(fabs((double)max[r] - top) <= fine * (1 + fabs(top)));
    else
        assert_true(max[r] == -INFINITY);
    assert_true(fabs((double)sum[r] - total) <= fine * total);
    for (int64_t d = 0; d < f->out_ld; d++) {
        double want = 0, size = 0;
        for (int64_t s = lo[r]; s < hi[r] && d < f->head_dim; s++) {
            double term = exp(z[s] - (double)max[r]) * (double)values[s * f->head_dim + d];
            want += term, size += fabs(term);
        }
        if (!(fabs((double)out[r * f->out_ld + d] - want) <= (f->t == QM_BF16 ? 0x1p-8 : fine) * size))
            fail_msg("%s, %s, head_dim %lld, row %lld, %lld: %g, not %g", qm_isa_name(f->k->isa), qm_dtype_name(f->t),
                     (long long)f->head_dim, (long long)r, (long long)d, (double)out[r * f->out_ld + d], want);
    }
}

/* Slots as a block of tokens with two heads each sees them, through a window; some see nothing, some everything. */
static void choose_slots(int64_t n_pages) {
    int32_t all = (int32_t)n_pages * QM_KV_PAGE_TOKENS;
    for (int32_t r = 0; r < ROWS; r++) {
        lo[r] = r % 3 ? 0 : r * 2 + 5;
        hi[r] = r % 5 == 0 ? all : all - 25 + r / 2;
        hi[r] = hi[r] > all ? all : hi[r];
    }
    lo[7] = hi[7] = 33;
}

static void each(void (*run)(struct fixture *f)) {
    static const int64_t dims[] = {16, 40, 64, 80, 128, 256};
    const struct qm_kernels *tables[QM_ISA_COUNT];
    int count = available_tables(tables);
    for (int i = 0; i < count; i++)
        for (int t = QM_BF16; t <= QM_F32; t++)
            for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
                struct fixture f;
                open_fixture(&f, tables[i], (enum qm_dtype)t, dims[d]);
                run(&f);
                close_fixture(&f);
            }
}

static void against_float64(struct fixture *f) {
    static const int64_t rows[] = {1, 8, 12, 13, ROWS};
    for (int64_t n = 1; n <= PAGES; n += 3)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            choose_slots(n);
            attend(f, 0, rows[i], 0, n, out);
            for (int64_t r = 0; r < rows[i]; r += i == 4 ? 7 : 1)
                check_row(f, r);
        }
}

static void splits(void **state) {
    (void)state;
    each(against_float64);
}

/* One by one, in groups and without the pages before what they see, rows have the same bits. */
static void same_bits(struct fixture *f) {
    static float alone[ROWS * MOST], all_max[ROWS], all_sum[ROWS];
    choose_slots(PAGES);
    for (int r = 20; r < ROWS; r++)
        lo[r] = 2 * QM_KV_PAGE_TOKENS + r;
    attend(f, 0, ROWS, 0, PAGES, out);
    memcpy(all_max, max, sizeof max);
    memcpy(all_sum, sum, sizeof sum);
    for (int64_t r = 0; r < ROWS; r++) {
        int64_t page = r < 20 ? 0 : 2;
        attend(f, r, 1, page, PAGES - page, alone + r * f->out_ld);
    }
    assert_memory_equal(out, alone, (size_t)(ROWS * f->out_ld) * sizeof *out);
    assert_memory_equal(max, all_max, sizeof max);
    assert_memory_equal(sum, all_sum, sizeof sum);
    attend(f, 3, 11, 0, PAGES, alone);
    assert_memory_equal(out + 3 * f->out_ld, alone, (size_t)(11 * f->out_ld) * sizeof *out);
}

static void identity(void **state) {
    (void)state;
    each(same_bits);
}

/* Without `out`, scores are the probabilities that max and sum belong to. */
static void only_probabilities(struct fixture *f) {
    choose_slots(PAGES);
    attend(f, 0, ROWS, 0, PAGES, NULL);
    for (int64_t r = 0; r < ROWS; r++) {
        double total = 0;
        for (int64_t s = 0; s < SLOTS; s++) {
            float p = scores[r * QM_SCORES_LD + s];
            assert_true(s >= lo[r] && s < hi[r] ? p > 0 && p <= 1.00001f : p == 0);
            total += (double)p;
        }
        assert_true(fabs(total - (double)sum[r]) <= 1e-6 * total);
    }
}

static void probabilities(void **state) {
    (void)state;
    each(only_probabilities);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(splits), cmocka_unit_test(identity),
                                       cmocka_unit_test(probabilities)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
