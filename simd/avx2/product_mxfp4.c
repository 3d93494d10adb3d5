/* Product of MXFP4 panels by activations rounded to BF16 and kept as float: a block's products are summed from
 * zero by one FMA a k, and that sum times the block's scale added to the element's accumulator by one FMA. Codes are
 * decoded in registers; the first of several strips of rows keeps what it decodes for the others: per step { float
 * scale[16]; float value[32][16] }. */
#include <immintrin.h>

#include "simd/avx2/avx2.h"
#include "simd/inline.h"
#include "simd/mxfp4.h"
#include "simd/tile_tables.h"

enum { EXPANDED_STEP = 64 + QM_MXFP4_K * 64 };

static const float code_values[16] = {QM_E2M1_F32};

/* The values of k of half a line of codes: the table is of magnitudes, by three bits; the sign is bit 3. */
QM_INLINE __m256 decode(__m256 table, const char *codes, int k) {
    const int shift = qm_mxfp4_shift(k), bits = shift % 8;
    __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(codes + shift / 8));
    __m256i sign = _mm256_and_si256(_mm256_slli_epi32(v, 28 - bits), _mm256_set1_epi32(INT32_MIN));
    __m256 magnitude = _mm256_permutevar8x32_ps(table, bits ? _mm256_srli_epi32(v, 4) : v);
    return _mm256_or_ps(magnitude, _mm256_castsi256_ps(sign));
}

QM_INLINE __m256 decode_scale(const char *scale) {
    __m256i e = _mm256_slli_epi32(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)scale)), 23);
    return _mm256_castsi256_ps(_mm256_max_epu32(e, _mm256_set1_epi32(0x00400000)));
}

/* Adds the products of the eight k of one line of codes of a block to sum. */
QM_INLINE void line_sums(enum qm_taken taken, int rows, const float *a, const char *b, int line, char *out,
                         __m256 sum[][2]) {
    const __m256 table = _mm256_loadu_ps(code_values);
    QM_UNROLL
    for (int i = 0; i < QM_MXFP4_LINE_K; i++) {
        const int k = line * QM_MXFP4_LINE_K + i;
        __m256 w[2];
        QM_UNROLL
        for (int j = 0; j < 2; j++) {
            w[j] = taken == QM_EXPANDED
                       ? _mm256_load_ps((const float *)(b + 64 + k * 64) + 8 * j)
                       : decode(table, b + offsetof(struct qm_mxfp4_block, code) + line * 64 + 32 * j, k);
            if (taken == QM_EXPANDING)
                _mm256_store_ps((float *)(out + 64 + k * 64) + 8 * j, w[j]);
        }
        QM_UNROLL
        for (int r = 0; r < rows; r++) {
            __m256 v = _mm256_set1_ps(a[k * rows + r]);
            QM_UNROLL
            for (int j = 0; j < 2; j++)
                sum[r][j] = _mm256_fmadd_ps(v, w[j], sum[r][j]);
        }
    }
}

/* Fetches into L1 what this strip reads next, into L2 what is read along. */
QM_INLINE void fetch(enum qm_taken taken, const char *at) {
    if (taken == QM_FETCHED)
        _mm_prefetch(at, _MM_HINT_T0);
    else
        _mm_prefetch(at, _MM_HINT_T1);
}

/* Adds the products of one block. A block of 272 bytes is on five lines: `ahead` is fetched in so many steps. */
QM_INLINE void block_sums(enum qm_taken taken, int rows, const float *a, const char *b, const char *ahead,
                          int64_t ahead_step, char *out, __m256 acc[][2]) {
    __m256 sum[6][2];
    QM_UNROLL
    for (int r = 0; r < rows; r++)
        QM_UNROLL
    for (int j = 0; j < 2; j++)
        sum[r][j] = _mm256_setzero_ps();
    for (int line = 0; line < QM_MXFP4_LINES; line++) {
        fetch(taken, ahead + line * ahead_step / QM_MXFP4_LINES);
        line_sums(taken, rows, a, b, line, out, sum);
    }
    fetch(taken, ahead + ahead_step - 1);
    QM_UNROLL
    for (int j = 0; j < 2; j++) {
        __m256 scale = taken == QM_EXPANDED ? _mm256_load_ps((const float *)b + 8 * j)
                                            : decode_scale(b + offsetof(struct qm_mxfp4_block, scale) + 8 * j);
        if (taken == QM_EXPANDING)
            _mm256_store_ps((float *)out + 8 * j, scale);
        QM_UNROLL
        for (int r = 0; r < rows; r++)
            acc[r][j] = _mm256_fmadd_ps(sum[r][j], scale, acc[r][j]);
    }
}

QM_INLINE void tile(enum qm_taken taken, int rows, const float *a, const char *b, int64_t steps, float *c, int64_t ldc,
                    int accumulate, const struct qm_along *along) {
    __m256 acc[6][2];
    float *volatile kept = c; /* as in product.c */
    QM_UNROLL
    for (int r = 0; r < rows; r++)
        QM_UNROLL
    for (int j = 0; j < 2; j++)
        acc[r][j] = accumulate ? _mm256_loadu_ps(c + r * ldc + j * 8) : _mm256_setzero_ps();
    for (int64_t s = 0; s < steps;
         s++, a += QM_MXFP4_K * rows, b += taken == QM_EXPANDED ? EXPANDED_STEP : QM_MXFP4_BLOCK) {
        char *out = taken == QM_EXPANDING ? along->expanded + s * EXPANDED_STEP : NULL;
        if (taken == QM_FETCHED)
            block_sums(taken, rows, a, b, qm_mxfp4_ahead(b, along->next, s, steps), QM_MXFP4_BLOCK, out, acc);
        else
            block_sums(taken, rows, a, b, along->ahead + s * along->step, along->step, out, acc);
    }
    c = kept;
    QM_UNROLL
    for (int r = 0; r < rows; r++)
        QM_UNROLL
    for (int j = 0; j < 2; j++)
        _mm256_storeu_ps(c + r * ldc + j * 8, acc[r][j]);
}

#define TILE(rows, panels, name, taken)                                                                                \
    QM_TILE(name, rows, panels) {                                                                                      \
        (void)stride; /* of one panel */                                                                               \
        tile(taken, rows, (const float *)a, b, steps, c, ldc, accumulate, along);                                      \
    }

QM_TILES(QM_SHAPES_6_BY_1, fetched, QM_FETCHED)
QM_TILES(QM_SHAPES_6_BY_1, expanding, QM_EXPANDING)
QM_TILES(QM_SHAPES_6_BY_1, expanded, QM_EXPANDED)

void product_mxfp4_avx2(const struct qm_product *p) {
    static const struct qm_tiling tiling = {
        .rows = QM_AVX2_ROWS,
        .k_step = QM_MXFP4_K,
        .a_step = QM_MXFP4_K * 4,
        .b_step = QM_MXFP4_BLOCK,
        .block_steps = 8,
        .expanded_step = EXPANDED_STEP,
        .one_strip = QM_TILE_TABLE(QM_SHAPES_6_BY_1, fetched),
        .expanding = QM_TILE_TABLE(QM_SHAPES_6_BY_1, expanding),
        .strips = QM_TILE_TABLE(QM_SHAPES_6_BY_1, expanded),
    };
    qm_product_tiled(p, &tiling);
}
