/* Products of BF16, F16 and F32 panels by F32 activations (rounded to BF16 first for BF16 panels), one FMA an
 * element and k. A tile is `rows` x `panels` accumulators of 16 lanes; the panels' values of one k are loaded
 * once and meet each row's broadcast. Activations are strips [k][r] of float (see simd/tiling.h). */
#include <immintrin.h>

#include "simd/avx512/avx512.h"
#include "simd/fetched.h"

/* The 16 weights of k index `k_in_step` of a step, as float. */
QM_INLINE __m512 weights(struct qm_shape x, const char *b, int k_in_step) {
    if (x.taken == QM_EXPANDED || x.t == QM_F32)
        return _mm512_load_ps(b + k_in_step * 64);
    if (x.t == QM_F16)
        return _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)b));
    __m512i pairs = _mm512_load_si512(b);
    return _mm512_castsi512_ps(k_in_step ? _mm512_and_si512(pairs, _mm512_set1_epi32(-0x10000))
                                         : _mm512_slli_epi32(pairs, 16));
}

/* A span of a tile's steps. */
QM_INLINE void steps_of(struct qm_shape x, const float *a, const char *b, size_t stride, int64_t steps,
                        struct qm_span span, const struct qm_along *along, __m512 acc[][8]) {
    for (int64_t s = span.from; s < span.to; s++) {
        qm_fetch(x, span, stride, s, along);
        QM_UNROLL
        for (int k = 0; k < x.k_step; k++) {
            int64_t at = s * x.k_step + k;
            __m512 w[8];
            QM_UNROLL
            for (int j = 0; j < x.panels; j++) {
                w[j] = weights(x, b + (size_t)j * stride + s * x.b_step, k);
                if (x.taken == QM_EXPANDING)
                    _mm512_store_ps(along->expanded + (j * steps * x.k_step + at) * 64, w[j]);
            }
            QM_UNROLL
            for (int i = 0; i < x.rows; i++) {
                __m512 v = _mm512_set1_ps(a[at * x.rows + i]);
                QM_UNROLL
                for (int j = 0; j < x.panels; j++)
                    acc[i][j] = _mm512_fmadd_ps(v, w[j], acc[i][j]);
            }
        }
    }
}

QM_INLINE void tile(struct qm_shape x, const float *a, const char *b, size_t stride, int64_t steps, float *c,
                    int64_t ldc, int accumulate, const struct qm_along *along) {
    __m512 acc[QM_TILE_ROWS][8];
    float *volatile kept = c; /* else the addresses of all rows are kept over the loop, in registers that it needs */
    QM_UNROLL
    for (int i = 0; i < x.rows; i++)
        QM_UNROLL
    for (int j = 0; j < x.panels; j++)
        acc[i][j] = accumulate ? _mm512_loadu_ps(c + i * ldc + j * 16) : _mm512_setzero_ps();
    for (int i = 0; i < qm_spans(x); i++)
        steps_of(x, a, b, stride, steps, qm_span_of(x, i, b, steps, along), along, acc);
    c = kept;
    QM_UNROLL
    for (int i = 0; i < x.rows; i++)
        QM_UNROLL
    for (int j = 0; j < x.panels; j++)
        _mm512_storeu_ps(c + i * ldc + j * 16, acc[i][j]);
}

#define SHAPES(MANY, ONE, ...)                                                                                         \
    MANY(1, 4, __VA_ARGS__)                                                                                            \
    MANY(2, 8, __VA_ARGS__)                                                                                            \
    MANY(3, 8, __VA_ARGS__)                                                                                            \
    MANY(4, 4, __VA_ARGS__)                                                                                            \
    MANY(5, 4, __VA_ARGS__)                                                                                            \
    MANY(6, 4, __VA_ARGS__)                                                                                            \
    MANY(7, 2, __VA_ARGS__)                                                                                            \
    MANY(8, 2, __VA_ARGS__)                                                                                            \
    MANY(9, 2, __VA_ARGS__)                                                                                            \
    MANY(10, 2, __VA_ARGS__)                                                                                           \
    MANY(11, 2, __VA_ARGS__)                                                                                           \
    MANY(12, 2, __VA_ARGS__)

#define TILE(rows, panels, name, type, taken)                                                                          \
    QM_TILE(name, rows, panels) {                                                                                      \
        tile(qm_shape_of(type, taken, rows, panels), (const float *)a, b, stride, steps, c, ldc, accumulate, along);   \
    }

QM_TILES(SHAPES, bf16, QM_BF16, QM_FETCHED)
QM_TILES(SHAPES, f16, QM_F16, QM_FETCHED)
QM_TILES(SHAPES, f32, QM_F32, QM_FETCHED)
QM_TILES(QM_SHAPES_12_BY_2, expanding_bf16, QM_BF16, QM_EXPANDING)
QM_TILES(QM_SHAPES_12_BY_2, expanding_f16, QM_F16, QM_EXPANDING)
QM_TILES(QM_SHAPES_12_BY_2, expanded_pairs, QM_BF16, QM_EXPANDED)
QM_TILES(QM_SHAPES_12_BY_2, expanded, QM_F32, QM_EXPANDED)

/* 1024 k at a time, 128 KiB expanded: a tile needs 15 bytes a cycle of panels and rows, which L2 gives, and begins and
 * ends a quarter as often as with the 256 k that L1 would hold. */
void product_bf16_avx512(const struct qm_product *p) {
    static const struct qm_tiling tiling = {
        .rows = QM_TILE_ROWS,
        .k_step = 2,
        .a_step = 8,
        .b_step = 64,
        .block_steps = 512,
        .expanded_step = 128,
        .one_strip = QM_TILE_TABLE(SHAPES, bf16),
        .expanding = QM_TILE_TABLE(QM_SHAPES_12_BY_2, expanding_bf16),
        .strips = QM_TILE_TABLE(QM_SHAPES_12_BY_2, expanded_pairs),
    };
    qm_product_tiled(p, &tiling);
}

void product_f16_avx512(const struct qm_product *p) {
    static const struct qm_tiling tiling = {
        .rows = QM_TILE_ROWS,
        .k_step = 1,
        .a_step = 4,
        .b_step = 32,
        .block_steps = 256,
        .expanded_step = 64,
        .one_strip = QM_TILE_TABLE(SHAPES, f16),
        .expanding = QM_TILE_TABLE(QM_SHAPES_12_BY_2, expanding_f16),
        .strips = QM_TILE_TABLE(QM_SHAPES_12_BY_2, expanded),
    };
    qm_product_tiled(p, &tiling);
}

void product_f32_avx512(const struct qm_product *p) {
    static const struct qm_tiling tiling = {
        .rows = QM_TILE_ROWS,
        .k_step = 1,
        .a_step = 4,
        .b_step = 64,
        .block_steps = 256,
        .one_strip = QM_TILE_TABLE(SHAPES, f32),
        .strips = QM_TILE_TABLE(QM_SHAPES_12_BY_2, expanded),
    };
    qm_product_tiled(p, &tiling);
}
