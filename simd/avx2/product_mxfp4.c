/* Product of MXFP4 panels by activations rounded to BF16 and kept as float: a block's products are summed from
 * zero by one FMA a k, and that sum times the block's scale added to the element's accumulator by one FMA. For
 * several strips of rows a block of k is decoded once: per step { float scale[16]; float value[32][16] }. */
#include <immintrin.h>

#include "simd/avx2/avx2.h"
#include "simd/inline.h"
#include "simd/mxfp4.h"
#include "simd/tile_tables.h"

enum { EXPANDED_STEP = 64 + 32 * 64 };

static const float code_values[16] = {QM_E2M1_F32};

/* The values of k = 2 q + high of 8 rows: the table is of magnitudes, by three bits; the sign is bit 3. */
QM_INLINE __m256 decode(__m256 table, const char *code, int high) {
    __m256i v = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)code));
    v = high ? _mm256_srli_epi32(v, 4) : v;
    __m256i sign = _mm256_and_si256(_mm256_slli_epi32(v, 28), _mm256_set1_epi32(INT32_MIN));
    return _mm256_or_ps(_mm256_permutevar8x32_ps(table, v), _mm256_castsi256_ps(sign));
}

QM_INLINE __m256 decode_scale(const char *scale) {
    __m256i e = _mm256_slli_epi32(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)scale)), 23);
    return _mm256_castsi256_ps(_mm256_max_epu32(e, _mm256_set1_epi32(0x00400000)));
}

QM_INLINE void tile(int expanded, int rows, const float *a, const char *b, int64_t steps, float *c, int64_t ldc,
                    int accumulate) {
    const __m256 table = _mm256_loadu_ps(code_values);
    __m256 acc[3][2];
    QM_UNROLL
    for (int i = 0; i < rows; i++)
        QM_UNROLL
    for (int j = 0; j < 2; j++)
        acc[i][j] = accumulate ? _mm256_loadu_ps(c + i * ldc + j * 8) : _mm256_setzero_ps();
    for (int64_t s = 0; s < steps; s++, b += expanded ? EXPANDED_STEP : QM_MXFP4_BLOCK) {
        __m256 sum[3][2];
        QM_UNROLL
        for (int i = 0; i < rows; i++)
            QM_UNROLL
        for (int j = 0; j < 2; j++)
            sum[i][j] = _mm256_setzero_ps();
        for (int q = 0; q < 16; q++)
            QM_UNROLL
        for (int high = 0; high < 2; high++, a += rows) {
            __m256 w[2];
            QM_UNROLL
            for (int j = 0; j < 2; j++)
                w[j] = expanded ? _mm256_load_ps((const float *)(b + 64 + (2 * q + high) * 64) + 8 * j)
                                : decode(table, b + 16 + q * 16 + 8 * j, high);
            QM_UNROLL
            for (int i = 0; i < rows; i++) {
                __m256 x = _mm256_set1_ps(a[i]);
                QM_UNROLL
                for (int j = 0; j < 2; j++)
                    sum[i][j] = _mm256_fmadd_ps(x, w[j], sum[i][j]);
            }
        }
        QM_UNROLL
        for (int j = 0; j < 2; j++) {
            __m256 scale = expanded ? _mm256_load_ps((const float *)b + 8 * j) : decode_scale(b + 8 * j);
            QM_UNROLL
            for (int i = 0; i < rows; i++)
                acc[i][j] = _mm256_fmadd_ps(sum[i][j], scale, acc[i][j]);
        }
    }
    QM_UNROLL
    for (int i = 0; i < rows; i++)
        QM_UNROLL
    for (int j = 0; j < 2; j++)
        _mm256_storeu_ps(c + i * ldc + j * 8, acc[i][j]);
}

static void expand(char *dst, const char *b, int64_t steps) {
    const __m256 table = _mm256_loadu_ps(code_values);
    for (int64_t s = 0; s < steps; s++, b += QM_MXFP4_BLOCK, dst += EXPANDED_STEP)
        for (int j = 0; j < 2; j++) {
            _mm256_store_ps((float *)dst + 8 * j, decode_scale(b + 8 * j));
            for (int k = 0; k < QM_MXFP4_K; k++)
                _mm256_store_ps((float *)(dst + 64 + k * 64) + 8 * j,
                                decode(table, b + 16 + k / 2 * 16 + 8 * j, k % 2));
        }
}

#define SHAPES(MANY, ONE, ...)                                                                                         \
    ONE(1, 1, __VA_ARGS__)                                                                                             \
    ONE(2, 1, __VA_ARGS__)                                                                                             \
    ONE(3, 1, __VA_ARGS__)

#define TILE(rows, panels, name, expanded)                                                                             \
    QM_TILE(name, rows, panels) {                                                                                      \
        (void)ahead;                                                                                                   \
        (void)stride;                                                                                                  \
        tile(expanded, rows, (const float *)a, b, steps, c, ldc, accumulate);                                          \
    }

QM_TILES(coded, 0)
QM_TILES(decoded, 1)

void product_mxfp4_avx2(const struct qm_product *p) {
    static const struct qm_tiling tiling = {
        .rows = 3,
        .k_step = QM_MXFP4_K,
        .a_step = QM_MXFP4_K * 4,
        .b_step = QM_MXFP4_BLOCK,
        .block_steps = 8,
        .expanded_step = EXPANDED_STEP,
        .expand = expand,
        .tiles = QM_TILE_TABLE(coded),
        .expanded = QM_TILE_TABLE(decoded),
    };
    qm_product_tiled(p, &tiling);
}
