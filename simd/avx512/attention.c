/* Kernels of attention splits: tiles of whole ones, the softmax of one and the merge of several. A tile is `rows` x
 * `panels` accumulators of 16 lanes, one FMA an element and k, as in product.c. */
#include <immintrin.h>
#include <math.h>

#include "simd/avx512/attend.h"
#include "simd/avx512/avx512.h"
#include "simd/avx512/softmax.h"

/* The 16 weights of k index `k_in_step` of a step of a page's panel, as float. */
QM_INLINE __m512 weights(enum qm_dtype t, const char *b, int k_in_step) {
    if (t == QM_F32)
        return _mm512_load_ps(b);
    if (t == QM_F16)
        return _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)b));
    __m512i pairs = _mm512_load_si512(b);
    return _mm512_castsi512_ps(k_in_step ? _mm512_and_si512(pairs, _mm512_set1_epi32(-0x10000))
                                         : _mm512_slli_epi32(pairs, 16));
}

/* How a tile's operands lie: `wide`: panels are expanded to float; `values`: rows are scores, not packed. */
struct form {
    enum qm_dtype t;
    int wide, values;
};

/* Steps [from, to); a page's panels are fetched from `near` into L1. */
QM_INLINE void steps_of(struct form f, int rows, int panels, const float *a, const char *b, size_t stride, int64_t from,
                        int64_t to, const char *near, struct qm_ahead ahead, __m512 acc[][2]) {
    const int k_step = f.t == QM_BF16 ? 2 : 1, page_step = f.t == QM_F16 ? 32 : 64;
    const int b_step = f.wide ? 64 * k_step : page_step;
    const int64_t a_row = f.values ? QM_SCORES_LD : 1, a_k = f.values ? 1 : rows;
    for (int64_t s = from; s < to; s++) {
        QM_UNROLL
        for (int j = 0; j < panels; j++) {
            fetch_line(ahead, (s * panels + j) * page_step / 64);
            if (!f.wide)
                _mm_prefetch(near + (size_t)j * stride + s * b_step, _MM_HINT_T0);
        }
        QM_UNROLL
        for (int k = 0; k < k_step; k++) {
            __m512 w[2];
            QM_UNROLL
            for (int j = 0; j < panels; j++) {
                const char *at = b + (size_t)j * stride + s * b_step;
                w[j] = f.wide ? _mm512_load_ps(at + 64 * k) : weights(f.t, at, k);
            }
            QM_UNROLL
            for (int i = 0; i < rows; i++) {
                __m512 x = _mm512_set1_ps(a[(s * k_step + k) * a_k + i * a_row]);
                QM_UNROLL
                for (int j = 0; j < panels; j++)
                    acc[i][j] = _mm512_fmadd_ps(x, w[j], acc[i][j]);
            }
        }
    }
}

QM_INLINE void tile(struct form f, int rows, int panels, const float *a, const char *b, size_t stride, int64_t steps,
                    float *c, int64_t ldc, int accumulate, struct qm_ahead ahead) {
    const int page_step = f.t == QM_F16 ? 32 : 64;
    __m512 acc[QM_TILE_ROWS][2];
    QM_UNROLL
    for (int i = 0; i < rows; i++)
        QM_UNROLL
    for (int j = 0; j < panels; j++)
        acc[i][j] = accumulate ? _mm512_loadu_ps(c + i * ldc + j * 16) : _mm512_setzero_ps();
    int64_t within = f.wide ? steps : steps > QM_ATTEND_NEAR / page_step ? steps - QM_ATTEND_NEAR / page_step : 0;
    steps_of(f, rows, panels, a, b, stride, 0, within, b + QM_ATTEND_NEAR, ahead, acc);
    if (!f.wide)
        steps_of(f, rows, panels, a, b, stride, within, steps, b + (size_t)panels * stride - within * page_step, ahead,
                 acc);
    QM_UNROLL
    for (int i = 0; i < rows; i++)
        QM_UNROLL
    for (int j = 0; j < panels; j++)
        _mm512_storeu_ps(c + i * ldc + j * 16, acc[i][j]);
}

#define TILE(rows, panels, name, type, wide, values)                                                                   \
    QM_ATTEND_TILE(name, rows, panels) {                                                                               \
        tile((struct form){type, wide, values}, rows, panels, (const float *)a, b, stride, steps, c, ldc, accumulate,  \
             ahead);                                                                                                   \
    }

