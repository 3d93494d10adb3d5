/* Product of MXFP4 panels by activations rounded to BF16 and kept as float, by the bodies that the instruction sets
 * share: a panel is one register. */
#include "simd/avx512/avx512.h"
#include "simd/avx512/mxfp4.h"

static const float code_values[16] = {QM_E2M1_F32};

/* Looked up by the low four bits. */
QM_INLINE qm_lanes mxfp4_value(const char *block, int line, int k, int part) {
    (void)part;
    return _mm512_permutexvar_ps(mxfp4_codes(block, line, qm_mxfp4_shift(k)), _mm512_loadu_ps(code_values));
}

#include "simd/mxfp4_float.h"

/* Four panels for as many rows as leave registers for it. */
#define SHAPES(MANY, ONE, ...)                                                                                         \
    MANY(1, 4, __VA_ARGS__)                                                                                            \
    MANY(2, 4, __VA_ARGS__)                                                                                            \
    MANY(3, 4, __VA_ARGS__)                                                                                            \
    MANY(4, 2, __VA_ARGS__)                                                                                            \
    MANY(5, 2, __VA_ARGS__)                                                                                            \
    MANY(6, 2, __VA_ARGS__)                                                                                            \
    MANY(7, 2, __VA_ARGS__)                                                                                            \
    MANY(8, 2, __VA_ARGS__)                                                                                            \
    MANY(9, 2, __VA_ARGS__)                                                                                            \
    MANY(10, 2, __VA_ARGS__)                                                                                           \
    MANY(11, 2, __VA_ARGS__)                                                                                           \
    MANY(12, 2, __VA_ARGS__)

QM_TILES(SHAPES, fetched, QM_FETCHED)
QM_TILES(QM_SHAPES_12_BY_2, expanding, QM_EXPANDING)
QM_TILES(QM_SHAPES_12_BY_2, expanded, QM_EXPANDED)

void product_mxfp4_avx512(const struct qm_product *p) {
    static const struct qm_tiling tiling = {
        .rows = QM_TILE_ROWS,
        .k_step = QM_MXFP4_K,
        .a_step = A_STEP,
        .b_step = QM_MXFP4_BLOCK,
        .block_steps = 8,
        .expanded_step = EXPANDED_STEP,
        .one_micro_panel = QM_TILE_TABLE(SHAPES, fetched),
        .expanding = QM_TILE_TABLE(QM_SHAPES_12_BY_2, expanding),
        .micro_panels = QM_TILE_TABLE(QM_SHAPES_12_BY_2, expanded),
    };
    qm_product_tiled(p, &tiling);
}
