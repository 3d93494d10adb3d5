/* Product of MXFP4 panels by activations rounded to BF16 and kept as float, by the bodies that the instruction sets
 * share: a panel is two registers. */
#include "simd/avx2/avx2.h"
#include "simd/avx2/lanes.h"
#include "simd/mxfp4.h"

static const float code_values[16] = {QM_E2M1_F32};

/* The values of k of half a line of codes: the table is of magnitudes, by three bits; the sign is bit 3. */
QM_INLINE qm_lanes mxfp4_value(const char *block, int line, int k, int part) {
    const int shift = qm_mxfp4_shift(k), bits = shift % 8;
    const char *codes = block + offsetof(struct qm_mxfp4_block, code) + line * 64 + 32 * part;
    __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(codes + shift / 8));
    __m256i sign = _mm256_and_si256(_mm256_slli_epi32(v, 28 - bits), _mm256_set1_epi32(INT32_MIN));
    __m256 magnitude = _mm256_permutevar8x32_ps(_mm256_loadu_ps(code_values), bits ? _mm256_srli_epi32(v, 4) : v);
    return _mm256_or_ps(magnitude, _mm256_castsi256_ps(sign));
}

QM_INLINE qm_lanes mxfp4_scales(const char *block, int part) {
    const char *scale = block + offsetof(struct qm_mxfp4_block, scale) + 8 * part;
    __m256i e = _mm256_slli_epi32(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)scale)), 23);
    return _mm256_castsi256_ps(_mm256_max_epu32(e, _mm256_set1_epi32(0x00400000)));
}

#include "simd/mxfp4_float.h"

QM_TILES(QM_SHAPES_6_BY_1, fetched, QM_FETCHED)
QM_TILES(QM_SHAPES_6_BY_1, expanding, QM_EXPANDING)
QM_TILES(QM_SHAPES_6_BY_1, expanded, QM_EXPANDED)

void product_mxfp4_avx2(const struct qm_product *p) {
    static const struct qm_tiling tiling = {
        .rows = QM_AVX2_ROWS,
        .k_step = QM_MXFP4_K,
        .a_step = A_STEP,
        .b_step = QM_MXFP4_BLOCK,
        .block_steps = 8,
        .expanded_step = EXPANDED_STEP,
        .one_micro_panel = QM_TILE_TABLE(QM_SHAPES_6_BY_1, fetched),
        .expanding = QM_TILE_TABLE(QM_SHAPES_6_BY_1, expanding),
        .micro_panels = QM_TILE_TABLE(QM_SHAPES_6_BY_1, expanded),
    };
    qm_product_tiled(p, &tiling);
}
