/* Products of BF16, F16 and F32 panels by F32 activations (rounded to BF16 first for BF16 panels), one FMA an
 * element and k. A tile is `rows` x `panels` accumulators of 2 x 8 lanes. Activations are strips [k][r] of float
 * (see simd/tiling.h). */
#include <immintrin.h>

#include "simd/avx2/avx2.h"
#include "simd/fetched.h"

/* Weights 8 half .. 8 half + 7 of k index `k_in_step` of a step, as float. */
QM_INLINE __m256 weights(struct qm_shape x, const char *b, int k_in_step, int half) {
    if (x.taken == QM_EXPANDED || x.t == QM_F32)
        return _mm256_load_ps((const float *)(b + k_in_step * 64) + 8 * half);
    if (x.t == QM_F16)
        return _mm256_cvtph_ps(_mm_load_si128((const __m128i *)b + half));
    __m256i pairs = _mm256_load_si256((const __m256i *)b + half);
    return _mm256_castsi256_ps(k_in_step ? _mm256_and_si256(pairs, _mm256_set1_epi32(-0x10000))
                                         : _mm256_slli_epi32(pairs, 16));
}

/* A span of a tile's steps. */
QM_INLINE void steps_of(struct qm_shape x, const float *a, const char *b, size_t stride, int64_t steps,
                        struct qm_span span, const struct qm_along *along, __m256 acc[][8]) {
    for (int64_t s = span.from; s < span.to; s++) {
        qm_fetch(x, span, stride, s, along);
        QM_UNROLL
        for (int k = 0; k < x.k_step; k++) {
            int64_t at = s * x.k_step + k;
            __m256 w[8];
            QM_UNROLL
            for (int j = 0; j < 2 * x.panels; j++) {
                w[j] = weights(x, b + (size_t)(j / 2) * stride + s * x.b_step, k, j % 2);
                if (x.taken == QM_EXPANDING)
                    _mm256_store_ps((float *)(along->expanded + (j / 2 * steps * x.k_step + at) * 64) + j % 2 * 8,
                                    w[j]);
            }
            QM_UNROLL
            for (int i = 0; i < x.rows; i++) {
                __m256 v = _mm256_set1_ps(a[at * x.rows + i]);
                QM_UNROLL
                for (int j = 0; j < 2 * x.panels; j++)
                    acc[i][j] = _mm256_fmadd_ps(v, w[j], acc[i][j]);
            }
        }
    }
}

QM_INLINE void tile(struct qm_shape x, const float *a, const char *b, size_t stride, int64_t steps, float *c,
                    int64_t ldc, int accumulate, const struct qm_along *along) {
    __m256 acc[6][8];
    float *volatile kept = c; /* else the addresses of all rows are kept over the loop, in registers that it needs */
    QM_UNROLL
    for (int i = 0; i < x.rows; i++)
        QM_UNROLL
    for (int j = 0; j < 2 * x.panels; j++)
        acc[i][j] = accumulate ? _mm256_loadu_ps(c + i * ldc + j * 8) : _mm256_setzero_ps();
    for (int i = 0; i < qm_spans(x); i++)
        steps_of(x, a, b, stride, steps, qm_span_of(x, i, b, steps, along), along, acc);
    c = kept;
    QM_UNROLL
    for (int i = 0; i < x.rows; i++)
        QM_UNROLL
    for (int j = 0; j < 2 * x.panels; j++)
        _mm256_storeu_ps(c + i * ldc + j * 8, acc[i][j]);
}

/* From memory; one panel is two registers across. */
#define SHAPES(MANY, ONE, ...)                                                                                         \
    MANY(1, 4, __VA_ARGS__)                                                                                            \
    MANY(2, 2, __VA_ARGS__)                                                                                            \
    ONE(3, 1, __VA_ARGS__)                                                                                             \
    ONE(4, 1, __VA_ARGS__)                                                                                             \
    ONE(5, 1, __VA_ARGS__)                                                                                             \
    ONE(6, 1, __VA_ARGS__)

#define TILE(rows, panels, name, type, taken)                                                                          \
    QM_TILE(name, rows, panels) {                                                                                      \
        tile(qm_shape_of(type, taken, rows, panels), (const float *)a, b, stride, steps, c, ldc, accumulate, along);   \
    }

QM_TILES(SHAPES, bf16, QM_BF16, QM_FETCHED)
QM_TILES(SHAPES, f16, QM_F16, QM_FETCHED)
QM_TILES(SHAPES, f32, QM_F32, QM_FETCHED)
QM_TILES(QM_SHAPES_6_BY_1, expanding_bf16, QM_BF16, QM_EXPANDING)
QM_TILES(QM_SHAPES_6_BY_1, expanding_f16, QM_F16, QM_EXPANDING)
QM_TILES(QM_SHAPES_6_BY_1, expanded_pairs, QM_BF16, QM_EXPANDED)
QM_TILES(QM_SHAPES_6_BY_1, expanded, QM_F32, QM_EXPANDED)

void product_bf16_avx2(const struct qm_product *p) {
    static const struct qm_tiling tiling = {
        .rows = QM_AVX2_ROWS,
        .k_step = 2,
        .a_step = 8,
        .b_step = 64,
        .block_steps = 128,
        .expanded_step = 128,
        .one_strip = QM_TILE_TABLE(SHAPES, bf16),
        .expanding = QM_TILE_TABLE(QM_SHAPES_6_BY_1, expanding_bf16),
        .strips = QM_TILE_TABLE(QM_SHAPES_6_BY_1, expanded_pairs),
    };
    qm_product_tiled(p, &tiling);
}

void product_f16_avx2(const struct qm_product *p) {
    static const struct qm_tiling tiling = {
        .rows = QM_AVX2_ROWS,
        .k_step = 1,
        .a_step = 4,
        .b_step = 32,
        .block_steps = 256,
        .expanded_step = 64,
        .one_strip = QM_TILE_TABLE(SHAPES, f16),
        .expanding = QM_TILE_TABLE(QM_SHAPES_6_BY_1, expanding_f16),
        .strips = QM_TILE_TABLE(QM_SHAPES_6_BY_1, expanded),
    };
    qm_product_tiled(p, &tiling);
}

void product_f32_avx2(const struct qm_product *p) {
    static const struct qm_tiling tiling = {
        .rows = QM_AVX2_ROWS,
        .k_step = 1,
        .a_step = 4,
        .b_step = 64,
        .block_steps = 256,
        .one_strip = QM_TILE_TABLE(SHAPES, f32),
        .strips = QM_TILE_TABLE(QM_SHAPES_6_BY_1, expanded),
    };
    qm_product_tiled(p, &tiling);
}
