/* Products of BF16, F16 and F32 panels, by the bodies that the instruction sets share: a panel is one register. */
#include "simd/avx512/avx512.h"
#include "simd/avx512/lanes.h"
#include "simd/fetched.h"

/* The 16 weights of k index `k_in_step` of a step, as float. */
QM_INLINE qm_lanes weights(struct qm_shape x, const char *b, int k_in_step, int part) {
    (void)part; /* one is all of it */
    if (x.taken == QM_EXPANDED || x.t == QM_F32)
        return _mm512_load_ps(b + k_in_step * 64);
    if (x.t == QM_F16)
        return _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)b));
    __m512i pairs = _mm512_load_si512(b);
    return _mm512_castsi512_ps(k_in_step ? _mm512_and_si512(pairs, _mm512_set1_epi32(-0x10000))
                                         : _mm512_slli_epi32(pairs, 16));
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

/* BF16 is expanded 1024 k at a time, 128 KiB: a tile needs 15 bytes a cycle of panels and rows, which L2 gives, and
 * begins and ends a quarter as often as with the 256 k that L1 would hold. */
enum { ROWS = QM_TILE_ROWS, BF16_BLOCK_STEPS = 512 };
#define CACHED QM_SHAPES_12_BY_2
#include "simd/float_tiles.h"

void product_bf16_avx512(const struct qm_product *p) {
    qm_product_tiled(p, &bf16_tiling);
}

void product_f16_avx512(const struct qm_product *p) {
    qm_product_tiled(p, &f16_tiling);
}

void product_f32_avx512(const struct qm_product *p) {
    qm_product_tiled(p, &f32_tiling);
}
