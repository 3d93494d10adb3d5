/* Products of BF16, F16 and F32 panels by F32 activations (rounded to BF16 first for BF16 panels), one FMA an
 * element and k. A tile is `rows` x `panels` accumulators of 16 lanes; the panels' values of one k are loaded
 * once and meet each row's broadcast. Activations are strips [k][r] of float (see simd/tiling.h). */
#include <immintrin.h>

#include "simd/avx512/avx512.h"
#include "simd/inline.h"
#include "simd/tile_tables.h"

/* The 16 weights of k index `k_in_step` of a step, as float. */
QM_INLINE __m512 weights(enum qm_dtype t, const char *b, int k_in_step) {
    if (t == QM_F32)
        return _mm512_load_ps(b);
    if (t == QM_F16)
        return _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)b));
    __m512i pairs = _mm512_load_si512(b);
    return _mm512_castsi512_ps(k_in_step ? _mm512_and_si512(pairs, _mm512_set1_epi32(-0x10000))
                                         : _mm512_slli_epi32(pairs, 16));
}

QM_INLINE void tile(enum qm_dtype t, int rows, int panels, const float *a, const char *b, size_t stride, int64_t steps,
                    float *c, int64_t ldc, int accumulate) {
    const int k_step = t == QM_BF16 ? 2 : 1, b_step = t == QM_F16 ? 32 : 64;
    __m512 acc[QM_TILE_ROWS][8];
    QM_UNROLL
    for (int i = 0; i < rows; i++)
        QM_UNROLL
    for (int j = 0; j < panels; j++)
        acc[i][j] = accumulate ? _mm512_loadu_ps(c + i * ldc + j * 16) : _mm512_setzero_ps();
    for (int64_t s = 0; s < steps; s++, b += b_step)
        QM_UNROLL
    for (int k = 0; k < k_step; k++, a += rows) {
        __m512 w[8];
        QM_UNROLL
        for (int j = 0; j < panels; j++)
            w[j] = weights(t, b + (size_t)j * stride, k);
        QM_UNROLL
        for (int i = 0; i < rows; i++) {
            __m512 x = _mm512_set1_ps(a[i]);
            QM_UNROLL
            for (int j = 0; j < panels; j++)
                acc[i][j] = _mm512_fmadd_ps(x, w[j], acc[i][j]);
        }
    }
    QM_UNROLL
    for (int i = 0; i < rows; i++)
        QM_UNROLL
    for (int j = 0; j < panels; j++)
        _mm512_storeu_ps(c + i * ldc + j * 16, acc[i][j]);
}

#define SHAPES(MANY, ONE, ...)                                                                                         \
    MANY(1, 8, __VA_ARGS__)                                                                                            \
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

#define TILE(rows, panels, name, type)                                                                                 \
    QM_TILE(name, rows, panels) {                                                                                      \
        (void)ahead;                                                                                                   \
        tile(type, rows, panels, (const float *)a, b, stride, steps, c, ldc, accumulate);                              \
    }

QM_TILES(tile_bf16, QM_BF16)
QM_TILES(tile_f16, QM_F16)
QM_TILES(tile_f32, QM_F32)

void product_bf16_avx512(const struct qm_product *p) {
    static const struct qm_tiling tiling = {
        .rows = 12, .k_step = 2, .a_step = 8, .b_step = 64, .block_steps = 256, .tiles = QM_TILE_TABLE(tile_bf16)};
    qm_product_tiled(p, &tiling);
}

void product_f16_avx512(const struct qm_product *p) {
    static const struct qm_tiling tiling = {
        .rows = 12, .k_step = 1, .a_step = 4, .b_step = 32, .block_steps = 512, .tiles = QM_TILE_TABLE(tile_f16)};
    qm_product_tiled(p, &tiling);
}

void product_f32_avx512(const struct qm_product *p) {
    static const struct qm_tiling tiling = {
        .rows = 12, .k_step = 1, .a_step = 4, .b_step = 64, .block_steps = 256, .tiles = QM_TILE_TABLE(tile_f32)};
    qm_product_tiled(p, &tiling);
}
