/* Products of BF16, F16 and F32 panels, by the bodies that the instruction sets share: a panel is two registers. */
#include "simd/avx2/avx2.h"
#include "simd/avx2/lanes.h"
#include "simd/fetched.h"

/* Weights 8 half .. 8 half + 7 of k index `k_in_step` of a step, as float. */
QM_INLINE qm_lanes weights(struct qm_shape x, const char *b, int k_in_step, int half) {
    if (x.taken == QM_EXPANDED || x.t == QM_F32)
        return _mm256_load_ps((const float *)(b + k_in_step * 64) + 8 * half);
    if (x.t == QM_F16)
        return _mm256_cvtph_ps(_mm_load_si128((const __m128i *)b + half));
    __m256i pairs = _mm256_load_si256((const __m256i *)b + half);
    return _mm256_castsi256_ps(k_in_step ? _mm256_and_si256(pairs, _mm256_set1_epi32(-0x10000))
                                         : _mm256_slli_epi32(pairs, 16));
}

/* From memory; one panel is two registers across. */
#define SHAPES(MANY, ONE, ...)                                                                                         \
    MANY(1, 4, __VA_ARGS__)                                                                                            \
    MANY(2, 2, __VA_ARGS__)                                                                                            \
    ONE(3, 1, __VA_ARGS__)                                                                                             \
    ONE(4, 1, __VA_ARGS__)                                                                                             \
    ONE(5, 1, __VA_ARGS__)                                                                                             \
    ONE(6, 1, __VA_ARGS__)

enum { ROWS = QM_AVX2_ROWS, BF16_BLOCK_STEPS = 128 };
#define CACHED QM_SHAPES_6_BY_1
#include "simd/float_tiles.h"

void product_bf16_avx2(const struct qm_product *p) {
    qm_product_tiled(p, &bf16_tiling);
}

void product_f16_avx2(const struct qm_product *p) {
    qm_product_tiled(p, &f16_tiling);
}

void product_f32_avx2(const struct qm_product *p) {
    qm_product_tiled(p, &f32_tiling);
}
