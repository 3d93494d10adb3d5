/* Products of BF16, F16 and F32 panels by F32 activations (rounded to BF16 first for BF16 panels), one FMA an
 * element and k. A tile is `rows` x `panels` accumulators of 2 x 8 lanes. Activations are strips [k][r] of float
 * (see simd/tiling.h). */
#include <immintrin.h>

#include "simd/avx2/avx2.h"
#include "simd/inline.h"
#include "simd/tile_tables.h"

/* Weights 8 half .. 8 half + 7 of k index `k_in_step` of a step, as float. */
QM_INLINE __m256 weights(enum qm_dtype t, const char *b, int k_in_step, int half) {
    if (t == QM_F32)
        return _mm256_load_ps((const float *)b + 8 * half);
    if (t == QM_F16)
        return _mm256_cvtph_ps(_mm_load_si128((const __m128i *)b + half));
    __m256i pairs = _mm256_load_si256((const __m256i *)b + half);
    return _mm256_castsi256_ps(k_in_step ? _mm256_and_si256(pairs, _mm256_set1_epi32(-0x10000))
                                         : _mm256_slli_epi32(pairs, 16));
}

/* `halves` counts registers across: two a panel. */
QM_INLINE void tile(enum qm_dtype t, int rows, int halves, const float *a, const char *b, size_t stride, int64_t steps,
                    float *c, int64_t ldc, int accumulate) {
    const int k_step = t == QM_BF16 ? 2 : 1, b_step = t == QM_F16 ? 32 : 64;
    __m256 acc[6][8];
    QM_UNROLL
    for (int i = 0; i < rows; i++)
        QM_UNROLL
    for (int j = 0; j < halves; j++)
        acc[i][j] = accumulate ? _mm256_loadu_ps(c + i * ldc + j * 8) : _mm256_setzero_ps();
    for (int64_t s = 0; s < steps; s++, b += b_step)
        QM_UNROLL
    for (int k = 0; k < k_step; k++, a += rows) {
        __m256 w[8];
        QM_UNROLL
        for (int j = 0; j < halves; j++)
            w[j] = weights(t, b + (size_t)(j / 2) * stride, k, j % 2);
        QM_UNROLL
        for (int i = 0; i < rows; i++) {
            __m256 x = _mm256_set1_ps(a[i]);
            QM_UNROLL
            for (int j = 0; j < halves; j++)
                acc[i][j] = _mm256_fmadd_ps(x, w[j], acc[i][j]);
        }
    }
    QM_UNROLL
    for (int i = 0; i < rows; i++)
        QM_UNROLL
    for (int j = 0; j < halves; j++)
        _mm256_storeu_ps(c + i * ldc + j * 8, acc[i][j]);
}

#define SHAPES(MANY, ONE, ...)                                                                                         \
    MANY(1, 4, __VA_ARGS__)                                                                                            \
    MANY(2, 2, __VA_ARGS__)                                                                                            \
    ONE(3, 1, __VA_ARGS__)                                                                                             \
    ONE(4, 1, __VA_ARGS__)                                                                                             \
    ONE(5, 1, __VA_ARGS__)                                                                                             \
    ONE(6, 1, __VA_ARGS__)

#define TILE(rows, panels, name, type)                                                                                 \
    QM_TILE(name, rows, panels) {                                                                                      \
        (void)ahead;                                                                                                   \
        tile(type, rows, 2 * panels, (const float *)a, b, stride, steps, c, ldc, accumulate);                          \
    }

QM_TILES(tile_bf16, QM_BF16)
QM_TILES(tile_f16, QM_F16)
QM_TILES(tile_f32, QM_F32)

void product_bf16_avx2(const struct qm_product *p) {
    static const struct qm_tiling tiling = {
        .rows = 6, .k_step = 2, .a_step = 8, .b_step = 64, .block_steps = 256, .tiles = QM_TILE_TABLE(tile_bf16)};
    qm_product_tiled(p, &tiling);
}

void product_f16_avx2(const struct qm_product *p) {
    static const struct qm_tiling tiling = {
        .rows = 6, .k_step = 1, .a_step = 4, .b_step = 32, .block_steps = 512, .tiles = QM_TILE_TABLE(tile_f16)};
    qm_product_tiled(p, &tiling);
}

void product_f32_avx2(const struct qm_product *p) {
    static const struct qm_tiling tiling = {
        .rows = 6, .k_step = 1, .a_step = 4, .b_step = 64, .block_steps = 256, .tiles = QM_TILE_TABLE(tile_f32)};
    qm_product_tiled(p, &tiling);
}