#define TILES(name, type)                                                                                              \
    QM_ATTEND_TILES(name##_keys, type, 0, 0)                                                                           \
    QM_ATTEND_TILES(name##_values, type, 0, 1)                                                                         \
    QM_ATTEND_TILES(name##_wide_keys, type, 1, 0)                                                                      \
    QM_ATTEND_TILES(name##_wide_values, type, 1, 1)

#define TILE_TABLES(name)                                                                                              \
    .keys = QM_ATTEND_TABLE(name##_keys), .values = QM_ATTEND_TABLE(name##_values),                                    \
    .wide_keys = QM_ATTEND_TABLE(name##_wide_keys), .wide_values = QM_ATTEND_TABLE(name##_wide_values)

TILES(bf16, QM_BF16)
TILES(f16, QM_F16)
QM_ATTEND_TILES(f32_keys, QM_F32, 0, 0)
QM_ATTEND_TILES(f32_values, QM_F32, 0, 1)

static void expand_bf16(char *dst, const char *b, int64_t steps) {
    for (int64_t s = 0; s < steps; s++, b += 64, dst += 128) {
        _mm512_store_ps(dst, weights(QM_BF16, b, 0));
        _mm512_store_ps(dst + 64, weights(QM_BF16, b, 1));
    }
}

static void expand_f16(char *dst, const char *b, int64_t steps) {
    for (int64_t s = 0; s < steps; s++, b += 32, dst += 64)
        _mm512_store_ps(dst, weights(QM_F16, b, 0));
}

static void softmax(float *s, int64_t n, int64_t lo, int64_t hi, float scale, float *max, float *sum, int floats,
                    struct qm_ahead ahead) {
    (void)floats;
    softmax_row(s, n, lo, hi, scale, max, sum, store_floats, ahead);
}

void softmax_split_f32_avx512(float *s, int64_t n, int64_t lo, int64_t hi, float scale, float *max, float *sum) {
    softmax_row(s, n, lo, hi, scale, max, sum, store_floats, (struct qm_ahead){(const char *)s, 0});
}

void attend_avx512(const struct qm_kernels *kernels, enum qm_dtype t, const struct qm_split *s) {
    static const struct qm_attend_kernels of_bf16 = {TILE_TABLES(bf16), .expand = expand_bf16, .softmax = softmax,
                                                     .k_step = 2,       .b_step = 64,          .wide_step = 128,
                                                     .a_bytes = 4};
    static const struct qm_attend_kernels of_f16 = {TILE_TABLES(f16), .expand = expand_f16, .softmax = softmax,
                                                    .k_step = 1,      .b_step = 32,         .wide_step = 64,
                                                    .a_bytes = 4};
    static const struct qm_attend_kernels of_f32 = {.keys = QM_ATTEND_TABLE(f32_keys),
                                                    .values = QM_ATTEND_TABLE(f32_values),
                                                    .wide_keys = QM_ATTEND_TABLE(f32_keys),
                                                    .wide_values = QM_ATTEND_TABLE(f32_values),
                                                    .softmax = softmax,
                                                    .k_step = 1,
                                                    .b_step = 64,
                                                    .wide_step = 64,
                                                    .a_bytes = 4};
    (void)kernels;
    attend_by_tiles_avx512(t, s, t == QM_BF16 ? &of_bf16 : t == QM_F16 ? &of_f16 : &of_f32);
}

void merge_split_f32_avx512(float *acc, float *am, float *as, const float *o, float m, float s, int64_t n) {
    if (s == 0)
        return;
    float top = *am > m ? *am : m;
    __m512 before = exp_f32_avx512(_mm512_set1_ps(*am - top)), now = exp_f32_avx512(_mm512_set1_ps(m - top));
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 in = lanes16(n - i);
        __m512 old = _mm512_mul_ps(_mm512_maskz_loadu_ps(in, acc + i), before);
        _mm512_mask_storeu_ps(acc + i, in, _mm512_fmadd_ps(_mm512_maskz_loadu_ps(in, o + i), now, old));
    }
    *as = *as * _mm512_cvtss_f32(before) + s * _mm512_cvtss_f32(now);
    *am = top;
}
