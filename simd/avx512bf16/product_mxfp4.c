/* Product of MXFP4 panels by BF16 activations: a block's codes are looked up as pairs of BF16 (exact), their
 * products summed from zero with vdpbf16ps over the block's 32 k, and that sum times the block's scale added to
 * the element's accumulator by one FMA. For one strip of rows codes are decoded in registers; for several, a
 * block of k of the panels is decoded once: per step { float scale[16]; 16 x 16 pairs }. */
#include <immintrin.h>

#include "simd/avx512bf16/avx512bf16.h"
#include "simd/inline.h"
#include "simd/mxfp4.h"
#include "simd/tile_tables.h"

enum { EXPANDED_STEP = 64 + 16 * 64 };

static const int16_t code_values[32] = {QM_E2M1_BF16, QM_E2M1_BF16};

/* 16 bytes of two codes each to 16 pairs. Each byte goes to both words of its dword, the upper one shifted to the
 * high code. A word is looked up by its low five bits; above the low code the fifth is the high code's lowest, so
 * the table holds the values twice. */
QM_INLINE __m512i decode(__m512i table, const char *code) {
    const __m512i spread = _mm512_set_epi32((int)0x800F800F, (int)0x800E800E, (int)0x800D800D, (int)0x800C800C,
                                            (int)0x800B800B, (int)0x800A800A, (int)0x80098009, (int)0x80088008,
                                            (int)0x80078007, (int)0x80068006, (int)0x80058005, (int)0x80048004,
                                            (int)0x80038003, (int)0x80028002, (int)0x80018001, (int)0x80008000);
    __m512i v = _mm512_broadcast_i32x4(_mm_load_si128((const __m128i *)code));
    v = _mm512_srlv_epi16(_mm512_shuffle_epi8(v, spread), _mm512_set1_epi32(0x00040000));
    return _mm512_permutexvar_epi16(v, table);
}

QM_INLINE __m512 decode_scale(const char *scale) {
    __m512i e = _mm512_slli_epi32(_mm512_cvtepu8_epi32(_mm_load_si128((const __m128i *)scale)), 23);
    return _mm512_castsi512_ps(_mm512_max_epu32(e, _mm512_set1_epi32(0x00400000)));
}

/* Asks for the block that the panels of the next tile have at this place: what comes after is not always there,
 * and asking does no harm. Rows of panels are too short for the CPU to see their pattern. */
QM_INLINE void prefetch_next(int panels, const char *b, size_t stride) {
    QM_UNROLL
    for (int j = 0; j < panels; j++)
        QM_UNROLL
    for (int i = 0; i < 5; i++)
        _mm_prefetch(b + (size_t)(panels + j) * stride + i * 64, _MM_HINT_T1);
}

QM_INLINE void tile(int expanded, int rows, int panels, const int32_t *a, const char *b, size_t stride, int64_t steps,
                    float *c, int64_t ldc, int accumulate) {
    const __m512i table = _mm512_loadu_si512(code_values);
    __m512 acc[QM_TILE_ROWS][2];
    QM_UNROLL
    for (int i = 0; i < rows; i++)
        QM_UNROLL
    for (int j = 0; j < panels; j++)
        acc[i][j] = accumulate ? _mm512_loadu_ps(c + i * ldc + j * 16) : _mm512_setzero_ps();
    for (int64_t s = 0; s < steps; s++, b += expanded ? EXPANDED_STEP : QM_MXFP4_BLOCK) {
        if (!expanded)
            prefetch_next(panels, b, stride);
        __m512 sum[QM_TILE_ROWS][2];
        QM_UNROLL
        for (int i = 0; i < rows; i++)
            QM_UNROLL
        for (int j = 0; j < panels; j++)
            sum[i][j] = _mm512_setzero_ps();
        for (int q = 0; q < 16; q++, a += rows) {
            __m512i w[2];
            QM_UNROLL
            for (int j = 0; j < panels; j++)
                w[j] = expanded ? _mm512_load_si512(b + (size_t)j * stride + 64 + q * 64)
                                : decode(table, b + (size_t)j * stride + 16 + q * 16);
            QM_UNROLL
            for (int i = 0; i < rows; i++) {
                __m512i x = _mm512_set1_epi32(a[i]);
                QM_UNROLL
                for (int j = 0; j < panels; j++)
                    sum[i][j] = _mm512_dpbf16_ps(sum[i][j], (__m512bh)x, (__m512bh)w[j]);
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
    const __m512i table = _mm512_loadu_si512(code_values);
    for (int64_t s = 0; s < steps; s++, b += QM_MXFP4_BLOCK, dst += EXPANDED_STEP) {
        _mm512_store_ps(dst, decode_scale(b));
        for (int q = 0; q < 16; q++)
            _mm512_store_si512(dst + 64 + q * 64, decode(table, b + 16 + q * 16));
    }
}

#define SHAPES(MANY, ONE, ...)                                                                                         \
    MANY(1, 2, __VA_ARGS__)                                                                                            \
    MANY(2, 2, __VA_ARGS__)                                                                                            \
    MANY(3, 2, __VA_ARGS__)                                                                                            \
    MANY(4, 2, __VA_ARGS__)                                                                                            \
    MANY(5, 2, __VA_ARGS__)                                                                                            \
    MANY(6, 2, __VA_ARGS__)                                                                                            \
    MANY(7, 2, __VA_ARGS__)                                                                                            \
    MANY(8, 2, __VA_ARGS__)                                                                                            \
    MANY(9, 2, __VA_ARGS__)                                                                                            \
    MANY(10, 2, __VA_ARGS__)                                                                                           \
    MANY(11, 2, __VA_ARGS__)                                                                                           \
    MANY(12, 2, __VA_ARGS__)

#define TILE(rows, panels, name, expanded)                                                                             \
    QM_TILE(name, rows, panels) {                                                                                      \
        (void)ahead;                                                                                                   \
        tile(expanded, rows, panels, (const int32_t *)a, b, stride, steps, c, ldc, accumulate);                        \
    }

QM_TILES(coded, 0)
QM_TILES(decoded, 1)

void product_mxfp4_avx512bf16(const struct qm_product *p) {
    static const struct qm_tiling tiling = {
        .rows = 12,
        .k_step = QM_MXFP4_K,
        .a_step = QM_MXFP4_K * 2,
        .b_step = QM_MXFP4_BLOCK,
        .block_steps = 16,
        .expanded_step = EXPANDED_STEP,
        .expand = expand,
        .tiles = QM_TILE_TABLE(coded),
        .expanded = QM_TILE_TABLE(decoded),
    };
    qm_product_tiled(p, &tiling);
}
