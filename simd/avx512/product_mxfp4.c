/* Product of MXFP4 panels by activations rounded to BF16 and kept as float: a block's products are summed from
 * zero by one FMA a k, and that sum times the block's scale added to the element's accumulator by one FMA. For
 * several strips of rows a block of k is decoded once: per step { float scale[16]; float value[32][16] }. */
#include <immintrin.h>

#include "simd/avx512/avx512.h"
#include "simd/inline.h"
#include "simd/mxfp4.h"
#include "simd/tiling.h"

enum { EXPANDED_STEP = 64 + 32 * 64 };

static const float code_values[16] = {QM_E2M1_F32};

/* The values of k = 2 q + half. */
QM_INLINE __m512 decode(__m512 table, const char *code, int half) {
    __m512i v = _mm512_cvtepu8_epi32(_mm_load_si128((const __m128i *)code));
    return _mm512_permutexvar_ps(half ? _mm512_srli_epi32(v, 4) : v, table);
}

QM_INLINE __m512 decode_scale(const char *scale) {
    __m512i e = _mm512_slli_epi32(_mm512_cvtepu8_epi32(_mm_load_si128((const __m128i *)scale)), 23);
    return _mm512_castsi512_ps(_mm512_max_epu32(e, _mm512_set1_epi32(0x00400000)));
}

QM_INLINE void tile(int expanded, int rows, int panels, const float *a, const char *b, size_t stride, int64_t steps,
                    float *c, int64_t ldc, int accumulate) {
    const __m512 table = _mm512_loadu_ps(code_values);
    __m512 acc[6][4];
    QM_UNROLL
    for (int i = 0; i < rows; i++)
        QM_UNROLL
    for (int j = 0; j < panels; j++)
        acc[i][j] = accumulate ? _mm512_loadu_ps(c + i * ldc + j * 16) : _mm512_setzero_ps();
    for (int64_t s = 0; s < steps; s++, b += expanded ? EXPANDED_STEP : QM_MXFP4_BLOCK) {
        __m512 sum[6][4];
        QM_UNROLL
        for (int i = 0; i < rows; i++)
            QM_UNROLL
        for (int j = 0; j < panels; j++)
            sum[i][j] = _mm512_setzero_ps();
        for (int q = 0; q < 16; q++)
            QM_UNROLL
        for (int half = 0; half < 2; half++, a += rows) {
            __m512 w[4];
            QM_UNROLL
            for (int j = 0; j < panels; j++)
                w[j] = expanded ? _mm512_load_ps(b + (size_t)j * stride + 64 + (2 * q + half) * 64)
                                : decode(table, b + (size_t)j * stride + 16 + q * 16, half);
            QM_UNROLL
            for (int i = 0; i < rows; i++) {
                __m512 x = _mm512_set1_ps(a[i]);
                QM_UNROLL
                for (int j = 0; j < panels; j++)
                    sum[i][j] = _mm512_fmadd_ps(x, w[j], sum[i][j]);
            }
        }
        QM_UNROLL
        for (int j = 0; j < panels; j++) {
            const char *at = b + (size_t)j * stride;
            __m512 scale = expanded ? _mm512_load_ps(at) : decode_scale(at);
            QM_UNROLL
            for (int i = 0; i < rows; i++)
                acc[i][j] = _mm512_fmadd_ps(sum[i][j], scale, acc[i][j]);
        }
    }
    QM_UNROLL
    for (int i = 0; i < rows; i++)
        QM_UNROLL
    for (int j = 0; j < panels; j++)
        _mm512_storeu_ps(c + i * ldc + j * 16, acc[i][j]);
}

static void expand(char *dst, const char *b, int64_t steps) {
    const __m512 table = _mm512_loadu_ps(code_values);
    for (int64_t s = 0; s < steps; s++, b += QM_MXFP4_BLOCK, dst += EXPANDED_STEP) {
        _mm512_store_ps(dst, decode_scale(b));
        for (int k = 0; k < QM_MXFP4_K; k++)
            _mm512_store_ps(dst + 64 + k * 64, decode(table, b + 16 + k / 2 * 16, k % 2));
    }
}

#define TILE(name, expanded, rows, panels)                                                                             \
    static void name##_##rows##x##panels(const char *a, const char *b, size_t stride, int64_t steps, float *c,         \
                                         int64_t ldc, int accumulate, const char *ahead) {                             \
        (void)ahead;                                                                                                   \
        tile(expanded, rows, panels, (const float *)a, b, stride, steps, c, ldc, accumulate);                          \
    }

#define ROW_TILES(name, expanded, rows, panels) TILE(name, expanded, rows, panels) TILE(name, expanded, rows, 1)

ROW_TILES(coded, 0, 1, 4)
ROW_TILES(coded, 0, 2, 4)
ROW_TILES(coded, 0, 3, 4)
ROW_TILES(coded, 0, 4, 2)
ROW_TILES(coded, 0, 5, 2)
ROW_TILES(coded, 0, 6, 2)
ROW_TILES(decoded, 1, 1, 2)
ROW_TILES(decoded, 1, 2, 2)
ROW_TILES(decoded, 1, 3, 2)
ROW_TILES(decoded, 1, 4, 2)
ROW_TILES(decoded, 1, 5, 2)
ROW_TILES(decoded, 1, 6, 2)

#define ENTRY(name, rows, panels) [rows] = {name##_##rows##x##panels, name##_##rows##x1, panels}

void product_mxfp4_avx512(const struct qm_product *p) {
    static const struct qm_tiling tiling = {
        .rows = 6,
        .k_step = QM_MXFP4_K,
        .a_step = QM_MXFP4_K * 4,
        .b_step = QM_MXFP4_BLOCK,
        .block_steps = 8,
        .expanded_step = EXPANDED_STEP,
        .expand = expand,
        .tiles = {ENTRY(coded, 1, 4), ENTRY(coded, 2, 4), ENTRY(coded, 3, 4), ENTRY(coded, 4, 2), ENTRY(coded, 5, 2),
                  ENTRY(coded, 6, 2)},
        .expanded = {ENTRY(decoded, 1, 2), ENTRY(decoded, 2, 2), ENTRY(decoded, 3, 2), ENTRY(decoded, 4, 2),
                     ENTRY(decoded, 5, 2), ENTRY(decoded, 6, 2)},
    };
    qm_product_tiled(p, &tiling);
}
