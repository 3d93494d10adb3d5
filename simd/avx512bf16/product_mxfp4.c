/* Product of MXFP4 panels by BF16 activations: a block's codes are looked up as pairs of BF16 (exact), their
 * products summed from zero with vdpbf16ps over the block's 32 k, and that sum times the block's scale added to
 * the element's accumulator by one FMA. Codes are decoded in registers; the first of several micro-panels of rows keeps
 * what it decodes for the others: per step { float scale[16]; 16 x 16 pairs }. */
#include "simd/avx512/mxfp4.h"
#include "simd/avx512bf16/avx512bf16.h"
#include "simd/mxfp4_tiles.h"

enum { A_STEP = QM_MXFP4_K * 2, EXPANDED_STEP = 64 + QM_MXFP4_K / 2 * 64, LINE_PAIRS = QM_MXFP4_LINE_K / 2 };

/* Twice: a look-up of words uses five bits, of which the fifth is of another code. */
static const int16_t code_values[32] = {QM_E2M1_BF16, QM_E2M1_BF16};

/* A mxfp4_line: adds the products of the four pairs of one line of codes. */
QM_INLINE void line_sums(struct mxfp4_shape x, struct mxfp4_block o, int line, qm_lanes sum[][4]) {
    const int32_t *a = (const int32_t *)o.a;
    const __m512i table = _mm512_loadu_si512(code_values);
    QM_UNROLL
    for (int i = 0; i < LINE_PAIRS; i++) {
        int q = line * LINE_PAIRS + i;
        __m512i w[2];
        QM_UNROLL
        for (int j = 0; j < x.panels; j++) {
            const char *b = o.b + (size_t)j * o.stride;
            w[j] = x.taken == QM_EXPANDED
                       ? _mm512_load_si512(b + 64 + q * 64)
                       : _mm512_permutexvar_epi16(mxfp4_codes(b, line, qm_mxfp4_shift(2 * q)), table);
            if (x.taken == QM_EXPANDING)
                _mm512_store_si512(o.out + (size_t)j * o.out_stride + 64 + q * 64, w[j]);
        }
        QM_UNROLL
        for (int r = 0; r < x.rows; r++) {
            __m512i v = _mm512_set1_epi32(a[q * x.rows + r]);
            QM_UNROLL
            for (int j = 0; j < x.panels; j++)
                sum[r][j] = _mm512_dpbf16_ps(sum[r][j], (__m512bh)v, (__m512bh)w[j]);
        }
    }
}

QM_TILES(QM_SHAPES_12_BY_2, fetched, QM_FETCHED)
QM_TILES(QM_SHAPES_12_BY_2, expanding, QM_EXPANDING)
QM_TILES(QM_SHAPES_12_BY_2, expanded, QM_EXPANDED)

void product_mxfp4_avx512bf16(const struct qm_product *p) {
    static const struct qm_tiling tiling = {
        .rows = QM_TILE_ROWS,
        .k_step = QM_MXFP4_K,
        .a_step = A_STEP,
        .b_step = QM_MXFP4_BLOCK,
        .block_steps = 16,
        .expanded_step = EXPANDED_STEP,
        .one_micro_panel = QM_TILE_TABLE(QM_SHAPES_12_BY_2, fetched),
        .expanding = QM_TILE_TABLE(QM_SHAPES_12_BY_2, expanding),
        .micro_panels = QM_TILE_TABLE(QM_SHAPES_12_BY_2, expanded),
    };
    qm_product_tiled(p, &tiling);
}
